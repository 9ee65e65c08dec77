//! How rows of numbers are made of what stands in files, and how samples become the same again.
//!
//! | in the file | for the network | in the samples |
//! | --- | --- | --- |
//! | numbers | as they are | as they come |
//! | whole numbers | as they are | rounded |
//! | words, truth values | a column for each of them, 1 in its own and 0 in the others | the one with the largest value |
//! | a column of one value | left out | that value |
//! | 8-bit pictures | a row of pixels from 0 to 255 | rounded, and cut to that range |

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::array::quote;
use super::labels::Label;
use super::table::{Kind, Table, Words};
use crate::error::{Error, Result};

/// The newest version of a preparation that this program reads. It writes 2 where a column's storage is kept, else 1.
const VERSION: u32 = 2;
/// The categories that a column may have.
pub const MOST_CATEGORIES: usize = 64;

/// What is done about values that are missing in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// The table is refused.
    #[default]
    Refuse,
    /// The mean of the column stands for it, or its most frequent category.
    Mean,
    /// Its row is left out.
    Drop,
}

/// The entries of [`Missing`] that can be asked for, with a line of help each.
pub const MISSING: [(&str, Missing, &str); 2] = [
    ("mean", Missing::Mean, "the mean of the column stands for them, or its most frequent category"),
    ("drop", Missing::Drop, "rows with one are left out"),
];

impl FromStr for Missing {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        MISSING.iter().find(|(known, ..)| *known == name).map(|(_, missing, _)| *missing).ok_or_else(|| {
            Error::config(
                format!("'{}' is no way with missing values", quote(name.as_bytes())),
                "use mean or drop",
            )
        })
    }
}

/// How rows are made of the data and data of rows; of one data set, and stored in the models of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum Preparation {
    /// Of a table.
    Table {
        /// The form of this record: 2 if a column is [`stored`](PreparedColumn::stored), else 1.
        version: u32,
        /// What is done about missing values.
        missing: Missing,
        /// The columns of the table, in their order.
        columns: Vec<PreparedColumn>,
    },
    /// Of images: the values that are black and white.
    Images {
        /// The form of this record: 1.
        version: u32,
        /// Black, which pixels of 0 stand for.
        low: f32,
        /// White, which pixels of 255 stand for.
        high: f32,
    },
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreparedColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    #[serde(flatten)]
    pub kind: ColumnKind,
    /// How it stands in the Parquet file that it is from. Of any other: int64, float32, booleans or text, never null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Storage>,
}

/// How Parquet stores a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// The type of its values.
    #[serde(rename = "type")]
    pub kind: StorageType,
    /// Whether values may be null.
    #[serde(default)]
    pub optional: bool,
}

/// The type of values in Parquet. How they are encoded, by a dictionary for instance, is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "their names say it")]
pub enum StorageType {
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Float,
    Double,
    Boolean,
    Text,
}

impl StorageType {
    /// The smallest and the largest whole number of this type, if it is one of them.
    pub(super) fn range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::Int8 => (i8::MIN.into(), i8::MAX.into()),
            Self::Int16 => (i16::MIN.into(), i16::MAX.into()),
            Self::Int32 => (i32::MIN.into(), i32::MAX.into()),
            Self::Int64 => (i64::MIN.into(), i64::MAX.into()),
            Self::Uint8 => (0, u8::MAX.into()),
            Self::Uint16 => (0, u16::MAX.into()),
            Self::Uint32 => (0, u32::MAX.into()),
            Self::Uint64 => (0, u64::MAX.into()),
            Self::Float | Self::Double | Self::Boolean | Self::Text => return None,
        })
    }

    /// Whether it can hold what such a column is written as.
    fn holds(self, cell: Cell<'_>) -> bool {
        match cell {
            Cell::Boolean(_) => self == Self::Boolean,
            Cell::Integer(_) => self.range().is_some(),
            Cell::Number(_) | Cell::Double(_) => matches!(self, Self::Float | Self::Double),
            Cell::Text(_) => self == Self::Text,
        }
    }
}

