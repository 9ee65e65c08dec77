//! `.parquet`: tables by columns.
//!
//! Read: floats, integers and booleans that are not null, uncompressed or
//! compressed with snappy. Written: one required float32 column for each name.

#![allow(clippy::cast_precision_loss, reason = "64-bit integers are rounded to float32 in the end")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{DataType, FloatType};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::{ColumnDescriptor, Type};

use super::array::{Array, one_line, quote, to_f32};
use crate::error::{Error, Result};
use crate::files::{AtomicFile, write_error};

/// What to do about a file that is damaged.
const WRITE_AGAIN: &str = "copy or write it again";
/// What to do about a column that does not hold numbers.
const REMOVE: &str = "remove the column, or encode it as numbers";
/// So many values are decoded at a time.
const DECODED: usize = 1 << 16;
/// So many values go into a row group when writing.
const GROUP: usize = 1 << 22;

/// Reads the file `path`.
pub(super) fn read(path: &Path) -> Result<Array> {
    // The parquet crate panics on some damaged pages, where it should return an error.
    std::panic::catch_unwind(|| read_table(path)).unwrap_or_else(|_| {
        Err(Error::input(path.display().to_string(), "the .parquet file is damaged", WRITE_AGAIN))
    })
}

fn read_table(path: &Path) -> Result<Array> {
    let place = path.display().to_string();
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let metadata = file.metadata().map_err(|e| Error::io("read", path, e))?;
    if metadata.is_dir() {
        return Err(Error::io("read", path, std::io::ErrorKind::IsADirectory.into()));
    }
    if metadata.len() == 0 {
        return Err(Error::input(place, "the file is empty", "write the table again"));
    }
    let broken = |e: ParquetError| {
        Error::input(&place, format!("not a whole .parquet file: {}", quote_error(&e)), WRITE_AGAIN)
    };
    let file = SerializedFileReader::new(file).map_err(broken)?;
    let schema = file.metadata().file_metadata().schema_descr_ptr();
    let mut columns = Vec::new();
    for column in schema.columns() {
        check_type(&place, column)?;
        columns.push(column.path().string());
    }
    let dim = columns.len();
    let mut values: Vec<f32> = Vec::new();
    let mut rows = 0;
    for g in 0..file.num_row_groups() {
        let group = file.get_row_group(g).map_err(broken)?;
        let mut group_rows = None;
        for (c, name) in columns.iter().enumerate() {
            let column = Column { place: &place, name, first_row: rows };
            column.check_codec(group.metadata().column(c).compression())?;
            let read = column.read(&*group, c)?;
            // The number of rows is what there is, not what a damaged file says there is.
            let expected = *group_rows.get_or_insert(read.len());
            if read.len() != expected {
                let what = format!("column '{}' has another length than the first", quote(name.as_bytes()));
                return Err(Error::input(&place, what, WRITE_AGAIN));
            }
            let start = rows * dim;
            if c == 0 {
                let more = expected.saturating_mul(dim);
                values.try_reserve(more).map_err(|e| Error::input(&place, one_line(&e), "use fewer rows"))?;
                values.resize(start + more, 0.0);
            }
            for (value, slot) in read.iter().zip(values[start + c..].iter_mut().step_by(dim)) {
                *slot = *value;
            }
        }
        rows += group_rows.unwrap_or(0);
    }
    if rows == 0 {
        return Err(Error::input(place, "the table has no rows", "write at least one row"));
    }
    Ok(Array { values, shape: vec![rows, dim], columns: Some(columns) })
}

/// Refuses a column that does not hold numbers, by name.
fn check_type(place: &str, column: &ColumnDescriptor) -> Result<()> {
    let path = column.path().string();
    let name = quote(path.as_bytes());
    let refuse = |what: &str, remedy: &str| {
        Err(Error::input(format!("{place}, column '{name}'"), what.to_owned(), remedy))
    };
    if path == "__index_level_0__" {
        return refuse(
            "this is the index of a pandas table, not data",
            "write the table without it (index=False)",
        );
    }
    if column.max_rep_level() > 0 || column.path().parts().len() > 1 {
        return refuse("lists and nested values are not read", "write one column for each number");
    }
    match column.logical_type_ref() {
        Some(LogicalType::Date | LogicalType::Time { .. } | LogicalType::Timestamp { .. }) => {
            return refuse("dates and times are not read", REMOVE);
        }
        Some(LogicalType::Decimal { .. }) => return refuse("decimals are not read", "cast it to float32"),
        Some(LogicalType::Float16) => return refuse("float16 is not read", "cast it to float32"),
        _ => {}
    }
    match column.physical_type() {
        PhysicalType::INT96 => refuse("dates and times are not read", REMOVE),
        PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY => {
            refuse("holds text, not numbers", REMOVE)
        }
        _ => Ok(()),
    }
}

/// A column of one row group.
struct Column<'a> {
    place: &'a str,
    name: &'a str,
    /// The rows before this group.
    first_row: usize,
}

