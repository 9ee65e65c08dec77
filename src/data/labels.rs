//! What the rows of a data set are examples of: columns of classes and of numbers, which a model can be conditional on.
//!
//! A [`LabelColumn`] has a value for every row. [`Dataset::with_labels`](super::Dataset::with_labels) makes some of them
//! [`Conditions`]: what the network is told beside x and t. Of a class these are as many features as there are classes,
//! one of them 1; of a number (v − mean)/std and a 1, which says that it is there. Where nothing is said all are 0.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::TakenColumn;
use super::array::{quote, read_array};
use super::preparation::{ColumnKind, Constant, PreparedColumn, Storage};
use crate::error::{Error, Result};

/// Whole numbers with more different values than this are numbers, not classes, unless it is said otherwise.
pub const MOST_CLASSES: usize = 64;
/// From here on float32 lacks whole numbers.
const FIRST_UNSURE: f32 = 16_777_216.0;
/// Classes that a label may have at all.
const CLASS_LIMIT: usize = 65_536;

/// What kind of label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LabelKind {
    /// One of several.
    Class {
        /// Their names, in the order of the network's features.
        names: Vec<String>,
    },
    /// A number.
    Number {
        /// Its mean over the data.
        mean: f32,
        /// Its standard deviation there; 1 if it is constant.
        std: f32,
    },
}

/// A label without its values: what a model remembers of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// The column's name.
    pub name: String,
    /// Classes or numbers.
    #[serde(flatten)]
    pub kind: LabelKind,
    /// How its column was prepared, where it is one of a table with a preparation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<ColumnKind>,
    /// How Parquet stored that column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Storage>,
    /// Where it stood among the columns of its table, if it is one of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<usize>,
}

impl Label {
    /// Of rows that all have the value that is written so, as [`parse`](Self::parse) takes it: the column of the table.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number of a class, or a number rounded and cut to the range of i64"
    )]
    pub(super) fn constant(&self, written: &str) -> PreparedColumn {
        let class = self.parse(written).ok().and_then(|class| self.classes().get(class as usize));
        let word = class.map_or(written, String::as_str);
        let number = Constant::parse(word);
        let value = match &self.column {
            None | Some(ColumnKind::Number { .. }) => number.number().map_or(number, Constant::Number),
            Some(ColumnKind::Integer { .. }) => match number {
                Constant::Number(value) => Constant::Integer(value.round() as i64),
                whole => whole,
            },
            Some(ColumnKind::Category { values, boolean, .. }) => {
                let same = |text: &&String| class.is_none() && number.equals(&Constant::parse(text));
                let word = values.iter().find(same).map_or(word, String::as_str);
                if *boolean { Constant::Boolean(word == "true") } else { Constant::Text(word.to_owned()) }
            }
            Some(ColumnKind::Constant { value }) => value.clone(),
        };
        let kind = ColumnKind::Constant { value };
        PreparedColumn { name: self.name.clone(), kind, stored: self.stored }
    }

    /// The features that the network sees of it.
    #[must_use]
    pub fn features(&self) -> usize {
        match &self.kind {
            LabelKind::Class { names } => names.len(),
            LabelKind::Number { .. } => 2,
        }
    }

    /// The names of its classes; none of a number.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        match &self.kind {
            LabelKind::Class { names } => names,
            LabelKind::Number { .. } => &[],
        }
    }

    /// The value that `text` stands for: the number of a class, or the number itself.
    ///
    /// # Errors
    /// [`Error::Config`] for a class that is not there, naming those that are, and for what is no finite number.
    pub fn parse(&self, text: &str) -> Result<f32> {
        match &self.kind {
            LabelKind::Class { names } => {
                let number = |text: &str| text.parse::<f32>().ok();
                let same = |name: &&String| {
                    name.as_str() == text || (number(name).is_some() && number(name) == number(text))
                };
                names.iter().position(|name| same(&name)).map(|class| class as f32).ok_or_else(|| {
                    Error::config(
                        format!("`{}` has no class `{}`", self.name, quote(text.as_bytes())),
                        format!("it has {}", listed(names)),
                    )
                })
            }
            LabelKind::Number { .. } => {
                let value = text.parse::<f32>().ok().filter(|value| value.is_finite());
                value.ok_or_else(|| {
                    Error::config(
                        format!("`{}` of `{}` is no finite number", quote(text.as_bytes()), self.name),
                        format!("give one, such as {}=0.5", self.name),
                    )
                })
            }
        }
    }

    /// What the network sees of a value, as [`parse`](Self::parse) gives it.
    #[allow(clippy::float_cmp, reason = "numbers of classes")]
    pub fn encode(&self, value: f32, features: &mut Vec<f32>) {
        match &self.kind {
            LabelKind::Class { names } => {
                features.extend((0..names.len()).map(|class| f32::from(class as f32 == value)));
            }
            LabelKind::Number { mean, std } => features.extend([(value - mean) / std, 1.0]),
        }
    }

    /// Checks what a file says of it.
    pub(crate) fn validate(&self) -> Result<(), String> {
        match &self.kind {
            LabelKind::Class { names } if names.is_empty() || names.len() > CLASS_LIMIT => {
                Err(format!("its condition `{}` has {} classes", self.name, names.len()))
            }
            LabelKind::Number { mean, std } if !(mean.is_finite() && std.is_finite() && *std > 0.0) => {
                Err(format!("mean and deviation of its condition `{}` are no usable numbers", self.name))
            }
            _ => Ok(()),
        }
    }
}

