//! Arrays of points in files: one reader and one writer for `.npy`, `.csv`/`.tsv` and `.parquet`.
//!
//! The extension decides the format. What each format can hold, and how it is
//! checked, is in the module of its name; this one only chooses among them.

use std::path::{Path, PathBuf};

use super::preparation::{Preparation, PreparedColumn};
use super::table::Table;
use super::{ImageShape, csv, npy, png};
use crate::error::{Error, Result};

/// The extensions that can be read and written, for messages and help texts.
const EXTENSIONS: &str = ".npy, .csv, .tsv or .parquet";

/// An array of finite float32 values, row-major, as read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The values; as many as the product of `shape`.
    pub values: Vec<f32>,
    /// The extents; the first is the number of rows. A one-dimensional file is `[n, 1]`.
    pub shape: Vec<usize>,
    /// One name a column, from the formats that have names.
    pub columns: Option<Vec<String>>,
}

impl Array {
    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// The values in one row: the product of all extents but the first.
    #[must_use]
    pub fn row_len(&self) -> usize {
        self.shape.iter().skip(1).product()
    }
}

/// A file format of arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Npy,
    /// Comma-separated, or tab-separated for `.tsv`; when reading, the delimiter is found out.
    Csv {
        delimiter: u8,
    },
    Parquet,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("npy") => Ok(Self::Npy),
            Some("csv") => Ok(Self::Csv { delimiter: b',' }),
            Some("tsv") => Ok(Self::Csv { delimiter: b'\t' }),
            Some("parquet") => Ok(Self::Parquet),
            Some(other) => Err(Error::input(
                path.display().to_string(),
                format!("files ending in .{} are not known", quote(other.as_bytes())),
                format!("use {EXTENSIONS}"),
            )),
            None => Err(Error::input(
                path.display().to_string(),
                "the name has no extension, which decides the format",
                format!("use {EXTENSIONS}, or a slash at its end for a folder of pictures"),
            )),
        }
    }
}

/// Whether `path` ends in an extension that [`read_array`] and [`ArrayWriter`] know.
#[must_use]
pub fn is_array_file(path: &Path) -> bool {
    Format::of(path).is_ok()
}

/// Reads an array of points: `.npy`, `.csv`/`.tsv` or `.parquet`, by the extension.
///
/// # Errors
/// When the file cannot be read, holds no rows, or holds anything but finite
/// numbers that fit float32; the message names the place.
pub fn read_array(path: impl AsRef<Path>) -> Result<Array> {
    let path = path.as_ref();
    match Format::of(path)? {
        Format::Npy => npy::read(path),
        Format::Csv { .. } => csv::read(path),
        #[cfg(feature = "parquet")]
        Format::Parquet => super::parquet::read(path),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => Err(no_parquet(path)),
    }
}

/// What a file holds.
pub(super) enum Content {
    /// Numbers.
    Array(Array),
    /// Columns of any kind.
    Table(Table),
}

/// Reads a file whose columns may hold words, and values be missing, as far as its format has such. In the columns that
/// `is_text` names all are words.
pub(super) fn read_content(path: &Path, is_text: &dyn Fn(&str) -> bool) -> Result<Content> {
    Ok(match Format::of(path)? {
        Format::Npy => Content::Array(npy::read(path)?),
        Format::Csv { .. } => Content::Table(csv::read_table(path, is_text)?),
        #[cfg(feature = "parquet")]
        Format::Parquet => Content::Table(super::parquet::read_table(path)?),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => return Err(no_parquet(path)),
    })
}

impl Table {
    /// A table of numbers as it was read, without its kinds.
    pub(super) fn into_array(self) -> Array {
        let shape = vec![self.rows(), self.columns.len()];
        let columns = Some(self.columns.into_iter().map(|column| column.name).collect());
        Array { values: self.cells, shape, columns }
    }
}

/// Whether samples written to `path` are a folder of pictures: its name ends in a slash, or the folder is there.
#[must_use]
pub fn is_folder(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(std::path::is_separator) || path.is_dir()
}

/// How rows of numbers are written as samples of a model.
#[derive(Clone, Copy, Debug)]
pub struct RowForm<'a> {
    /// The name of each number of a row.
    pub columns: &'a [String],
    /// What the numbers stand for, where that is known.
    pub preparation: Option<&'a Preparation>,
    /// The shape of a row, if rows are images.
    pub image: Option<ImageShape>,
}

/// Writes an array row by row, in the format that the extension of the file names.
///
/// Rows are streamed to a temporary file, in flat memory; the file takes its
/// name in [`finish`](Self::finish). A writer that is dropped leaves nothing.
///
/// ```
/// use windfield::data::{ArrayWriter, default_columns, read_array};
///
/// # let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("samples.npy");
/// let mut file = ArrayWriter::create(&path, &[4, 2], &default_columns(2))?;
/// file.write_rows(&[0.0, 0.5, 1.0, 1.5])?;
/// file.write_rows(&[2.0, 2.5, 3.0, 3.5])?;
/// file.finish()?;
/// assert_eq!(read_array(&path)?.rows(), 4);
/// # Ok::<(), windfield::Error>(())
/// ```
pub struct ArrayWriter {
    path: PathBuf,
    sink: Sink,
    rows: usize,
    row_len: usize,
    written: usize,
    /// The columns of the table that rows become, where they do.
    prepared: Option<Vec<PreparedColumn>>,
}

