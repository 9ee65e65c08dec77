//! The explicit Runge–Kutta methods: dx/dt = v(x, t) in equal steps (eq. 1–3).
//!
//!   k_j = v(x + h·Σ_{l<j} A[j][l]·k_l, t_i + c_j·h),   x <- x + h·Σ_j b_j·k_j,   t_i = t0 + i·h
//!
//! Source: Butcher, "Numerical methods for ordinary differential equations"; Hairer, Nørsett,
//! Wanner, "Solving ordinary differential equations I", table II.1.

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

/// Integrates from t0 to t1, in either direction: the states at t_0, …, t_n.
// x0: any shape; v: (x, t) -> dx/dt of that shape
// out: [steps + 1] states
pub fn integrate(
    tableau: &Tableau,
    v: impl Fn(&[f64], f64) -> Vec<f64>,
    x0: &[f64],
    (t0, t1): (f64, f64),
    steps: usize,
) -> Vec<Vec<f64>> {
    let h = (t1 - t0) / steps as f64;
    // x + h·Σ_l weights_l·k_l
    let moved = |x: &[f64], weights: &[f64], k: &[Vec<f64>]| -> Vec<f64> {
        (0..x.len()).map(|e| x[e] + h * weights.iter().zip(k).map(|(w, k)| w * k[e]).sum::<f64>()).collect()
    };
    let mut trajectory = vec![x0.to_vec()];
    for i in 0..steps {
        let x = &trajectory[i];
        let t = t0 + i as f64 * h;
        let mut k: Vec<Vec<f64>> = vec![];
        for (a, c) in tableau.a.iter().zip(tableau.c) {
            k.push(v(&moved(x, a, &k), t + c * h));
        }
        trajectory.push(moved(x, tableau.b, &k));
    }
    trajectory
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
