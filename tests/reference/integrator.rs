//! Solvers of dx/dt = v(x, t) (eq. 1–3) over given times t_0, …, t_n, h_i = t_{i+1} − t_i.
//!
//! Explicit Runge–Kutta:
//!   k_j = v(x + h·Σ_{l<j} A[j][l]·k_l, t_i + c_j·h),   x <- x + h·Σ_j b_j·k_j
//! Adams–Bashforth of order 2 with variable steps, ω = h_i/h_{i−1}, the first step by Euler:
//!   x <- x + h_i·((1 + ω/2)·v_i − ω/2·v_{i−1})
//!
//! The grids of n steps:
//!   uniform t_i = t0 + (t1 − t0)·i/n,   power t_i = t0 + (t1 − t0)·(i/n)^p,
//!   cosine  t_i = t0 + (t1 − t0)·(1 − cos(π·i/n))/2
//!
//! An evaluation may be transformed: k = α(t)·y + β(t)·v(c(t)·y, τ(t)).
//!
//! Source: Butcher, "Numerical methods for ordinary differential equations"; Hairer, Nørsett,
//! Wanner, "Solving ordinary differential equations I", table II.1 and section III.5.

use std::f64::consts::PI;

/// A method as data.
#[derive(Debug, PartialEq)]
pub struct Tableau {
    pub name: &'static str,
    /// The global error is O(h^order).
    pub order: i32,
    /// Row j holds the j coefficients of the stages before stage j.
    pub a: &'static [&'static [f64]],
    pub b: &'static [f64],
    pub c: &'static [f64],
}

/// The methods.
pub const TABLEAUX: [Tableau; 4] = [
    Tableau { name: "euler", order: 1, a: &[&[]], b: &[1.0], c: &[0.0] },
    Tableau { name: "midpoint", order: 2, a: &[&[], &[0.5]], b: &[0.0, 1.0], c: &[0.0, 0.5] },
    Tableau { name: "heun", order: 2, a: &[&[], &[1.0]], b: &[0.5, 0.5], c: &[0.0, 1.0] },
    Tableau {
        name: "rk4",
        order: 4,
        a: &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
        b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
        c: &[0.0, 0.5, 0.5, 1.0],
    },
];

/// The method of a name.
pub fn tableau(name: &str) -> &'static Tableau {
    const TABLE: &[Tableau] = &TABLEAUX;
    TABLE.iter().find(|tableau| tableau.name == name).expect("a method of the table")
}

/// The points u_i of the grid on [0, 1], moved to [t0, t1]. The last time is t1 itself.
fn grid((t0, t1): (f64, f64), steps: usize, u: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut times: Vec<f64> = (0..steps).map(|i| t0 + (t1 - t0) * u(i as f64 / steps as f64)).collect();
    times.push(t1);
    times
}

/// Equal steps.
// out: [steps + 1]
pub fn uniform(interval: (f64, f64), steps: usize) -> Vec<f64> {
    grid(interval, steps, |u| u)
}

/// Short steps at both ends.
// out: [steps + 1]
pub fn cosine(interval: (f64, f64), steps: usize) -> Vec<f64> {
    grid(interval, steps, |u| (1.0 - (PI * u).cos()) / 2.0)
}

/// Short steps at the beginning for p > 1, at the end for p < 1.
// out: [steps + 1]
pub fn power(p: f64, interval: (f64, f64), steps: usize) -> Vec<f64> {
    grid(interval, steps, |u| u.powf(p))
}

/// What turns a velocity v into another field: α(t)·y + β(t)·v(c(t)·y, τ(t)).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transform {
    /// α
    pub alpha: f64,
    /// β
    pub beta: f64,
    /// c
    pub scale: f64,
    /// τ
    pub time: f64,
}

/// The transformed field.
pub fn transformed(
    v: impl Fn(&[f64], f64) -> Vec<f64>,
    transform: impl Fn(f64) -> Transform,
) -> impl Fn(&[f64], f64) -> Vec<f64> {
    move |y, t| {
        let Transform { alpha, beta, scale, time } = transform(t);
        let x: Vec<f64> = y.iter().map(|y| scale * y).collect();
        y.iter().zip(v(&x, time)).map(|(y, v)| alpha * y + beta * v).collect()
    }
}

/// x + h·Σ_l weights_l·k_l
fn moved(x: &[f64], h: f64, weights: &[f64], k: &[Vec<f64>]) -> Vec<f64> {
    (0..x.len()).map(|e| x[e] + h * weights.iter().zip(k).map(|(w, k)| w * k[e]).sum::<f64>()).collect()
}

/// The states at the given times, which rise or fall.
// x0: any shape; v: (x, t) -> dx/dt of that shape; times: [n + 1]
// out: [n + 1] states
pub fn integrate_over(
    tableau: &Tableau,
    v: impl Fn(&[f64], f64) -> Vec<f64>,
    x0: &[f64],
    times: &[f64],
) -> Vec<Vec<f64>> {
    let mut trajectory = vec![x0.to_vec()];
    for i in 0..times.len() - 1 {
        let x = &trajectory[i];
        let (t, h) = (times[i], times[i + 1] - times[i]);
        let mut k: Vec<Vec<f64>> = vec![];
        for (a, c) in tableau.a.iter().zip(tableau.c) {
            k.push(v(&moved(x, h, a, &k), t + c * h));
        }
        trajectory.push(moved(x, h, tableau.b, &k));
    }
    trajectory
}

