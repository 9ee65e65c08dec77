//! What a training run is made of.

use serde::{Deserialize, Serialize};

use crate::flow::{Coupling, Path};
use crate::model::{Activation, Kernels};
use crate::{Error, Result};

/// The learning rate as a function of the step, after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The same throughout.
    #[default]
    Constant,
    /// Half a cosine down to zero at the last step.
    Cosine,
}

/// All schedules, with their names and a line of help.
pub static SCHEDULES: &[(&str, Schedule, &str)] = &[
    ("constant", Schedule::Constant, "the same rate throughout"),
    ("cosine", Schedule::Cosine, "half a cosine down to zero at the last step"),
];

impl std::str::FromStr for Schedule {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        SCHEDULES.iter().find(|entry| entry.0 == name).map(|entry| entry.1).ok_or_else(|| {
            let names: Vec<&str> = SCHEDULES.iter().map(|entry| entry.0).collect();
            Error::config(
                format!("no schedule is called `{name}`"),
                format!("there are {}", names.join(", ")),
            )
        })
    }
}

/// The settings of a training run. All that its result depends on, together with the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// The conditional probability path.
    pub path: Path,
    /// Which x0 meets which x1.
    pub coupling: Coupling,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Between the layers.
    pub activation: Activation,
    /// K, the frequencies of the time features.
    pub time_frequencies: usize,
    /// B, rows of a batch.
    pub batch: usize,
    /// Updates in all.
    pub steps: u64,
    /// The learning rate.
    pub lr: f32,
    /// How it falls.
    pub schedule: Schedule,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// The largest norm of the gradient; 0: off.
    pub clip: f32,
    /// Decay of the weight average; 0: off.
    pub ema: f32,
    /// Of the weights, the batches and everything else.
    pub seed: u64,
    /// Whether columns are brought to mean 0 and deviation 1.
    pub standardize: bool,
    /// Steps between measurements of the exact loss ([`ExactLoss`](super::ExactLoss)); 0: off. The result of training
    /// does not depend on it.
    pub exact_every: u64,
    /// Rows of the held-out batch that it is measured over.
    pub exact_rows: usize,
    /// Which kernels. The result depends on them up to rounding.
    pub kernels: Kernels,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            path: Path::default(),
            coupling: Coupling::default(),
            hidden: vec![128, 128, 128],
            activation: Activation::default(),
            time_frequencies: 0,
            batch: 512,
            steps: 10_000,
            lr: 3e-3,
            schedule: Schedule::Cosine,
            warmup: 100,
            weight_decay: 0.0,
            clip: 1.0,
            ema: 0.999,
            seed: 0,
            standardize: true,
            exact_every: 0,
            exact_rows: 4096,
            kernels: Kernels::Auto,
        }
    }
}

impl TrainOptions {
    /// Checks every setting by itself.
    ///
    /// # Errors
    /// [`Error::Config`] naming the flag.
    pub fn validate(&self) -> Result<()> {
        let refuse = |flag: &str, value: &dyn std::fmt::Display, remedy: &str| {
            Err(Error::config(format!("{flag} {value} is out of range"), format!("it takes {remedy}")))
        };
        if self.batch == 0 || self.batch > 1 << 30 {
            return refuse("--batch", &self.batch, "a number from 1 to 2^30");
        }
        self.coupling.steps(self.batch)?;
        if self.steps > u64::from(u32::MAX) {
            return refuse("--steps", &self.steps, "a number up to 2^32 − 1");
        }
        if self.warmup > u64::from(u32::MAX) {
            return refuse("--warmup", &self.warmup, "a number up to 2^32 − 1");
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return refuse("--lr", &self.lr, "a positive number");
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return refuse("--weight-decay", &self.weight_decay, "a number that is not negative");
        }
        if !(self.clip.is_finite() && self.clip >= 0.0) {
            return refuse("--clip", &self.clip, "a number that is not negative; 0 switches it off");
        }
        if self.exact_rows == 0 || self.exact_rows > 1 << 24 {
            return refuse("--exact-rows", &self.exact_rows, "a number from 1 to 2^24");
        }
        if !(0.0..1.0).contains(&self.ema) {
            return refuse("--ema", &self.ema, "a number in [0, 1); 0 switches it off");
        }
        Ok(())
    }
}
