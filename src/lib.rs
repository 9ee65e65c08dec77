//! windfield
pub mod data;
pub mod error;
pub mod files;
pub mod flow;
pub mod gpu;
pub mod model;
pub mod sample;
pub mod train;
pub use error::{Error, Result};