/// The same in equal steps from t0 to t1.
// out: [steps + 1] states
pub fn integrate(
    tableau: &Tableau,
    v: impl Fn(&[f64], f64) -> Vec<f64>,
    x0: &[f64],
    interval: (f64, f64),
    steps: usize,
) -> Vec<Vec<f64>> {
    integrate_over(tableau, v, x0, &uniform(interval, steps))
}

/// Adams–Bashforth of order 2: the states at the given times, one evaluation a step.
// x0: any shape; v: (x, t) -> dx/dt of that shape; times: [n + 1]
// out: [n + 1] states
pub fn adams_bashforth_2(v: impl Fn(&[f64], f64) -> Vec<f64>, x0: &[f64], times: &[f64]) -> Vec<Vec<f64>> {
    let mut trajectory = vec![x0.to_vec()];
    let mut k: Vec<Vec<f64>> = vec![];
    for i in 0..times.len() - 1 {
        let h = times[i + 1] - times[i];
        k.push(v(&trajectory[i], times[i]));
        let next = if i == 0 {
            moved(&trajectory[0], h, &[1.0], &k)
        } else {
            let omega = h / (times[i] - times[i - 1]);
            moved(&trajectory[i], h, &[-omega / 2.0, 1.0 + omega / 2.0], &k[i - 1..])
        };
        trajectory.push(next);
    }
    trajectory
}

/// The order of a solver of fixed steps: those of the table, and `ab2`.
pub fn order(name: &str) -> i32 {
    if name == "ab2" { 2 } else { tableau(name).order }
}