impl PreparedColumn {
    /// The value that `encoded`, of the kind's [`width`](ColumnKind::width), stands for.
    pub(super) fn decode(&self, encoded: &[f32]) -> Cell<'_> {
        match self.kind.decode(encoded) {
            Cell::Integer(value) => {
                let (least, most) = self.storage().kind.range().unwrap_or((i128::MIN, i128::MAX));
                Cell::Integer(value.clamp(least, most))
            }
            other => other,
        }
    }

    /// How it is written to Parquet.
    pub(super) fn storage(&self) -> Storage {
        self.stored.unwrap_or_else(|| {
            let kind = match self.kind.written() {
                Cell::Boolean(_) => StorageType::Boolean,
                Cell::Integer(value) if value > i64::MAX.into() => StorageType::Uint64,
                Cell::Integer(_) => StorageType::Int64,
                Cell::Number(_) | Cell::Double(_) => StorageType::Float,
                Cell::Text(_) => StorageType::Text,
            };
            Storage { kind, optional: false }
        })
    }

    /// Whether it is of numbers that are written as they are, without anything that is to be remembered.
    fn is_plain(&self) -> bool {
        let plain = Storage { kind: StorageType::Float, optional: false };
        matches!(self.kind, ColumnKind::Number { .. }) && self.storage() == plain
    }
}

/// What a column of a table holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ColumnKind {
    /// Numbers.
    Number {
        /// What stands for a missing one.
        #[serde(default)]
        fill: Option<f32>,
    },
    /// Whole numbers.
    Integer {
        /// What stands for a missing one: the mean, which is not rounded.
        #[serde(default)]
        fill: Option<f32>,
    },
    /// Words.
    Category {
        /// All of them, sorted.
        values: Vec<String>,
        /// Whether they are the truth values of a Parquet file.
        #[serde(default)]
        boolean: bool,
        /// Which of them stands for a missing one.
        #[serde(default)]
        fill: Option<usize>,
    },
    /// One and the same value, of which the network knows nothing.
    Constant {
        /// That value.
        value: Constant,
    },
}

/// The value of a constant column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Constant {
    /// A truth value.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number beyond those.
    Unsigned(u64),
    /// A number, with every digit that the file has.
    Number(f64),
    /// A word.
    Text(String),
}

impl Constant {
    /// The number that is written so, whole if it looks whole; [`f64::NAN`] if it is none.
    pub(super) fn parse(text: &str) -> Self {
        let unsigned = || text.parse().map(Self::Unsigned).ok();
        let whole = text.parse().map(Self::Integer).ok().or_else(unsigned);
        whole.unwrap_or_else(|| Self::Number(text.parse().unwrap_or(f64::NAN)))
    }

    /// A whole number that is not negative.
    pub(super) fn unsigned(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Unsigned(value), Self::Integer)
    }

    /// The number with float32's digits and no others: of 0.1 it is 0.1, not 0.10000000149.
    pub(super) fn of_float32(value: f32) -> Self {
        Self::Number(value.to_string().parse().unwrap_or(value.into()))
    }

    /// Its value, if it is a number.
    #[allow(clippy::cast_precision_loss, reason = "where whole numbers are told apart, they are so as such")]
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Unsigned(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            Self::Boolean(_) | Self::Text(_) => None,
        }
    }

    /// Whether they are equal, whole numbers digit for digit, others as doubles.
    #[allow(clippy::float_cmp, reason = "two that differ in the last digit are two")]
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(_), _) | (_, Self::Number(_)) => {
                self.number().is_some() && self.number() == other.number()
            }
            _ => self == other,
        }
    }

    /// Whether another file's value is this one: equal, or the same float32 where one of them has no more digits than that.
    #[allow(clippy::cast_possible_truncation, clippy::float_cmp, reason = "both are to be rounded alike")]
    fn is_found_as(&self, other: &Self) -> bool {
        let rounded = |value: &Self| value.number().map(|value| value as f32);
        let whole = |value: &Self| !matches!(value, Self::Number(_));
        self.equals(other) || !(whole(self) && whole(other)) && rounded(self) == rounded(other)
    }
}

/// A value of a table to be written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Cell<'a> {
    Boolean(bool),
    Integer(i128),
    Number(f32),
    /// A constant, which need not be a float32.
    Double(f64),
    Text(&'a str),
}

/// The names of truth values.
const TRUTH: [&str; 2] = ["false", "true"];

