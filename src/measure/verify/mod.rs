//! The theorems of flow matching, checked numerically on a device: what the kernels compute, held against float64 on
//! the host, against closed forms, and against each other.
//!
//! A check is one entry of [`CHECKS`]. It makes one or more [`Outcome`]s, each of which is a number that was measured,
//! the number that theory expects, and how far apart the two may be.
//!
//! # Chance
//! Checks that rest on random batches give an interval at the confidence [`CONFIDENCE`]: of a program without a fault,
//! one seed in a thousand fails such an outcome by chance. The same seed gives the same batches on every adapter, up to
//! the rounding of its sines and logarithms.

mod fields;
mod flows;
mod paths;
mod statistics;
mod theorem;

use std::cell::OnceCell;
use std::ops::ControlFlow;

use serde::Serialize;

use crate::data::Dataset;
use crate::gpu::Device;
use crate::model::Model;
use crate::train::{TrainOptions, Trainer};
use crate::{Error, Result};

/// The confidence of every interval.
pub const CONFIDENCE: f64 = 0.999;
/// How many standard errors that is to each side, of a normal.
const DEVIATIONS: f64 = 3.290_5;

/// A theorem, and how it is checked.
#[derive(Debug)]
pub struct Check {
    /// Its name on the command line.
    pub name: &'static str,
    /// The equations of the note.
    pub equation: &'static str,
    /// One line of help.
    pub help: &'static str,
    run: fn(&Verifier) -> Result<Vec<Outcome>>,
}

/// All checks, in the order of the command's table.
pub static CHECKS: &[Check] = &[
    Check {
        name: "velocity",
        equation: "11–13",
        help: "Theorem 3: u_t(x | x1) is the time derivative of x_t, on every path, in both forms",
        run: paths::velocities,
    },
    Check {
        name: "straight",
        equation: "13",
        help: "conditional `ot` paths are straight and of constant speed, those of `vp` are not",
        run: paths::straightness,
    },
    Check {
        name: "sigma-min",
        equation: "10",
        help: "at t = 1 the density around a data point is N(x1, σ_min²·I)",
        run: fields::widths,
    },
    Check {
        name: "continuity",
        equation: "5, 6",
        help: "Theorem 1: the marginal field moves the marginal density, ∂p/∂t + div(p·u) = 0",
        run: fields::continuity,
    },
    Check {
        name: "gradient",
        equation: "9",
        help: "Theorem 2: the gradients of L_FM and L_CFM differ by noise that falls as B^(−1/2)",
        run: theorem::gradients,
    },
    Check {
        name: "losses",
        equation: "7, 8",
        help: "L_CFM = L_FM + C with the crossing energy C",
        run: theorem::losses,
    },
    Check {
        name: "push-forward",
        equation: "1–3",
        help: "samples of a linear flow have the target's moments; solvers are of their orders",
        run: flows::push_forward,
    },
    Check {
        name: "likelihood",
        equation: "4",
        help: "log p along a linear flow is that of the Gaussian in closed form",
        run: flows::likelihood,
    },
    Check {
        name: "mass",
        equation: "4",
        help: "the density of a trained two-dimensional model integrates to 1",
        run: flows::mass,
    },
];

impl Check {
    /// The check of that name.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown one, naming those that there are.
    pub fn named(name: &str) -> Result<&'static Self> {
        CHECKS.iter().find(|check| check.name == name).ok_or_else(|| {
            let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
            Error::config(
                format!("no check is called `{}`", name.escape_debug()),
                format!("there are {}", names.join(", ")),
            )
        })
    }
}

/// One number that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// What it is, in words.
    pub what: String,
    /// The number.
    pub measured: f64,
    /// What theory says.
    pub expected: f64,
    /// How the two are compared.
    pub criterion: Criterion,
}

/// When a measured number is as expected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// |measured − expected| is at most this: rounding, and where it is said the order of a method.
    Within(f64),
    /// The measured number is at least the expected one: a property that is absent.
    AtLeast,
    /// The confidence interval, this far to both sides of the measured number, holds the expected one, and is no wider
    /// than would tell anything.
    Interval {
        /// Half its width, at the confidence [`CONFIDENCE`].
        half_width: f64,
        /// The most that half its width may be.
        widest: f64,
    },
}

