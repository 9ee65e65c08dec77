//! The velocity field v(x, t): a multilayer perceptron, its weights, its file, and its kernels.

mod activation;
mod architecture;
mod file;
mod network;

pub use activation::{ACTIVATIONS, Activation};
pub use architecture::Architecture;
pub(crate) use architecture::{Layout, PAD};
pub use file::{FORMAT, Model};
pub(crate) use file::{save_tensors, tensor};
pub(crate) use network::{
    Network, TILE_ROWS, backward_input_variant, backward_weight_variant, forward_variant, largest_rows, to_u32,
};
