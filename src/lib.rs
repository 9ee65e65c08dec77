//! windfield
pub mod data;
pub mod error;
pub mod files;
pub mod flow;
pub mod gpu;
pub mod model;
pub mod report;
pub mod sample;
pub mod shaders;
pub use error::{Error, Result};