impl ColumnKind {
    /// The numbers that the network sees of it.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Number { .. } | Self::Integer { .. } => 1,
            Self::Category { values, .. } => values.len(),
            Self::Constant { .. } => 0,
        }
    }

    /// The value that `encoded`, of its [`width`](Self::width), stands for.
    pub(super) fn decode(&self, encoded: &[f32]) -> Cell<'_> {
        match self {
            Self::Number { .. } => Cell::Number(encoded[0]),
            Self::Integer { .. } => Cell::Integer(whole(encoded[0])),
            Self::Category { values, boolean, .. } => {
                // Of equal ones the first.
                let best =
                    (1..encoded.len()).fold(0, |best, i| if encoded[i] > encoded[best] { i } else { best });
                if *boolean { Cell::Boolean(values[best] == TRUTH[1]) } else { Cell::Text(&values[best]) }
            }
            Self::Constant { value } => match value {
                Constant::Boolean(value) => Cell::Boolean(*value),
                Constant::Integer(value) => Cell::Integer((*value).into()),
                Constant::Unsigned(value) => Cell::Integer((*value).into()),
                Constant::Number(value) => Cell::Double(*value),
                Constant::Text(value) => Cell::Text(value),
            },
        }
    }

    /// What such a column holds when it is written.
    pub(super) fn written(&self) -> Cell<'_> {
        self.decode(&vec![0.0; self.width()])
    }
}

#[allow(clippy::cast_possible_truncation, reason = "rounded, and cut to a wider range than any column's")]
fn whole(value: f32) -> i128 {
    value.round() as i128
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => quote(value.as_bytes()).fmt(f),
        }
    }
}

impl Preparation {
    /// The columns of the table, if it is one.
    #[must_use]
    pub fn columns(&self) -> Option<&[PreparedColumn]> {
        match self {
            Self::Table { columns, .. } => Some(columns),
            Self::Images { .. } => None,
        }
    }

    pub(super) fn table(missing: Missing, columns: Vec<PreparedColumn>) -> Self {
        let version = if columns.iter().any(|column| column.stored.is_some()) { 2 } else { 1 };
        Self::Table { version, missing, columns }
    }

    /// The names of what the network sees: a column's own, or `column=category`.
    #[must_use]
    pub fn encoded_columns(&self) -> Vec<String> {
        let mut names = vec![];
        for PreparedColumn { name, kind, .. } in self.columns().unwrap_or_default() {
            match kind {
                ColumnKind::Category { values, .. } => {
                    names.extend(values.iter().map(|value| format!("{name}={value}")));
                }
                _ => names.extend((0..kind.width()).map(|_| name.clone())),
            }
        }
        names
    }

