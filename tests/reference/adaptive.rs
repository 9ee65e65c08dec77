//! Dormand–Prince 5(4) with a step of its own for each particle.
//!
//! A step from y0 at t, the last stage taken at the new point:
//!   k_j = v(y0 + h·Σ_{l<j} A[j][l]·k_l, t + c_j·h),   y1 = y0 + h·Σ_j b_j·k_j,   k_7 = v(y1, t + h)
//! Its error estimate, over the D components:
//!   e = h·Σ_j (b_j − b̂_j)·k_j,   err = √(mean (e_i/(atol + rtol·max(|y0_i|, |y1_i|)))²)
//! The controller (proportional and integral), β = 0.04, expo = 0.2 − 0.75·β:
//!   fac11 = err^expo,   fac = clamp(fac11/err_old^β/0.9, 1/10, 5)
//!   err ≤ 1: accepted; h_new = h/fac, not longer than h right after a rejection; err_old = max(err, 10⁻⁴)
//!   err > 1: rejected; h_new = h/min(5, fac11/0.9)
//! A step that would come within a hundredth of itself of t1, or beyond, ends at t1. The first one is
//!   h = 0.01·d0/d1,   d0 = rms(y/sc),   d1 = rms(k1/sc),   sc = atol + rtol·|y|,
//! 10⁻⁶ where d0 or d1 is below 10⁻⁵, and no longer than the interval.
//! Between y0 and y1, at t + θ·h (order 4), with Δ = y1 − y0 and B = h·k1 − Δ:
//!   y(θ) = y0 + θ·(Δ + (1 − θ)·(B + θ·((Δ − h·k7 − B) + (1 − θ)·h·Σ_j d_j·k_j)))
//!
//! Source: Dormand, Prince, "A family of embedded Runge–Kutta formulae", 1980; Hairer, Nørsett,
//! Wanner, "Solving ordinary differential equations I", sections II.4–II.6, and their program DOPRI5.

/// A[j], the coefficients of the stages before stage j; the last row is b.
pub const A: [&[f64]; 7] = [
    &[],
    &[1.0 / 5.0],
    &[3.0 / 40.0, 9.0 / 40.0],
    &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
    &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
    &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
    &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
];
/// c
pub const C: [f64; 7] = [0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0];
/// b, of order 5.
pub const B: [f64; 7] =
    [35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0, 0.0];
/// b̂, of order 4.
pub const B_HAT: [f64; 7] = [
    5179.0 / 57600.0,
    0.0,
    7571.0 / 16695.0,
    393.0 / 640.0,
    -92097.0 / 339_200.0,
    187.0 / 2100.0,
    1.0 / 40.0,
];
/// d, of the dense output.
pub const D: [f64; 7] = [
    -12_715_105_075.0 / 11_282_082_432.0,
    0.0,
    87_487_479_700.0 / 32_700_410_799.0,
    -10_690_763_975.0 / 1_880_347_072.0,
    701_980_252_875.0 / 199_316_789_632.0,
    -1_453_857_185.0 / 822_651_844.0,
    69_997_945.0 / 29_380_423.0,
];

const BETA: f64 = 0.04;

/// What an error is measured by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    pub atol: f64,
    pub rtol: f64,
}

/// A step that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub t: f64,
    pub h: f64,
    /// The estimated error in units of the tolerance; at most 1 is accepted.
    pub err: f64,
    // y0: [D]
    pub y0: Vec<f64>,
    // y1: [D]
    pub y1: Vec<f64>,
    // k: [7, D]
    pub k: Vec<Vec<f64>>,
}

impl Attempt {
    pub fn accepted(&self) -> bool {
        self.err <= 1.0
    }

    /// y at t + θ·h.
    // out: [D]
    pub fn dense(&self, theta: f64) -> Vec<f64> {
        let (h, k) = (self.h, &self.k);
        (0..self.y0.len())
            .map(|i| {
                let delta = self.y1[i] - self.y0[i];
                let b = h * k[0][i] - delta;
                let sum: f64 = (0..7).map(|j| D[j] * k[j][i]).sum();
                let inner = (delta - h * k[6][i] - b) + (1.0 - theta) * h * sum;
                self.y0[i] + theta * (delta + (1.0 - theta) * (b + theta * inner))
            })
            .collect()
    }
}