/// Names for a message: all, or the first of many.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| quote(name.as_bytes())).collect();
    let rest = names.len().saturating_sub(SHOWN);
    if rest > 0 { format!("{}, and {rest} more", shown.join(", ")) } else { shown.join(", ") }
}

/// A label with its value of each row: the number of its class, or the number itself.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelColumn {
    label: Label,
    values: Vec<f32>,
    /// What it is asked for with: see [`LabelRequest`].
    request: String,
}

/// What a column is to be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelWish {
    /// Classes.
    Class,
    /// Numbers.
    Number,
}

impl LabelColumn {
    /// Classes by their names, which are put in order: as numbers if all are, else by their letters.
    ///
    /// # Errors
    /// [`Error::Input`] if there are none, or more than can be told apart.
    pub fn from_text(name: impl Into<String>, values: &[String]) -> Result<Self> {
        let name = name.into();
        let mut names: Vec<String> = values.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let numbers: Option<Vec<f64>> = names.iter().map(|name| name.parse().ok()).collect();
        if numbers.is_some_and(|numbers| numbers.iter().all(|number| number.is_finite())) {
            let number = |name: &String| name.parse::<f64>().unwrap_or_default();
            names.sort_by(|a, b| number(a).total_cmp(&number(b)));
        }
        if names.is_empty() || names.len() > CLASS_LIMIT {
            return Err(Error::input(
                quote(name.as_bytes()),
                format!("it has {} classes", names.len()),
                format!("a label has 1 to {CLASS_LIMIT} of them"),
            ));
        }
        let places: std::collections::HashMap<&String, usize> =
            names.iter().enumerate().map(|(place, name)| (name, place)).collect();
        let values = values.iter().map(|value| places[value] as f32).collect();
        let request = format!("{name}:class");
        Ok(Self {
            label: Label { name, kind: LabelKind::Class { names }, column: None, stored: None, place: None },
            values,
            request,
        })
    }

