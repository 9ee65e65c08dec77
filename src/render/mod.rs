//! Pictures and animations of a flow.

mod bending;
mod cloud;
mod crossing;
mod film;
mod images;
mod page;
mod space;
mod streaks;
mod velocity;
mod view;

use crate::Result;
use crate::sample::Sampler;

pub use bending::Bending;
pub(crate) use cloud::splat_variant;
pub use cloud::{Cloud, Look, Splat};
pub use crossing::Crossing;
pub use film::{Format, film, fits};
pub use images::Images;
pub use page::Page;
pub use space::Space;
pub(crate) use streaks::lic_variant;
pub use streaks::{Lic, Streaks, window};
pub use velocity::Velocity;
pub use view::View;

/// The trajectories of samples 0 … n − 1, `[n, states, d]` in the network's coordinates.
fn trajectories(sampler: &mut Sampler, n: usize) -> Result<Vec<f32>> {
    let mut all = vec![];
    let mut first = 0;
    while first < n {
        let rows = sampler.trajectory_chunk().min(n - first);
        all.extend(sampler.sample_trajectory(first as u64, rows)?);
        first += rows;
    }
    Ok(all)
}