    /// That of the table in which the columns of these labels still stand.
    pub(super) fn with_labels<'a>(&self, labels: impl Iterator<Item = &'a Label>) -> Self {
        let mut whole = self.clone();
        if let Self::Table { columns, .. } = &mut whole {
            let column = |label: &Label| {
                let (name, stored) = (label.name.clone(), label.stored);
                label.column.clone().map(|kind| (label.place, Some(PreparedColumn { name, kind, stored })))
            };
            put_back(columns, labels.filter_map(column).collect());
        }
        whole
    }

    /// That of a model's samples, if the model has columns of a table: each label that was one of them is a column again,
    /// in its place and of its `value`, which is one that [`Label::parse`] takes; one without is left out.
    #[must_use]
    pub fn of_samples(
        known: Option<&Self>,
        columns: &[String],
        labels: &[(&Label, Option<&str>)],
    ) -> Option<Self> {
        let taken: Vec<(Option<usize>, Option<PreparedColumn>)> = labels
            .iter()
            .filter(|(label, _)| label.place.is_some())
            .map(|(label, value)| (label.place, value.map(|value| label.constant(value))))
            .collect();
        if taken.iter().all(|(_, column)| column.is_none()) {
            return known.cloned();
        }
        let plain = |name: &String| PreparedColumn {
            name: name.clone(),
            kind: ColumnKind::Number { fill: None },
            stored: None,
        };
        let (missing, mut whole) = match known {
            Some(Self::Table { missing, columns, .. }) => (*missing, columns.clone()),
            Some(images @ Self::Images { .. }) => return Some(images.clone()),
            None => (Missing::Refuse, columns.iter().map(plain).collect()),
        };
        put_back(&mut whole, taken);
        Some(Self::table(missing, whole))
    }

    /// The same without one column of the table.
    pub(super) fn without(self, name: &str) -> Self {
        match self {
            Self::Table { version, missing, mut columns } => {
                columns.retain(|column| column.name != name);
                Self::Table { version, missing, columns }
            }
            images @ Self::Images { .. } => images,
        }
    }

    /// Whether the column `name` holds words, so that what looks like a number there is one of them.
    pub(super) fn is_text(&self, name: &str) -> bool {
        let text = |kind: &ColumnKind| match kind {
            ColumnKind::Category { boolean, .. } => !boolean,
            ColumnKind::Constant { value } => matches!(value, Constant::Text(_)),
            _ => false,
        };
        self.columns().unwrap_or_default().iter().any(|column| column.name == name && text(&column.kind))
    }

    /// Checks what a file says, for rows of `dim` values.
    pub(crate) fn validate(&self, dim: usize) -> Result<(), String> {
        let (Self::Table { version, .. } | Self::Images { version, .. }) = self;
        if *version > VERSION {
            return Err(format!(
                "its `preparation` has the version {version}, this program knows up to {VERSION}"
            ));
        }
        match self {
            Self::Images { low, high, .. } if !(low.is_finite() && high.is_finite() && low < high) => {
                Err("its `preparation` has no usable range of pixels".to_owned())
            }
            Self::Images { .. } => Ok(()),
            Self::Table { columns, .. } => {
                for PreparedColumn { name, kind, stored } in columns {
                    let sound = match kind {
                        ColumnKind::Number { fill } | ColumnKind::Integer { fill } => {
                            fill.is_none_or(f32::is_finite)
                        }
                        ColumnKind::Category { values, fill, .. } => {
                            !values.is_empty() && fill.is_none_or(|fill| fill < values.len())
                        }
                        ColumnKind::Constant { .. } => true,
                    };
                    if !sound || stored.is_some_and(|stored| !stored.kind.holds(kind.written())) {
                        return Err(format!(
                            "its `preparation` of the column '{}' cannot be used",
                            quote(name.as_bytes())
                        ));
                    }
                }
                let width: usize = columns.iter().map(|column| column.kind.width()).sum();
                if width == dim {
                    Ok(())
                } else {
                    Err(format!("its `preparation` makes rows of {width} values, and its points have {dim}"))
                }
            }
        }
    }

    /// Finds out how a table is to be prepared; `None` if it is one of numbers, complete and without constant columns.
    /// Rows that are to be dropped are dropped here.
    pub(super) fn of(table: &mut Table, missing: Missing) -> Result<Option<Self>> {
        let all: Vec<usize> = (0..table.columns.len()).collect();
        complete(table, &all, missing, false)?;
        let columns = all.iter().map(|&at| prepare(table, at, missing)).collect::<Result<Vec<_>>>()?;
        if columns.iter().all(|column| column.kind.width() == 0) {
            // A single point is data as well, if it is one of numbers.
            if table.columns.iter().all(|column| matches!(column.kind, Kind::Number | Kind::Integer))
                && missing == Missing::Refuse
            {
                return Ok(None);
            }
            return Err(Error::input(
                &table.place,
                "every column has one and the same value in all rows",
                "give data that vary",
            ));
        }
        if missing == Missing::Refuse && columns.iter().all(PreparedColumn::is_plain) {
            return Ok(None);
        }
        Ok(Some(Self::table(missing, columns)))
    }

    /// The rows of a table as the network sees them, `[rows, dim]`. Its columns are found by their names; others are not
    /// looked at. Rows that miss a value are dropped where that was asked for, unless every row `counts`.
    pub(super) fn encode(&self, mut table: Table, counts: bool) -> Result<Vec<f32>> {
        let Self::Table { missing, columns, .. } = self else {
            return Err(Error::input(
                &table.place,
                "a table is no images",
                "give images of the model's shape",
            ));
        };
        let used = find(&table, columns)?;
        complete(&mut table, &used, *missing, counts)?;
        let plans = columns
            .iter()
            .zip(&used)
            .map(|(column, &at)| Plan::of(&table, column, at))
            .collect::<Result<Vec<_>>>()?;
        let (rows, dim) = (table.rows(), table.columns.len());
        let width: usize = columns.iter().map(|column| column.kind.width()).sum();
        let straight = width == dim
            && plans.iter().enumerate().all(|(i, plan)| matches!(plan, Plan::Value { at, .. } if *at == i))
            && used.iter().all(|at| table.columns[*at].missing.is_none());
        if straight {
            return Ok(table.cells);
        }
        let mut cells = table.cells;
        // Narrower rows fit where the table was.
        let mut wider = Vec::new();
        if width > dim {
            wider.try_reserve_exact(rows.saturating_mul(width)).map_err(|_| {
                Error::input(
                    &table.place,
                    format!("{rows} rows of {width} values do not fit memory"),
                    "use fewer rows",
                )
            })?;
        }
        let (mut row, mut encoded) = (vec![0.0; dim], Vec::with_capacity(width));
        for number in 0..rows {
            row.copy_from_slice(&cells[number * dim..][..dim]);
            encoded.clear();
            for plan in &plans {
                plan.encode(&row, &mut encoded);
            }
            if width > dim {
                wider.extend_from_slice(&encoded);
            } else {
                cells[number * width..][..width].copy_from_slice(&encoded);
            }
        }
        if width > dim {
            return Ok(wider);
        }
        cells.truncate(rows * width);
        Ok(cells)
    }
}

