//! What is known of a kind of adapter and decides how work is laid out for it. Nothing else in the program asks
//! what device it runs on.

use wgpu::{AdapterInfo, DeviceType};

/// How matrices lie on the device, and which kernels multiply them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrices {
    /// In buffers; every invocation computes a tile in its registers, from device memory.
    Buffers,
    /// In textures where they fit ([`Matrix`](super::Matrix)), by the same kernels; in buffers otherwise.
    Textures,
    /// In buffers; every workgroup computes a tile, whose operands it brings to its own memory piece by piece.
    Tiled,
}

/// How work is laid out for an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// A software driver: lanes of SIMD instead of thousands of threads.
    pub software: bool,
    /// How long one submission should take, in milliseconds. Windows resets a GPU that is busy for 2 s.
    pub submission_ms: u64,
    /// The most floating-point operations for one dispatch, before anything has been measured.
    pub dispatch_flops: u64,
    /// The most iterations of all loops of one invocation. Mesa's software rasterizer ends loops, without a word,
    /// after 65 535.
    pub loop_iterations: u32,
    /// How matrices lie.
    pub matrices: Matrices,
    /// Rows of a tile of a matrix product: 8 or 16.
    pub tile_rows: u32,
    /// Invocations of a workgroup that computes tiles.
    pub tile_lanes: u32,
    /// Invocations that keep the device busy, about: tiles of workgroups are no larger than leaves so many.
    pub invocations: u32,
    /// Rows of the batch that a workgroup of a weight gradient takes, at least.
    pub slice_rows: u32,
    /// How many slices a weight gradient is cut into, at most.
    pub slices: u32,
    /// Lanes of a subgroup, where a subgroup of few lanes is how invocations share what they read.
    pub subgroup: Option<u32>,
    /// Lanes of a row group of the fused gradient where they are no subgroup, and row groups of a workgroup.
    pub step_lanes: (u32, u32),
    /// Rows that a row group takes at once, at most.
    pub step_rows: u32,
    /// Rows of a slice of the fused gradient, at least.
    pub step_slice_rows: u32,
    /// Slices of it, at most.
    pub step_slices: u32,
    /// The widest layer, features of a point included, and the largest batch, for which the fused gradient beats the
    /// layered one.
    pub step_width: usize,
    /// See [`step_width`](Self::step_width).
    pub step_batch: usize,
    /// Particles that the sampler carries at once, at most.
    pub particles: usize,
    /// Lanes and particles of a lane for the fused integrator, the best one first; the first that fits is taken.
    pub integrator_tiles: &'static [(u32, u32)],
    /// The lanes of a fused integrator share its layers, where particles keep step and nothing is differentiated.
    pub shared_layers: bool,
    /// The widest network for which the fused integrator beats the layered one.
    pub fused_width: usize,
    /// Coordinates of queries that one invocation of `marginal` keeps in registers, about.
    pub marginal_coordinates: u32,
    /// Columns of an assignment problem that one invocation keeps in registers, at most where lanes suffice.
    pub assignment_columns: u32,
    /// Lanes that solve one, at least.
    pub assignment_lanes: u32,
    /// Problems that are solved side by side, at most.
    pub assignments: usize,
}

impl Habits {
    /// Of software drivers.
    pub const SOFTWARE: Self = Self {
        software: true,
        submission_ms: 150,
        dispatch_flops: 2_000_000_000,
        loop_iterations: 60_000,
        matrices: Matrices::Textures,
        tile_rows: 16,
        tile_lanes: 16,
        invocations: 128,
        slice_rows: u32::MAX,
        slices: 1,
        subgroup: None,
        step_lanes: (8, 1),
        step_rows: 16,
        step_slice_rows: 64,
        step_slices: 16,
        step_width: 64,
        step_batch: usize::MAX,
        particles: 1 << 14,
        integrator_tiles: &[(8, 3), (8, 2), (8, 1), (4, 1)],
        shared_layers: false,
        fused_width: 64,
        marginal_coordinates: 32,
        assignment_columns: 64,
        assignment_lanes: 8,
        assignments: 64,
    };

    /// Of software drivers with vectors of 512 bits.
    pub const SOFTWARE_WIDE: Self = Self {
        step_lanes: (16, 1),
        integrator_tiles: &[(16, 3), (16, 2), (16, 1), (8, 1), (4, 1)],
        ..Self::SOFTWARE
    };

    /// Of GPUs.
    pub const HARDWARE: Self = Self {
        software: false,
        submission_ms: 100,
        dispatch_flops: 50_000_000_000,
        loop_iterations: 1 << 20,
        matrices: Matrices::Tiled,
        tile_rows: 8,
        tile_lanes: 32,
        invocations: 1 << 15,
        slice_rows: 32,
        slices: 16,
        subgroup: None,
        step_lanes: (16, 4),
        step_rows: 4,
        step_slice_rows: 4,
        step_slices: 256,
        step_width: 128,
        step_batch: 8192,
        particles: 1 << 20,
        integrator_tiles: &[(64, 1), (32, 1), (16, 1), (8, 1)],
        shared_layers: true,
        fused_width: 64,
        marginal_coordinates: 4,
        assignment_columns: 4,
        assignment_lanes: 32,
        assignments: 1024,
    };

    /// The habits of an adapter. `subgroups`: whether kernels may use them.
    #[must_use]
    pub fn of(info: &AdapterInfo, subgroups: bool) -> Self {
        if info.device_type != DeviceType::Cpu {
            return Self::HARDWARE;
        }
        // Of the widths that lavapipe has; SwiftShader's, of four lanes, were seen to give wrong sums.
        let known = subgroups && info.subgroup_min_size == info.subgroup_max_size;
        let lanes = info.subgroup_min_size;
        match lanes {
            16 if known => Self { subgroup: Some(lanes), ..Self::SOFTWARE_WIDE },
            8 if known => Self { subgroup: Some(lanes), ..Self::SOFTWARE },
            _ => Self::SOFTWARE,
        }
    }
}