    /// Numbers, or classes that are called by numbers: without a wish, whole numbers of at most [`MOST_CLASSES`] different
    /// values are classes.
    ///
    /// # Errors
    /// [`Error::Input`] if a value is not finite, or there are too many classes.
    pub fn from_numbers(name: impl Into<String>, values: &[f32], wish: Option<LabelWish>) -> Result<Self> {
        let name = name.into();
        if let Some(row) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::input(
                quote(name.as_bytes()),
                format!("the label of row {row} is {}", values[row]),
                "remove or replace such rows",
            ));
        }
        let wish = wish.unwrap_or_else(|| {
            // 0 and −0 are one value.
            let mut seen = BTreeSet::new();
            let classes = values.iter().all(|value| {
                seen.insert((value + 0.0).to_bits());
                value.fract() == 0.0 && seen.len() <= MOST_CLASSES
            });
            if classes { LabelWish::Class } else { LabelWish::Number }
        });
        if wish == LabelWish::Class {
            let coarse = |value: &&f32| value.abs() >= FIRST_UNSURE;
            if let Some(value) = values.iter().find(coarse) {
                return Err(Error::input(
                    quote(name.as_bytes()),
                    format!("float32 does not tell classes as large as {value} apart"),
                    format!("number them from 0, write them as words, or give --label {name}:number"),
                ));
            }
            let names: Vec<String> = values.iter().map(|value| (value + 0.0).to_string()).collect();
            return Self::from_text(name, &names);
        }
        let count = values.len().max(1) as f64;
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let variance = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
        #[allow(clippy::cast_possible_truncation, reason = "the network computes in float32")]
        let (mean, std) = (mean as f32, variance.sqrt() as f32);
        let std = if std > 0.0 && std.is_finite() { std } else { 1.0 };
        let request = format!("{name}:number");
        Ok(Self {
            label: Label {
                name,
                kind: LabelKind::Number { mean, std },
                column: None,
                stored: None,
                place: None,
            },
            values: values.to_vec(),
            request,
        })
    }

    /// Its name and kind.
    #[must_use]
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Of each row: the number of its class, or the number.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The words of its content, for a fingerprint.
    pub(super) fn words(&self) -> impl Iterator<Item = u32> + '_ {
        let classes = matches!(self.label.kind, LabelKind::Class { .. });
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number of a class")]
        self.values.iter().map(move |value| if classes { *value as u32 } else { value.to_bits() })
    }

    /// The given rows.
    pub(super) fn select(&self, rows: &[usize]) -> Self {
        Self { values: rows.iter().map(|&row| self.values[row]).collect(), ..self.clone() }
    }

    /// A column that was taken out of a table.
    pub(super) fn of_table(
        request: &LabelRequest,
        taken: TakenColumn,
        column: Option<PreparedColumn>,
        place: Option<usize>,
    ) -> Result<Self> {
        let name = request.name.clone();
        let mut labels = match taken {
            TakenColumn::Numbers(values) => Self::from_numbers(name, &values, request.wish)?,
            TakenColumn::Words(words) => Self::from_text(name, &words)?.taken_for(request.wish)?,
        };
        labels.label.stored = column.as_ref().and_then(|column| column.stored);
        labels.label.column = column.map(|column| column.kind);
        labels.label.place = place;
        Ok(labels)
    }

    /// The same values as classes or as numbers.
    fn taken_for(&self, wish: Option<LabelWish>) -> Result<Self> {
        let name = &self.label.name;
        match (&self.label.kind, wish) {
            (LabelKind::Class { names }, Some(LabelWish::Number)) => {
                let numbers: Option<Vec<f32>> = names.iter().map(|name| name.parse().ok()).collect();
                let Some(numbers) = numbers else {
                    return Err(Error::config(
                        format!("the classes of `{name}` are no numbers"),
                        format!("give --label {name}"),
                    ));
                };
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "the number of a class"
                )]
                let values: Vec<f32> = self.values.iter().map(|class| numbers[*class as usize]).collect();
                Self::from_numbers(name.clone(), &values, wish)
            }
            (LabelKind::Number { .. }, Some(LabelWish::Class)) => {
                Self::from_numbers(name.clone(), &self.values, wish)
            }
            _ => Ok(self.clone()),
        }
    }
}

/// What is asked for as a label: a column of the table, a label that the data bring along, or a `.npy` file beside them;
/// with `:class` or `:number` behind it, what it is to be taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRequest {
    /// The column's name, or the file.
    pub name: String,
    /// What it is to be taken for, where that is said.
    pub wish: Option<LabelWish>,
}

impl FromStr for LabelRequest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, wish) = match text.rsplit_once(':') {
            Some((name, "class")) => (name, Some(LabelWish::Class)),
            Some((name, "number")) => (name, Some(LabelWish::Number)),
            _ => (text, None),
        };
        if name.trim().is_empty() {
            return Err(Error::config("a label without a name", "give a column, such as --label digit"));
        }
        Ok(Self { name: name.trim().to_owned(), wish })
    }
}

/// What a model learns to be conditional on.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// One column a label, in the order of the network's features.
    pub columns: Vec<LabelColumn>,
    /// The share of a batch's rows that are told nothing of it: what lets a model be used without a condition, and guided.
    pub dropout: f32,
}

impl Conditions {
    /// What the network sees of all labels.
    #[must_use]
    pub fn features(&self) -> usize {
        self.columns.iter().map(|column| column.label.features()).sum()
    }

    /// The labels without their values.
    #[must_use]
    pub fn labels(&self) -> Vec<Label> {
        self.columns.iter().map(|column| column.label.clone()).collect()
    }

    /// What they are asked for with, so that they are the same again.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.request.clone()).collect()
    }

    /// The features of one row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> Vec<f32> {
        let mut features = Vec::with_capacity(self.features());
        for column in &self.columns {
            column.label.encode(column.values[row], &mut features);
        }
        features
    }
}

/// Where labels are looked for that are no column of the table.
pub(super) struct Beside<'a> {
    pub place: &'a str,
    pub rows: usize,
    /// The table's, which a message names.
    pub columns: &'a [&'a str],
    /// What the data bring along.
    pub known: &'a [LabelColumn],
}

