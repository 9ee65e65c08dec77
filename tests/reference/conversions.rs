//! What a velocity says besides: for x = a·x1 + b·x0 and v = a'·x1 + b'·x0 (their means given x),
//! with D = a·b' − a'·b:
//!   x1 = (b'·x − b·v)/D,   x0 = (a·v − a'·x)/D,   ∇log p_t(x) = −x0/b
//!
//! Another schedule (ā, b̄) for the same model: a time s of the one is the time t of the other at which
//! signal and noise stand in the same ratio, a(t)/b(t) = ā(s)/b̄(s), and x̄ = c·x with c = b̄(s)/b(t):
//!   ū(x̄, s) = c'/c·x̄ + c·t'(s)·v(x̄/c, t)
//! The ratio is compared, and c, c' and t' are formed, through f = a/(a + b) and a + b, which stay finite where
//! b = 0:
//!   f(t) = f̄(s),   t' = f̄'/f',   c = (ā + b̄)/(a + b),   c' = ((ā + b̄)' − c·(a + b)'·t')/(a + b)
//!
//! Stochastic sampling with the same marginals, by Euler and Maruyama, ξ ~ N(0, I):
//!   x <- x + h·(v + g²/2·∇log p_t(x)) + g·√h·ξ
//!
//! Source: Song et al., "Score-based generative modeling through stochastic differential equations",
//! 2021; Albergo et al., "Stochastic interpolants", 2023; Karras et al. 2022 for the schedules.

use super::integrator::Transform;
use super::path::Coefficients;
use super::philox::{self, DIFFUSION};

/// a·b' − a'·b
fn wronskian(at: Coefficients) -> f64 {
    at.a * at.db - at.da * at.b
}

/// E[x1 | x].
// x: [..], v: [..]
pub fn denoised(x: &[f64], v: &[f64], at: Coefficients) -> Vec<f64> {
    x.iter().zip(v).map(|(x, v)| (at.db * x - at.b * v) / wronskian(at)).collect()
}

/// E[x0 | x].
// x: [..], v: [..]
pub fn noise(x: &[f64], v: &[f64], at: Coefficients) -> Vec<f64> {
    x.iter().zip(v).map(|(x, v)| (at.a * v - at.da * x) / wronskian(at)).collect()
}

/// ∇log p_t(x), for x0 ~ N(0, I).
// x: [..], v: [..]
pub fn score(x: &[f64], v: &[f64], at: Coefficients) -> Vec<f64> {
    noise(x, v, at).iter().map(|x0| -x0 / at.b).collect()
}

/// A time of the other schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rescheduled {
    /// t(s), a time of the model.
    pub t: f64,
    /// t'(s)
    pub dt: f64,
    /// c
    pub c: f64,
    /// c'(s)
    pub dc: f64,
}

/// Where the model stands when the other schedule is at s. a/(a + b) of the model must rise.
pub fn reschedule(
    model: &dyn Fn(f64) -> Coefficients,
    other: &dyn Fn(f64) -> Coefficients,
    s: f64,
) -> Rescheduled {
    let fraction = |at: Coefficients| at.a / (at.a + at.b);
    let fraction_slope = |at: Coefficients| -wronskian(at) / (at.a + at.b).powi(2);
    let there = other(s);
    let (mut low, mut high) = (0.0, 1.0);
    for _halving in 0..100 {
        let middle = f64::midpoint(low, high);
        if fraction(model(middle)) < fraction(there) {
            low = middle;
        } else {
            high = middle;
        }
    }
    let t = f64::midpoint(low, high);
    let here = model(t);
    let dt = fraction_slope(there) / fraction_slope(here);
    let c = (there.a + there.b) / (here.a + here.b);
    let dc = (there.da + there.db - c * (here.da + here.db) * dt) / (here.a + here.b);
    Rescheduled { t, dt, c, dc }
}

/// The same as what an evaluation of the model is transformed by.
pub fn transform(
    model: &dyn Fn(f64) -> Coefficients,
    other: &dyn Fn(f64) -> Coefficients,
    s: f64,
) -> Transform {
    let Rescheduled { t, dt, c, dc } = reschedule(model, other, s);
    Transform { alpha: dc / c, beta: c * dt, scale: 1.0 / c, time: t }
}