/// Puts columns where they stood before they were taken out; those that are `None` leave no gap. Of a column whose place is
/// not known it is the end.
fn put_back(columns: &mut Vec<PreparedColumn>, mut taken: Vec<(Option<usize>, Option<PreparedColumn>)>) {
    taken.sort_by_key(|(place, _)| place.unwrap_or(usize::MAX));
    let mut absent = 0;
    for (place, column) in taken {
        match column {
            Some(column) => {
                let place = place.map_or(columns.len(), |place| place - absent.min(place));
                columns.insert(place.min(columns.len()), column);
            }
            None => absent += 1,
        }
    }
}

/// Where the columns of a preparation are in a table.
fn find(table: &Table, columns: &[PreparedColumn]) -> Result<Vec<usize>> {
    const NAMED: usize = 5;
    let at = |column: &PreparedColumn| table.columns.iter().position(|other| other.name == column.name);
    let absent: Vec<String> = columns
        .iter()
        .filter(|column| at(column).is_none())
        .map(|column| format!("'{}'", quote(column.name.as_bytes())))
        .collect();
    if absent.is_empty() {
        return Ok(columns.iter().filter_map(at).collect());
    }
    let more = absent.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let shown = absent[..absent.len().min(NAMED)].join(", ");
    Err(Error::input(
        &table.place,
        format!("it has no column {shown}{more}, which the model's data have"),
        "give a table with the columns that the model was trained on",
    ))
}

/// Sees to it that nothing is missing that will not be filled in. No row is dropped if every one `counts`.
fn complete(table: &mut Table, used: &[usize], missing: Missing, counts: bool) -> Result<()> {
    match missing {
        Missing::Mean => Ok(()),
        Missing::Drop if !counts => {
            table.drop_incomplete(used);
            if table.cells.is_empty() {
                return Err(Error::input(
                    &table.place,
                    "every row misses a value, and none is left",
                    "use --missing mean, or fill them in",
                ));
            }
            Ok(())
        }
        Missing::Refuse | Missing::Drop => {
            let first = used.iter().filter_map(|&at| table.columns[at].missing.map(|line| (line, at))).min();
            let Some((line, at)) = first else { return Ok(()) };
            let name = quote(table.columns[at].name.as_bytes());
            let position = table.position;
            let remedy = if missing == Missing::Refuse {
                format!("fill it in, remove the {position}, or train with --missing mean or drop")
            } else {
                format!("fill it in, or remove the {position}: no row is left out here")
            };
            Err(Error::input(
                format!("{}, {position} {line}, column '{name}'", table.place),
                "a value is missing",
                remedy,
            ))
        }
    }
}

