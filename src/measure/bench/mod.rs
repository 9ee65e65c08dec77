//! How fast a device does the work of this program, and how near that is to what the device can do.
//!
//! A [`Bench`] measures one figure at a time; a [`Report`] holds what was measured. Three rules make figures worth
//! comparing: what happens once (compiling, filling buffers, finding the length of submissions) is over before the clock
//! starts; every figure is measured in several rounds, and kernels that are compared take turns within a round; and a
//! rate is counted between two moments at which work is known to be done.
//!
//! Each kernel's time is held against the least that the device's own [`Peak`] allows for its [`Work`](crate::gpu::Work):
//! the roofline (Williams, Waterman & Patterson 2009). Data that stay in caches may come out above the peak of memory; a
//! kernel that is short beside the cost of launching it comes out far below either.
//!
//! # Examples
//! ```
//! use std::time::Duration;
//! use windfield::gpu::{Device, DeviceOptions};
//! use windfield::measure::bench::Bench;
//! use windfield::model::Kernels;
//!
//! let device = Device::open(&DeviceOptions::default())?;
//! let bench = Bench::new(&device, 0, 3, Duration::from_millis(10))?;
//! let rows = bench.training(&"2:2x16:64".parse()?, &[Kernels::Auto])?;
//! println!("{} steps/s", rows[0].steps_per_s.median);
//! # Ok::<(), windfield::Error>(())
//! ```

mod compare;
mod kernels;
mod memory;
mod peak;
mod scaling;
mod shape;
mod spread;
mod throughput;
mod tune;

use std::ops::ControlFlow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gpu::{AdapterRecord, Device};
use crate::model::Kernels;
use crate::{Error, Result};

pub use compare::Comparison;
pub use kernels::{KernelTime, Roofline};
pub use memory::{MemoryUse, host_peak};
pub(crate) use peak::peak_variants;
pub use peak::{Chains, Peak};
pub use scaling::{SIZES, Scaling, ScalingPoint, Size};
pub use shape::Shape;
pub use spread::Spread;
pub use throughput::{Coupling, Likelihood, Sampling, Training};
pub use tune::Trial;

/// The version of [`Report`].
pub const SCHEMA: u32 = 1;

/// What was measured: the object that `windfield bench --json` prints. What was not asked for is not there.
///
/// Rates are medians over rounds with the smallest and the largest ([`Spread`]); rows of the same figure with different
/// kernels were measured in turn. Numbers are in units of 1: operations, bytes, seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this object: [`SCHEMA`].
    pub schema: u32,
    /// The version of the program.
    pub windfield: String,
    /// The adapter.
    pub adapter: AdapterRecord,
    /// What the device can do at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<Peak>,
    /// Steps a second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub training: Vec<Training>,
    /// Samples a second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sampling: Vec<Sampling>,
    /// Likelihoods a second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub likelihood: Vec<Likelihood>,
    /// Assignments a second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coupling: Vec<Coupling>,
    /// The time of each kernel, and its share of the peak.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<Roofline>,
    /// Costs against sizes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scaling: Vec<Scaling>,
    /// From the start of a process to its first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartTimes>,
    /// Which kernels are the fastest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tuning: Vec<Trial>,
    /// Of this very process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUse>,
    /// What was asked for and does not fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
}

impl Default for Report {
    /// Nothing yet, of no adapter.
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            windfield: env!("CARGO_PKG_VERSION").to_owned(),
            adapter: AdapterRecord::default(),
            peak: None,
            training: vec![],
            sampling: vec![],
            likelihood: vec![],
            coupling: vec![],
            kernels: vec![],
            scaling: vec![],
            start: None,
            tuning: vec![],
            memory: None,
            refused: vec![],
        }
    }
}

impl Report {
    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let blank = Self { adapter: self.adapter.clone(), refused: self.refused.clone(), ..Self::default() };
        *self == blank
    }
}

/// How long a process takes from its start to the end of its first training step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartTimes {
    /// The network and the batch.
    pub shape: Shape,
    /// Without a cache of compiled kernels: this program's, and the driver's as far as a variable does that, which is
    /// Mesa's and NVIDIA's.
    pub cold_s: Spread,
    /// With all caches as they are after an earlier start.
    pub warm_s: Spread,
}

/// Something that was asked for and cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What.
    pub figure: String,
    /// Why not.
    pub reason: String,
}

/// Measures a device.
#[derive(Debug)]
pub struct Bench {
    device: Device,
    seed: u64,
    rounds: usize,
    time: Duration,
    stop: fn() -> bool,
}

impl Bench {
    /// Every figure is measured `rounds` times, each for about so long.
    ///
    /// # Errors
    /// [`Error::Config`] for no rounds at all.
    pub fn new(device: &Device, seed: u64, rounds: usize, time: Duration) -> Result<Self> {
        if rounds == 0 {
            return Err(Error::config("--rounds 0 measures nothing", "it takes a number of at least 1"));
        }
        Ok(Self { device: device.clone(), seed, rounds, time, stop: || false })
    }

    /// Asks `stop` now and then whether to break off with [`Error::Interrupted`].
    pub fn stop_when(&mut self, stop: fn() -> bool) {
        self.stop = stop;
    }

    /// An error if an end was asked for.
    fn go_on(&self) -> Result<()> {
        if (self.stop)() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// An empty report of the device.
    #[must_use]
    pub fn report(&self) -> Report {
        Report { adapter: AdapterRecord::of(&self.device), ..Report::default() }
    }

    /// Makes one training step of a network of that shape, from the data set to the end of the step.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn first_step(&self, shape: &Shape, kernels: Kernels) -> Result<()> {
        let mut trainer = self.trainer(&self.data(shape.dim)?, shape, kernels)?;
        trainer.limit_submission(1);
        trainer.run(|_| ControlFlow::Break(())).map(drop)
    }
}
