//! What the network is told of a row beside x and t: shared/conditions.wgsl.
//!
//! Of a class one feature for each of its values, 1 for the row's own; of a number its value, and 1. A row of a batch is
//! told nothing, which is all zeros, where the word of its pick falls below the dropout. What a coupling takes for the cost
//! of a pair is ‖x0 − x1‖² + Σ (s·(c0 − c1))², with the scales s of the features.
//!
//! Source: Ho and Salimans, "Classifier-free diffusion guidance", 2022; Cheng and Schwing, "The curse of conditions:
//! analyzing and improving optimal transport for conditional flow-based generation", 2025.

use super::philox::{self, PICK};

/// A label: so many classes, or a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Classes(usize),
    Number,
}

/// The features of a row.
// values: [L]
// out: [C]
pub fn features(kinds: &[Kind], values: &[f64]) -> Vec<f64> {
    let mut out = vec![];
    for (kind, &value) in kinds.iter().zip(values) {
        match *kind {
            Kind::Classes(count) => out.extend((0..count).map(|k| f64::from(k as f64 == value))),
            Kind::Number => out.extend([value, 1.0]),
        }
    }
    out
}

/// Whether a row of a batch is told its condition. `dropout` is of 2^24.
pub fn told(seed: u64, row: u32, step: u32, dropout: u32) -> bool {
    philox::words(seed, row, 0, step, PICK)[3] >> 8 >= dropout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_one_of_several_and_numbers_are_there() {
        let kinds = [Kind::Classes(3), Kind::Number, Kind::Classes(1)];
        assert_eq!(features(&kinds, &[2.0, -0.5, 0.0]), [0.0, 0.0, 1.0, -0.5, 1.0, 1.0]);
    }

    #[test]
    fn the_share_of_the_rows_is_told_nothing() {
        let count = |dropout| (0..10_000).filter(|&row| !told(3, row, 7, dropout)).count();
        assert_eq!((count(0), count(1 << 24)), (0, 10_000));
        let quarter = count(1 << 22) as f64;
        // Five standard deviations.
        assert!((quarter - 2500.0).abs() < 5.0 * (10_000.0f64 * 0.25 * 0.75).sqrt(), "{quarter}");
    }
}
