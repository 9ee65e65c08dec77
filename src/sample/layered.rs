//! The layered integrator, for networks too wide for the fused one, and the velocity at given points.

use bytemuck::Zeroable;

use super::layout::{MAX_STAGES, Stage};
use super::sampler::Particles;
use crate::Result;
use crate::flow::Solver;
use crate::gpu::{Binding, Buffer, Device, Dispatch, Purpose, Variant};
use crate::model::{Architecture, Layout, Network, Parameters, to_u32};

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
    architecture: Architecture,
    layout: Layout,
    solver: &'static Solver,
    network: Network,
    parameters: Parameters,
    points: Buffer,
    /// k_j, one after the other. [stages, rows padded, width]
    slopes: Buffer,
    /// Bytes from one k_j to the next: an offset that a binding may have.
    stride: u64,
    /// The constants of each stage, and of the update.
    uniforms: Vec<Buffer>,
    work: Work,
}

/// The dispatches for a number of particles.
#[derive(Debug, Default)]
struct Work {
    rows: usize,
    /// Of each stage: features, then the layers; behind the last one the update.
    stages: Vec<Vec<Dispatch>>,
}

impl Layered {
    pub fn new(particles: &Particles<'_>) -> Result<Self> {
        let Particles { device, architecture, layout, solver, parameters, points, rows } = *particles;
        let network = Network::new(device, layout.clone(), architecture.activation, rows, false)?;
        let stages = solver.stages();
        let stride = (4 * (network.rows * width_out(layout)) as u64).next_multiple_of(256);
        let purpose = Purpose { what: "the stages of the solver", flag: "the chunk" };
        Ok(Self {
            device: device.clone(),
            architecture: architecture.clone(),
            layout: layout.clone(),
            solver,
            network,
            parameters: parameters.clone(),
            points: points.clone(),
            slopes: device.buffer(stride * stages as u64, purpose)?,
            stride,
            uniforms: (0..=stages).map(|_| device.uniform(&Stage::zeroed())).collect::<Result<_>>()?,
            work: Work::default(),
        })
    }

    /// Lays the dispatches out for `rows` particles, unless they are.
    fn prepare(&mut self, rows: usize) -> Result<()> {
        if self.work.rows == rows {
            return Ok(());
        }
        let groups = self.device.groups((rows * self.layout.layers[0].width_in / 4) as u64, LANES);
        let textures = self.parameters.weights.is_some();
        let features = stage_variant(&self.architecture, &self.layout, false, textures);
        let count = self.solver.stages();
        let mut stages = Vec::with_capacity(count);
        for stage in 0..count {
            let bindings = [
                Binding::whole(0, &self.uniforms[stage]),
                Binding::whole(1, &self.slopes),
                Binding::whole(2, &self.points),
                Binding::matrix(3, self.network.features()),
            ];
            let mut dispatches = vec![self.device.dispatch(&features, &bindings, groups)?];
            let output = (&self.slopes, self.stride * stage as u64);
            dispatches.extend(self.network.forward(&self.parameters, rows, Some(output))?);
            stages.push(dispatches);
        }
        let update = stage_variant(&self.architecture, &self.layout, true, false);
        let bindings = [
            Binding::whole(0, &self.uniforms[count]),
            Binding::whole(1, &self.slopes),
            Binding::whole(2, &self.points),
        ];
        stages.push(vec![self.device.dispatch(&update, &bindings, groups)?]);
        self.work = Work { rows, stages };
        Ok(())
    }

    fn constants(&self, rows: usize, t: f32, h: f32) -> Stage {
        let stride = u32::try_from(self.stride / 16).unwrap_or(u32::MAX);
        Stage { t, h, rows: to_u32(rows), stride, ..Stage::zeroed() }
    }

    /// One step at time `t`.
    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    pub fn step(&mut self, rows: usize, t: f32, h: f32) -> Result<()> {
        self.prepare(rows)?;
        let stages = self.solver.stages();
        for stage in 0..stages {
            let mut constants = self.constants(rows, t + self.solver.c[stage] as f32 * h, h);
            constants.terms = to_u32(stage);
            for j in 0..MAX_STAGES.min(stage) {
                constants.coefficients[j] = self.solver.coefficient(stage, j) as f32;
            }
            self.device.write(&self.uniforms[stage], &[constants])?;
        }
        let mut constants = self.constants(rows, t, h);
        constants.terms = to_u32(stages);
        for (coefficient, b) in constants.coefficients.iter_mut().zip(self.solver.b) {
            *coefficient = *b as f32;
        }
        self.device.write(&self.uniforms[stages], &[constants])?;
        // One submission a stage: a wide network is long enough.
        for stage in &self.work.stages {
            self.device.submit(stage, &[])?;
        }
        self.device.wait(None)
    }

    /// v at the particles' places and time `t`: [rows, d].
    pub fn velocity(&mut self, rows: usize, t: f32) -> Result<Vec<f32>> {
        self.prepare(rows)?;
        self.device.write(&self.uniforms[0], &[self.constants(rows, t, 0.0)])?;
        self.device.submit(&self.work.stages[0], &[])?;
        let width = width_out(&self.layout);
        let padded: Vec<f32> = self.device.read(&self.slopes, 0..4 * (rows * width) as u64)?;
        Ok(padded.chunks_exact(width).flat_map(|row| &row[..self.architecture.dim]).copied().collect())
    }
}

fn width_out(layout: &Layout) -> usize {
    layout.layers[layout.layers.len() - 1].width_out
}