impl Beside<'_> {
    /// The columns that a request stands for.
    pub fn find(&self, request: &LabelRequest) -> Result<Vec<LabelColumn>> {
        let LabelRequest { name, wish } = request;
        if let Some(column) = self.known.iter().find(|column| column.label.name == *name) {
            return Ok(vec![column.taken_for(*wish)?]);
        }
        let path = Path::new(name);
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) {
            return self.read(path, *wish);
        }
        let mut names: Vec<String> = self.known.iter().map(|column| column.label.name.clone()).collect();
        names.extend(self.columns.iter().map(ToString::to_string));
        Err(Error::input(
            self.place,
            format!("there is no column `{}`", quote(name.as_bytes())),
            format!("--label takes {}, or a .npy file", listed(&names)),
        ))
    }

    /// The columns of a file beside the data.
    fn read(&self, path: &Path, wish: Option<LabelWish>) -> Result<Vec<LabelColumn>> {
        let array = read_array(path)?;
        let place = path.display().to_string();
        if array.rows() != self.rows {
            return Err(Error::input(
                place,
                format!("it has {} rows and the data `{}` {}", array.rows(), self.place, self.rows),
                "give a label for each row",
            ));
        }
        let stem = path.file_stem().map_or_else(|| "label".into(), |stem| stem.to_string_lossy());
        let width = array.row_len();
        let mut columns = Vec::with_capacity(width);
        for at in 0..width {
            let name = if width == 1 { stem.to_string() } else { format!("{stem}_{at}") };
            let values: Vec<f32> = array.values.iter().skip(at).step_by(width).copied().collect();
            let column = LabelColumn::from_numbers(name, &values, wish)?;
            let request = match wish {
                None => place.clone(),
                Some(LabelWish::Class) => format!("{place}:class"),
                Some(LabelWish::Number) => format!("{place}:number"),
            };
            columns.push(LabelColumn { request, ..column });
        }
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(column: &LabelColumn) -> Vec<&str> {
        column.label().classes().iter().map(String::as_str).collect()
    }

    #[test]
    fn whole_numbers_of_few_values_are_classes() {
        let few = LabelColumn::from_numbers("k", &[10.0, 2.0, 2.0, -1.0, -0.0, 0.0], None).unwrap();
        assert_eq!(names(&few), ["-1", "0", "2", "10"]);
        assert_eq!(few.values(), [3.0, 2.0, 2.0, 0.0, 1.0, 1.0]);
        let many: Vec<f32> = (0..65u8).map(f32::from).collect();
        assert!(names(&LabelColumn::from_numbers("k", &many, None).unwrap()).is_empty());
        assert_eq!(names(&LabelColumn::from_numbers("k", &many[..64], None).unwrap()).len(), 64);
        assert_eq!(names(&LabelColumn::from_numbers("k", &many, Some(LabelWish::Class)).unwrap()).len(), 65);
        assert!(names(&LabelColumn::from_numbers("k", &[0.0, 0.5], None).unwrap()).is_empty());
    }

    #[test]
    fn a_number_is_standardised_and_says_that_it_is_there() {
        let column = LabelColumn::from_numbers("x", &[1.0, 3.0], Some(LabelWish::Number)).unwrap();
        assert_eq!(column.label().kind, LabelKind::Number { mean: 2.0, std: 1.0 });
        let mut features = vec![];
        column.label().encode(5.0, &mut features);
        assert_eq!(features, [3.0, 1.0]);
        let constant = LabelColumn::from_numbers("x", &[4.5, 4.5], None).unwrap();
        assert_eq!(constant.label().kind, LabelKind::Number { mean: 4.5, std: 1.0 });
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "numbers of classes")]
    fn text_is_ordered_and_encoded() {
        let text: Vec<String> = ["b", "a", "b"].iter().map(ToString::to_string).collect();
        let column = LabelColumn::from_text("c", &text).unwrap();
        assert_eq!((names(&column), column.values()), (vec!["a", "b"], &[1.0, 0.0, 1.0][..]));
        let mut features = vec![];
        column.label().encode(1.0, &mut features);
        assert_eq!(features, [0.0, 1.0]);
        let error = column.label().parse("z").unwrap_err().to_string();
        assert_eq!(error, "`c` has no class `z`; it has a, b");
        assert_eq!(few_digits().parse("2.0").unwrap(), 1.0);
    }

    fn few_digits() -> Label {
        LabelColumn::from_numbers("digit", &[1.0, 2.0], None).unwrap().label().clone()
    }

    #[test]
    fn requests_say_what_a_column_is() {
        let request = |text: &str| text.parse::<LabelRequest>().unwrap();
        assert_eq!(request("year:number").wish, Some(LabelWish::Number));
        assert_eq!(request("a:b").name, "a:b");
        assert_eq!(request("k:class").name, "k");
        assert!(":class".parse::<LabelRequest>().is_err());
    }
}
