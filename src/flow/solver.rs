//! Solvers of the flow's differential equation, dx/dt = v(x, t) (eq. 1): a table of explicit Runge–Kutta tableaux.
//!
//! ```text
//! k_i = v(x + h·Σ_j a_ij·k_j, t + c_i·h)          x ← x + h·Σ_i b_i·k_i
//! ```

use crate::{Error, Result};

/// An explicit Runge–Kutta method with equal steps.
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
        a: &[],
        b: &[1.0],
        c: &[0.0],
    },
    Solver {
        name: "midpoint",
        order: 2,
        help: "two evaluations a step: a good default for learned flows",
        source: "Runge 1895",
        a: &[&[0.5]],
        b: &[0.0, 1.0],
        c: &[0.0, 0.5],
    },
    Solver {
        name: "heun",
        order: 2,
        help: "two evaluations a step, at its two ends (the explicit trapezoid)",
        source: "Heun 1900",
        a: &[&[1.0]],
        b: &[0.5, 0.5],
        c: &[0.0, 1.0],
    },
    Solver {
        name: "rk4",
        order: 4,
        help: "four evaluations a step: for exact work with smooth activations",
        source: "Kutta 1901",
        a: &[&[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
        b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
        c: &[0.0, 0.5, 0.5, 1.0],
    },
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

    /// a_ij.
    #[must_use]
    pub fn coefficient(&self, i: usize, j: usize) -> f64 {
        i.checked_sub(1).and_then(|row| self.a.get(row)).and_then(|row| row.get(j)).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Butcher's conditions up to the order that the table claims.
    #[test]
    fn tableaux_meet_their_order_conditions() {
        for solver in SOLVERS {
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
        }
    }
}
