//! The structs that the training kernels share with the host. `tests/kernels/structs.rs` holds sizes and offsets against
//! what naga makes of their WGSL twins.

use bytemuck::{Pod, Zeroable};

/// `Chunk` of shaders/shared/chunk.wgsl: one pass over a part of the batch.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Chunk {
    /// Low and high word of the seed.
    pub seed: [u32; 2],
    /// The part's first row within the batch.
    pub first_row: u32,
    /// Its rows.
    pub rows: u32,
    /// N.
    pub data_rows: u32,
    /// Rows of the source data set, where there is one.
    pub source_rows: u32,
    /// B.
    pub batch: u32,
    /// Where this part's loss sums begin.
    pub first_partial: u32,
}

/// `Wave` of shaders/shared/wave.wgsl: which pairs are coupled.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Wave {
    /// Of the first problem.
    pub first_step: u32,
    /// Whose batches make up one problem.
    pub steps: u32,
    /// Of all problems.
    pub rows: u32,
    /// Zero.
    pub padding: u32,
}

/// `Block` of shaders/gather.wgsl: a part of a data set that lies on the device in several.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Block {
    /// In the data set.
    pub first_row: u32,
    /// Its rows.
    pub rows: u32,
    /// Zero.
    pub padding0: u32,
    /// Zero.
    pub padding1: u32,
}

/// `State` of shaders/shared/state.wgsl: what the device remembers between steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct State {
    /// Updates made so far.
    pub step: u32,
    /// 0, or 1 + the step at which something stopped being finite.
    pub halted: u32,
    /// 1 − β1^t.
    pub correction1: f32,
    /// 1 − β2^t.
    pub correction2: f32,
    /// Of the last update.
    pub learning_rate: f32,
    /// What the last gradient was multiplied by.
    pub gradient_scale: f32,
    /// Of the weight average.
    pub average_decay: f32,
    /// Zero.
    pub padding: u32,
}

/// `Schedule` of shaders/shared/schedule.wgsl: the optimiser's constants.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Schedule {
    /// The rate after warm-up, before decay.
    pub learning_rate: f32,
    /// Steps of linear warm-up.
    pub warmup: u32,
    /// Where the cosine reaches zero.
    pub steps: u32,
    /// 0: constant, 1: cosine.
    pub cosine: u32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// 1 − β1.
    pub one_minus_beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// 1 − β2.
    pub one_minus_beta2: f32,
    /// Added to √v̂.
    pub epsilon: f32,
    /// λ, decoupled.
    pub weight_decay: f32,
    /// The largest norm of the gradient; 0: off.
    pub clip: f32,
    /// Decay of the weight average.
    pub average_decay: f32,
    /// B.
    pub batch: u32,
    /// Partial sums of the loss.
    pub loss_partials: u32,
    /// Partial sums of the gradient's square.
    pub square_partials: u32,
    /// Records in the ring.
    pub ring: u32,
}

/// `Record` of shaders/step.wgsl: what is known of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Record {
    /// The loss of the step's batch under the weights before its update.
    pub loss: f32,
    /// The rate of the update.
    pub learning_rate: f32,
    /// The gradient's norm before clipping.
    pub gradient_norm: f32,
    /// As in [`State`].
    pub halted: u32,
}
