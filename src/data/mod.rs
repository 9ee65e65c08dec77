//! Where points come from, and files of points.
//!
//! A [`Dataset`] is a table of finite float32 values in memory: a built-in
//! density ([`sources`]), the bundled digits, or a file. This module knows
//! files and columns; it knows nothing of devices, models or flows.
//!
//! | module | what is there |
//! | --- | --- |
//! | `toy` | the table of built-in densities |
//! | `digits` | the bundled 8×8 handwritten digits |
//! | `labels` | what rows are examples of, and what of it a model is conditional on |
//! | `array` | one reader and one streaming writer for all formats |
//! | `csv`, `npy`, `parquet`, `png` | each format, with its checks |
//! | `table` | tables as they stand in files: numbers, words, gaps |
//! | `preparation` | how rows are made of tables, and tables of rows |
//! | `standardization` | shift and scale by column |

mod array;
mod csv;
mod digits;
mod labels;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;
mod png;
mod preparation;
mod standardization;
mod table;
mod toy;

use std::path::Path;

use twox_hash::xxhash3_128;

pub use array::{
    Array, ArrayWriter, RowForm, default_columns, is_array_file, is_folder, read_array, write_array,
};
pub use labels::{Conditions, Label, LabelColumn, LabelKind, LabelRequest, LabelWish, MOST_CLASSES};
pub use preparation::{
    ColumnKind, Constant, MISSING, MOST_CATEGORIES, Missing, Preparation, PreparedColumn, Storage,
    StorageType,
};
pub use standardization::Standardization;
pub(crate) use toy::Stream;
pub use toy::{ToySource, sources};

use crate::error::{Error, Result};
use array::Content;
use preparation::Cell;

/// The most points that are drawn from a built-in density.
const MOST_POINTS: usize = 100_000_000;

/// The extents of an image whose pixels are one row, in the order height, width, channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageShape {
    /// The number of lines.
    pub height: usize,
    /// The pixels in a line.
    pub width: usize,
    /// The values of a pixel: 1 (grey), 3 (RGB) or 4 (RGBA).
    pub channels: usize,
}

/// A table of points: at least one row, every value finite.
///
/// ```
/// use windfield::data::Dataset;
///
/// let data = Dataset::open("moons:1000")?;
/// assert_eq!((data.rows(), data.dim()), (1000, 2));
/// let scale = data.standardization();
/// let mut points = data.values().to_vec();
/// scale.apply(&mut points);
/// # Ok::<(), windfield::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    name: String,
    values: Vec<f32>,
    rows: usize,
    columns: Vec<String>,
    labels: Vec<LabelColumn>,
    conditions: Option<Conditions>,
    image: Option<ImageShape>,
    preparation: Option<Preparation>,
}

/// The values of a column that was taken out of a table, one a row.
#[derive(Debug, Clone, PartialEq)]
pub enum TakenColumn {
    /// Numbers, whole or not.
    Numbers(Vec<f32>),
    /// Words; of truth values `false` and `true`.
    Words(Vec<String>),
}

/// How the rows of a file become numbers.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// As suits the file.
    Fitted(Missing),
    /// As it was done before; `bool`: whether every row counts, so that none may be dropped.
    As(Option<&'a Preparation>, bool),
}

impl Dataset {
    /// Opens a source: a built-in name, `name:N` for N points of it, a file (`.npy`, `.csv`, `.tsv`, `.parquet`), or a
    /// folder of PNGs of the same size.
    ///
    /// A table may have columns of whole numbers, of words and of one value alone; see
    /// [`preparation`](Self::preparation).
    ///
    /// # Errors
    /// When there is no such source, or the file cannot be used; see [`read_array`].
    ///
    /// # Examples
    /// ```
    /// use windfield::data::Dataset;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let file = folder.path().join("penguins.csv");
    /// std::fs::write(&file, "mass,island\n3750.5,Dream\n3800.1,Biscoe\n").unwrap();
    /// let data = Dataset::open(file.to_str().unwrap())?;
    /// assert_eq!(data.columns(), ["mass", "island=Biscoe", "island=Dream"]);
    /// assert_eq!(data.row(0), [3750.5, 0.0, 1.0]);
    /// # Ok::<(), windfield::Error>(())
    /// ```
    pub fn open(source: &str) -> Result<Self> {
        Self::open_seeded(source, 0)
    }

