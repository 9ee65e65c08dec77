//! Sampling: the integrators that carry noise to data, and the velocity itself.

mod fused;
mod layered;
mod layout;
mod sampler;

pub(crate) use fused::{integrator_variant, tiles};
pub(crate) use layered::stage_variant;
pub use layout::{NetworkTable, Noise, Stage, Tableau};
pub(crate) use sampler::noise_variant;
pub use sampler::{Kernels, SampleOptions, Sampler};
