//! Conditions on the device: what `shared/conditions.wgsl` reads, and what they weigh in the cost of a coupling.

use rand::{RngExt, SeedableRng};

use crate::Result;
use crate::data::{Conditions, Dataset, LabelKind, Standardization};
use crate::gpu::{Buffer, Device, Purpose};
use crate::model::to_u32;

/// The largest normal that 24 bits give: √(−2 ln 2^−24).
const LARGEST_NORMAL: f64 = 5.769;
/// Pairs of rows over which distances of conditions are measured.
const PAIRS: usize = 1 << 14;
/// The share of pairs whose conditions count as near: as far as that, they weigh as much as the points.
const NEAR: f64 = 0.01;
/// Beside numbers, classes that differ weigh as much as numbers ten times as far apart as near ones.
const FARTHER: f64 = 100.0;
/// What a feature is of its label, beside the number of a class.
const VALUE: u32 = u32::MAX;
const PRESENT: u32 = u32::MAX - 1;

/// The labels of a data set.
#[derive(Debug)]
pub(crate) struct DeviceLabels {
    /// [3·C + N·L]
    pub buffer: Buffer,
    /// C.
    pub features: usize,
    /// L.
    pub columns: usize,
    /// The share of rows that are told nothing, of 2^24.
    pub dropout: u32,
    /// Of the mean cost of a pair, the share that the points have.
    pub share: f32,
}

/// What conditions weigh in the squared distance of a pair (Cheng & Schwing 2025).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Weights {
    /// Of two classes that differ: more than any pair of points could gain by it, so that pairs stay within their class.
    pub class: f64,
    /// Of the squared distance of two standardised numbers: those nearer than 99 in 100 pairs are free to be exchanged.
    pub number: f64,
    /// Of the mean cost of a pair, the share that the points have.
    pub share: f64,
}

impl Weights {
    /// For data in the network's coordinates, and noise or a source as x0.
    #[allow(clippy::float_cmp, reason = "numbers of classes")]
    pub fn of(
        conditions: &Conditions,
        data: &Dataset,
        source: Option<&Dataset>,
        standardization: Option<&Standardization>,
    ) -> Self {
        let dim = data.dim() as f64;
        let (mean1, most1) = squares(data, standardization);
        let (mean0, most0) = match source {
            Some(source) => squares(source, standardization),
            None => (dim, dim * LARGEST_NORMAL.powi(2)),
        };
        let points = mean0 + mean1;
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
        #[allow(clippy::cast_possible_truncation, reason = "below the number of rows")]
        let mut row = || (rng.random::<u64>() % data.rows() as u64) as usize;
        let pairs: Vec<(usize, usize)> = (0..PAIRS).map(|_| (row(), row())).collect();
        let standardised = |column: usize, row: usize| {
            let column = &conditions.columns[column];
            match column.label().kind {
                LabelKind::Number { mean, std } => f64::from((column.values()[row] - mean) / std),
                LabelKind::Class { .. } => 0.0,
            }
        };
        let columns = conditions.columns.len();
        let mut distances: Vec<f64> = pairs
            .iter()
            .map(|&(a, b)| (0..columns).map(|j| (standardised(j, a) - standardised(j, b)).powi(2)).sum())
            .collect();
        let differing: f64 = conditions
            .columns
            .iter()
            .filter(|column| matches!(column.label().kind, LabelKind::Class { .. }))
            .map(|column| {
                let unlike = pairs.iter().filter(|(a, b)| column.values()[*a] != column.values()[*b]);
                unlike.count() as f64 / PAIRS as f64
            })
            .sum();
        distances.sort_by(f64::total_cmp);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among the pairs")]
        let near = distances[(NEAR * PAIRS as f64) as usize];
        let near = if near > 0.0 { Some(near) } else { distances.iter().copied().find(|d| *d > 0.0) };
        let number = near.map_or(0.0, |near| points / near);
        let of_numbers = distances.iter().sum::<f64>() / PAIRS as f64;
        let beside = if number > 0.0 { FARTHER * points } else { 0.0 };
        let class = 1.01 * ((most0.sqrt() + most1.sqrt()).powi(2) + beside);
        let share = points / (points + class * differing + number * of_numbers);
        Self { class, number, share }
    }
}

/// The mean of ‖x‖² over the rows, and its largest value.
fn squares(data: &Dataset, standardization: Option<&Standardization>) -> (f64, f64) {
    let dim = data.dim();
    let (mut sum, mut most) = (0.0, 0.0f64);
    let mut scratch = vec![];
    for row in data.values().chunks_exact(dim) {
        scratch.clear();
        scratch.extend_from_slice(row);
        if let Some(standardization) = standardization {
            standardization.apply(&mut scratch);
        }
        let square: f64 = scratch.iter().map(|x| f64::from(*x).powi(2)).sum();
        sum += square;
        most = most.max(square);
    }
    (sum / data.rows() as f64, most)
}