/// Any solver of fixed steps by its name.
// out: [n + 1] states
pub fn solve(name: &str, v: impl Fn(&[f64], f64) -> Vec<f64>, x0: &[f64], times: &[f64]) -> Vec<Vec<f64>> {
    if name == "ab2" { adams_bashforth_2(v, x0, times) } else { integrate_over(tableau(name), v, x0, times) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::mismatches;

    /// The slope of log error against log h between two fine step sizes.
    fn slope(error: impl Fn(usize) -> f64) -> f64 {
        let (coarse, fine) = (64, 128);
        (error(coarse) / error(fine)).log2()
    }

    #[test]
    fn errors_fall_with_the_order() {
        // x' = −x, and x' = −2tx, which feels c: exp(−t²). Forwards and backwards.
        let mut failures = vec![];
        for tableau in &TABLEAUX {
            for (t0, t1) in [(0.0, 1.0), (1.0, 0.0), (0.2, 0.7)] {
                let decay = |steps| {
                    let x = integrate(tableau, |x, _| vec![-x[0]], &[1.0], (t0, t1), steps);
                    (x[steps][0] - (t0 - t1).exp()).abs()
                };
                let bell = |steps| {
                    let x = integrate(
                        tableau,
                        |x, t| vec![-2.0 * t * x[0]],
                        &[(-t0 * t0).exp()],
                        (t0, t1),
                        steps,
                    );
                    (x[steps][0] - (-t1 * t1).exp()).abs()
                };
                for (name, slope) in [("-x", slope(decay)), ("-2tx", slope(bell))] {
                    if (slope - f64::from(tableau.order)).abs() > 0.1 {
                        failures.push(format!("{} on {name} from {t0} to {t1}: slope {slope}", tableau.name));
                    }
                }
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn tableaux_are_consistent() {
        for Tableau { name, order, a, b, c } in &TABLEAUX {
            assert!(a.len() == b.len() && b.len() == c.len(), "{name}");
            for (j, row) in a.iter().enumerate() {
                assert_eq!(row.len(), j, "{name} is explicit");
                assert!((row.iter().sum::<f64>() - c[j]).abs() < 1e-15, "{name}: c is the row sums of A");
            }
            // ∫ tᵖ⁻¹ dt = 1/p is exact up to the order.
            for p in 1..=*order {
                let moment: f64 = b.iter().zip(*c).map(|(b, c)| b * c.powi(p - 1)).sum();
                assert!((moment - 1.0 / f64::from(p)).abs() < 1e-15, "{name}: condition {p}");
            }
            assert_eq!(tableau(name).name, *name);
        }
    }

    #[test]
    fn one_step_by_hand() {
        // x' = x + t at (1, 0) with h = 1.
        let step = |name| integrate(tableau(name), |x, t| vec![x[0] + t], &[1.0], (0.0, 1.0), 1)[1].clone();
        let want = [2.0, 3.0, 3.0, 41.0 / 12.0];
        for (tableau, want) in TABLEAUX.iter().zip(want) {
            let failures = mismatches(tableau.name, &step(tableau.name), &[want], 1e-15);
            assert!(failures.is_empty(), "{failures:#?}");
        }
    }

    #[test]
    fn grids_have_their_points() {
        let mut failures =
            mismatches("uniform", &uniform((1.0, 0.0), 4), &[1.0, 0.75, 0.5, 0.25, 0.0], 1e-15);
        let half = 0.5f64.sqrt();
        let want = [0.0, (1.0 - half) / 2.0, 0.5, f64::midpoint(1.0, half), 1.0];
        failures.extend(mismatches("cosine", &cosine((0.0, 1.0), 4), &want, 1e-15));
        failures.extend(mismatches("cosine", &cosine((0.25, 0.75), 2), &[0.25, 0.5, 0.75], 1e-15));
        failures.extend(mismatches(
            "square",
            &power(2.0, (0.0, 2.0), 4),
            &[0.0, 0.125, 0.5, 1.125, 2.0],
            1e-15,
        ));
        failures.extend(mismatches(
            "root",
            &power(0.5, (1.0, 0.0), 4),
            &[1.0, 0.5, 1.0 - half, 1.0 - 0.75f64.sqrt(), 0.0],
            1e-15,
        ));
        assert_eq!(power(1.0, (0.2, 0.9), 7), uniform((0.2, 0.9), 7));
        for times in [uniform((0.1, 0.7), 9), cosine((0.1, 0.7), 9), power(3.0, (0.1, 0.7), 9)] {
            assert_eq!((times.len(), times[0], times[9]), (10, 0.1, 0.7));
            assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn errors_fall_with_the_order_on_every_grid() {
        let mut failures = vec![];
        for name in ["euler", "midpoint", "heun", "rk4", "ab2"] {
            for interval in [(0.0, 1.0), (1.0, 0.0)] {
                type Times<'a> = &'a dyn Fn(usize) -> Vec<f64>;
                let grids: [(&str, Times); 4] = [
                    ("uniform", &|steps| uniform(interval, steps)),
                    ("cosine", &|steps| cosine(interval, steps)),
                    ("square", &|steps| power(2.0, interval, steps)),
                    ("power 1.5", &|steps| power(1.5, interval, steps)),
                ];
                for (grid, times) in grids {
                    let slope = slope(|steps| {
                        let x0 = (-interval.0 * interval.0).exp();
                        let x = solve(name, |x, t| vec![-2.0 * t * x[0]], &[x0], &times(4 * steps));
                        (x[4 * steps][0] - (-interval.1 * interval.1).exp()).abs()
                    });
                    // Where the leading terms of the error cancel it falls faster still.
                    let missing = f64::from(order(name)) - slope;
                    if !(-1.1..=0.1).contains(&missing) {
                        failures.push(format!("{name} from {interval:?}, {grid}: slope {slope}"));
                    }
                }
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn adams_bashforth_integrates_lines_exactly() {
        // v = 1 + 2t needs no extrapolation beyond the linear one; only the first step, Euler's, is off, by h².
        let times = [0.0, 0.1, 0.4, 0.5, 1.0];
        let x = adams_bashforth_2(|_, t| vec![1.0 + 2.0 * t], &[0.0], &times);
        let want: Vec<f64> = times.iter().map(|t| t + t * t - 0.01 * f64::from(*t > 0.0)).collect();
        let failures = mismatches("x", &x.concat(), &want, 1e-15);
        assert!(failures.is_empty(), "{failures:#?}");
        // x' = x from 1 with steps 1, 2: 1, 2, then 2 + 2·(2·2 − 1·1) = 8.
        assert_eq!(adams_bashforth_2(|x, _| x.to_vec(), &[1.0], &[0.0, 1.0, 3.0]).concat(), [1.0, 2.0, 8.0]);
    }

    #[test]
    fn a_transform_by_hand() {
        let transform = |t: f64| Transform { alpha: t, beta: 3.0, scale: 0.5, time: 1.0 - t };
        let field = transformed(|x, t| vec![x[0] + t, x[1] * t], transform);
        // 2·4 + 3·(2 − 1), 2·6 + 3·(3·(−1))
        assert_eq!(field(&[4.0, 6.0], 2.0), [11.0, 3.0]);
    }

    #[test]
    fn the_trajectory_holds_every_state() {
        let x = integrate(tableau("euler"), |_, t| vec![1.0, t], &[0.0, 5.0], (1.0, 0.0), 4);
        assert_eq!(x.len(), 5);
        assert_eq!(x.iter().map(|x| x[0]).collect::<Vec<_>>(), [0.0, -0.25, -0.5, -0.75, -1.0]);
        // Euler takes t at the end of the step that it starts from.
        assert_eq!(x.iter().map(|x| x[1]).collect::<Vec<_>>(), [5.0, 4.75, 4.5625, 4.4375, 4.375]);
        assert_eq!(
            integrate(tableau("rk4"), |_, _| vec![], &[], (0.0, 1.0), 2),
            vec![vec![]; 3] as Vec<Vec<f64>>
        );
    }
}
