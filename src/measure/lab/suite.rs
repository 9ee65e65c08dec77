//! Suites: plans whose figures are published, with those figures.

use super::plan::{Plan, Task, Validation};
use crate::Result;
use crate::flow::{COUPLINGS, Path};
use crate::train::TrainOptions;

/// A plan with published figures.
#[derive(Debug)]
pub struct Suite {
    /// Its name on the command line.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// What is published.
    pub comparison: &'static str,
    /// Where.
    pub source: &'static str,
    plan: fn() -> Result<Plan>,
}

/// All suites.
pub static SUITES: &[Suite] = &[
    Suite {
        name: "transport",
        help: "two-dimensional transport as it is published: 4 flows, 2 couplings, 5 seeds of 20 000 steps",
        comparison: "transport",
        source: "Tong et al. 2023, table 2",
        plan: transport,
    },
    Suite {
        name: "transport-averaged",
        help: "the same as we would do it: no noise around the path, and averaged weights",
        comparison: "transport",
        source: "Tong et al. 2023, table 2",
        plan: transport_averaged,
    },
];

impl Suite {
    /// The suite of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SUITES.iter().find(|suite| suite.name == name)
    }

    /// Its plan.
    ///
    /// # Errors
    /// None that a suite of this module can have.
    pub fn plan(&self) -> Result<Plan> {
        (self.plan)()
    }
}

/// 10 000 training points for each seed, 1000 epochs in batches of 512, σ = 0.1 around straight lines, Euler's method in
/// 100 steps, 1000 test points. Weights are those of the lowest loss over 1000 validation points, looked at every ten
/// epochs (`callbacks/default.yaml` and `train.py` of github.com/atong01/conditional-flow-matching), and the W₂² of NPE is
/// one of 10 000 data points (issue 140 there).
fn transport() -> Result<Plan> {
    let flow = |name: &str, data: &str, source: Option<&str>| Task {
        name: name.to_owned(),
        data: format!("{data}:10000"),
        source: source.map(|source| format!("{source}:10000")),
    };
    Ok(Plan {
        tasks: vec![
            flow("N→8gaussians", "8gaussians", None),
            flow("moons→8gaussians", "8gaussians-wide", Some("moons-wide")),
            flow("N→moons", "moons", None),
            flow("N→scurve", "scurve", None),
        ],
        only: vec![],
        paths: vec![Path::default().with("sigma_min", 0.0)?.with_noise(0.1)?],
        couplings: COUPLINGS.iter().take(2).map(|entry| entry.coupling).collect(),
        seeds: (0..5).collect(),
        fresh: true,
        train: Plan::plain(20_000)?,
        // Every ten epochs.
        validation: Some(Validation { every: 200, rows: 1000 }),
        rows: 1000,
        transport_rows: Some(10_000),
        solver_steps: 100,
        quality_steps: vec![1, 2, 4, 8, 16, 32, 64, 128],
    })
}

/// The same flows, network, optimiser and steps. Pairs that do not cross do so once they are blurred, so there is no blur;
/// and at a constant rate one set of weights is as good as the last steps made it, so the weights are averaged, at the decay
/// that training has by default.
fn transport_averaged() -> Result<Plan> {
    let plan = transport()?;
    Ok(Plan {
        paths: vec![Path::default().with("sigma_min", 0.0)?],
        train: TrainOptions { ema: TrainOptions::default().ema, ..plan.train },
        validation: None,
        ..plan
    })
}

/// A published figure: the mean over five seeds and the standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// The [comparison](Suite::comparison).
    pub comparison: &'static str,
    /// The name of the task.
    pub task: &'static str,
    /// The name of the coupling.
    pub coupling: &'static str,
    /// The name of the measure.
    pub measure: &'static str,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
}

/// Tong et al. 2023, "Improving and generalizing flow-based generative models with minibatch optimal transport"
/// (arXiv:2302.00482), table 2: `OT-CFM` there is the coupling `minibatch-ot` here, `I-CFM` there `independent`.
pub static PUBLISHED: &[Published] = &[
    published("N→8gaussians", "minibatch-ot", "W2", 1.26, 0.35),
    published("N→8gaussians", "minibatch-ot", "NPE", 0.018, 0.014),
    published("N→8gaussians", "independent", "W2", 1.28, 0.38),
    published("N→8gaussians", "independent", "NPE", 0.222, 0.032),
    published("moons→8gaussians", "minibatch-ot", "W2", 1.92, 0.39),
    published("moons→8gaussians", "minibatch-ot", "NPE", 0.053, 0.035),
    published("moons→8gaussians", "independent", "W2", 1.98, 0.27),
    published("moons→8gaussians", "independent", "NPE", 2.74, 0.18),
    published("N→moons", "minibatch-ot", "W2", 0.239, 0.048),
    published("N→moons", "minibatch-ot", "NPE", 0.087, 0.061),
    published("N→moons", "independent", "W2", 0.338, 0.109),
    published("N→moons", "independent", "NPE", 0.841, 0.148),
    published("N→scurve", "minibatch-ot", "W2", 0.264, 0.093),
    published("N→scurve", "minibatch-ot", "NPE", 0.027, 0.026),
    published("N→scurve", "independent", "W2", 0.333, 0.060),
    published("N→scurve", "independent", "NPE", 0.867, 0.117),
];

const fn published(
    task: &'static str,
    coupling: &'static str,
    measure: &'static str,
    mean: f64,
    deviation: f64,
) -> Published {
    Published { comparison: "transport", task, coupling, measure, mean, deviation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_figures_are_of_cells_that_are_run() {
        let figures = |suite: &Suite| PUBLISHED.iter().filter(|it| it.comparison == suite.comparison).count();
        assert!(SUITES.iter().all(|suite| figures(suite) == 16));
        for (figure, suite) in
            PUBLISHED.iter().flat_map(|figure| SUITES.iter().map(move |suite| (figure, suite)))
        {
            let plan = suite.plan().unwrap();
            plan.validate().unwrap();
            assert!(plan.tasks.iter().any(|task| task.name == figure.task), "{figure:?}");
            assert!(
                plan.couplings.iter().any(|coupling| coupling.entry().name == figure.coupling),
                "{figure:?}"
            );
        }
    }
}