enum Sink {
    Npy(npy::Writer),
    Csv(Box<csv::Writer>),
    Pictures(Box<png::Writer>),
    #[cfg(feature = "parquet")]
    Parquet(Box<super::parquet::Writer>),
}

impl ArrayWriter {
    /// Starts the file `path` for an array of this `shape`, whose first extent is the number of rows.
    ///
    /// A table has `[rows, columns]`, or `[rows]` for a single column, and one
    /// name a column. More extents, such as trajectories `[rows, steps + 1, d]`,
    /// need a `.npy` file, which has no names: `columns` is not looked at there.
    ///
    /// # Errors
    /// When the extension is unknown, the format cannot hold the shape, or the
    /// file cannot be created.
    pub fn create(path: impl AsRef<Path>, shape: &[usize], columns: &[String]) -> Result<Self> {
        let path = path.as_ref();
        let format = Format::of(path)?;
        let (&rows, inner) = shape.split_first().ok_or_else(|| {
            Error::config("an array without extents cannot be written", "give at least the number of rows")
        })?;
        let row_len: usize = inner.iter().product();
        if row_len == 0 {
            return Err(Error::config(
                format!("an array of shape {shape:?} has empty rows"),
                "give every row at least one value",
            ));
        }
        if format != Format::Npy {
            if shape.len() > 2 {
                return Err(Error::input(
                    path.display().to_string(),
                    format!("a table has rows and columns, and cannot hold an array of shape {shape:?}"),
                    "write it to a .npy file",
                ));
            }
            if columns.len() != row_len {
                return Err(Error::config(
                    format!("{} column names were given for {row_len} columns", columns.len()),
                    "give one name a column",
                ));
            }
        }
        let sink = match format {
            Format::Npy => Sink::Npy(npy::Writer::create(path, shape)?),
            Format::Csv { delimiter } => Sink::Csv(Box::new(csv::Writer::create(path, delimiter, columns)?)),
            #[cfg(feature = "parquet")]
            Format::Parquet => Sink::Parquet(Box::new(super::parquet::Writer::create(path, columns)?)),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(no_parquet(path)),
        };
        Ok(Self { path: path.to_owned(), sink, rows, row_len, written: 0, prepared: None })
    }

    /// Starts the file `path` for samples of a model, `rows` rows of as many values as `form` has columns.
    ///
    /// A table gets the columns that the model's data had, in their order and of their kinds; a `.npy` file the numbers
    /// as they are. A folder ([`is_folder`]) gets a PNG of 8 bits for each row, numbered from 0; it must be new or
    /// empty, and is there, whole, after [`finish`](Self::finish).
    ///
    /// # Errors
    /// As of [`create`](Self::create); for a folder when rows are no images, or it holds anything.
    pub fn create_rows(path: impl AsRef<Path>, rows: usize, form: &RowForm<'_>) -> Result<Self> {
        let path = path.as_ref();
        let row_len = form.columns.len();
        if is_folder(path) {
            let Some(shape) = form.image.filter(|s| s.height * s.width * s.channels == row_len) else {
                return Err(Error::input(
                    path.display().to_string(),
                    "a folder takes pictures, and the rows are no images",
                    format!("give a file instead: {EXTENSIONS}"),
                ));
            };
            let range = match form.preparation {
                Some(Preparation::Images { low, high, .. }) => (*low, *high),
                _ => {
                    return Err(Error::input(
                        path.display().to_string(),
                        "the values of black and white are not known: the model has no `preparation`",
                        "write a .npy file, or train the model again",
                    ));
                }
            };
            let sink = Sink::Pictures(Box::new(png::Writer::create(path, rows, shape, range)?));
            return Ok(Self { path: path.to_owned(), sink, rows, row_len, written: 0, prepared: None });
        }
        let prepared = form.preparation.and_then(Preparation::columns);
        let format = Format::of(path)?;
        let (Some(prepared), true) = (prepared, format != Format::Npy) else {
            return Self::create(path, &[rows, row_len], form.columns);
        };
        let width: usize = prepared.iter().map(|column| column.kind.width()).sum();
        if width != row_len || width == 0 {
            return Err(Error::config(
                format!("a table of {width} numbers a row was prepared, and rows have {row_len}"),
                "give rows of that length",
            ));
        }
        let sink = match format {
            #[cfg(feature = "parquet")]
            Format::Parquet => {
                Sink::Parquet(Box::new(super::parquet::Writer::create_prepared(path, prepared)?))
            }
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(no_parquet(path)),
            Format::Csv { delimiter } => {
                let names: Vec<String> = prepared.iter().map(|column| column.name.clone()).collect();
                Sink::Csv(Box::new(csv::Writer::create(path, delimiter, &names)?))
            }
            // Taken care of above.
            Format::Npy => Sink::Npy(npy::Writer::create(path, &[rows, row_len])?),
        };
        let prepared = Some(prepared.to_vec());
        Ok(Self { path: path.to_owned(), sink, rows, row_len, written: 0, prepared })
    }

