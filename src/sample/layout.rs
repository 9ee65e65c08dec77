//! The structs that the sampling kernels share with the host. `tests/kernels/structs.rs` holds sizes and offsets against
//! what naga makes of their WGSL twins.

use bytemuck::{Pod, Zeroable};

use crate::flow::{Method, Solver};

/// The most stages of a solver on the device.
pub const MAX_STAGES: usize = 8;

/// `Tableau` of shaders/shared/tableau.wgsl.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Tableau {
    /// Low and high word of the seed.
    pub seed: [u32; 2],
    /// The first of these particles among all.
    pub first_row: u32,
    /// Particles.
    pub rows: u32,
    /// The first step of this dispatch.
    pub first_step: u32,
    /// Steps of this dispatch; adaptive solvers: attempts.
    pub steps: u32,
    /// Adaptive solvers: attempts of a particle in all.
    pub most_steps: u32,
    /// Adaptive solvers: times at which states are wanted.
    pub outputs: u32,
    /// Adaptive solvers: where to begin.
    pub t0: f32,
    /// Adaptive solvers: where to end.
    pub t1: f32,
    /// Adaptive solvers: the tolerance relative to the state.
    pub relative: f32,
    /// Adaptive solvers: the absolute tolerance.
    pub absolute: f32,
    /// Distance between the k_i where they lie in a buffer, in vec4.
    pub stride: u32,
    /// Zero.
    pub padding: [u32; 3],
    /// b_i.
    pub weights: [f32; MAX_STAGES],
    /// c_i.
    pub nodes: [f32; MAX_STAGES],
    /// b_i − b̂_i.
    pub error: [f32; MAX_STAGES],
    /// d_i.
    pub dense: [f32; MAX_STAGES],
    /// a_ij at [8·i + j].
    pub matrix: [f32; MAX_STAGES * MAX_STAGES],
}

impl Tableau {
    /// The solver's coefficients, with an interval to be filled in.
    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    #[must_use]
    pub fn new(solver: &Solver) -> Self {
        let mut tableau = Self::zeroed();
        let fill = |to: &mut [f32; MAX_STAGES], from: &[f64]| {
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from as f32;
            }
        };
        fill(&mut tableau.weights, solver.b);
        fill(&mut tableau.nodes, solver.c);
        if let Method::Adaptive { error, dense } = solver.method {
            fill(&mut tableau.error, error);
            fill(&mut tableau.dense, dense);
        }
        for i in 0..solver.stages() {
            for j in 0..i {
                tableau.matrix[MAX_STAGES * i + j] = solver.coefficient(i, j) as f32;
            }
        }
        tableau
    }
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
    /// The standard deviation of the noise.
    pub deviation: f32,
    /// The first row of the source that is at hand.
    pub block_first: u32,
    /// How many are.
    pub block_rows: u32,
}

/// `Stage` of shaders/shared/stage.wgsl.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Stage {
    /// (t, c, α, β).
    pub moment: [f32; 4],
    /// The step.
    pub h: f32,
    /// The factor of the noise.
    pub noise: f32,
    /// How many k_j enter.
    pub terms: u32,
    /// Particles.
    pub rows: u32,
    /// Distance between the k_j, in vec4.
    pub stride: u32,
    /// Which k is written.
    pub output: u32,
    /// c_i.
    pub node: f32,
    /// The step's number.
    pub step: u32,
    /// Low and high word of the seed.
    pub seed: [u32; 2],
    /// The first of these particles among all.
    pub first_row: u32,
    /// The first probe of the tangents at hand.
    pub first_probe: u32,
    /// Rows of one probe's tangents.
    pub period: u32,
    /// Zero.
    pub padding: [u32; 3],
    /// Factors of the k_j.
    pub coefficients: [f32; MAX_STAGES],
}

/// `Particle` of shaders/shared/particle.wgsl: a particle between two attempts of an adaptive solver.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Particle {
    /// Its time.
    pub t: f32,
    /// The step to be tried next.
    pub h: f32,
    /// The error of the last accepted step.
    pub error: f32,
    /// 0: running, 1: done, 2: out of steps, 3: the step no longer changes the time.
    pub status: u32,
    /// Accepted steps.
    pub accepted: u32,
    /// Rejected steps.
    pub rejected: u32,
    /// The next output.
    pub output: u32,
    /// Whether the last attempt was rejected.
    pub after_rejection: u32,
}

impl Particle {
    /// Before its first step.
    #[must_use]
    pub fn at(t: f32) -> Self {
        Self { t, error: 1e-4, ..Self::zeroed() }
    }
}
