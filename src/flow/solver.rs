//! Solvers of the flow's differential equation, dx/dt = v(x, t) (eq. 1): a table of explicit tableaux.
//!
//! ```text
//! k_i = v(x + h·Σ_j a_ij·k_j, t + c_i·h)          x ← x + h·Σ_i b_i·k_i
//! ```

use crate::{Error, Result};

/// What a solver does with its stages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Runge–Kutta in steps that are known beforehand.
    RungeKutta,
    /// x ← x + h·((1 + ω/2)·k − ω/2·k of the step before), ω the ratio of the two steps; the first step is Euler's.
    /// (Adams–Bashforth of two steps; Hairer, Nørsett, Wanner I, III.5)
    Multistep,
    /// Runge–Kutta with an estimate of its own error, which controls the step of every particle.
    Adaptive {
        /// b_i − b̂_i: the difference to the embedded method.
        error: &'static [f64],
        /// d_i of the interpolation inside a step (Hairer, Nørsett, Wanner I, II.6).
        dense: &'static [f64],
    },
    /// Euler's method of the stochastic flow with the same marginals: x ← x + h·drift + g·√h·ξ.
    Stochastic,
}

/// An explicit method.
#[derive(Debug, PartialEq)]
pub struct Solver {
    /// Its name on the command line.
    pub name: &'static str,
    /// The order of its global error in the step.
    pub order: u32,
    /// One line of help.
    pub help: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// What it does with its stages.
    pub method: Method,
    /// Rows i = 1… of a_ij, j < i (row 0 is empty).
    pub a: &'static [&'static [f64]],
    /// The weights b_i.
    pub b: &'static [f64],
    /// The nodes c_i.
    pub c: &'static [f64],
}