    /// Appends rows: any number of them, row-major.
    ///
    /// # Errors
    /// When `values` is not whole rows or more rows than announced, or the file cannot be written.
    pub fn write_rows(&mut self, values: &[f32]) -> Result<()> {
        if !values.len().is_multiple_of(self.row_len) {
            return Err(Error::config(
                format!("{} values are not whole rows of {}", values.len(), self.row_len),
                "write whole rows",
            ));
        }
        let rows = values.len() / self.row_len;
        if rows > self.rows - self.written {
            return Err(Error::config(
                format!(
                    "{} rows were announced for {}, and {} more would be {}",
                    self.rows,
                    self.path.display(),
                    rows,
                    self.written + rows
                ),
                "announce as many rows as are written",
            ));
        }
        if let Some(at) = values.iter().position(|x| !x.is_finite())
            && (self.prepared.is_some() || matches!(self.sink, Sink::Pictures(_)))
        {
            return Err(Error::input(
                self.path.display().to_string(),
                format!("row {} is not finite, and stands for nothing", self.written + at / self.row_len),
                "write a .npy file to see it, or take more steps",
            ));
        }
        match &mut self.sink {
            Sink::Npy(sink) => sink.write(values)?,
            Sink::Csv(sink) => match &self.prepared {
                Some(columns) => sink.write_prepared(values, self.row_len, columns)?,
                None => sink.write(values, self.row_len)?,
            },
            Sink::Pictures(sink) => sink.write(values)?,
            #[cfg(feature = "parquet")]
            Sink::Parquet(sink) => sink.write(values)?,
        }
        self.written += rows;
        Ok(())
    }

    /// Completes the file, which from here on is there under its name.
    ///
    /// # Errors
    /// When fewer rows were written than announced, or the file cannot be written.
    pub fn finish(self) -> Result<()> {
        if self.written != self.rows {
            return Err(Error::config(
                format!(
                    "{} rows were announced for {}, but {} were written",
                    self.rows,
                    self.path.display(),
                    self.written
                ),
                "announce as many rows as are written",
            ));
        }
        match self.sink {
            Sink::Npy(sink) => sink.finish(),
            Sink::Csv(sink) => sink.finish(),
            Sink::Pictures(sink) => sink.finish(),
            #[cfg(feature = "parquet")]
            Sink::Parquet(sink) => sink.finish(),
        }
    }
}

/// Writes a whole array at once; see [`ArrayWriter`].
///
/// # Errors
/// As of [`ArrayWriter::create`], [`ArrayWriter::write_rows`] and [`ArrayWriter::finish`].
pub fn write_array(
    path: impl AsRef<Path>,
    shape: &[usize],
    columns: &[String],
    values: &[f32],
) -> Result<()> {
    let mut writer = ArrayWriter::create(path, shape, columns)?;
    writer.write_rows(values)?;
    writer.finish()
}

/// The names of columns that nobody has named: `x y z` up to three, `x0 x1 …` beyond.
#[must_use]
pub fn default_columns(dim: usize) -> Vec<String> {
    if dim <= 3 {
        ["x", "y", "z"].iter().take(dim).map(ToString::to_string).collect()
    } else {
        (0..dim).map(|i| format!("x{i}")).collect()
    }
}

/// Rounds to float32, or says why that cannot be: the value is not finite, or would not be.
pub(super) fn to_f32(value: f64) -> Result<f32, &'static str> {
    #[allow(clippy::cast_possible_truncation, reason = "rounding to the device's precision is the purpose")]
    let rounded = value as f32;
    if rounded.is_finite() {
        Ok(rounded)
    } else if value.is_nan() {
        Err("NaN")
    } else if value.is_infinite() {
        Err("infinite")
    } else {
        Err("too large for float32 (over 3.4e38)")
    }
}

/// Text from a file as it can stand in a one-line message: escaped, and cut where it is long.
pub(super) fn quote(text: &[u8]) -> String {
    const LONGEST: usize = 40;
    let text = String::from_utf8_lossy(text);
    let mut short = String::new();
    for c in text.chars().take(LONGEST) {
        // What ends a line, or does something else to a terminal, is shown by its number.
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            short.extend(c.escape_default());
        } else {
            short.push(c);
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

/// A library's message as one line.
pub(super) fn one_line(message: &impl ToString) -> String {
    message.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(not(feature = "parquet"))]
fn no_parquet(path: &Path) -> Error {
    Error::input(
        path.display().to_string(),
        "this build of windfield has no support for .parquet files",
        "build it with `--features parquet`, or use .npy or .csv",
    )
}
