//! How fast a device does the work of this program.

mod kernels;
mod memory;
mod peak;
mod shape;
mod spread;
mod throughput;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gpu::Device;
use crate::{Error, Result};

pub use kernels::{KernelTime, Roofline};
pub use memory::{MemoryUse, host_peak};
pub(crate) use peak::peak_variants;
pub use peak::{Chains, Peak};
pub use shape::Shape;
pub use spread::Spread;
pub use throughput::{
    Coupling, Likelihood, SAMPLING_KERNELS, Sampling, TRAINING_KERNELS, Training, TrainingKernels,
};

/// What is measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// What the device can do at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<Peak>,
    /// Steps a second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub training: Vec<Training>,
    /// Samples a second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sampling: Vec<Sampling>,
    /// Likelihoods a second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub likelihood: Vec<Likelihood>,
    /// Assignments a second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub coupling: Vec<Coupling>,
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
}
