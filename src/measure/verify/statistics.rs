//! Estimates from random batches, with their confidence intervals.

use super::DEVIATIONS;

/// A number and half the width of its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub value: f64,
    pub half_width: f64,
}

impl Estimate {
    /// From a standard error with so many degrees of freedom.
    fn new(value: f64, standard_error: f64, freedom: usize) -> Self {
        Self { value, half_width: student(freedom) * standard_error }
    }

    /// Half of it.
    pub fn halved(self) -> Self {
        Self { value: self.value / 2.0, half_width: self.half_width / 2.0 }
    }
}

/// β of E[y] = exp(α + β·x) for positive y whose deviation is proportional to their mean, whatever their distribution:
/// the root of Σ (y/exp(α + β·x) − 1)·(1, x) (a generalised linear model of the gamma family with the link log;
/// McCullagh and Nelder 1989, chapter 8), with the standard error that the residuals themselves give (White 1980).
pub(super) fn growth(points: &[(f64, f64)]) -> Estimate {
    /// Fisher's scoring converges linearly with a small factor; the residuals are of the size of 1.
    const STEPS: usize = 100;
    let n = points.len() as f64;
    let x_mean = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let spread: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let logarithms: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (x, y.ln())).collect();
    let mut beta = slope(&logarithms).value;
    let mut alpha = logarithms.iter().map(|(_, y)| y).sum::<f64>() / n;
    let residual = |alpha: f64, beta: f64, (x, y): (f64, f64)| y / (alpha + beta * (x - x_mean)).exp() - 1.0;
    for _ in 0..STEPS {
        let residuals = points.iter().map(|&point| (point.0 - x_mean, residual(alpha, beta, point)));
        let (first, second) =
            residuals.fold((0.0, 0.0), |(first, second), (x, r)| (first + r, second + r * x));
        // No step is so long that the exponential gets out of hand.
        alpha += (first / n).clamp(-1.0, 1.0);
        beta += (second / spread).clamp(-1.0, 1.0);
    }
    let squares: f64 =
        points.iter().map(|&point| ((point.0 - x_mean) * residual(alpha, beta, point)).powi(2)).sum();
    let freedom = points.len().saturating_sub(2).max(1);
    Estimate::new(beta, (squares * n / freedom as f64).sqrt() / spread, freedom)
}

/// The quantile of Student's t that goes with [`DEVIATIONS`] of the normal, by the first two terms of its expansion
/// in 1/ν (Abramowitz and Stegun 26.7.5): within a thousandth from ν = 20 on.
pub(super) fn student(freedom: usize) -> f64 {
    let (z, v) = (DEVIATIONS, freedom.max(1) as f64);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    z + first / v + second / (v * v)
}

/// The mean of values whose variances go as 1/weight: of means over batches of that many rows.
pub(super) fn mean(values: impl Iterator<Item = (f64, f64)> + Clone) -> Estimate {
    let weights: f64 = values.clone().map(|(_, weight)| weight).sum();
    let mean = values.clone().map(|(value, weight)| weight * value).sum::<f64>() / weights;
    let count = values.clone().count();
    let freedom = count.saturating_sub(1).max(1);
    let squares: f64 = values.map(|(value, weight)| weight * (value - mean).powi(2)).sum();
    Estimate::new(mean, (squares / freedom as f64 / weights).sqrt(), freedom)
}

/// The slope of the least-squares line through (x, y).
pub(super) fn slope(points: &[(f64, f64)]) -> Estimate {
    let n = points.len() as f64;
    let x_mean = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let y_mean = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let spread: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let slope = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum::<f64>() / spread;
    let residual: f64 = points.iter().map(|(x, y)| (y - y_mean - slope * (x - x_mean)).powi(2)).sum();
    let freedom = points.len().saturating_sub(2).max(1);
    Estimate::new(slope, (residual / freedom as f64 / spread).sqrt(), freedom)
}

/// The largest of some numbers, NaN if one is.
pub(super) fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |most, value| if value > most || value.is_nan() { value } else { most })
}

/// √Σx².
pub(super) fn norm(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found() {
        let on = slope(&[(0.0, 1.0), (1.0, 0.5), (2.0, 0.0), (5.0, -1.5)]);
        assert!((on.value + 0.5).abs() < 1e-12 && on.half_width < 1e-6);
        // y = x ± 1: the residual variance is 4/2, the spread of x 20/… by hand
        let off = slope(&[(0.0, 1.0), (1.0, 0.0), (2.0, 1.0), (3.0, 4.0)]);
        assert!((off.value - 1.0).abs() < 1e-12);
        assert!((off.half_width - student(2) * (4.0f64 / 2.0 / 5.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn growth_is_that_of_the_mean() {
        // Of two values at each x, whose mean is exp(1 + 2·x) and whose logarithms' mean is another line.
        let points: Vec<(f64, f64)> = [0.0, 0.5, 2.0, 3.0]
            .into_iter()
            .flat_map(|x: f64| {
                let spread = 0.2 + 0.2 * x;
                [1.0 - spread, 1.0 + spread].map(|factor| (x, factor * (1.0 + 2.0 * x).exp()))
            })
            .collect();
        assert!((growth(&points).value - 2.0).abs() < 1e-9, "{:?}", growth(&points));
        assert!(growth(&points).half_width > 0.1);
        let logarithms: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (x, y.ln())).collect();
        assert!((slope(&logarithms).value - 2.0).abs() > 0.05);
        assert!((growth(&points).halved().value - 1.0).abs() < 1e-9);
    }

    #[test]
    fn means_are_weighted() {
        let estimate = mean([(1.0, 1.0), (4.0, 2.0)].into_iter());
        assert!((estimate.value - 3.0).abs() < 1e-12);
        // 1·4 + 2·1 over one degree of freedom and a weight of 3
        assert!((estimate.half_width - student(1) * 2f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, wanted) in [(30, 3.646), (60, 3.460), (120, 3.373), (100_000, 3.2905)] {
            assert!((student(freedom) - wanted).abs() < 4e-3, "{freedom}: {}", student(freedom));
        }
    }

    #[test]
    fn nothing_hides_what_is_not_finite() {
        assert!(largest([1.0, f64::NAN, 2.0]).is_nan());
        assert!((largest([1.0, 3.0, 2.0]) - 3.0).abs() < 1e-12);
    }
}
