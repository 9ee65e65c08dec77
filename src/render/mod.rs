//! Pictures and animations of a flow.

mod bending;
mod crossing;
mod film;
mod page;
mod streaks;
mod velocity;
mod view;

pub use bending::Bending;
pub use crossing::Crossing;
pub use film::{Format, film};
pub use page::Page;
pub(crate) use streaks::lic_variant;
pub use streaks::{Lic, Streaks, window};
pub use velocity::Velocity;
pub use view::View;