/// The way of one particle.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The state where it stopped: at t1, or at the step limit.
    // y: [D]
    pub y: Vec<f64>,
    pub t: f64,
    /// Whether t1 was reached.
    pub finished: bool,
    /// Every step that was tried, in turn.
    pub attempts: Vec<Attempt>,
}

impl Solution {
    pub fn accepted(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.accepted()).count()
    }

    pub fn rejected(&self) -> usize {
        self.attempts.len() - self.accepted()
    }

    /// Evaluations of v.
    pub fn nfe(&self) -> usize {
        1 + 6 * self.attempts.len()
    }

    /// The state at a time between t0 and t1, by dense output of the accepted step that contains it.
    // out: [D]
    pub fn at(&self, t: f64) -> Vec<f64> {
        let theta = |attempt: &Attempt| (t - attempt.t) / attempt.h;
        let around = (self.attempts.iter())
            .filter(|attempt| attempt.accepted())
            .find(|attempt| theta(attempt) <= 1.0)
            .expect("a time of the interval");
        around.dense(theta(around))
    }

    /// How near the nearest decision is to going the other way: min |log err|.
    pub fn margin(&self) -> f64 {
        self.attempts.iter().map(|attempt| attempt.err.ln().abs()).fold(f64::INFINITY, f64::min)
    }
}

/// √(mean (x_i/scale_i)²)
pub fn rms(x: &[f64], scale: &[f64]) -> f64 {
    let sum: f64 = x.iter().zip(scale).map(|(x, scale)| (x / scale).powi(2)).sum();
    (sum / x.len() as f64).sqrt()
}

/// What a particle remembers between attempts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Control {
    pub t: f64,
    /// The step to be tried, with its sign.
    pub h: f64,
    /// The last accepted error, not below 10⁻⁴.
    pub err_old: f64,
    /// Whether the last attempt was rejected.
    pub rejected: bool,
}

impl Control {
    /// The step to be tried, and whether it ends at t1.
    pub fn fitted(&self, t1: f64) -> (f64, bool) {
        let left = t1 - self.t;
        if (1.01 * self.h).abs() > left.abs() { (left, true) } else { (self.h, false) }
    }

    /// What follows from an error of the fitted step.
    pub fn decide(&self, t1: f64, err: f64) -> Self {
        let expo = 0.2 - 0.75 * BETA;
        let (h, last) = self.fitted(t1);
        let fac11 = err.powf(expo);
        if err <= 1.0 {
            let fac = (fac11 / self.err_old.powf(BETA) / 0.9).clamp(0.1, 5.0);
            let next = h / fac;
            return Self {
                t: if last { t1 } else { self.t + h },
                h: if self.rejected && next.abs() > h.abs() { h } else { next },
                err_old: err.max(1e-4),
                rejected: false,
            };
        }
        Self { h: h / (fac11 / 0.9).min(5.0), rejected: true, ..*self }
    }
}

/// One step.
pub fn attempt(
    v: &impl Fn(&[f64], f64) -> Vec<f64>,
    (t, h): (f64, f64),
    y0: &[f64],
    k1: &[f64],
    tolerance: Tolerance,
) -> Attempt {
    let plus = |weights: &[f64], k: &[Vec<f64>]| -> Vec<f64> {
        (0..y0.len()).map(|i| y0[i] + h * weights.iter().zip(k).map(|(w, k)| w * k[i]).sum::<f64>()).collect()
    };
    let mut k = vec![k1.to_vec()];
    for j in 1..7 {
        k.push(v(&plus(A[j], &k), t + C[j] * h));
    }
    let y1 = plus(&B, &k);
    let e: Vec<f64> =
        (0..y0.len()).map(|i| h * (0..7).map(|j| (B[j] - B_HAT[j]) * k[j][i]).sum::<f64>()).collect();
    let scale: Vec<f64> =
        (0..y0.len()).map(|i| tolerance.atol + tolerance.rtol * y0[i].abs().max(y1[i].abs())).collect();
    Attempt { t, h, err: rms(&e, &scale), y0: y0.to_vec(), y1, k }
}

