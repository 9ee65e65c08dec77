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
