//! A figure that was measured several times.

use serde::{Deserialize, Serialize};

/// The median of several measurements, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Of an even number, the mean of the middle two.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many there are.
    pub rounds: usize,
}

impl Spread {
    /// Of at least one measurement.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let rounds = values.len();
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        let median = f64::midpoint(at(rounds.saturating_sub(1) / 2), at(rounds / 2));
        Self { median, min: at(0), max: at(rounds.saturating_sub(1)), rounds }
    }

    /// Seconds for one, of so many a second.
    #[must_use]
    pub fn inverse(self) -> Self {
        Self { median: 1.0 / self.median, min: 1.0 / self.max, max: 1.0 / self.min, rounds: self.rounds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0, rounds: 3 });
        assert_eq!(Spread::of(vec![4.0, 1.0]), Spread { median: 2.5, min: 1.0, max: 4.0, rounds: 2 });
        let inverse = Spread { median: 0.25, min: 0.125, max: 0.5, rounds: 3 };
        assert_eq!(Spread::of(vec![8.0, 2.0, 4.0]).inverse(), inverse);
        assert_eq!(Spread::of(vec![7.0]), Spread { median: 7.0, min: 7.0, max: 7.0, rounds: 1 });
    }
}
