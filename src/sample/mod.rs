//! Sampling: the integrators that carry noise to data and data to noise, log-densities along the way, and the velocity
//! itself.

mod adaptive;
mod fused;
mod layered;
mod layout;
mod likelihood;
mod pairs;
mod portable;
mod sampler;
mod timetable;

pub use crate::model::Kernels;
pub use adaptive::Tolerance;
pub(crate) use fused::{Load, fused_variant, tiles};
pub(crate) use layered::{
    StageKind, combine_variant, control_variant, probe_variant, stage_variant, trace_variant,
};
pub use layout::{Noise, Particle, Stage, Tableau};
pub use likelihood::LogDensity;
pub use pairs::Pairs;
pub use portable::Portable;
pub(crate) use sampler::noise_variant;
pub use sampler::{Flow, SampleOptions, Sampler, Start};