/// Euler–Maruyama over given times: the states at all of them. `g` is the diffusion.
// x0: [B, D]; v: ([B, D], t) -> [B, D]; times: [n + 1]
// out: [n + 1] of [B, D]
pub fn stochastic(
    v: impl Fn(&[f64], f64) -> Vec<f64>,
    path: &dyn Fn(f64) -> Coefficients,
    g: impl Fn(f64) -> f64,
    x0: &[f64],
    dim: usize,
    times: &[f64],
    (seed, first_row): (u64, u32),
) -> Vec<Vec<f64>> {
    let mut trajectory = vec![x0.to_vec()];
    for step in 0..times.len() - 1 {
        let x = &trajectory[step];
        let (t, h) = (times[step], times[step + 1] - times[step]);
        let v = v(x, t);
        let score = score(x, &v, path(t));
        let mut next = vec![];
        for row in 0..x.len() / dim {
            let xi = philox::normal_row(seed, first_row + row as u32, step as u32, DIFFUSION, dim);
            for d in 0..dim {
                let i = row * dim + d;
                next.push(x[i] + h * (v[i] + g(t).powi(2) / 2.0 * score[i]) + g(t) * h.sqrt() * xi[d]);
            }
        }
        trajectory.push(next);
    }
    trajectory
}

/// Data N(m, s²) seen along a path: everything about its marginals in closed form.
#[derive(Debug, Clone, Copy)]
pub struct Gaussian {
    pub mean: f64,
    pub std: f64,
}

impl Gaussian {
    /// Var x_t = a²·s² + b².
    pub fn variance(self, at: Coefficients) -> f64 {
        (at.a * self.std).powi(2) + at.b.powi(2)
    }

    /// u_t = a'·m + (a·a'·s² + b·b')/Var·(x − a·m).
    pub fn velocity(self, x: f64, at: Coefficients) -> f64 {
        let slope = (at.a * at.da * self.std.powi(2) + at.b * at.db) / self.variance(at);
        at.da * self.mean + slope * (x - at.a * self.mean)
    }

