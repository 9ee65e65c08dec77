//! `.parquet`: tables by columns.
//!
//! Read: floats, integers and booleans that are not null, and, where they may
//! be there, text and nulls; uncompressed or compressed with snappy. Written:
//! one required column for each name, of float32, or for a prepared table as
//! its columns were stored.

#![allow(clippy::cast_precision_loss, reason = "64-bit integers are rounded to float32 in the end")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::{ColumnDescriptor, ColumnPath, Type};

use super::array::{Array, one_line, quote, to_f32};
use super::preparation::{Cell, Constant, PreparedColumn, Storage, StorageType};
use super::table::{self, Kind, Sole, Words};
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

/// Reads the file `path`, which holds numbers alone.
pub(super) fn read(path: &Path) -> Result<Array> {
    Ok(scan(path, false)?.into_array())
}

/// Reads the file `path`, whose columns may hold words, and values be missing.
pub(super) fn read_table(path: &Path) -> Result<table::Table> {
    scan(path, true)
}

/// `mixed`: whether there may be words and missing values.
fn scan(path: &Path, mixed: bool) -> Result<table::Table> {
    // The parquet crate panics on some damaged pages, where it should return an error.
    std::panic::catch_unwind(|| read_columns(path, mixed)).unwrap_or_else(|_| {
        Err(Error::input(path.display().to_string(), "the .parquet file is damaged", WRITE_AGAIN))
    })
}