/// How a column of a table, which has been completed, is to be prepared.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "cells are compared by their bits, words are small numbers, and the mean is rounded to what cells are"
)]
fn prepare(table: &Table, at: usize, missing: Missing) -> Result<PreparedColumn> {
    let column = &table.columns[at];
    let present = || table.column(at).filter(|x| !x.is_nan());
    let Some(first) = present().next() else {
        return Err(refuse(table, at, "all of its values are missing", "remove the column"));
    };
    let constant = present().all(|x| x == first);
    let fills = missing == Missing::Mean;
    let fill = || {
        let (sum, count) = present().fold((0.0, 0_u64), |(sum, count), x| (sum + f64::from(x), count + 1));
        fills.then_some((sum / count as f64) as f32)
    };
    let category = |names: &[String], boolean| {
        let mut counts = vec![0_u64; names.len()];
        for word in present() {
            counts[word as usize] += 1;
        }
        let mut values: Vec<(&String, u64)> =
            names.iter().zip(counts).filter(|(_, count)| *count > 0).collect();
        values.sort();
        if values.len() > MOST_CATEGORIES {
            let what = format!("{} different words are more than {MOST_CATEGORIES} categories", values.len());
            return Err(refuse(table, at, &what, "remove the column, or put rare ones together"));
        }
        // Of equally frequent ones the first.
        let frequent = (0..values.len()).rev().max_by_key(|i| values[*i].1);
        let fill = if fills { frequent } else { None };
        Ok(ColumnKind::Category {
            values: values.iter().map(|(name, _)| (*name).clone()).collect(),
            boolean,
            fill,
        })
    };
    let whole = || {
        column.only(first).map_err(|(a, b)| {
            let what = format!("its numbers, such as {a} and {b}, are one and the same in float32");
            refuse(table, at, &what, "subtract a number from the column, or leave it out with --columns")
        })
    };
    let kind = match &column.kind {
        Kind::Number if constant => {
            // What differs beyond float32's digits is one number, unlike whole ones.
            let value = column.only(first).unwrap_or_else(|(one, _)| one);
            ColumnKind::Constant { value: value.number().map_or(value, Constant::Number) }
        }
        Kind::Integer if constant => ColumnKind::Constant {
            value: match whole()? {
                Constant::Number(value) if value.abs() < 2_f64.powi(63) => {
                    Constant::Integer(value.round() as i64)
                }
                value => value,
            },
        },
        Kind::Boolean if constant => ColumnKind::Constant { value: Constant::Boolean(first != 0.0) },
        Kind::Text(words) if constant => {
            ColumnKind::Constant { value: Constant::Text(words.names[first as usize].clone()) }
        }
        Kind::Number => ColumnKind::Number { fill: fill() },
        Kind::Integer => ColumnKind::Integer { fill: fill() },
        Kind::Boolean => category(&TRUTH.map(str::to_owned), true)?,
        Kind::Text(words) => category(&words.names, false)?,
    };
    Ok(PreparedColumn { name: column.name.clone(), kind, stored: column.stored })
}

fn refuse(table: &Table, at: usize, what: &str, remedy: &str) -> Error {
    let name = quote(table.columns[at].name.as_bytes());
    Error::input(format!("{}, column '{name}'", table.place), what, remedy)
}

/// So many categories are listed in a message.
const SHOWN: usize = 20;

/// What becomes of a cell.
enum Plan {
    /// It stays what it is.
    Value { at: usize, fill: f32 },
    /// A word's number in the table becomes its category's.
    Category { at: usize, categories: Vec<usize>, width: usize, fill: usize },
    /// Nothing.
    Constant,
}