/// The first step's length.
pub fn first_step(y: &[f64], k1: &[f64], (t0, t1): (f64, f64), tolerance: Tolerance) -> f64 {
    let scale: Vec<f64> = y.iter().map(|y| tolerance.atol + tolerance.rtol * y.abs()).collect();
    let (d0, d1) = (rms(y, &scale), rms(k1, &scale));
    let h = if d0 < 1e-5 || d1 < 1e-5 { 1e-6 } else { 0.01 * d0 / d1 };
    h.min((t1 - t0).abs())
}

/// Carries one particle from t0 to t1, in either direction, in at most `limit` attempts.
// y0: [D]; v: (y, t) -> dy/dt, [D]
pub fn adaptive(
    v: impl Fn(&[f64], f64) -> Vec<f64>,
    y0: &[f64],
    (t0, t1): (f64, f64),
    tolerance: Tolerance,
    limit: usize,
) -> Solution {
    let mut y = y0.to_vec();
    let mut k1 = v(&y, t0);
    let h = (t1 - t0).signum() * first_step(&y, &k1, (t0, t1), tolerance);
    let mut control = Control { t: t0, h, err_old: 1e-4, rejected: false };
    let mut attempts = vec![];
    while control.t != t1 && attempts.len() < limit {
        let step = attempt(&v, (control.t, control.fitted(t1).0), &y, &k1, tolerance);
        if step.accepted() {
            (y, k1) = (step.y1.clone(), step.k[6].clone());
        }
        control = control.decide(t1, step.err);
        attempts.push(step);
    }
    Solution { finished: control.t == t1, y, t: control.t, attempts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::mismatches;

    const FINE: Tolerance = Tolerance { atol: 1e-10, rtol: 1e-10 };
    const ENOUGH: usize = 100_000;

    /// Two bodies on an ellipse of eccentricity e, from its near end: fast there and slow at the other end.
    fn kepler(y: &[f64], _t: f64) -> Vec<f64> {
        let r3 = y[0].hypot(y[1]).powi(3);
        vec![y[2], y[3], -y[0] / r3, -y[1] / r3]
    }

    fn ellipse(e: f64) -> Vec<f64> {
        vec![1.0 - e, 0.0, 0.0, ((1.0 + e) / (1.0 - e)).sqrt()]
    }

    #[test]
    fn the_pair_has_its_orders() {
        assert_eq!(A[6], &B[..6], "the last stage is at the new point");
        let row = |j: usize, f: &dyn Fn(usize) -> f64| (0..j).map(|l| A[j][l] * f(l)).sum::<f64>();
        let mut failures = vec![];
        for j in 0..7 {
            failures.extend(mismatches("row sums", &[row(j, &|_| 1.0)], &[C[j]], 1e-14));
        }
        // All conditions up to order 4 and 5, by rooted trees.
        let ac = |j| row(j, &|l| C[l]);
        let ac2 = |j| row(j, &|l| C[l].powi(2));
        let aac = |j| row(j, &|l| row(l, &|m| C[m]));
        let four: [(&dyn Fn(usize) -> f64, f64); 8] = [
            (&|_| 1.0, 1.0),
            (&|j| C[j], 1.0 / 2.0),
            (&|j| C[j].powi(2), 1.0 / 3.0),
            (&ac, 1.0 / 6.0),
            (&|j| C[j].powi(3), 1.0 / 4.0),
            (&|j| C[j] * ac(j), 1.0 / 8.0),
            (&ac2, 1.0 / 12.0),
            (&aac, 1.0 / 24.0),
        ];
        let five: [(&dyn Fn(usize) -> f64, f64); 9] = [
            (&|j| C[j].powi(4), 1.0 / 5.0),
            (&|j| C[j].powi(2) * ac(j), 1.0 / 10.0),
            (&|j| ac(j).powi(2), 1.0 / 20.0),
            (&|j| C[j] * ac2(j), 1.0 / 15.0),
            (&|j| C[j] * aac(j), 1.0 / 30.0),
            (&|j| row(j, &|l| C[l].powi(3)), 1.0 / 20.0),
            (&|j| row(j, &|l| C[l] * ac(l)), 1.0 / 40.0),
            (&|j| row(j, &ac2), 1.0 / 60.0),
            (&|j| row(j, &aac), 1.0 / 120.0),
        ];
        for (phi, want) in four {
            for (name, b) in [("b", B), ("b̂", B_HAT)] {
                let got: f64 = (0..7).map(|j| b[j] * phi(j)).sum();
                failures.extend(mismatches(name, &[got], &[want], 1e-14));
            }
        }
        for (phi, want) in five {
            let got: f64 = (0..7).map(|j| B[j] * phi(j)).sum();
            failures.extend(mismatches("b", &[got], &[want], 1e-14));
        }
        let hat: f64 = (0..7).map(|j| B_HAT[j] * five[0].0(j)).sum();
        assert!((hat - 0.2).abs() > 1e-4, "b̂ is of order 4 only");
        // The differences that DOPRI5 lists.
        let e = [
            71.0 / 57600.0,
            0.0,
            -71.0 / 16695.0,
            71.0 / 1920.0,
            -17253.0 / 339_200.0,
            22.0 / 525.0,
            -1.0 / 40.0,
        ];
        let difference: Vec<f64> = (0..7).map(|j| B[j] - B_HAT[j]).collect();
        failures.extend(mismatches("e", &difference, &e, 1e-16));
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn dense_output_meets_its_ends_and_is_of_order_4() {
        let mut failures = vec![];
        let field = |y: &[f64], t: f64| vec![-2.0 * t * y[0], y[0] * y[1]];
        // y0 = exp(−t²) has no elementary y1; a fine solution stands for both.
        let error = |h: f64| {
            let y0 = vec![(-0.09f64).exp(), 1.0];
            let step = attempt(&field, (0.3, h), &y0, &field(&y0, 0.3), FINE);
            let mut worst: f64 = 0.0;
            for theta in [0.2, 0.5, 0.8] {
                let exact = adaptive(
                    field,
                    &y0,
                    (0.3, 0.3 + theta * h),
                    Tolerance { atol: 1e-14, rtol: 1e-14 },
                    ENOUGH,
                );
                worst = worst.max((step.dense(theta)[1] - exact.y[1]).abs());
                assert!((exact.y[0] - (-(0.3 + theta * h).powi(2)).exp()).abs() < 1e-13);
            }
            (step, worst)
        };
        let (step, coarse) = error(0.2);
        let (_, fine) = error(0.1);
        // Locally one order more.
        let slope = (coarse / fine).log2();
        assert!((slope - 5.0).abs() < 0.3, "slope {slope}, errors {coarse:e} and {fine:e}");
        failures.extend(mismatches("θ = 0", &step.dense(0.0), &step.y0, 0.0));
        failures.extend(mismatches("θ = 1", &step.dense(1.0), &step.y1, 1e-16));
        // It joins the next step with the same slope.
        let d = 1e-6;
        for (theta, k) in [(0.0, &step.k[0]), (1.0, &step.k[6])] {
            let slopes: Vec<f64> = (step.dense(theta + d).iter().zip(step.dense(theta - d)))
                .map(|(high, low)| (high - low) / (2.0 * d * step.h))
                .collect();
            failures.extend(mismatches("slope", &slopes, k, 1e-8));
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn the_error_follows_the_tolerance() {
        let (mut failures, mut previous) = (vec![], f64::INFINITY);
        for digits in [4, 6, 8, 10] {
            let tol = 10f64.powi(-digits);
            let tolerance = Tolerance { atol: tol, rtol: tol };
            let e = ellipse(0.5);
            let period = adaptive(kepler, &e, (0.0, std::f64::consts::TAU), tolerance, ENOUGH);
            let error = period.y.iter().zip(&e).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(period.finished && period.t == std::f64::consts::TAU);
            assert!(error < previous / 10.0, "10^-{digits}: {error:e} after {previous:e}");
            previous = error;
            // The error over a period is a modest multiple of what a step is allowed.
            if error > 300.0 * tol {
                failures.push(format!("10^-{digits}: {error:e}"));
            }
            assert_eq!(period.nfe(), 1 + 6 * (period.accepted() + period.rejected()));
            let h: Vec<f64> = (period.attempts.iter()).filter(|a| a.accepted()).map(|a| a.h).collect();
            let sum: f64 = h.iter().sum();
            assert!((sum - std::f64::consts::TAU).abs() < 1e-12, "accepted steps make up the interval");
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn backwards_undoes_forwards() {
        let there = adaptive(kepler, &ellipse(0.3), (0.0, 3.0), FINE, ENOUGH);
        let back = adaptive(kepler, &there.y, (3.0, 0.0), FINE, ENOUGH);
        assert!(back.finished && back.t == 0.0 && back.attempts.iter().all(|a| a.h < 0.0));
        let mut failures = mismatches("back", &back.y, &ellipse(0.3), 1e-8);
        failures.extend(mismatches("there, on the way back", &back.at(3.0), &there.y, 0.0));
        for t in [0.0, 0.7, 1.9, 3.0] {
            failures.extend(mismatches(&format!("at {t}"), &back.at(t), &there.at(t), 1e-7));
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    fn jump(_y: &[f64], t: f64) -> Vec<f64> {
        vec![if t < 0.5 { 1.0 } else { -30.0 }]
    }

    #[test]
    fn steps_are_those_of_dopri5_itself() {
        // Hairer's program as SciPy 1.15 calls it: ode(f).set_integrator("dopri5", atol, rtol, beta=0.04, safety=0.9,
        // ifactor=10, dfactor=0.2), first_step as here: accepted and tried steps, times after some of them, the end.
        type Field = fn(&[f64], f64) -> Vec<f64>;
        type Case = (&'static str, Field, Vec<f64>, (f64, f64), Tolerance, Want);
        type Want = ([usize; 2], [(usize, f64); 4], Vec<f64>);
        let tau = std::f64::consts::TAU;
        let there = [
            (1, 1.643_223_564_502_336e-3),
            (2, 1.807_545_920_952_57e-2),
            (17, 2.292_169_742_578_222),
            (32, 6.238_547_358_599_053),
        ];
        let back = [
            (1, 6.283_184_982_778_546),
            (2, 6.283_181_738_768_146),
            (16, 4.864_437_063_405_342),
            (30, 1.067_707_659_856_511e-1),
        ];
        let over = [(1, 1e-6), (2, 1.1e-5), (10, 4.844_866_546_104_283e-1), (19, 6.521_955_023_272_776e-1)];
        let cases: [Case; 3] = [
            (
                "an orbit",
                kepler,
                ellipse(0.5),
                (0.0, tau),
                Tolerance { atol: 1e-6, rtol: 1e-6 },
                (
                    [33, 40],
                    there,
                    vec![
                        4.999_999_443_820_097e-1,
                        -1.037_527_071_749_006e-4,
                        2.227_717_608_414_559e-4,
                        1.732_044_894_036_312,
                    ],
                ),
            ),
            (
                "back again",
                kepler,
                ellipse(0.5),
                (tau, 0.0),
                Tolerance { atol: 1e-9, rtol: 1e-5 },
                (
                    [31, 38],
                    back,
                    vec![
                        5.000_031_078_654_086e-1,
                        3.610_074_582_721_112e-4,
                        -7.753_255_771_063_006e-4,
                        1.732_013_777_524_354,
                    ],
                ),
            ),
            (
                "a jump",
                jump,
                vec![0.0],
                (0.0, 1.0),
                Tolerance { atol: 1e-5, rtol: 0.0 },
                ([20, 34], over, vec![-14.499_651_877_856_51]),
            ),
        ];
        let mut failures = vec![];
        for (name, field, y0, interval, tolerance, (counts, times, end)) in cases {
            let got = adaptive(field, &y0, interval, tolerance, ENOUGH);
            assert_eq!([got.accepted(), got.attempts.len()], counts, "{name}");
            let accepted: Vec<&Attempt> = got.attempts.iter().filter(|attempt| attempt.accepted()).collect();
            for (step, want) in times {
                let last = accepted[step - 1];
                // The estimates of tiny steps are mostly rounding, and a length follows its estimate.
                failures.extend(mismatches(
                    &format!("{name}: step {step}"),
                    &[last.t + last.h],
                    &[want],
                    1e-8,
                ));
            }
            failures.extend(mismatches(name, &got.y, &end, 1e-10));
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn the_controller_by_hand() {
        // A velocity at rest: d1 is 0, so the first step is 10⁻⁶; err = 0 makes each the tenfold of the last.
        let rest = adaptive(|_, _| vec![0.0, 0.0], &[1.0, 2.0], (0.0, 1.0), FINE, ENOUGH);
        let h: Vec<f64> = rest.attempts.iter().map(|a| a.h).collect();
        assert_eq!((rest.accepted(), rest.rejected(), rest.nfe()), (7, 0, 43));
        for (exponent, h) in (-6..0).zip(&h) {
            assert!((h / 10f64.powi(exponent) - 1.0).abs() < 1e-14, "{h}");
        }
        assert!((h[6] - (1.0 - 0.111_111)).abs() < 1e-14, "the rest in one");
        // d0 = d1: a hundredth of unit time.
        let tolerance = Tolerance { atol: 1e-6, rtol: 1e-4 };
        assert!((first_step(&[2.0], &[-2.0], (0.0, 1.0), tolerance) - 0.01).abs() < 1e-17);
        assert_eq!(first_step(&[2.0], &[-2.0], (0.0, 0.001), tolerance), 0.001);
        assert_eq!(first_step(&[0.0], &[-2.0], (0.0, 1.0), tolerance), 1e-6);
        // A jump cannot be stepped over at once: rejected steps shrink by at most 5, and the step right after is no
        // longer than the accepted one.
        let solution = adaptive(jump, &[0.0], (0.0, 1.0), Tolerance { atol: 1e-5, rtol: 0.0 }, ENOUGH);
        assert!(solution.rejected() > 3, "{} rejected", solution.rejected());
        for pair in solution.attempts.windows(2) {
            let ratio = pair[1].h / pair[0].h;
            if pair[0].accepted() {
                assert!(ratio <= 10.0 + 1e-9);
            } else {
                assert!((0.2 - 1e-12..0.9 + 1e-12).contains(&ratio) && pair[1].t == pair[0].t, "{ratio}");
            }
        }
        for triple in solution.attempts.windows(3) {
            if !triple[0].accepted() && triple[1].accepted() {
                assert!(triple[2].h <= triple[1].h);
            }
        }
        // The integral of the jump, each half once.
        assert!((solution.y[0] - (0.5 - 15.0)).abs() < 1e-3, "{}", solution.y[0]);
    }

    #[test]
    fn a_limit_of_steps_stops_it() {
        let full = adaptive(kepler, &ellipse(0.9), (0.0, 6.0), FINE, ENOUGH);
        let cut = adaptive(kepler, &ellipse(0.9), (0.0, 6.0), FINE, 10);
        assert!(!cut.finished && cut.t < 6.0 && cut.attempts.len() == 10);
        assert_eq!(cut.attempts, full.attempts[..10]);
        assert!(full.finished && full.margin() > 0.0);
    }

    #[test]
    fn a_linear_step_is_the_exponential_series() {
        // Order 5, and Dormand and Prince's own coefficient of h⁶, 1/600.
        let h: f64 = 0.3;
        let step = attempt(&|y: &[f64], _| y.to_vec(), (0.0, h), &[1.0], &[1.0], FINE);
        let series = 1.0
            + h
            + h.powi(2) / 2.0
            + h.powi(3) / 6.0
            + h.powi(4) / 24.0
            + h.powi(5) / 120.0
            + h.powi(6) / 600.0;
        let failures = mismatches("y1", &step.y1, &[series], 1e-15);
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
