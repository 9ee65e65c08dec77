//! Shift and scale by column, so that every coordinate has mean 0 and standard deviation 1.

#![allow(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]

use serde::{Deserialize, Serialize};

/// The mean and standard deviation of each column.
///
/// The deviation is that of the population (divided by n). A column whose
/// values are all equal has the deviation 1: it is shifted to 0 and never
/// divided by zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standardization {
    /// The mean of each column.
    pub mean: Vec<f64>,
    /// The standard deviation of each column; never 0.
    pub std: Vec<f64>,
}

impl Standardization {
    /// Measures rows of `dim` values, in two passes of pairwise float64 sums.
    ///
    /// # Panics
    /// When `values` is not whole rows of `dim` values, or no row at all.
    #[must_use]
    pub fn of(values: &[f32], dim: usize) -> Self {
        assert!(dim > 0 && !values.is_empty() && values.len().is_multiple_of(dim), "whole rows");
        let n = (values.len() / dim) as f64;
        let mut mean = column_sums(values, dim, &|_, x| x);
        for m in &mut mean {
            *m /= n;
        }
        let mut std = column_sums(values, dim, &|column, x| (x - mean[column]) * (x - mean[column]));
        for s in &mut std {
            *s = (*s / n).sqrt();
        }
        // Equal values are told by themselves: their rounded mean can differ from
        // them, and the tiny deviation that results would blow the column up.
        for column in 0..dim {
            let first = values[column];
            #[allow(
                clippy::float_cmp,
                reason = "a constant column is one of equal bits, up to the sign of zero"
            )]
            if values.iter().skip(column).step_by(dim).all(|&x| x == first) {
                mean[column] = f64::from(first);
                std[column] = 1.0;
            }
        }
        Self { mean, std }
    }

    /// The number of columns.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Data units to standardised ones, for any number of rows in place.
    pub fn apply(&self, values: &mut [f32]) {
        self.map(values, |x, mean, std| (x - mean) / std);
    }

    /// Standardised units back to those of the data, for any number of rows in place.
    pub fn undo(&self, values: &mut [f32]) {
        self.map(values, |x, mean, std| x * std + mean);
    }

    /// Differences of standardised points, such as velocities, back to those of the data, in place: the scale alone.
    pub fn undo_scale(&self, values: &mut [f32]) {
        self.map(values, |x, _, std| x * std);
    }

    /// `Σ log std`: the log-density in data units is that in standardised units less this.
    #[must_use]
    pub fn log_volume(&self) -> f64 {
        self.std.iter().map(|s| s.ln()).sum()
    }

    #[allow(clippy::cast_possible_truncation, reason = "rounding to the device's precision is the purpose")]
    fn map(&self, values: &mut [f32], f: impl Fn(f64, f64, f64) -> f64) {
        for row in values.chunks_mut(self.dim().max(1)) {
            for (x, (&mean, &std)) in row.iter_mut().zip(self.mean.iter().zip(&self.std)) {
                *x = f(f64::from(*x), mean, std) as f32;
            }
        }
    }
}

/// The sum of `f(column, value)` over each column, pairwise: the error grows
/// with the logarithm of the number of rows, and the order is always the same.
fn column_sums(values: &[f32], dim: usize, f: &impl Fn(usize, f64) -> f64) -> Vec<f64> {
    const LEAF_ROWS: usize = 256;
    let rows = values.len() / dim;
    if rows <= LEAF_ROWS {
        let mut sums = vec![0.0; dim];
        for row in values.chunks_exact(dim) {
            for (column, (sum, &x)) in sums.iter_mut().zip(row).enumerate() {
                *sum += f(column, f64::from(x));
            }
        }
        return sums;
    }
    let (left, right) = values.split_at(rows / 2 * dim);
    let mut sums = column_sums(left, dim, f);
    for (sum, more) in sums.iter_mut().zip(column_sums(right, dim, f)) {
        *sum += more;
    }
    sums
}