impl Plan {
    #[allow(clippy::float_cmp, reason = "a constant is one of equal bits")]
    fn of(table: &Table, column: &PreparedColumn, at: usize) -> Result<Self> {
        let found = &table.columns[at].kind;
        let truth = || {
            let mut words = Words::default();
            for (word, position) in TRUTH.iter().zip(0..) {
                words.number(word, position);
            }
            words
        };
        let (is_truth, truth) = (matches!(found, Kind::Boolean), truth());
        let words = match found {
            Kind::Text(words) => Some(words),
            Kind::Boolean => Some(&truth),
            Kind::Number | Kind::Integer => None,
        };
        let wants_words = match &column.kind {
            ColumnKind::Category { .. } => true,
            ColumnKind::Constant { value } => matches!(value, Constant::Text(_) | Constant::Boolean(_)),
            _ => false,
        };
        if words.is_some() != wants_words {
            let name = |words: bool| if words { "words" } else { "numbers" };
            let what =
                format!("it holds {}, and {} in the model's data", name(!wants_words), name(wants_words));
            return Err(refuse(table, at, &what, "give a table of the same kind"));
        }
        // A word that is not among those that are known.
        let strange = |words: &Words, number: usize, known: &[String]| {
            let place = if is_truth {
                String::new()
            } else {
                format!(", {} {}", table.position, words.first[number])
            };
            let more = if known.len() > SHOWN { ", …" } else { "" };
            let list: Vec<String> = known.iter().take(SHOWN).map(|word| quote(word.as_bytes())).collect();
            Error::input(
                format!("{}{place}, column '{}'", table.place, quote(column.name.as_bytes())),
                format!("the model's data have no '{}' there", quote(words.names[number].as_bytes())),
                format!("they have {}{more}", list.join(", ")),
            )
        };
        // Truth values are two words, whether both occur or not.
        let occurs = |number: usize| {
            #[allow(clippy::cast_precision_loss, reason = "0 or 1")]
            let number = number as f32;
            !is_truth || table.column(at).any(|x| x == number)
        };
        match (&column.kind, words) {
            (ColumnKind::Category { values, fill, .. }, Some(words)) => {
                let mut categories = Vec::with_capacity(words.names.len());
                for (number, word) in words.names.iter().enumerate() {
                    let category = values.iter().position(|value| value == word);
                    if category.is_none() && occurs(number) {
                        return Err(strange(words, number, values));
                    }
                    categories.push(category.unwrap_or_default());
                }
                Ok(Self::Category { at, categories, width: values.len(), fill: fill.unwrap_or_default() })
            }
            (ColumnKind::Constant { value }, Some(words)) => {
                let constant = match value {
                    Constant::Boolean(value) => TRUTH[usize::from(*value)].to_owned(),
                    Constant::Text(value) => value.clone(),
                    Constant::Integer(_) | Constant::Unsigned(_) | Constant::Number(_) => String::new(),
                };
                let other = (0..words.names.len()).find(|i| words.names[*i] != constant && occurs(*i));
                other.map_or(Ok(Self::Constant), |other| Err(strange(words, other, &[constant])))
            }
            (ColumnKind::Constant { value }, None) => {
                let refuse = |found: &dyn fmt::Display, row: &str| {
                    let what = format!("it is {found}{row}, and {value} in all of the model's data");
                    Err(refuse(table, at, &what, "give data of the same kind, or train on these"))
                };
                #[allow(clippy::cast_possible_truncation, reason = "compared with what cells are")]
                let cell = value.number().map_or(f32::NAN, |value| value as f32);
                if let Some((row, x)) = table.column(at).enumerate().find(|(_, x)| !x.is_nan() && *x != cell)
                {
                    return refuse(&x, &format!(" in row {row} (from 0)"));
                }
                let found = match table.columns[at].only(cell) {
                    Ok(found) => vec![found],
                    Err((a, b)) => vec![a, b],
                };
                match found.iter().find(|found| !value.is_found_as(found)) {
                    None => Ok(Self::Constant),
                    Some(other) => refuse(other, ""),
                }
            }
            (ColumnKind::Number { fill } | ColumnKind::Integer { fill }, _) => {
                Ok(Self::Value { at, fill: fill.unwrap_or_default() })
            }
            // Refused above.
            (ColumnKind::Category { .. }, None) => Ok(Self::Constant),
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number of a word")]
    fn encode(&self, row: &[f32], encoded: &mut Vec<f32>) {
        match self {
            Self::Value { at, fill } => encoded.push(if row[*at].is_nan() { *fill } else { row[*at] }),
            Self::Category { at, categories, width, fill } => {
                let word = row[*at];
                let category = if word.is_nan() { *fill } else { categories[word as usize] };
                encoded.extend((0..*width).map(|i| f32::from(u8::from(i == category))));
            }
            Self::Constant => {}
        }
    }
}
