//! Tables as they stand in files: columns of numbers, whole numbers, truth values or words, with gaps.
//!
//! A [`Table`] is one row-major matrix of float32, whatever its columns hold: a word is its number among the words of its
//! column, and a missing value NaN. So a table of numbers alone is the matrix that is trained on, without a copy.

use std::collections::HashMap;

use super::preparation::{Constant, Storage};

/// Words of a column that are told apart. No column of categories has as many; names or comments may.
const MOST_WORDS: usize = 1 << 16;

/// What has been read from a file.
pub(super) struct Table {
    /// The file.
    pub place: String,
    /// What rows are counted by in messages: "line" or "row".
    pub position: &'static str,
    pub columns: Vec<Column>,
    /// `[rows, columns]`.
    pub cells: Vec<f32>,
}

/// A column of it.
pub(super) struct Column {
    pub name: String,
    pub kind: Kind,
    /// How the file stores it, if it says so.
    pub stored: Option<Storage>,
    /// Where the first missing value is.
    pub missing: Option<u64>,
    /// Whether its numbers are one and the same.
    pub sole: Sole,
}

/// Whether all numbers of a column are one and the same: by every digit that the file has, of which float32 keeps seven.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Sole {
    /// There has been none.
    #[default]
    Unseen,
    /// So far, this one.
    One(Constant),
    /// There are two, which may be equal in float32.
    Several(Constant, Constant),
}

impl Sole {
    /// Takes note of another number; `value` is asked for only where it matters.
    pub fn see(&mut self, value: impl FnOnce() -> Constant) {
        match self {
            Self::Several(..) => {}
            Self::Unseen => *self = Self::One(value()),
            Self::One(first) => {
                let value = value();
                if !first.equals(&value) {
                    *self = Self::Several(first.clone(), value);
                }
            }
        }
    }
}

impl Column {
    /// The number of a column whose cells are all this one; or two that float32 does not tell apart. Where rows have been
    /// dropped since, others may have been in those, and the cell is all that is known.
    #[allow(clippy::cast_possible_truncation, clippy::float_cmp, reason = "rounded as the cell was")]
    pub fn only(&self, cell: f32) -> Result<Constant, (Constant, Constant)> {
        let is_cell = |value: &Constant| value.number().is_some_and(|value| value as f32 == cell);
        match &self.sole {
            Sole::One(value) => Ok(value.clone()),
            Sole::Several(a, b) if is_cell(a) && is_cell(b) => Err((a.clone(), b.clone())),
            Sole::Several(..) | Sole::Unseen => Ok(Constant::of_float32(cell)),
        }
    }
}

/// What a column holds.
pub(super) enum Kind {
    Number,
    /// Every value was written as a whole number.
    Integer,
    /// 0 or 1.
    Boolean,
    Text(Words),
}

/// The different words of a column, in the order in which they were met.
#[derive(Default)]
pub(super) struct Words {
    pub names: Vec<String>,
    /// Where each was met first.
    pub first: Vec<u64>,
    numbers: HashMap<String, u32>,
}

impl Words {
    /// The number of a word that stands at `position`.
    #[allow(clippy::cast_precision_loss, reason = "there are at most 2^16")]
    pub fn number(&mut self, word: &str, position: u64) -> f32 {
        if let Some(number) = self.numbers.get(word) {
            return *number as f32;
        }
        let number = self.names.len();
        if number == MOST_WORDS {
            return (number - 1) as f32;
        }
        self.names.push(word.to_owned());
        self.first.push(position);
        self.numbers.insert(word.to_owned(), u32::try_from(number).unwrap_or_default());
        number as f32
    }
}

impl Table {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.cells.len() / self.columns.len().max(1)
    }

    /// The values of a column.
    pub fn column(&self, at: usize) -> impl Iterator<Item = f32> + '_ {
        self.cells.iter().skip(at).step_by(self.columns.len().max(1)).copied()
    }

    /// Removes the rows that miss a value in one of the columns `used`.
    pub fn drop_incomplete(&mut self, used: &[usize]) {
        if used.iter().all(|&at| self.columns[at].missing.is_none()) {
            return;
        }
        let dim = self.columns.len();
        let mut kept = 0;
        for row in 0..self.rows() {
            let begin = row * dim;
            if used.iter().any(|at| self.cells[begin + at].is_nan()) {
                continue;
            }
            self.cells.copy_within(begin..begin + dim, kept * dim);
            kept += 1;
        }
        self.cells.truncate(kept * dim);
        for &at in used {
            self.columns[at].missing = None;
        }
    }
}
