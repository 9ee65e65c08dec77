//! The device layer: adapters, buffers, kernels, submissions. It knows nothing of flows or networks.

mod adapter;
mod compose;
mod device;
mod habits;
mod matrix;
mod plan;

pub use adapter::{AdapterChoice, Adapters, INSTALL_HINT};
pub use compose::{Constant, Variant};
pub use device::{Buffer, BufferCopy, Device, DeviceOptions, Purpose, Submission};
pub use habits::{Habits, Matrices};
pub use matrix::{Matrix, Texture};
pub(crate) use matrix::{fits_texture, widened};
pub use plan::{Binding, Dispatch, Kernel};
