//! Sampling: the integrators that carry noise to data, and the velocity itself.

mod fused;
mod layered;
mod layout;
mod sampler;

pub(crate) use fused::integrator_variant;
pub use layout::{NetworkTable, Noise, Stage, Tableau};
pub use sampler::{Kernels, SampleOptions, Sampler};
