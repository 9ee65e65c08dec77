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
//! | `csv`, `npy`, `parquet` | each format, with its checks |
//! | `standardization` | shift and scale by column |

mod array;
mod csv;
mod digits;
mod labels;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;
mod standardization;
mod toy;

use std::path::Path;

use twox_hash::xxhash3_128;

pub use array::{Array, ArrayWriter, default_columns, is_array_file, read_array, write_array};
pub use labels::{Conditions, Label, LabelColumn, LabelKind, LabelRequest, LabelWish, MOST_CLASSES};
pub use standardization::Standardization;
pub(crate) use toy::Stream;
pub use toy::{ToySource, sources};

use crate::error::{Error, Result};

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
}

impl Dataset {
    /// Opens a source: a built-in name, `name:N` for N points of it, or a file
    /// (`.npy`, `.csv`, `.tsv`, `.parquet`).
    ///
    /// # Errors
    /// When there is no such source, or the file cannot be used; see [`read_array`].
    pub fn open(source: &str) -> Result<Self> {
        Self::open_seeded(source, 0)
    }

    /// As [`open`](Self::open), with other points of a built-in density for every other `seed`.
    ///
    /// The digits and files have no randomness: `seed` does not change them.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn open_seeded(source: &str, seed: u64) -> Result<Self> {
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
        if path.extension().is_none() && !path.is_file() {
            let names: Vec<_> = built_in().map(|(name, _)| name).collect();
            return Err(Error::input(
                array::quote(source.as_bytes()),
                "there is no data source of this name",
                format!("use one of {}, or a .npy, .csv, .tsv or .parquet file", names.join(", ")),
            ));
        }
        Self::from_array(source, read_array(path)?)
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
        Ok(Self { name, values, rows, columns, labels, conditions: None, image })
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
        let table = labels::Table {
            place: &self.name,
            rows: self.rows,
            columns: &self.columns,
            values: &self.values,
            known: &self.labels,
        };
        let mut columns: Vec<LabelColumn> = vec![];
        let mut taken = vec![false; self.dim()];
        for request in requests {
            let (found, at) = table.find(request)?;
            for column in found {
                let name = &column.label().name;
                if columns.iter().any(|other| other.label().name == *name) {
                    return Err(Error::config(
                        format!("--label `{}` is given twice", array::quote(name.as_bytes())),
                        "leave one out",
                    ));
                }
                columns.push(column);
            }
            if let Some(at) = at {
                taken[at] = true;
            }
        }
        if taken.iter().all(|taken| *taken) {
            return Err(Error::input(
                self.name,
                "all of its columns are labels",
                "leave at least one to be learned",
            ));
        }
        let conditions = Some(Conditions { columns, dropout });
        if !taken.contains(&true) {
            return Ok(Self { conditions, ..self });
        }
        let kept = |at: &usize| !taken[*at];
        let dim = self.dim();
        let values =
            self.values.iter().enumerate().filter(|(i, _)| kept(&(i % dim))).map(|(_, x)| *x).collect();
        let columns = (0..dim).filter(kept).map(|at| self.columns[at].clone()).collect();
        Ok(Self { values, columns, conditions, image: None, ..self })
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