impl Outcome {
    fn within(what: impl Into<String>, measured: f64, expected: f64, tolerance: f64) -> Self {
        Self { what: what.into(), measured, expected, criterion: Criterion::Within(tolerance) }
    }

    fn at_least(what: impl Into<String>, measured: f64, expected: f64) -> Self {
        Self { what: what.into(), measured, expected, criterion: Criterion::AtLeast }
    }

    fn interval(what: impl Into<String>, estimate: statistics::Estimate, expected: f64, widest: f64) -> Self {
        let criterion = Criterion::Interval { half_width: estimate.half_width, widest };
        Self { what: what.into(), measured: estimate.value, expected, criterion }
    }

    /// Whether the measured number is as expected. One that is not finite never is.
    #[must_use]
    pub fn passed(&self) -> bool {
        let off = (self.measured - self.expected).abs();
        // A comparison with NaN is false.
        match self.criterion {
            Criterion::Within(tolerance) => off <= tolerance,
            Criterion::AtLeast => self.measured >= self.expected && self.measured.is_finite(),
            Criterion::Interval { half_width, widest } => off <= half_width && half_width <= widest,
        }
    }
}

/// Runs checks on a device.
///
/// # Examples
/// ```
/// use windfield::gpu::{Device, DeviceOptions};
/// use windfield::measure::verify::{Check, Verifier};
///
/// let device = Device::open(&DeviceOptions::default())?;
/// let verifier = Verifier::new(&device, 0);
/// for outcome in verifier.run(Check::named("straight")?)? {
///     assert!(outcome.passed(), "{outcome:?}");
/// }
/// # Ok::<(), windfield::Error>(())
/// ```
#[derive(Debug)]
pub struct Verifier {
    device: Device,
    seed: u64,
    stop: fn() -> bool,
    trained: OnceCell<Trained>,
}

/// A model that has learned something, and is far from done: what the checks of the losses, their gradients and the
/// mass of a density are made with.
#[derive(Debug)]
struct Trained {
    model: Model,
    /// What it was trained on, in the network's coordinates.
    data: Dataset,
}

/// Rows of its data set.
const ROWS: usize = 128;
/// Its updates.
const STEPS: u64 = 200;

impl Verifier {
    /// Checks on a device, with a seed of all batches.
    #[must_use]
    pub fn new(device: &Device, seed: u64) -> Self {
        Self { device: device.clone(), seed, stop: || false, trained: OnceCell::new() }
    }

    /// Asks `stop` now and then whether to break off with [`Error::Interrupted`].
    pub fn stop_when(&mut self, stop: fn() -> bool) {
        self.stop = stop;
    }

    /// What a check finds.
    ///
    /// # Errors
    /// [`Error::Interrupted`], and whatever the device refuses. A check that fails is no error.
    pub fn run(&self, check: &Check) -> Result<Vec<Outcome>> {
        self.go_on()?;
        (check.run)(self)
    }

    /// An error if an end was asked for.
    fn go_on(&self) -> Result<()> {
        if (self.stop)() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// The trained model, which is trained when it is first asked for: [`STEPS`] steps on [`ROWS`] points of `moons`,
    /// two hidden layers of 64, the path `ot`.
    fn trained(&self) -> Result<&Trained> {
        if let Some(trained) = self.trained.get() {
            return Ok(trained);
        }
        let data = Dataset::open_seeded(&format!("moons:{ROWS}"), self.seed)?;
        let options = TrainOptions {
            hidden: vec![64, 64],
            batch: 256,
            steps: STEPS,
            ema: 0.0,
            warmup: 20,
            seed: self.seed,
            ..TrainOptions::default()
        };
        let mut trainer = Trainer::new(&self.device, &data, None, options)?;
        let stop = self.stop;
        trainer.run(|_| if stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })?;
        self.go_on()?;
        let model = trainer.model()?;
        let mut values = data.values().to_vec();
        if let Some(standardization) = &model.standardization {
            standardization.apply(&mut values);
        }
        let data = Dataset::from_rows(data.name(), values, data.dim())?;
        Ok(self.trained.get_or_init(|| Trained { model, data }))
    }
}

#[cfg(test)]
mod tests;
