//! The structs that the sampling kernels share with the host. `tests/kernels/structs.rs` holds sizes and offsets against
//! what naga makes of their WGSL twins.

use bytemuck::{Pod, Zeroable};

use crate::flow::Solver;
use crate::model::MAX_LAYERS;

/// The most stages of a solver on the device.
pub const MAX_STAGES: usize = 8;

/// `Tableau` of shaders/shared/tableau.wgsl.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Tableau {
    /// Time of step 0.
    pub t0: f32,
    /// The step, negative backwards in time.
    pub h: f32,
    /// The first step of this dispatch.
    pub first_step: u32,
    /// Steps of this dispatch.
    pub steps: u32,
    /// Particles.
    pub rows: u32,
    /// Stages of the solver.
    pub stages: u32,
    /// Zero.
    pub padding: [u32; 2],
    /// b_i.
    pub weights: [f32; MAX_STAGES],
    /// c_i.
    pub nodes: [f32; MAX_STAGES],
    /// a_ij at [8·i + j].
    pub matrix: [f32; MAX_STAGES * MAX_STAGES],
}

impl Tableau {
    /// The solver's coefficients, with an interval to be filled in.
    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    #[must_use]
    pub fn new(solver: &Solver) -> Self {
        let mut tableau = Self::zeroed();
        let stages = solver.stages();
        tableau.stages = crate::model::to_u32(stages);
        for i in 0..stages {
            tableau.weights[i] = solver.b[i] as f32;
            tableau.nodes[i] = solver.c[i] as f32;
            for j in 0..i {
                tableau.matrix[MAX_STAGES * i + j] = solver.coefficient(i, j) as f32;
            }
        }
        tableau
    }
}

/// `Network` of shaders/integrator.wgsl: where each layer lies.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct NetworkTable {
    /// How many.
    pub layers: u32,
    /// Zero.
    pub padding: [u32; 3],
    /// Of each: inputs / 4, outputs, both padded; where W and b begin, in vec4.
    pub shape: [[u32; 4]; MAX_LAYERS],
    /// Of each: the true number of outputs, the first row in the texture of all weights, then zeros.
    pub outputs: [[u32; 4]; MAX_LAYERS],
}

/// `Noise` of shaders/noise.wgsl.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Noise {
    /// Low and high word of the seed.
    pub seed: [u32; 2],
    /// The chunk's first row among all samples.
    pub first_row: u32,
    /// Its rows.
    pub rows: u32,
    /// Rows of the source data set, where there is one.
    pub source_rows: u32,
    /// Zero.
    pub padding: [u32; 3],
}

/// `Stage` of shaders/stage.wgsl.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Stage {
    /// The stage's time.
    pub t: f32,
    /// The step.
    pub h: f32,
    /// How many k_j enter.
    pub terms: u32,
    /// Particles.
    pub rows: u32,
    /// Distance between the k_j, in vec4.
    pub stride: u32,
    /// Zero.
    pub padding: [u32; 3],
    /// Their factors.
    pub coefficients: [f32; MAX_STAGES],
}
