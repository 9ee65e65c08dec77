//! The velocity field v(x, t): a multilayer perceptron, its weights, its file, and its kernels.

mod activation;
mod architecture;
mod condition;
mod file;
mod kernels;
mod network;
mod onnx;
mod table;
mod tiled;
mod tuning;

pub use activation::{ACTIVATIONS, Activation};
pub use architecture::{Architecture, Atlas, LayerWeights};
pub(crate) use architecture::{Layout, MAX_LAYERS, PAD};
pub use file::{FORMAT, Model};
pub(crate) use file::{save_tensors, tensor};
pub use kernels::{KERNELS, Kernels};
pub(crate) use network::{
    Keeps, Network, Parameters, TILE_ROWS, backward_input_variant, backward_weight_variant, forward_variant,
    largest_rows, tangent_variant, to_u32, unrolled, unrolls,
};
pub use network::{NetworkTable, Rows};
pub(crate) use table::Table;
pub(crate) use tiled::TILES;
pub use tuning::{Task, Tuned, Tuning};
