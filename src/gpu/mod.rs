//! The device layer: adapters, buffers, kernels, submissions. It knows nothing of flows or networks.

mod adapter;
mod cache;
mod compose;
mod device;
mod habits;
mod matrix;
mod memory;
mod plan;
mod profile;
mod threads;

pub use adapter::{AdapterChoice, AdapterRecord, Adapters, INSTALL_HINT};
pub use cache::{CacheFile, CachePurpose, CacheState, cache_folder};
pub use compose::{Constant, Variant};
pub use device::{Buffer, BufferCopy, Device, DeviceOptions, Purpose, Submission};
pub use habits::{Habits, Matrices};
pub use matrix::{List, Matrix, Texture};
pub(crate) use matrix::{fits_texture, pitch, widened};
pub use memory::Memory;
pub use plan::{Binding, Dispatch, Kernel, Work};
pub use profile::{Clock, Profile, Timing};
pub use threads::kept_apart;