    /// The flow from time to time: x − a·m grows as the standard deviation does.
    pub fn flow(self, x: f64, from: Coefficients, to: Coefficients) -> f64 {
        to.a * self.mean + (self.variance(to) / self.variance(from)).sqrt() * (x - from.a * self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::adaptive::{Tolerance, adaptive};
    use crate::reference::integrator::{cosine, integrate_over, tableau, transformed, uniform};
    use crate::reference::mismatches;
    use crate::reference::path::{cosine as trigonometric, ot, poly, vp};
    use crate::reference::philox::normal_rows;

    const FINE: Tolerance = Tolerance { atol: 1e-11, rtol: 1e-11 };
    const DATA: Gaussian = Gaussian { mean: 1.5, std: 0.4 };

    /// a and b that do not add up to 1, and slopes that vanish nowhere.
    fn swelling(t: f64) -> Coefficients {
        Coefficients { a: t + t * t, b: 2.0 - 1.9 * t, da: 1.0 + 2.0 * t, db: -1.9 }
    }

    type Schedule = (&'static str, Box<dyn Fn(f64) -> Coefficients>);

    fn schedules() -> Vec<Schedule> {
        vec![
            ("ot", Box::new(ot(1e-3))),
            ("straight", Box::new(ot(0.0))),
            ("trigonometric", Box::new(trigonometric())),
            ("cubic", Box::new(poly(3))),
            ("swelling", Box::new(swelling)),
        ]
    }

    /// And one that never comes to a ratio of 0: no model for the beginning of another, but one to be followed.
    fn all_schedules() -> Vec<Schedule> {
        let mut all = schedules();
        all.push(("vp", Box::new(vp(0.1, 20.0))));
        all
    }

    #[test]
    fn conversions_are_those_of_gaussians() {
        let mut failures = vec![];
        for (name, path) in all_schedules() {
            for t in [0.05, 0.3, 0.5, 0.9, 0.99] {
                let at = path(t);
                for x in [-1.0, 0.3, 2.0] {
                    let v = DATA.velocity(x, at);
                    let (deviation, variance) = (x - at.a * DATA.mean, DATA.variance(at));
                    let want = [
                        DATA.mean + at.a * DATA.std.powi(2) / variance * deviation,
                        at.b / variance * deviation,
                        -deviation / variance,
                    ];
                    let got =
                        [denoised(&[x], &[v], at), noise(&[x], &[v], at), score(&[x], &[v], at)].concat();
                    failures.extend(mismatches(&format!("{name} at {t}, {x}"), &got, &want, 1e-11));
                    // x1 and x0 make up x and v again.
                    let again = [at.a * got[0] + at.b * got[1], at.da * got[0] + at.db * got[1]];
                    failures.extend(mismatches(&format!("{name} at {t}, {x}"), &again, &[x, v], 1e-11));
                }
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn a_rescheduled_time_has_the_ratio_and_the_derivatives() {
        let mut failures = vec![];
        for (name, model) in schedules() {
            for (other_name, other) in all_schedules() {
                for s in [0.1, 0.5, 0.8] {
                    let r = reschedule(&*model, &*other, s);
                    let (here, there) = (model(r.t), other(s));
                    let name = format!("{name} as {other_name} at {s}");
                    failures.extend(mismatches(&name, &[here.a / here.b], &[there.a / there.b], 1e-12));
                    failures.extend(mismatches(
                        &name,
                        &[r.c, r.c],
                        &[there.b / here.b, there.a / here.a],
                        1e-12,
                    ));
                    let h = 1e-5;
                    let (low, high) =
                        (reschedule(&*model, &*other, s - h), reschedule(&*model, &*other, s + h));
                    let slopes = [(high.t - low.t) / (2.0 * h), (high.c - low.c) / (2.0 * h)];
                    failures.extend(mismatches(&name, &[r.dt, r.dc], &slopes, 1e-8));
                }
            }
            let same = reschedule(&*model, &*model, 0.4);
            failures.extend(mismatches(
                name,
                &[same.t, same.dt, same.c, same.dc],
                &[0.4, 1.0, 1.0, 0.0],
                1e-12,
            ));
        }
        // Both ends of a path that ends without noise.
        let at = |s| reschedule(&ot(0.0), &trigonometric(), s);
        let (start, end) = (at(0.0), at(1.0));
        failures.extend(mismatches("ends", &[start.t, start.c, end.t, end.c], &[0.0, 1.0, 1.0, 1.0], 1e-12));
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn a_rescheduled_field_is_the_other_path_s_own() {
        // For Gaussian data the marginal field of every path is known.
        let mut failures = vec![];
        for (name, model) in schedules() {
            for (other_name, other) in all_schedules() {
                let field = transformed(
                    |x, t| vec![DATA.velocity(x[0], model(t))],
                    |s| transform(&*model, &*other, s),
                );
                let name = format!("{name} as {other_name}");
                for s in [0.1, 0.4, 0.7, 0.95] {
                    for x in [-1.0, 0.4, 2.0] {
                        let want = DATA.velocity(x, other(s));
                        failures.extend(mismatches(
                            &format!("{name} at {s}, {x}"),
                            &field(&[x], s),
                            &[want],
                            1e-9,
                        ));
                    }
                }
                let want = DATA.flow(0.7, other(0.1), other(0.95));
                let got = adaptive(&field, &[0.7], (0.1, 0.95), FINE, 10_000);
                failures.extend(mismatches(&format!("{name}, carried"), &got.y, &[want], 1e-8));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn a_rescheduled_flow_ends_in_the_same_points() {
        // No closed form: a field that bends. From x̄ = c(s0)·x the two flows meet at x̄ = c(s1)·x.
        let v = |x: &[f64], t: f64| vec![(2.0 * x[1] + t).sin(), x[0] - 0.5 * x[1] * x[0].cos()];
        let mut failures = vec![];
        for (name, model) in schedules() {
            for (other_name, other) in all_schedules() {
                let (s0, s1) = (0.2, 0.9);
                let (start, end) = (reschedule(&*model, &*other, s0), reschedule(&*model, &*other, s1));
                let x = adaptive(v, &[0.5, -1.0], (start.t, end.t), FINE, 10_000).y;
                let field = transformed(v, |s| transform(&*model, &*other, s));
                let bar = adaptive(&field, &[0.5 * start.c, -start.c], (s0, s1), FINE, 10_000).y;
                let want: Vec<f64> = x.iter().map(|x| end.c * x).collect();
                failures.extend(mismatches(&format!("{name} as {other_name}"), &bar, &want, 1e-8));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn without_diffusion_it_is_euler() {
        let v = |x: &[f64], t: f64| x.iter().map(|x| (x + t).sin()).collect::<Vec<_>>();
        let x0 = normal_rows(3, 0, 120, 4, 3);
        let times = cosine((0.0, 0.9), 7);
        let got = stochastic(v, &ot(0.0), |_| 0.0, &x0, 3, &times, (5, 0));
        assert_eq!(got, integrate_over(tableau("euler"), v, &x0, &times));
    }

    #[test]
    fn noise_comes_from_its_address() {
        // v = 0 on the path a = t, b = 1 at t = 0: x0 = x and the score is −x. One step from x = 0 is g·√h·ξ.
        let path = |t: f64| Coefficients { a: t, b: 1.0, da: 1.0, db: 0.0 };
        let still = |x: &[f64], _: f64| vec![0.0; x.len()];
        let got = stochastic(still, &path, |_| 0.5, &[0.0; 6], 3, &[0.0, 0.25], (5, 40));
        let xi = [philox::normal_row(5, 40, 0, 4, 3), philox::normal_row(5, 41, 0, 4, 3)].concat();
        let want: Vec<f64> = xi.iter().map(|xi| 0.25 * xi).collect();
        let failures = mismatches("x", &got[1], &want, 1e-15);
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn the_marginals_stay_whatever_the_diffusion() {
        let (rows, steps, end) = (20_000, 40, 0.95);
        for (name, path) in
            [("ot", &ot(1e-3) as &dyn Fn(f64) -> Coefficients), ("trigonometric", &trigonometric())]
        {
            for (diffusion, g) in [
                ("1", &(|_| 1.0) as &dyn Fn(f64) -> f64),
                ("√(2(1 − t))", &|t: f64| (2.0 * (1.0 - t)).sqrt()),
            ] {
                // The drift is linear: what Euler–Maruyama does to mean and variance is known exactly, too.
                let exact = |steps: usize| {
                    let times = uniform((0.0, end), steps);
                    let (mut mean, mut variance) = (0.0, 1.0);
                    for pair in times.windows(2) {
                        let (at, h, g) = (path(pair[0]), pair[1] - pair[0], g(pair[0]));
                        let drift = |x: f64| {
                            let v = DATA.velocity(x, at);
                            v + g * g / 2.0 * score(&[x], &[v], at)[0]
                        };
                        variance *= (1.0 + h * (drift(1.0) - drift(0.0))).powi(2);
                        variance += g * g * h;
                        mean += h * drift(mean);
                    }
                    (mean, variance)
                };
                let want = (path(end).a * DATA.mean, DATA.variance(path(end)));
                let (coarse, fine) = (exact(4000), exact(8000));
                // First order in h, towards the marginals.
                assert!(
                    (fine.0 - want.0).abs() < 1e-3 && (fine.1 - want.1).abs() < 1e-3,
                    "{name}, {diffusion}: {fine:?}, {want:?}"
                );
                assert!((coarse.1 - want.1).abs() > 1.8 * (fine.1 - want.1).abs(), "{name}, {diffusion}");
                let v = |x: &[f64], t: f64| x.iter().map(|x| DATA.velocity(*x, path(t))).collect::<Vec<_>>();
                let x0 = normal_rows(11, 0, 121, rows, 1);
                let x = stochastic(v, path, g, &x0, 1, &uniform((0.0, end), steps), (17, 0))
                    .pop()
                    .expect("states");
                let (mean, variance) = exact(steps);
                let n = rows as f64;
                let got_mean = x.iter().sum::<f64>() / n;
                let got_variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                assert!(
                    (got_mean - mean).abs() < 4.0 * (variance / n).sqrt(),
                    "{name}, {diffusion}: {got_mean}, {mean}"
                );
                assert!(
                    (got_variance - variance).abs() < 4.0 * variance * (2.0 / n).sqrt(),
                    "{name}, {diffusion}: {got_variance}, {variance}"
                );
            }
        }
    }
}
