//! Means over repetitions, with their confidence intervals.

use serde::Serialize;

/// The confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// A mean over independent repetitions, and how well it is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Half the width of its confidence interval at [`CONFIDENCE`], by Student's t; none of a single repetition.
    pub half_width: Option<f64>,
    /// The repetitions, one number each.
    pub values: Vec<f64>,
}

impl Interval {
    /// Of one number for each repetition. The mean of none is not a number.
    #[must_use]
    pub fn of(values: Vec<f64>) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let half_width = (values.len() > 1).then(|| {
            let square: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
            student(values.len() - 1) * (square / (n - 1.0) / n).sqrt()
        });
        Self { mean, half_width, values }
    }

    /// Of what every repetition has; none if one has it not.
    pub(super) fn all(values: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        let values: Vec<f64> = values.collect::<Option<_>>()?;
        (!values.is_empty()).then(|| Self::of(values))
    }
}

/// The two-sided 95 % quantile of Student's t: of the tables up to 10 degrees of freedom, beyond by its expansion in
/// 1/ν (Abramowitz and Stegun 26.7.5), which is within 2·10⁻⁵ there.
#[must_use]
pub fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 10] = [
        12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582, 2.446_912, 2.364_624, 2.306_004, 2.262_157,
        2.228_139,
    ];
    if let Some(value) = freedom.checked_sub(1).and_then(|place| TABLE.get(place)) {
        return *value;
    }
    let (z, v) = (1.959_964, freedom.max(1) as f64);
    let first = (f64::powi(z, 3) + z) / 4.0;
    let second = (5.0 * f64::powi(z, 5) + 16.0 * f64::powi(z, 3) + 3.0 * z) / 96.0;
    let third = (3.0 * f64::powi(z, 7) + 19.0 * f64::powi(z, 5) + 17.0 * f64::powi(z, 3) - 15.0 * z) / 384.0;
    let fourth = (79.0 * f64::powi(z, 9) + 776.0 * f64::powi(z, 7) + 1482.0 * f64::powi(z, 5)
        - 1920.0 * f64::powi(z, 3)
        - 945.0 * z)
        / 92_160.0;
    z + (first + (second + (third + fourth / v) / v) / v) / v
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Stream;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, wanted) in
            [(1, 12.70620), (4, 2.77645), (10, 2.22814), (11, 2.20099), (30, 2.04227), (120, 1.97993)]
        {
            assert!((student(freedom) - wanted).abs() < 2e-5, "{freedom}: {}", student(freedom));
        }
    }

    #[test]
    fn intervals_hold_the_mean_as_often_as_they_say() {
        let mut stream = Stream::new("coverage", 0);
        for n in [2, 5, 20] {
            let held = (0..4000)
                .filter(|_| {
                    let interval = Interval::of((0..n).map(|_| 3.0 + stream.normal()).collect());
                    (interval.mean - 3.0).abs() <= interval.half_width.unwrap_or(0.0)
                })
                .count();
            // Five deviations of the binomial distribution.
            let deviation = (4000.0 * CONFIDENCE * (1.0 - CONFIDENCE)).sqrt();
            assert!((held as f64 - 4000.0 * CONFIDENCE).abs() < 5.0 * deviation, "{n}: {held} of 4000");
        }
        let one = Interval::of(vec![2.0]);
        assert!(one.half_width.is_none() && (one.mean - 2.0).abs() < 1e-12);
        assert!(Interval::all([Some(1.0), None].into_iter()).is_none());
        assert!(Interval::all(std::iter::empty()).is_none());
    }
}