impl DeviceLabels {
    /// Brings the labels of a data set there, if it has any for a model to be conditional on.
    ///
    /// # Errors
    /// [`Error::Limit`](crate::Error::Limit) or [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn upload(
        device: &Device,
        data: &Dataset,
        source: Option<&Dataset>,
        standardization: Option<&Standardization>,
    ) -> Result<Option<Self>> {
        let Some(conditions) = data.conditions() else { return Ok(None) };
        let weights = Weights::of(conditions, data, source, standardization);
        let (words, features, columns) =
            (words(conditions, weights), conditions.features(), conditions.columns.len());
        let purpose = Purpose { what: "the labels", flag: "the number of labels, or the rows of --data" };
        device.fits(4 * words.len() as u64, purpose)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^24")]
        let dropout = (f64::from(conditions.dropout) * f64::from(1 << 24)).round() as u32;
        #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
        let share = weights.share as f32;
        Ok(Some(Self { buffer: device.upload(&words, purpose)?, features, columns, dropout, share }))
    }
}

/// What the kernels read.
fn words(conditions: &Conditions, weights: Weights) -> Vec<u32> {
    let mut words = vec![];
    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    let bits = |scale: f64| (scale as f32).to_bits();
    for (j, column) in conditions.columns.iter().enumerate() {
        let label = to_u32(j);
        match &column.label().kind {
            // Two classes differ in two features.
            LabelKind::Class { names } => {
                let scale = bits((weights.class / 2.0).sqrt());
                words.extend((0..to_u32(names.len())).flat_map(|class| [label, class, scale]));
            }
            LabelKind::Number { .. } => {
                words.extend([label, VALUE, bits(weights.number.sqrt()), label, PRESENT, 0]);
            }
        }
    }
    let rows = conditions.columns.first().map_or(0, |column| column.values().len());
    words.reserve(rows * conditions.columns.len());
    for row in 0..rows {
        for column in &conditions.columns {
            let value = column.values()[row];
            words.push(match column.label().kind {
                LabelKind::Class { .. } => value.to_bits(),
                LabelKind::Number { mean, std } => ((value - mean) / std).to_bits(),
            });
        }
    }
    words
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "numbers of classes, and zero")]
mod tests {
    use super::*;

    /// Two columns to learn, a class and a number.
    fn data(labels: &[&str]) -> Dataset {
        let values = (0u16..400).flat_map(|i| {
            let x = f32::from(i) / 400.0;
            [x, 1.0 - x, f32::from(i % 3), 0.1 + x * 5.0]
        });
        let columns = ["x", "y", "k", "age"].map(str::to_owned).to_vec();
        let array =
            crate::data::Array { shape: vec![400, 4], values: values.collect(), columns: Some(columns) };
        let requests: Vec<_> = labels.iter().map(|label| label.parse().unwrap()).collect();
        Dataset::from_array("table", array).unwrap().with_labels(&requests, 0.25).unwrap()
    }

    fn weights(labels: &[&str]) -> Weights {
        let data = data(labels);
        Weights::of(data.conditions().unwrap(), &data, None, None)
    }

    #[test]
    fn another_class_costs_more_than_any_pair_of_points() {
        let Weights { class, number, share } = weights(&["k"]);
        // x, y and age, at their largest in the last row; a normal is at most 5.769 in each of three columns.
        let row = |x: f64| x * x + (1.0 - x).powi(2) + (0.1 + 5.0 * x).powi(2);
        let most = row(399.0 / 400.0).sqrt() + 5.769 * 3f64.sqrt();
        assert!((class / (most * most) - 1.01).abs() < 1e-3, "{class}");
        assert_eq!(number, 0.0);
        // E‖x0‖² + E‖x1‖², and two rows in three differ.
        let points = 3.0 + (0..400).map(|i| row(f64::from(i) / 400.0)).sum::<f64>() / 400.0;
        assert!((share - points / (points + class * 2.0 / 3.0)).abs() < 0.02 * share, "{share}");
    }

    #[test]
    fn one_pair_in_a_hundred_is_near_in_its_numbers() {
        let Weights { class, number, .. } = weights(&["k", "age"]);
        // A uniform number: |Δ| < δ·√12 standard deviations with the probability 2δ.
        let near = (0.005f64 * 12f64.sqrt()).powi(2);
        assert!((number * near / (2.0 + 2.0 / 3.0) - 1.0).abs() < 0.3, "{number}");
        assert!(class > 100.0 * number * near * 0.7);
    }

    #[test]
    fn words_are_features_and_rows() {
        let data = data(&["k", "age:number"]);
        let conditions = data.conditions().unwrap();
        assert_eq!((data.dim(), conditions.features()), (2, 5));
        let words = words(conditions, Weights { class: 8.0, number: 9.0, share: 1.0 });
        let (two, three) = (2f32.to_bits(), 3f32.to_bits());
        assert_eq!(words[..15], [0, 0, two, 0, 1, two, 0, 2, two, 1, VALUE, three, 1, PRESENT, 0]);
        assert_eq!(words.len(), 15 + 2 * 400);
        let row = |row: usize| [f32::from_bits(words[15 + 2 * row]), f32::from_bits(words[16 + 2 * row])];
        assert_eq!(row(5)[0], 2.0);
        let mean = (0..400).map(|i| f64::from(row(i)[1])).sum::<f64>() / 400.0;
        assert!(mean.abs() < 1e-5, "{mean}");
    }
}