impl Column<'_> {
    fn error(&self, what: impl Into<String>, remedy: &str) -> Error {
        Error::input(format!("{}, column '{}'", self.place, quote(self.name.as_bytes())), what, remedy)
    }

    fn check_codec(&self, codec: Compression) -> Result<()> {
        match codec {
            Compression::UNCOMPRESSED | Compression::SNAPPY => Ok(()),
            other => {
                let codec = format!("{other:?}");
                let codec = codec.split('(').next().unwrap_or_default();
                let what = format!("it is compressed with {codec}, which is not read");
                Err(self.error(what, "write the table with compression='snappy'"))
            }
        }
    }

    fn read(&self, group: &dyn RowGroupReader, index: usize) -> Result<Vec<f32>> {
        let descriptor = group.metadata().column(index).column_descr_ptr();
        let unsigned = matches!(descriptor.logical_type_ref(), Some(LogicalType::Integer(t)) if !t.is_signed)
            || matches!(
                descriptor.converted_type(),
                ConvertedType::UINT_8
                    | ConvertedType::UINT_16
                    | ConvertedType::UINT_32
                    | ConvertedType::UINT_64
            );
        let optional = descriptor.max_def_level() > 0;
        let reader = group
            .get_column_reader(index)
            .map_err(|e| self.error(format!("it could not be read: {}", quote_error(&e)), WRITE_AGAIN))?;
        match reader {
            ColumnReader::BoolColumnReader(r) => self.decode(r, optional, |v| f64::from(u8::from(v))),
            ColumnReader::Int32ColumnReader(r) if unsigned => {
                self.decode(r, optional, |v| f64::from(v.cast_unsigned()))
            }
            ColumnReader::Int32ColumnReader(r) => self.decode(r, optional, f64::from),
            ColumnReader::Int64ColumnReader(r) if unsigned => {
                self.decode(r, optional, |v| v.cast_unsigned() as f64)
            }
            ColumnReader::Int64ColumnReader(r) => self.decode(r, optional, |v| v as f64),
            ColumnReader::FloatColumnReader(r) => self.decode(r, optional, f64::from),
            ColumnReader::DoubleColumnReader(r) => self.decode(r, optional, |v| v),
            _ => Err(self.error("it does not hold numbers", REMOVE)),
        }
    }

    fn decode<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        optional: bool,
        widen: impl Fn(T::T) -> f64,
    ) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        loop {
            values.clear();
            levels.clear();
            let (records, _, _) = reader
                .read_records(DECODED, optional.then_some(&mut levels), None, &mut values)
                .map_err(|e| self.error(format!("it could not be read: {}", quote_error(&e)), WRITE_AGAIN))?;
            if records == 0 {
                return Ok(all);
            }
            if let Some(null) = levels.iter().position(|&level| level == 0) {
                let row = self.first_row + all.len() + null;
                return Err(self.error(format!("row {row} is null"), "fill it in, or remove the row"));
            }
            for value in values.drain(..) {
                let row = self.first_row + all.len();
                all.push(to_f32(widen(value)).map_err(|why| {
                    self.error(format!("row {row} is {why}"), "remove or replace such rows")
                })?);
            }
        }
    }
}

/// The library's message, short and on one line.
fn quote_error(error: &ParquetError) -> String {
    let line = one_line(error);
    line.strip_prefix("Parquet error: ").unwrap_or(&line).to_owned()
}

/// Streams rows into a table, a row group at a time.
pub(super) struct Writer {
    path: PathBuf,
    file: SerializedFileWriter<AtomicFile>,
    dim: usize,
    /// Rows that wait for their group to be full.
    pending: Vec<f32>,
    column: Vec<f32>,
}

impl Writer {
    pub(super) fn create(path: &Path, columns: &[String]) -> Result<Self> {
        let field = |name: &String| {
            Type::primitive_type_builder(name, PhysicalType::FLOAT)
                .with_repetition(Repetition::REQUIRED)
                .build()
                .map(Arc::new)
        };
        let error = |e| file_error(path, e);
        let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>().map_err(error)?;
        let schema = Type::group_type_builder("schema").with_fields(fields).build().map_err(error)?;
        // Continuous values neither repeat nor compress.
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false)
            .set_created_by(concat!("windfield ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let file = AtomicFile::create(path)?;
        let file = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(error)?;
        Ok(Self { path: path.to_owned(), file, dim: columns.len(), pending: Vec::new(), column: Vec::new() })
    }

    pub(super) fn write(&mut self, mut values: &[f32]) -> Result<()> {
        let group = (GROUP / self.dim).max(1) * self.dim;
        while !values.is_empty() {
            let (now, later) = values.split_at(values.len().min(group - self.pending.len()));
            self.pending.extend_from_slice(now);
            values = later;
            if self.pending.len() == group {
                self.write_group()?;
            }
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<()> {
        let Self { path, file, dim, pending, column } = self;
        let mut write = || {
            let mut group = file.next_row_group()?;
            let mut c = 0;
            while let Some(mut writer) = group.next_column()? {
                column.clear();
                column.extend(pending[c..].iter().step_by(*dim));
                writer.typed::<FloatType>().write_batch(column, None, None)?;
                writer.close()?;
                c += 1;
            }
            group.close()
        };
        write().map_err(|e| file_error(path, e))?;
        self.pending.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        if !self.pending.is_empty() {
            self.write_group()?;
        }
        let Self { path, file, .. } = self;
        file.into_inner().map_err(|e| file_error(&path, e))?.finish()
    }
}

/// A failed write, of the kind that the operating system gave it.
fn file_error(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => write_error(path, *source),
            Err(source) => write_error(path, std::io::Error::other(one_line(&source))),
        },
        other => write_error(path, std::io::Error::other(quote_error(&other))),
    }
}
