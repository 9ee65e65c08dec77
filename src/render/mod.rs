//! Pictures and animations of a flow.

mod streaks;

pub(crate) use streaks::lic_variant;
pub use streaks::{Lic, Streaks, window};