    /// As [`open`](Self::open), with something else done about values that are missing in a table than to refuse it.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn open_with(source: &str, missing: Missing) -> Result<Self> {
        Self::open_wanted(source, 0, Wanted::Fitted(missing))
    }

    /// As [`open`](Self::open), with rows made as those of other data were: those that a model was trained on. Columns are
    /// found by their names, and others are not looked at. Without a `preparation`, a file has to hold numbers.
    ///
    /// # Errors
    /// As of [`open`](Self::open); when a table has not the columns, holds other kinds of values in them, or a category
    /// that was not there; when values are missing and nothing was done about it.
    pub fn open_as(source: &str, preparation: Option<&Preparation>) -> Result<Self> {
        Self::open_wanted(source, 0, Wanted::As(preparation, false))
    }

    /// As [`open_as`](Self::open_as), with all rows of the file: where rows that miss a value were dropped, they are
    /// refused.
    ///
    /// # Errors
    /// As of [`open_as`](Self::open_as).
    pub fn open_rows_as(source: &str, preparation: Option<&Preparation>) -> Result<Self> {
        Self::open_wanted(source, 0, Wanted::As(preparation, true))
    }

    /// As [`open`](Self::open), with other points of a built-in density for every other `seed`.
    ///
    /// The digits and files have no randomness: `seed` does not change them.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn open_seeded(source: &str, seed: u64) -> Result<Self> {
        Self::open_wanted(source, seed, Wanted::Fitted(Missing::Refuse))
    }

    fn open_wanted(source: &str, seed: u64, wanted: Wanted<'_>) -> Result<Self> {
        let (name, count) = match source.split_once(':') {
            Some((name, count)) => (name, Some(count)),
            None => (source, None),
        };
        if name == digits::NAME {
            let data = digits::load()?;
            return match count {
                Some(count) => Ok(data.head(parse_count(source, count, digits::ROWS)?)),
                None => Ok(data),
            };
        }
        if let Some(toy) = sources().iter().find(|toy| toy.name == name) {
            let n = count.map_or(Ok(toy.points), |count| parse_count(source, count, MOST_POINTS))?;
            return Self::new(source.into(), toy.generate(n, seed), default_columns(toy.dim), vec![], None);
        }
        let path = Path::new(source);
        if path.is_dir() {
            let (low, high) = png::RANGE;
            let data = Self::from_array(source, png::read(path)?)?;
            return Ok(Self { preparation: Some(Preparation::Images { version: 1, low, high }), ..data });
        }
        if path.extension().is_none() && !path.is_file() {
            let names: Vec<_> = built_in().map(|(name, _)| name).collect();
            return Err(Error::input(
                array::quote(source.as_bytes()),
                "there is no data source of this name",
                format!(
                    "use one of {}, a .npy, .csv, .tsv or .parquet file, or a folder of PNGs",
                    names.join(", ")
                ),
            ));
        }
        Self::open_file(source, path, wanted)
    }

    fn open_file(source: &str, path: &Path, wanted: Wanted<'_>) -> Result<Self> {
        let known = match wanted {
            Wanted::Fitted(_) => None,
            Wanted::As(Some(known @ Preparation::Table { .. }), counts) => Some((known, counts)),
            Wanted::As(..) => return Self::from_array(source, read_array(path)?),
        };
        let is_text = |name: &str| known.is_some_and(|(known, _)| known.is_text(name));
        let mut table = match array::read_content(path, &is_text)? {
            // Rows that are numbers already.
            Content::Array(array) => {
                let data = Self::from_array(source, array)?;
                let known = known.filter(|(known, _)| known.encoded_columns().len() == data.dim());
                return Ok(Self { preparation: known.map(|(known, _)| known.clone()), ..data });
            }
            Content::Table(table) => table,
        };
        let (preparation, counts) = match (known, wanted) {
            (Some((known, counts)), _) => (known.clone(), counts),
            (None, Wanted::Fitted(missing)) => match Preparation::of(&mut table, missing)? {
                Some(fitted) => (fitted, false),
                None => return Self::from_array(source, table.into_array()),
            },
            (None, Wanted::As(..)) => return Self::from_array(source, table.into_array()),
        };
        let columns = preparation.encoded_columns();
        let values = preparation.encode(table, counts)?;
        let data = Self::new(source.into(), values, columns, vec![], None)?;
        Ok(Self { preparation: Some(preparation), ..data })
    }

    /// A data set of rows of `dim` values each.
    ///
    /// # Errors
    /// When there are no rows, they are not whole, or a value is not finite.
    pub fn from_rows(name: impl Into<String>, values: Vec<f32>, dim: usize) -> Result<Self> {
        Self::new(name.into(), values, default_columns(dim), vec![], None)
    }

    /// A data set of an array: a table `[n, d]`, or a stack of images `[n, height, width]`
    /// or `[n, height, width, channels]`, each of which becomes one row.
    ///
    /// # Errors
    /// When the array is neither.
    pub fn from_array(name: impl Into<String>, array: Array) -> Result<Self> {
        let name = name.into();
        let dim = array.row_len();
        let image = match array.shape[..] {
            [_, _] => None,
            [_, height, width] => Some(ImageShape { height, width, channels: 1 }),
            [_, height, width, channels @ (1 | 3 | 4)] => Some(ImageShape { height, width, channels }),
            [_, 1 | 3 | 4, _, _] => {
                return Err(Error::input(
                    name,
                    format!("shape {:?} looks like images with the channels first", array.shape),
                    "put them last: x.transpose(0, 2, 3, 1)",
                ));
            }
            _ => {
                return Err(Error::input(
                    name,
                    format!(
                        "shape {:?} is neither a table [n, d] nor images [n, h, w] or [n, h, w, c]",
                        array.shape
                    ),
                    "reshape it to [n, d]",
                ));
            }
        };
        let columns = array.columns.unwrap_or_else(|| default_columns(dim));
        Self::new(name, array.values, columns, vec![], image)
    }

    /// The one place where a data set comes to be, with the checks that all share.
    fn new(
        name: String,
        values: Vec<f32>,
        columns: Vec<String>,
        labels: Vec<LabelColumn>,
        image: Option<ImageShape>,
    ) -> Result<Self> {
        let dim = columns.len();
        if dim == 0 || values.is_empty() {
            return Err(Error::input(name, "the data set is empty", "give at least one row of one value"));
        }
        if !values.len().is_multiple_of(dim) {
            return Err(Error::input(
                name,
                format!("{} values are not whole rows of {dim}", values.len()),
                "give every row the same number of values",
            ));
        }
        if let Some(i) = values.iter().position(|x| !x.is_finite()) {
            return Err(Error::input(
                name,
                format!(
                    "row {}, column '{}' is {}",
                    i / dim,
                    array::quote(columns[i % dim].as_bytes()),
                    values[i]
                ),
                "remove or replace such rows",
            ));
        }
        let rows = values.len() / dim;
        if u32::try_from(rows).is_err() {
            return Err(Error::input(
                name,
                format!("{rows} rows are more than row numbers of 32 bits can count"),
                "use at most 4294967295 rows",
            ));
        }
        Ok(Self { name, values, rows, columns, labels, conditions: None, image, preparation: None })
    }

    /// The source as it was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All values, row-major: `rows × dim`.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, without the rest.
    #[must_use]
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.columns.len()
    }

    /// Whether the points of a source have the dimension of the data that a flow carries them to.
    ///
    /// # Errors
    /// [`Error::Config`] naming both.
    pub(crate) fn leads_to(&self, data: &Self) -> Result<()> {
        if self.dim() == data.dim() {
            return Ok(());
        }
        Err(Error::config(
            format!(
                "the source `{}` has {} columns and the data `{}` {}",
                self.name(),
                self.dim(),
                data.name(),
                data.dim()
            ),
            "both ends of a flow have the same dimension",
        ))
    }

    /// The values of one row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dim()..][..self.dim()]
    }

    /// The name of each column.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// What each row is an example of, as far as the data bring it along.
    #[must_use]
    pub fn labels(&self) -> &[LabelColumn] {
        &self.labels
    }

    /// What a model of these data is conditional on, where anything was asked for.
    #[must_use]
    pub fn conditions(&self) -> Option<&Conditions> {
        self.conditions.as_ref()
    }

    /// With labels for a model to be conditional on: columns of the table, which are taken out of it, labels that the data
    /// bring along, or files beside them. Of a batch's rows the share `dropout` is told nothing of them. Without requests,
    /// the data set as it is.
    ///
    /// # Errors
    /// When there is no such column, one is asked for twice, nothing is left of the table, a file does not fit, or the
    /// share is none.
    ///
    /// # Examples
    /// ```
    /// use windfield::data::Dataset;
    ///
    /// let data = Dataset::open("digits")?.with_labels(&["digit".parse()?], 0.1)?;
    /// assert_eq!(data.conditions().unwrap().features(), 10);
    /// # Ok::<(), windfield::Error>(())
    /// ```
    pub fn with_labels(self, requests: &[LabelRequest], dropout: f32) -> Result<Self> {
        if requests.is_empty() {
            return Ok(self);
        }
        if !(0.0..=1.0).contains(&dropout) {
            return Err(Error::config(
                format!("--label-dropout {dropout} is out of range"),
                "it takes a share from 0 to 1",
            ));
        }
        let mut columns: Vec<LabelColumn> = vec![];
        let mut data = self;
        let whole: Vec<String> = data.parts().iter().map(|(name, _)| (*name).to_owned()).collect();
        for request in requests {
            let twice = |name: &String, columns: &[LabelColumn]| {
                if columns.iter().all(|other| other.label().name != *name) {
                    return Ok(());
                }
                Err(Error::config(
                    format!("--label `{}` is given twice", array::quote(name.as_bytes())),
                    "leave one out",
                ))
            };
            twice(&request.name, &columns)?;
            let is_known = data.labels.iter().any(|column| column.label().name == request.name);
            let parts = data.parts();
            if !is_known && parts.iter().any(|(name, _)| *name == request.name) {
                let known = data.preparation.as_ref().and_then(Preparation::columns).unwrap_or_default();
                let column = known.iter().find(|column| column.name == request.name).cloned();
                let place = whole.iter().position(|name| *name == request.name);
                let (taken, rest) = data.take_column(&request.name)?;
                columns.push(LabelColumn::of_table(request, taken, column, place)?);
                data = rest;
                continue;
            }
            let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
            let beside =
                labels::Beside { place: &data.name, rows: data.rows, columns: &names, known: &data.labels };
            for column in beside.find(request)? {
                twice(&column.label().name, &columns)?;
                columns.push(column);
            }
        }
        Ok(Self { conditions: Some(Conditions { columns, dropout }), ..data })
    }

    /// As [`open_as`](Self::open_as), for a model that is conditional: with the `labels` of the model that are among the
    /// `requests`, whose columns its preparation is without.
    ///
    /// # Errors
    /// As of [`open_as`](Self::open_as) and [`with_labels`](Self::with_labels).
    pub fn open_labelled(
        source: &str,
        preparation: Option<&Preparation>,
        labels: &[Label],
        requests: &[LabelRequest],
        dropout: f32,
    ) -> Result<Self> {
        let wanted = labels.iter().filter(|label| requests.iter().any(|request| request.name == label.name));
        let whole = preparation.map(|rows| rows.with_labels(wanted));
        Self::open_as(source, whole.as_ref())?.with_labels(requests, dropout)
    }

    /// The same rows, with nothing to be conditional on.
    #[must_use]
    pub fn without_conditions(self) -> Self {
        Self { conditions: None, ..self }
    }

    /// The rows of a class, by the names of the condition and of the class.
    ///
    /// # Errors
    /// When there is no such condition, it has no such class, it is a number, or no row is of that class.
    pub fn of_class(&self, label: &str, class: &str) -> Result<Self> {
        let columns = self.conditions.as_ref().map_or(&[][..], |conditions| &conditions.columns);
        let Some(column) = columns.iter().find(|column| column.label().name == label) else {
            return Err(Error::input(
                self.name.clone(),
                format!("its rows have no label `{}`", array::quote(label.as_bytes())),
                "give data with that column",
            ));
        };
        if column.label().classes().is_empty() {
            return Err(Error::config(
                format!("`{label}` is a number, of which there are too few equal ones to compare with"),
                "give a condition on classes alone",
            ));
        }
        let class = column.label().parse(class)?;
        #[allow(clippy::float_cmp, reason = "numbers of classes")]
        let rows: Vec<usize> = (0..self.rows).filter(|&row| column.values()[row] == class).collect();
        if rows.is_empty() {
            return Err(Error::input(self.name.clone(), "no row is of that class", "give another condition"));
        }
        Ok(self.select(&rows))
    }

    /// The shape of the images, where rows are images.
    #[must_use]
    pub fn image(&self) -> Option<ImageShape> {
        self.image
    }

    /// The columns of the table as it stands in its file, with what each holds where that is known.
    fn parts(&self) -> Vec<(&str, Option<&ColumnKind>)> {
        match self.preparation.as_ref().and_then(Preparation::columns) {
            Some(columns) => {
                columns.iter().map(|column| (column.name.as_str(), Some(&column.kind))).collect()
            }
            None => self.columns.iter().map(|column| (column.as_str(), None)).collect(),
        }
    }

    /// The columns of whole numbers that float32 does not all have, with the distance of those that it has: beyond ±2²⁴
    /// it is 2, beyond 2²⁵ it is 4. Samples are as coarse.
    #[must_use]
    pub fn coarse_columns(&self) -> Vec<(&str, f32)> {
        let mut begin = 0;
        let mut coarse = vec![];
        for (name, kind) in self.parts() {
            if matches!(kind, Some(ColumnKind::Integer { .. })) {
                let cells = self.values.iter().skip(begin).step_by(self.columns.len());
                let largest = cells.fold(0.0_f32, |largest, value| largest.max(value.abs()));
                let step = largest.next_up() - largest;
                if step > 1.0 {
                    coarse.push((name, step));
                }
            }
            begin += kind.map_or(1, ColumnKind::width);
        }
        coarse
    }

    /// Takes a column of the table out of the rows, and out of what is known of the table: what is left is learned without
    /// it. Its values are as they stood in the file.
    ///
    /// # Errors
    /// When there is no such column, or nothing but constants would be left.
    pub fn take_column(self, name: &str) -> Result<(TakenColumn, Self)> {
        let widths = self.parts();
        let width = |kind: Option<&ColumnKind>| kind.map_or(1, ColumnKind::width);
        let dim = self.columns.len();
        let mut begin = 0;
        let mut found = None;
        for (column, kind) in widths {
            if column == name {
                found = Some((begin..begin + width(kind), kind));
            }
            begin += width(kind);
        }
        let Some((range, kind)) = found else {
            return Err(Error::input(
                self.name,
                format!("it has no column '{}'", array::quote(name.as_bytes())),
                "give one that it has",
            ));
        };
        if range.len() == dim {
            return Err(Error::input(
                self.name,
                format!("nothing is left without the column '{}'", array::quote(name.as_bytes())),
                "give data with more columns",
            ));
        }
        let cells = self.values.chunks_exact(dim).map(|row| &row[range.clone()]);
        let taken = match kind {
            None | Some(ColumnKind::Number { .. } | ColumnKind::Integer { .. }) => {
                TakenColumn::Numbers(cells.map(|cell| cell[0]).collect())
            }
            Some(kind) => match kind.written() {
                Cell::Text(_) | Cell::Boolean(_) => TakenColumn::Words(
                    cells
                        .map(|cell| match kind.decode(cell) {
                            Cell::Text(word) => word.to_owned(),
                            Cell::Boolean(value) => value.to_string(),
                            Cell::Integer(_) | Cell::Number(_) | Cell::Double(_) => String::new(),
                        })
                        .collect(),
                ),
                #[allow(clippy::cast_precision_loss, reason = "rows are of float32")]
                Cell::Integer(value) => TakenColumn::Numbers(vec![value as f32; self.rows]),
                #[allow(clippy::cast_possible_truncation, reason = "rows are of float32")]
                Cell::Double(value) => TakenColumn::Numbers(vec![value as f32; self.rows]),
                Cell::Number(value) => TakenColumn::Numbers(vec![value; self.rows]),
            },
        };
        let kept = |at: &usize| !range.contains(at);
        let values =
            self.values.iter().enumerate().filter(|(i, _)| kept(&(i % dim))).map(|(_, x)| *x).collect();
        let columns = (0..dim).filter(kept).map(|at| self.columns[at].clone()).collect();
        let image = if range.is_empty() { self.image } else { None };
        let preparation =
            self.preparation.filter(|known| known.columns().is_some()).map(|known| known.without(name));
        Ok((taken, Self { values, columns, image, preparation, ..self }))
    }

    /// How the rows were made of what is in the file, and how samples become the same again; `None` if they are plain
    /// numbers. Of images that were read as numbers, the values of black and white are the smallest and the largest.
    #[must_use]
    pub fn preparation(&self) -> Option<Preparation> {
        if self.preparation.is_some() || self.image.is_none() {
            return self.preparation.clone();
        }
        let (low, high) = self
            .values
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)));
        (low < high).then_some(Preparation::Images { version: 1, low, high })
    }

    /// The mean and standard deviation of each column.
    ///
    /// A constant column has the deviation 1; see [`Standardization`].
    #[must_use]
    pub fn standardization(&self) -> Standardization {
        Standardization::of(&self.values, self.dim())
    }

    /// A name for the content: XXH3-128 over the shape, the bits of all values and
    /// the labels, in little-endian order. The name of the source and of the
    /// columns are not part of it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = xxhash3_128::Hasher::new();
        hash.write(&(self.rows as u64).to_le_bytes());
        hash.write(&(self.dim() as u64).to_le_bytes());
        let mut bytes = Vec::with_capacity(1 << 16);
        let words = self.values.iter().map(|x| x.to_bits());
        let words = words.chain(self.labels.iter().flat_map(LabelColumn::words));
        let conditions = self.conditions.iter().flat_map(|conditions| &conditions.columns);
        let words = words.chain(conditions.flat_map(LabelColumn::words));
        for word in words {
            bytes.extend_from_slice(&word.to_le_bytes());
            if bytes.len() == 1 << 16 {
                hash.write(&bytes);
                bytes.clear();
            }
        }
        hash.write(&bytes);
        format!("xxh3-128:{:032x}", hash.finish_128())
    }

    /// The given rows, in the given order; rows may repeat.
    ///
    /// # Panics
    /// When `rows` is empty or one of them is not there.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        assert!(!rows.is_empty(), "a data set has at least one row");
        Self {
            name: self.name.clone(),
            values: rows.iter().flat_map(|&i| self.row(i)).copied().collect(),
            rows: rows.len(),
            columns: self.columns.clone(),
            labels: self.labels.iter().map(|column| column.select(rows)).collect(),
            conditions: self.conditions.as_ref().map(|conditions| Conditions {
                columns: conditions.columns.iter().map(|column| column.select(rows)).collect(),
                dropout: conditions.dropout,
            }),
            image: self.image,
            preparation: self.preparation.clone(),
        }
    }

    /// The first `n` rows, or all if there are fewer; at least one.
    #[must_use]
    pub fn head(&self, n: usize) -> Self {
        self.select(&(0..n.clamp(1, self.rows)).collect::<Vec<_>>())
    }

    /// `n` rows at even distances from the whole length, or all if there are fewer; at
    /// least one. What to show of a file whose rows may be sorted.
    #[must_use]
    pub fn spread(&self, n: usize) -> Self {
        let n = n.clamp(1, self.rows);
        #[allow(clippy::cast_possible_truncation, reason = "the quotient is below the number of rows")]
        let at = |i: usize| (i as u128 * self.rows as u128 / n as u128) as usize;
        self.select(&(0..n).map(at).collect::<Vec<_>>())
    }
}

/// The name and the line of help of every built-in source, the digits included.
pub fn built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
    let digits = (digits::NAME, "1797 handwritten digits, 8x8 pixels from 0 to 16, with labels");
    sources().iter().map(|toy| (toy.name, toy.help)).chain([digits])
}

fn parse_count(source: &str, count: &str, most: usize) -> Result<usize> {
    match count.parse() {
        Ok(n) if (1..=most).contains(&n) => Ok(n),
        _ => Err(Error::input(
            array::quote(source.as_bytes()),
            format!("'{}' is not a number of points", array::quote(count.as_bytes())),
            format!("give a whole number from 1 to {most} after the colon"),
        )),
    }
}
