//! The layered integrator, for networks too wide for the fused one, and the velocity at given points.

use bytemuck::Zeroable;

use super::layout::{MAX_STAGES, Stage};
use super::sampler::Particles;
use crate::Result;
use crate::flow::Solver;
use crate::gpu::{Binding, Buffer, Device, Dispatch, Purpose, Variant};
use crate::model::{Architecture, Layout, Network, to_u32};

const LANES: u32 = 64;

/// The variant of `stage` for a network.
pub(crate) fn stage_variant(
    architecture: &Architecture,
    layout: &Layout,
    update: bool,
    textures: bool,
) -> Variant {
    let variant = Variant::new("stage")
        .with("DIM", to_u32(architecture.dim))
        .with("WIDTH_IN", to_u32(layout.layers[0].width_in))
        .with("WIDTH_OUT", to_u32(layout.layers[layout.layers.len() - 1].width_out))
        .with("LANES", LANES)
        .flag("UPDATE", update);
    if update {
        variant
    } else {
        variant.with("FREQUENCIES", to_u32(architecture.time_frequencies)).flag("TEXTURES", textures)
    }
}

/// A network bound to a chunk of particles, evaluated layer by layer.
#[derive(Debug)]
pub(crate) struct Layered {
    device: Device,
    solver: &'static Solver,
    dim: usize,
    width_out: usize,
    stride: u32,
    /// The constants of each stage, and of the update.
    uniforms: Vec<Buffer>,
    /// The dispatches of each stage: features, then the layers.
    stages: Vec<Vec<Dispatch>>,
    update: Dispatch,
    slopes: Buffer,
}

impl Layered {
    pub fn new(particles: &Particles<'_>) -> Result<Self> {
        let Particles { device, architecture, layout, solver, parameters, points, rows } = *particles;
        let network = Network::new(device, layout.clone(), architecture.activation, rows, false)?;
        let width_out = layout.layers[layout.layers.len() - 1].width_out;
        let stages = solver.stages();
        let one = 4 * (network.rows * width_out) as u64;
        // Each k_j begins at an offset that a binding may have.
        let stride = one.next_multiple_of(256);
        let slopes = device.buffer(
            stride * stages as u64,
            Purpose { what: "the stages of the solver", flag: "the chunk" },
        )?;
        let uniforms = (0..=stages).map(|_| device.uniform(&Stage::zeroed())).collect::<Result<Vec<_>>>()?;
        let groups = device.groups((rows * layout.layers[0].width_in / 4) as u64, LANES);
        let variant = stage_variant(architecture, layout, false, parameters.weights.is_some());
        let dispatches = (0..stages)
            .map(|stage| {
                let bindings = [
                    Binding::whole(0, &uniforms[stage]),
                    Binding::whole(1, &slopes),
                    Binding::whole(2, points),
                    Binding::matrix(3, network.features()),
                ];
                let mut dispatches = vec![device.dispatch(&variant, &bindings, groups)?];
                dispatches.extend(network.forward(
                    parameters,
                    rows,
                    Some((&slopes, stride * stage as u64)),
                )?);
                Ok(dispatches)
            })
            .collect::<Result<_>>()?;
        let bindings =
            [Binding::whole(0, &uniforms[stages]), Binding::whole(1, &slopes), Binding::whole(2, points)];
        let update = device.dispatch(&stage_variant(architecture, layout, true, false), &bindings, groups)?;
        Ok(Self {
            device: device.clone(),
            solver,
            dim: architecture.dim,
            width_out,
            stride: u32::try_from(stride / 16).unwrap_or(u32::MAX),
            uniforms,
            stages: dispatches,
            update,
            slopes,
        })
    }

    /// One step at time `t`.
    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    pub fn step(&self, rows: usize, t: f32, h: f32) -> Result<()> {
        let stages = self.solver.stages();
        let mut constants = Stage { h, rows: to_u32(rows), stride: self.stride, ..Stage::zeroed() };
        for stage in 0..stages {
            constants.t = t + self.solver.c[stage] as f32 * h;
            constants.terms = to_u32(stage);
            for j in 0..MAX_STAGES.min(stage) {
                constants.coefficients[j] = self.solver.coefficient(stage, j) as f32;
            }
            self.device.write(&self.uniforms[stage], &[constants])?;
        }
        constants.terms = to_u32(stages);
        for (coefficient, b) in constants.coefficients.iter_mut().zip(self.solver.b) {
            *coefficient = *b as f32;
        }
        self.device.write(&self.uniforms[stages], &[constants])?;
        // One submission a stage: a wide network is long enough.
        for (index, stage) in self.stages.iter().enumerate() {
            let update = (index + 1 == stages).then_some(&self.update);
            self.device.submit(stage.iter().chain(update), &[])?;
        }
        self.device.wait(None)
    }

    /// v at the particles' places and time `t`: [rows, d].
    pub fn velocity(&self, rows: usize, t: f32) -> Result<Vec<f32>> {
        let constants = Stage { t, rows: to_u32(rows), stride: self.stride, ..Stage::zeroed() };
        self.device.write(&self.uniforms[0], &[constants])?;
        self.device.submit(&self.stages[0], &[])?;
        let padded: Vec<f32> = self.device.read(&self.slopes, 0..4 * (rows * self.width_out) as u64)?;
        Ok(padded.chunks_exact(self.width_out).flat_map(|row| &row[..self.dim]).copied().collect())
    }
}