fn read_columns(path: &Path, mixed: bool) -> Result<table::Table> {
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
        check_type(&place, column, mixed)?;
        columns.push(table::Column {
            name: column.path().string(),
            kind: kind(column),
            stored: Some(storage(column)),
            missing: None,
            sole: Sole::Unseen,
        });
    }
    let dim = columns.len();
    let mut values: Vec<f32> = Vec::new();
    let mut rows = 0;
    for g in 0..file.num_row_groups() {
        let group = file.get_row_group(g).map_err(broken)?;
        let mut group_rows = None;
        for (c, into) in columns.iter_mut().enumerate() {
            let name = into.name.clone();
            let mut column = Column { place: &place, name: &name, first_row: rows, mixed, into };
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
    Ok(table::Table { place, position: "row", columns, cells: values })
}

/// What a column that has been checked holds.
fn kind(column: &ColumnDescriptor) -> Kind {
    match column.physical_type() {
        PhysicalType::BOOLEAN => Kind::Boolean,
        PhysicalType::INT32 | PhysicalType::INT64 => Kind::Integer,
        PhysicalType::BYTE_ARRAY => Kind::Text(Words::default()),
        _ => Kind::Number,
    }
}

/// How a column that has been checked is stored.
fn storage(column: &ColumnDescriptor) -> Storage {
    let kind = match (column.physical_type(), integer(column)) {
        (PhysicalType::BOOLEAN, _) => StorageType::Boolean,
        (PhysicalType::INT32 | PhysicalType::INT64, Some((8, true))) => StorageType::Int8,
        (PhysicalType::INT32 | PhysicalType::INT64, Some((16, true))) => StorageType::Int16,
        (PhysicalType::INT32 | PhysicalType::INT64, Some((8, false))) => StorageType::Uint8,
        (PhysicalType::INT32 | PhysicalType::INT64, Some((16, false))) => StorageType::Uint16,
        (PhysicalType::INT32, Some((_, false))) => StorageType::Uint32,
        (PhysicalType::INT32, _) => StorageType::Int32,
        (PhysicalType::INT64, Some((_, false))) => StorageType::Uint64,
        (PhysicalType::INT64, _) => StorageType::Int64,
        (PhysicalType::BYTE_ARRAY, _) => StorageType::Text,
        (PhysicalType::DOUBLE, _) => StorageType::Double,
        _ => StorageType::Float,
    };
    Storage { kind, optional: column.max_def_level() > 0 }
}

/// The bits of a whole number and whether it has a sign, where the schema says more than the physical type.
fn integer(column: &ColumnDescriptor) -> Option<(i8, bool)> {
    if let Some(LogicalType::Integer(t)) = column.logical_type_ref() {
        return Some((t.bit_width, t.is_signed));
    }
    Some(match column.converted_type() {
        ConvertedType::INT_8 => (8, true),
        ConvertedType::INT_16 => (16, true),
        ConvertedType::UINT_8 => (8, false),
        ConvertedType::UINT_16 => (16, false),
        ConvertedType::UINT_32 => (32, false),
        ConvertedType::UINT_64 => (64, false),
        _ => return None,
    })
}

/// The physical and the logical type of a column that is written.
fn types(kind: StorageType) -> (PhysicalType, Option<LogicalType>) {
    let integer = |bits, signed| Some(LogicalType::integer(bits, signed));
    match kind {
        StorageType::Int8 => (PhysicalType::INT32, integer(8, true)),
        StorageType::Int16 => (PhysicalType::INT32, integer(16, true)),
        StorageType::Int32 => (PhysicalType::INT32, None),
        StorageType::Int64 => (PhysicalType::INT64, None),
        StorageType::Uint8 => (PhysicalType::INT32, integer(8, false)),
        StorageType::Uint16 => (PhysicalType::INT32, integer(16, false)),
        StorageType::Uint32 => (PhysicalType::INT32, integer(32, false)),
        StorageType::Uint64 => (PhysicalType::INT64, integer(64, false)),
        StorageType::Float => (PhysicalType::FLOAT, None),
        StorageType::Double => (PhysicalType::DOUBLE, None),
        StorageType::Boolean => (PhysicalType::BOOLEAN, None),
        StorageType::Text => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
    }
}

fn is_text(column: &ColumnDescriptor) -> bool {
    column.physical_type() == PhysicalType::BYTE_ARRAY
        && (matches!(column.logical_type_ref(), Some(LogicalType::String | LogicalType::Enum))
            || matches!(column.converted_type(), ConvertedType::UTF8 | ConvertedType::ENUM))
}

/// Refuses a column that cannot be used, by name.
fn check_type(place: &str, column: &ColumnDescriptor, mixed: bool) -> Result<()> {
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
        PhysicalType::BYTE_ARRAY if mixed && is_text(column) => Ok(()),
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
    /// Whether there may be words and missing values.
    mixed: bool,
    /// What is known of it from the groups before.
    into: &'a mut table::Column,
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

    fn read(&mut self, group: &dyn RowGroupReader, index: usize) -> Result<Vec<f32>> {
        let descriptor = group.metadata().column(index).column_descr_ptr();
        let unsigned = integer(&descriptor).is_some_and(|(_, signed)| !signed);
        let optional = descriptor.max_def_level() > 0;
        let reader = group
            .get_column_reader(index)
            .map_err(|e| self.error(format!("it could not be read: {}", quote_error(&e)), WRITE_AGAIN))?;
        let number = |value: f64| Ok(value);
        match reader {
            ColumnReader::BoolColumnReader(r) => {
                self.decode(r, optional, |v, _| number(u8::from(*v).into()), |v| Constant::Boolean(*v))
            }
            ColumnReader::Int32ColumnReader(r) if unsigned => self.decode(
                r,
                optional,
                |v, _| number(v.cast_unsigned().into()),
                |v| Constant::Integer(v.cast_unsigned().into()),
            ),
            ColumnReader::Int32ColumnReader(r) => {
                self.decode(r, optional, |v, _| number((*v).into()), |v| Constant::Integer((*v).into()))
            }
            ColumnReader::Int64ColumnReader(r) if unsigned => self.decode(
                r,
                optional,
                |v, _| number(v.cast_unsigned() as f64),
                |v| Constant::unsigned(v.cast_unsigned()),
            ),
            ColumnReader::Int64ColumnReader(r) => {
                self.decode(r, optional, |v, _| number(*v as f64), |v| Constant::Integer(*v))
            }
            ColumnReader::FloatColumnReader(r) => {
                self.decode(r, optional, |v, _| number((*v).into()), |v| Constant::of_float32(*v))
            }
            ColumnReader::DoubleColumnReader(r) => {
                self.decode(r, optional, |v, _| number(*v), |v| Constant::Number(*v))
            }
            ColumnReader::ByteArrayColumnReader(r) => {
                let mut words = match &mut self.into.kind {
                    Kind::Text(words) => std::mem::take(words),
                    _ => Words::default(),
                };
                let number = |v: &ByteArray, row| {
                    let word = v.as_utf8().map_err(|_| "no text in UTF-8")?;
                    Ok(f64::from(words.number(word, row)))
                };
                // How many words there are is known from themselves.
                let read = self.decode(r, optional, number, |_| Constant::Text(String::new()));
                self.into.kind = Kind::Text(words);
                read
            }
            _ => Err(self.error("it does not hold numbers", REMOVE)),
        }
    }

    /// `widen` takes a value and its row; `exact` gives it with every digit.
    fn decode<T: DataType>(
        &mut self,
        mut reader: ColumnReaderImpl<T>,
        optional: bool,
        mut widen: impl FnMut(&T::T, u64) -> Result<f64, &'static str>,
        exact: impl Fn(&T::T) -> Constant,
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
            let mut present = values.iter();
            let mut last = None;
            for record in 0..if optional { levels.len() } else { values.len() } {
                let row = self.first_row + all.len();
                let value = match levels.get(record) {
                    Some(0) => None,
                    _ => present.next(),
                };
                let widened = match value {
                    Some(value) => widen(value, row as u64),
                    None if self.mixed => Ok(f64::NAN),
                    None => {
                        return Err(self.error(format!("row {row} is null"), "fill it in, or remove the row"));
                    }
                };
                match widened {
                    // A missing number, as pandas writes it.
                    Ok(missing) if self.mixed && missing.is_nan() => {
                        self.into.missing = self.into.missing.or(Some(row as u64));
                        all.push(f32::NAN);
                    }
                    widened => {
                        all.push(widened.and_then(to_f32).map_err(|why| {
                            self.error(format!("row {row} is {why}"), "remove or replace such rows")
                        })?);
                        // Most constants are told from the value before.
                        if let Some(value) = value.filter(|_| value != last) {
                            self.into.sole.see(|| exact(value));
                            last = Some(value);
                        }
                    }
                }
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
    /// How rows become those of a table, where they do.
    prepared: Option<Vec<PreparedColumn>>,
    /// Rows that wait for their group to be full.
    pending: Vec<f32>,
    column: Vec<f32>,
}

impl Writer {
    pub(super) fn create(path: &Path, columns: &[String]) -> Result<Self> {
        let float = Storage { kind: StorageType::Float, optional: false };
        let floats = columns.iter().map(|name| (name.as_str(), float));
        Self::with_columns(path, floats, columns.len(), None)
    }

    /// For rows of numbers that are written as what they stand for in the columns of a table.
    pub(super) fn create_prepared(path: &Path, prepared: &[PreparedColumn]) -> Result<Self> {
        let columns = prepared.iter().map(|column| (column.name.as_str(), column.storage()));
        let dim = prepared.iter().map(|column| column.kind.width()).sum();
        Self::with_columns(path, columns, dim, Some(prepared.to_vec()))
    }

    fn with_columns<'a>(
        path: &Path,
        columns: impl Iterator<Item = (&'a str, Storage)>,
        dim: usize,
        prepared: Option<Vec<PreparedColumn>>,
    ) -> Result<Self> {
        // Continuous values neither repeat nor compress; words do.
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false)
            .set_created_by(concat!("windfield ", env!("CARGO_PKG_VERSION")).to_owned());
        let error = |e| file_error(path, e);
        let mut fields = vec![];
        for (name, stored) in columns {
            let (physical, logical) = types(stored.kind);
            if stored.kind == StorageType::Text {
                properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), true);
            }
            let field = Type::primitive_type_builder(name, physical)
                .with_repetition(if stored.optional { Repetition::OPTIONAL } else { Repetition::REQUIRED })
                .with_logical_type(logical)
                .build()
                .map_err(error)?;
            fields.push(Arc::new(field));
        }
        let schema = Type::group_type_builder("schema").with_fields(fields).build().map_err(error)?;
        let file = AtomicFile::create(path)?;
        let file =
            SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties.build())).map_err(error)?;
        Ok(Self { path: path.to_owned(), file, dim, prepared, pending: Vec::new(), column: Vec::new() })
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
        let Self { path, file, dim, prepared, pending, column } = self;
        let mut write = || {
            let mut group = file.next_row_group()?;
            let (mut c, mut at) = (0, 0);
            while let Some(mut writer) = group.next_column()? {
                let Some(prepared) = prepared.as_ref().and_then(|columns| columns.get(c)) else {
                    column.clear();
                    column.extend(pending[c..].iter().step_by(*dim));
                    writer.typed::<FloatType>().write_batch(column, None, None)?;
                    writer.close()?;
                    c += 1;
                    continue;
                };
                let width = prepared.kind.width();
                let cells = pending.chunks_exact(*dim).map(|row| prepared.decode(&row[at..at + width]));
                let Storage { kind, optional } = prepared.storage();
                // Nothing is null.
                let levels = optional.then(|| vec![1_i16; pending.len() / *dim]);
                let levels = levels.as_deref();
                // All cells of a column are of one kind.
                let number = |cell| match cell {
                    Cell::Number(x) => f64::from(x),
                    Cell::Double(x) => x,
                    _ => f64::NAN,
                };
                let whole = |cell| if let Cell::Integer(x) = cell { x } else { 0 };
                match types(kind).0 {
                    PhysicalType::DOUBLE => {
                        let values: Vec<f64> = cells.map(number).collect();
                        writer.typed::<DoubleType>().write_batch(&values, levels, None)?;
                    }
                    // The bits of what has no sign.
                    #[allow(clippy::cast_possible_truncation, reason = "decoded into the range of the type")]
                    PhysicalType::INT32 => {
                        let values: Vec<i32> = cells.map(|cell| whole(cell) as i32).collect();
                        writer.typed::<Int32Type>().write_batch(&values, levels, None)?;
                    }
                    #[allow(clippy::cast_possible_truncation, reason = "decoded into the range of the type")]
                    PhysicalType::INT64 => {
                        let values: Vec<i64> = cells.map(|cell| whole(cell) as i64).collect();
                        writer.typed::<Int64Type>().write_batch(&values, levels, None)?;
                    }
                    PhysicalType::BOOLEAN => {
                        let values: Vec<bool> = cells.map(|cell| cell == Cell::Boolean(true)).collect();
                        writer.typed::<BoolType>().write_batch(&values, levels, None)?;
                    }
                    PhysicalType::BYTE_ARRAY => {
                        let values: Vec<ByteArray> = cells
                            .map(|cell| ByteArray::from(if let Cell::Text(x) = cell { x } else { "" }))
                            .collect();
                        writer.typed::<ByteArrayType>().write_batch(&values, levels, None)?;
                    }
                    _ => {
                        #[allow(clippy::cast_possible_truncation, reason = "what the type holds of it")]
                        let values: Vec<f32> = cells.map(|cell| number(cell) as f32).collect();
                        writer.typed::<FloatType>().write_batch(&values, levels, None)?;
                    }
                }
                writer.close()?;
                c += 1;
                at += width;
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
