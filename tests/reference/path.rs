//! The paths x_t = b(t)·x0 + a(t)·x1 with their derivatives by t, noise at t = 0.
//!
//! Sources: Lipman et al., "Flow matching for generative modeling", ICLR 2023, eq. 16–20; Song et al., "Score-based
//! generative modeling through stochastic differential equations", ICLR 2021, eq. 9 and 11.

use std::f64::consts::FRAC_PI_2;

/// A path at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    pub a: f64,
    pub b: f64,
    /// a'
    pub da: f64,
    /// b'
    pub db: f64,
}

impl Coefficients {
    pub fn array(self) -> [f64; 4] {
        [self.a, self.b, self.da, self.db]
    }
}

/// The path `ot`: a = t, b = 1 − (1 − σ_min)·t.
pub fn ot(sigma_min: f64) -> impl Fn(f64) -> Coefficients {
    move |t| Coefficients { a: t, b: 1.0 - t + sigma_min * t, da: 1.0, db: -(1.0 - sigma_min) }
}

/// The path `vp`: a = exp(−T/2), b = √(1 − a²), T = β_min·s + (β_max − β_min)·s²/2, s = 1 − t.
pub fn vp(beta_min: f64, beta_max: f64) -> impl Fn(f64) -> Coefficients {
    move |t| {
        let s = 1.0 - t;
        let integral = beta_min * s + (beta_max - beta_min) * s * s / 2.0;
        // dT/dt
        let rate = -(beta_min + (beta_max - beta_min) * s);
        let a = (-integral / 2.0).exp();
        let b = (-(-integral).exp_m1()).sqrt();
        Coefficients { a, b, da: -rate / 2.0 * a, db: (-integral).exp() * rate / (2.0 * b) }
    }
}

/// The path `ve`: a = 1, b = σ_min·√((σ_max/σ_min)^(2s) − 1), s = 1 − t.
pub fn ve(sigma_min: f64, sigma_max: f64) -> impl Fn(f64) -> Coefficients {
    move |t| {
        // (σ_max/σ_min)^(2s) = e^(rate·s)
        let rate = 2.0 * (sigma_max / sigma_min).ln();
        let s = 1.0 - t;
        let b = sigma_min * (rate * s).exp_m1().sqrt();
        // b² = σ_min²·(e^(rate·s) − 1), so 2·b·b' = −σ_min²·rate·e^(rate·s)
        Coefficients { a: 1.0, b, da: 0.0, db: -sigma_min * sigma_min * rate * (rate * s).exp() / (2.0 * b) }
    }
}

/// The path `cosine`: a = sin(πt/2), b = cos(πt/2).
pub fn cosine() -> impl Fn(f64) -> Coefficients {
    |t| {
        let a = (FRAC_PI_2 * t).sin();
        // cos(πt/2) = sin(π(1 − t)/2), which is exact where it is small
        let b = (FRAC_PI_2 * (1.0 - t)).sin();
        Coefficients { a, b, da: FRAC_PI_2 * b, db: -FRAC_PI_2 * a }
    }
}

/// The path `poly:n`: a = tⁿ, b = 1 − tⁿ.
pub fn poly(n: i32) -> impl Fn(f64) -> Coefficients {
    move |t| {
        // 1 − tⁿ = (1 − t)·(1 + t + … + tⁿ⁻¹), which keeps its digits near t = 1
        let b = (1.0 - t) * (0..n).map(|i| t.powi(i)).sum::<f64>();
        let slope = f64::from(n) * t.powi(n - 1);
        Coefficients { a: t.powi(n), b, da: slope, db: -slope }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coefficients_have_the_boundaries_and_derivatives_of_the_paths() {
        // Its name, itself, a and b at 0, a and b at 1.
        type Entry<'a> = (&'a str, &'a dyn Fn(f64) -> Coefficients, [f64; 4]);
        let table: [Entry<'_>; 6] = [
            ("ot", &ot(1e-2), [0.0, 1.0, 1.0, 1e-2]),
            ("vp", &vp(0.1, 20.0), [(-5.025f64).exp(), (1.0 - (-10.05f64).exp()).sqrt(), 1.0, 0.0]),
            ("ve", &ve(0.01, 10.0), [1.0, (100.0 - 1e-4f64).sqrt(), 1.0, 0.0]),
            ("cosine", &cosine(), [0.0, 1.0, 1.0, 0.0]),
            ("poly:1", &poly(1), [0.0, 1.0, 1.0, 0.0]),
            ("poly:5", &poly(5), [0.0, 1.0, 1.0, 0.0]),
        ];
        for (name, path, ends) in table {
            let (begin, end) = (path(0.0), path(1.0));
            for (got, want) in [begin.a, begin.b, end.a, end.b].into_iter().zip(ends) {
                assert!((got - want).abs() < 1e-12, "{name}: {got}, expected {want}");
            }
            let h = 1e-5;
            for t in [0.1, 0.5, 0.9] {
                let (low, here, high) = (path(t - h), path(t), path(t + h));
                let near = |slope: f64, high: f64, low: f64| {
                    let difference = (high - low) / (2.0 * h);
                    assert!((difference - slope).abs() < 1e-7 * slope.abs().max(1.0), "{name} at {t}");
                };
                near(here.da, high.a, low.a);
                near(here.db, high.b, low.b);
            }
        }
    }
}