/// All solvers.
pub static SOLVERS: &[Solver] = &[
    Solver {
        name: "euler",
        order: 1,
        help: "one evaluation a step: the cheapest; its error falls with the step",
        source: "Euler 1768",
        method: Method::RungeKutta,
        a: &[],
        b: &[1.0],
        c: &[0.0],
    },
    Solver {
        name: "midpoint",
        order: 2,
        help: "two evaluations a step: a good default for learned flows",
        source: "Runge 1895",
        method: Method::RungeKutta,
        a: &[&[0.5]],
        b: &[0.0, 1.0],
        c: &[0.0, 0.5],
    },
    Solver {
        name: "heun",
        order: 2,
        help: "two evaluations a step, at its two ends (the explicit trapezoid)",
        source: "Heun 1900",
        method: Method::RungeKutta,
        a: &[&[1.0]],
        b: &[0.5, 0.5],
        c: &[0.0, 1.0],
    },
    Solver {
        name: "rk4",
        order: 4,
        help: "four evaluations a step: for exact work with smooth activations",
        source: "Kutta 1901",
        method: Method::RungeKutta,
        a: &[&[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
        b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
        c: &[0.0, 0.5, 0.5, 1.0],
    },
    Solver {
        name: "ab2",
        order: 2,
        help: "one evaluation a step and the one before: order 2 at the price of Euler, for few evaluations",
        source: "Bashforth and Adams 1883",
        method: Method::Multistep,
        a: &[],
        b: &[1.0],
        c: &[0.0],
    },
    Solver {
        name: "dopri5",
        order: 5,
        help: "every particle chooses its own steps by --rtol and --atol; six evaluations a step",
        source: "Dormand and Prince 1980",
        method: Method::Adaptive { error: &DOPRI5_ERROR, dense: &DOPRI5_DENSE },
        a: &[
            &[1.0 / 5.0],
            &[3.0 / 40.0, 9.0 / 40.0],
            &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
            &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
            &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
            &DOPRI5_WEIGHTS,
        ],
        b: &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0, 0.0],
        c: &[0.0, 0.2, 0.3, 0.8, 8.0 / 9.0, 1.0, 1.0],
    },
    Solver {
        name: "euler-maruyama",
        order: 1,
        help: "a stochastic flow with the same marginals, with the noise that --diffusion says",
        source: "Maruyama 1955",
        method: Method::Stochastic,
        a: &[],
        b: &[1.0],
        c: &[0.0],
    },
];

/// Row 6 of a: its last stage is the first one of the next step.
const DOPRI5_WEIGHTS: [f64; 6] =
    [35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0];
const DOPRI5_ERROR: [f64; 7] =
    [71.0 / 57600.0, 0.0, -71.0 / 16695.0, 71.0 / 1920.0, -17253.0 / 339_200.0, 22.0 / 525.0, -1.0 / 40.0];
const DOPRI5_DENSE: [f64; 7] = [
    -12_715_105_075.0 / 11_282_082_432.0,
    0.0,
    87_487_479_700.0 / 32_700_410_799.0,
    -10_690_763_975.0 / 1_880_347_072.0,
    701_980_252_875.0 / 199_316_789_632.0,
    -1_453_857_185.0 / 822_651_844.0,
    69_997_945.0 / 29_380_423.0,
];

impl Solver {
    /// The solver of that name.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown one, naming those that there are.
    pub fn named(name: &str) -> Result<&'static Self> {
        SOLVERS.iter().find(|solver| solver.name == name).ok_or_else(|| {
            let names: Vec<&str> = SOLVERS.iter().map(|solver| solver.name).collect();
            Error::config(format!("no solver is called `{name}`"), format!("there are {}", names.join(", ")))
        })
    }

    /// Evaluations of the velocity a step.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.b.len()
    }

    /// Whether it chooses its own steps.
    #[must_use]
    pub fn is_adaptive(&self) -> bool {
        matches!(self.method, Method::Adaptive { .. })
    }

    /// a_ij.
    #[must_use]
    pub fn coefficient(&self, i: usize, j: usize) -> f64 {
        i.checked_sub(1).and_then(|row| self.a.get(row)).and_then(|row| row.get(j)).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Butcher's conditions up to the order that the table claims (order 5 adds nine more; `tests/sampling.rs` measures
    /// what they are for).
    #[test]
    fn tableaux_meet_their_order_conditions() {
        for solver in SOLVERS.iter().filter(|solver| solver.method != Method::Multistep) {
            let stages = solver.stages();
            let (b, c) = (solver.b, solver.c);
            let sum = |f: &dyn Fn(usize) -> f64| (0..stages).map(|i| b[i] * f(i)).sum::<f64>();
            let ac = |i: usize| (0..i).map(|j| solver.coefficient(i, j) * c[j]).sum::<f64>();
            let check = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{}", solver.name);
            for (i, node) in c.iter().enumerate() {
                check((0..i).map(|j| solver.coefficient(i, j)).sum(), *node);
            }
            check(sum(&|_| 1.0), 1.0);
            if solver.order >= 2 {
                check(sum(&|i| c[i]), 0.5);
            }
            if solver.order >= 3 {
                check(sum(&|i| c[i].powi(2)), 1.0 / 3.0);
                check(sum(&ac), 1.0 / 6.0);
            }
            if solver.order >= 4 {
                check(sum(&|i| c[i].powi(3)), 0.25);
                check(sum(&|i| c[i] * ac(i)), 0.125);
            }
            if solver.order >= 5 {
                check(sum(&|i| c[i].powi(4)), 0.2);
            }
            if let Method::Adaptive { error, dense } = solver.method {
                // Both methods are consistent, and the interpolation ends where the step does.
                for row in [error, dense] {
                    assert_eq!(row.len(), stages);
                    assert!(row.iter().sum::<f64>().abs() < 1e-12, "{}", solver.name);
                }
                // The last stage is the first one of the next step.
                assert!(
                    (0..stages - 1).all(|j| solver.coefficient(stages - 1, j).to_bits() == b[j].to_bits())
                );
                // The embedded method is of order 4.
                let embedded =
                    |f: &dyn Fn(usize) -> f64| (0..stages).map(|i| (b[i] - error[i]) * f(i)).sum::<f64>();
                for power in 0..4i32 {
                    check(embedded(&|i| c[i].powi(power)), 1.0 / f64::from(power + 1));
                }
            }
        }
    }
}
