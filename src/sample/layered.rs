//! The layered integrator, for networks too wide for the fused one, and evaluations at given points.

use bytemuck::Zeroable;

use super::adaptive::Records;
use super::fused::Load;
use super::layout::{MAX_STAGES, Particle, Stage, Tableau};
use super::sampler::Particles;
use super::timetable::{Step, Timetable, narrow};
use crate::flow::{Divergence, Evaluation, Method, Solver};
use crate::gpu::{Binding, Buffer, Device, Dispatch, Purpose, Variant, Work};
use crate::model::{Architecture, Keeps, Layout, Network, Parameters, TILE_ROWS, to_u32};
use crate::{Error, Result};

const LANES: u32 = 64;
/// Tangents of a particle that go through the network at once.
pub(crate) const TANGENTS: usize = 8;

/// What `stage` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StageKind {
    /// The features of a stage, in steps that all particles share.
    Features,
    /// The features of a stage, where every particle has its own time and step.
    AdaptiveFeatures,
    /// The end of a step.
    Update,
    /// The end of a step of a stochastic flow.
    NoisyUpdate,
}

/// The variant of `stage` for a network.
pub(crate) fn stage_variant(
    architecture: &Architecture,
    layout: &Layout,
    extra: usize,
    kind: StageKind,
    textures: bool,
) -> Variant {
    let variant = Variant::new("stage")
        .with("DIM", to_u32(architecture.dim))
        .with("EXTRA", to_u32(extra))
        .with("WIDTH_IN", to_u32(layout.layers[0].width_in))
        .with("LANES", LANES);
    match kind {
        StageKind::Update => variant.flag("UPDATE", true),
        StageKind::NoisyUpdate => variant.flag("UPDATE", true).flag("STOCHASTIC", true),
        StageKind::Features | StageKind::AdaptiveFeatures => variant
            .with("FREQUENCIES", to_u32(architecture.time_frequencies))
            .flag("ADAPTIVE", kind == StageKind::AdaptiveFeatures)
            .flag("TEXTURES", textures),
    }
}

/// The variant of `combine` for a network.
pub(crate) fn combine_variant(layout: &Layout, dim: usize, extra: usize) -> Variant {
    Variant::new("combine")
        .with("DIM", to_u32(dim))
        .with("EXTRA", to_u32(extra))
        .with("WIDTH_OUT", to_u32(width_out(layout)))
        .with("LANES", LANES)
}

/// The variant of `probe` for a network.
pub(crate) fn probe_variant(
    layout: &Layout,
    dim: usize,
    divergence: Divergence,
    tangents: usize,
    textures: bool,
) -> Variant {
    Variant::new("probe")
        .with("DIM", to_u32(dim))
        .with("WIDTH_IN", to_u32(layout.layers[0].width_in))
        .with("TANGENTS", to_u32(tangents))
        .with("LANES", LANES)
        .part("PROBE", divergence.part())
        .flag("TEXTURES", textures)
}

/// The variant of `trace` for a network.
pub(crate) fn trace_variant(layout: &Layout, dim: usize, divergence: Divergence, tangents: usize) -> Variant {
    Variant::new("trace")
        .with("DIM", to_u32(dim))
        .with("EXTRA", to_u32(divergence.accumulators()))
        .with("WIDTH_OUT", to_u32(width_out(layout)))
        .with("TANGENTS", to_u32(tangents))
        .with("LANES", LANES)
        .part("PROBE", divergence.part())
}

/// The variant of `control`.
pub(crate) fn control_variant(
    dim: usize,
    extra: usize,
    solver: &Solver,
    begin: bool,
    trajectory: bool,
) -> Variant {
    Variant::new("control")
        .with("DIM", to_u32(dim))
        .with("EXTRA", to_u32(extra))
        .with("STAGES", to_u32(solver.stages()))
        .with("LANES", LANES)
        .flag("BEGIN", begin)
        .flag("TRAJECTORY", trajectory && !begin)
}

/// A network bound to a chunk of particles, evaluated layer by layer.
#[derive(Debug)]
pub(crate) struct Layered {
    device: Device,
    architecture: Architecture,
    layout: Layout,
    solver: &'static Solver,
    network: Network,
    tangents: Option<Tangents>,
    parameters: Parameters,
    load: Load,
    points: Buffer,
    /// k_j, one after the other. [stages, rows padded, quads of the state]
    slopes: Buffer,
    /// Bytes from one k_j to the next.
    stride: u64,
    /// The constants of each stage, one for each group of tangents, and of the update.
    uniforms: Vec<Vec<Buffer>>,
    adaptive: Option<Adaptive>,
    prepared: Prepared,
}

/// The network again, for the derivatives.
#[derive(Debug)]
struct Tangents {
    divergence: Divergence,
    network: Network,
    /// At once.
    count: usize,
    groups: usize,
}

#[derive(Debug)]
struct Adaptive {
    records: Records,
    uniform: Buffer,
    trajectory: bool,
}

/// The dispatches for a number of particles.
#[derive(Debug, Default)]
struct Prepared {
    rows: usize,
    /// Of each stage: features, the layers, the combination, tangents.
    stages: Vec<Vec<Dispatch>>,
    /// The end of a step; of an adaptive solver: the control of one, and before it of the first.
    ends: Vec<Dispatch>,
}

/// Rows of particles for which there is room where so many rows of a network's activations, and so many of the
/// particles' states, are the most that a buffer holds.
pub(crate) fn rows_within(activations: usize, states: usize, solver: &Solver, load: Load) -> usize {
    let tile = TILE_ROWS as usize;
    // The stages' velocities share a buffer, and so do the tangents. A state may be wider than the network: it has an
    // accumulator for every probe.
    let share = slots(solver).max(load.directions.min(TANGENTS)).max(1);
    (activations / share).min(states / slots(solver).max(1)) / tile * tile
}

/// How many k_j are kept.
fn slots(solver: &Solver) -> usize {
    solver.stages() + usize::from(solver.method == Method::Multistep)
}

impl Layered {
    pub fn new(particles: &Particles<'_>) -> Result<Self> {
        let Particles { device, architecture, layout, solver, divergence, parameters, points, rows, outputs } =
            *particles;
        let load = Load::new(architecture, divergence);
        let keeps = if divergence.is_some() { Keeps::Slopes } else { Keeps::Nothing };
        let network = Network::new(device, layout.clone(), architecture.activation, rows, keeps)?;
        let tangents = divergence
            .map(|divergence| {
                let count = load.directions.min(TANGENTS);
                let rows = count * network.rows;
                Ok::<_, Error>(Tangents {
                    divergence,
                    network: Network::new(
                        device,
                        layout.clone(),
                        architecture.activation,
                        rows,
                        Keeps::Nothing,
                    )?,
                    count,
                    groups: load.directions.div_ceil(count),
                })
            })
            .transpose()?;
        let stages = solver.stages();
        let stride = 16 * (network.rows * load.quads()) as u64;
        let purpose = Purpose { what: "the stages of the solver", flag: "the chunk" };
        let groups = tangents.as_ref().map_or(1, |tangents| tangents.groups);
        let uniforms = (0..=stages)
            .map(|_| (0..groups).map(|_| device.uniform(&Stage::zeroed())).collect::<Result<_>>())
            .collect::<Result<_>>()?;
        let adaptive = if solver.is_adaptive() {
            let trajectory = outputs.is_some();
            let uniform = device.uniform(&Tableau::zeroed())?;
            Some(Adaptive { records: Records::new(particles)?, uniform, trajectory })
        } else {
            None
        };
        Ok(Self {
            device: device.clone(),
            architecture: architecture.clone(),
            layout: layout.clone(),
            solver,
            network,
            tangents,
            parameters: parameters.clone(),
            load,
            points: points.clone(),
            slopes: device.buffer(stride * slots(solver) as u64, purpose)?,
            stride,
            uniforms,
            adaptive,
            prepared: Prepared::default(),
        })
    }

    /// Lays the dispatches out for `rows` particles, unless they are.
    fn prepare(&mut self, rows: usize) -> Result<()> {
        if self.prepared.rows == rows {
            return Ok(());
        }
        let (device, dim, extra) = (&self.device, self.architecture.dim, self.load.extra);
        let blocks = (self.layout.layers[0].width_in / 4).max(self.load.quads());
        let groups = device.groups((rows * blocks) as u64, LANES);
        let textures = self.parameters.weights.is_some();
        let kind = if self.adaptive.is_some() { StageKind::AdaptiveFeatures } else { StageKind::Features };
        let features = stage_variant(&self.architecture, &self.layout, extra, kind, textures);
        let count = self.solver.stages();
        let mut stages = Vec::with_capacity(count);
        for stage in 0..count {
            let uniforms = &self.uniforms[stage];
            let mut bindings = vec![
                Binding::whole(0, &uniforms[0]),
                Binding::whole(1, &self.slopes),
                Binding::whole(2, &self.points),
                Binding::matrix(3, self.network.features()),
            ];
            if let Some(adaptive) = &self.adaptive {
                bindings.push(Binding::whole(4, &adaptive.records.particles));
            }
            // k_j of the stages before, x and k; the sum of them, and a first part of k.
            let state = 4 * self.load.quads();
            let work = Work::new(
                rows * (2 * stage + 2) * state,
                rows * ((stage + 2) * state + self.layout.layers[0].width_in),
            );
            let mut dispatches = vec![device.dispatch(&features, &bindings, groups)?.with_work(work)];
            dispatches.extend(self.network.forward(&self.parameters, rows)?);
            let bindings = [
                Binding::whole(0, &uniforms[0]),
                Binding::whole(1, self.network.output()),
                Binding::whole(2, &self.slopes),
            ];
            let grid = device.groups((rows * dim.div_ceil(4)) as u64, LANES);
            let combine = device.dispatch(&combine_variant(&self.layout, dim, extra), &bindings, grid)?;
            dispatches.push(combine.with_work(Work::new(2 * rows * dim, 3 * rows * dim)));
            if let Some(tangents) = &self.tangents {
                dispatches.extend(self.derivatives(tangents, uniforms, rows)?);
            }
            stages.push(dispatches);
        }
        let mut ends = Vec::new();
        if let Some(adaptive) = &self.adaptive {
            for begin in [false, true] {
                let variant = control_variant(dim, extra, self.solver, begin, adaptive.trajectory);
                let mut bindings = vec![
                    Binding::whole(0, &adaptive.uniform),
                    Binding::whole(1, &self.slopes),
                    Binding::whole(2, &self.points),
                    Binding::whole(3, &adaptive.records.particles),
                    Binding::whole(4, &adaptive.records.unfinished),
                ];
                if !begin {
                    bindings.extend(adaptive.records.output_bindings(5));
                }
                // The sums of a step and of its error, over all stages.
                let state = self.load.state();
                let work = Work::new(4 * rows * count * state, rows * (count + 2) * state);
                let groups = device.groups(rows as u64, LANES);
                ends.push(device.dispatch(&variant, &bindings, groups)?.with_work(work));
            }
        } else {
            let kind = match self.solver.method {
                Method::Stochastic => StageKind::NoisyUpdate,
                _ => StageKind::Update,
            };
            let update = stage_variant(&self.architecture, &self.layout, extra, kind, false);
            let bindings = [
                Binding::whole(0, &self.uniforms[count][0]),
                Binding::whole(1, &self.slopes),
                Binding::whole(2, &self.points),
            ];
            let state = self.load.state();
            let work = Work::new(2 * rows * count * state, rows * (count + 2) * state);
            ends.push(device.dispatch(&update, &bindings, groups)?.with_work(work));
        }
        self.prepared = Prepared { rows, stages, ends };
        Ok(())
    }

    /// The dispatches that add a stage's divergence.
    fn derivatives(&self, tangents: &Tangents, uniforms: &[Buffer], rows: usize) -> Result<Vec<Dispatch>> {
        let (device, dim) = (&self.device, self.architecture.dim);
        let Tangents { divergence, network, count, groups } = tangents;
        let period = rows.next_multiple_of(TILE_ROWS as usize);
        let textures = self.parameters.weights.is_some();
        let probe = probe_variant(&self.layout, dim, *divergence, *count, textures);
        let trace = trace_variant(&self.layout, dim, *divergence, *count);
        let blocks = count * period * self.layout.layers[0].width_in / 4;
        let mut dispatches = Vec::new();
        for uniform in &uniforms[..*groups] {
            let bindings = [Binding::whole(0, uniform), Binding::matrix(1, network.features())];
            let probe = device.dispatch(&probe, &bindings, device.groups(blocks as u64, LANES))?;
            dispatches.push(probe.with_work(Work::new(0, 4 * blocks)));
            dispatches.extend(network.forward_tangents(&self.parameters, &self.network, *count, period)?);
            let bindings = [
                Binding::whole(0, uniform),
                Binding::whole(1, network.output()),
                Binding::whole(2, &self.slopes),
            ];
            let trace = device.dispatch(&trace, &bindings, device.groups(rows as u64, LANES))?;
            let work = Work::new(2 * rows * count * dim, rows * (count * dim + 2 * self.load.extra));
            dispatches.push(trace.with_work(work));
        }
        Ok(dispatches)
    }

    /// Constants of a stage of which only the place is known.
    fn constants(&self, rows: usize, address: ([u32; 2], u32)) -> Stage {
        Stage {
            rows: to_u32(rows),
            stride: u32::try_from(self.stride / 16).unwrap_or(u32::MAX),
            seed: address.0,
            first_row: address.1,
            period: to_u32(rows.next_multiple_of(TILE_ROWS as usize)),
            ..Stage::zeroed()
        }
    }

    /// Tells a stage's kernels their constants.
    fn tell(&self, stage: usize, constants: &Stage) -> Result<()> {
        for (group, uniform) in self.uniforms[stage].iter().enumerate() {
            let count = self.tangents.as_ref().map_or(0, |tangents| tangents.count);
            let first_probe = to_u32(group * count);
            self.device.write(uniform, &[Stage { first_probe, ..*constants }])?;
        }
        Ok(())
    }

    /// Hands a stage's work over, one group of tangents a submission: a wide network is long enough.
    fn submit(&self, stage: usize) -> Result<()> {
        let most = self.device.habits().dispatch_flops;
        let dispatches = &self.prepared.stages[stage];
        let (mut from, mut flops) = (0, 0);
        for (at, dispatch) in dispatches.iter().enumerate() {
            flops += dispatch.flops();
            if flops > most || at + 1 == dispatches.len() {
                self.device.submit(&dispatches[from..=at], &[])?;
                (from, flops) = (at + 1, 0);
            }
        }
        Ok(())
    }

    /// Carries particles from `step` to `end` of a timetable.
    pub fn advance(
        &mut self,
        rows: usize,
        address: ([u32; 2], u32),
        timetable: &Timetable,
        (step, end): (u32, u32),
        stop: fn() -> bool,
    ) -> Result<()> {
        for step in step..end {
            if stop() {
                return Err(Error::Interrupted);
            }
            self.step(rows, address, step, &timetable.step(step))?;
        }
        Ok(())
    }

    fn step(&mut self, rows: usize, address: ([u32; 2], u32), number: u32, step: &Step) -> Result<()> {
        self.prepare(rows)?;
        self.tell_step(rows, address, number, step)?;
        for stage in 0..self.solver.stages() {
            self.submit(stage)?;
        }
        self.device.submit(&self.prepared.ends, &[])?;
        self.device.wait(None)
    }

    /// The dispatches of the first step of a timetable.
    pub fn plan(&mut self, rows: usize, timetable: &Timetable) -> Result<Vec<Dispatch>> {
        self.prepare(rows)?;
        self.tell_step(rows, ([0; 2], 0), 0, &timetable.step(0))?;
        let Prepared { stages, ends, .. } = &self.prepared;
        Ok(stages.iter().flatten().chain(ends).cloned().collect())
    }

    /// Tells the kernels of all stages what a step is made of.
    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    fn tell_step(&self, rows: usize, address: ([u32; 2], u32), number: u32, step: &Step) -> Result<()> {
        let stages = self.solver.stages();
        let place = Stage { h: step.h, noise: step.noise, step: number, ..self.constants(rows, address) };
        let multistep = self.solver.method == Method::Multistep;
        // A multistep method writes its velocities to two places in turn.
        let turn = if multistep { number % 2 } else { 0 };
        for (stage, moment) in step.stages.iter().enumerate() {
            let mut constants = Stage { moment: *moment, output: to_u32(stage) + turn, ..place };
            constants.terms = to_u32(stage);
            for j in 0..MAX_STAGES.min(stage) {
                constants.coefficients[j] = self.solver.coefficient(stage, j) as f32;
            }
            self.tell(stage, &constants)?;
        }
        let mut constants = Stage { terms: to_u32(stages), ..place };
        for (coefficient, b) in constants.coefficients.iter_mut().zip(self.solver.b) {
            *coefficient = *b as f32;
        }
        if multistep {
            // Before the first step there is no velocity, and nothing may be read.
            constants.terms = if number == 0 { 1 } else { 2 };
            constants.coefficients[turn as usize] = step.weights[0];
            constants.coefficients[1 - turn as usize] = step.weights[1];
        }
        self.tell(stages, &constants)
    }

    /// Carries particles through the interval of `tableau` until all of them have arrived.
    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    pub fn adapt(&mut self, rows: usize, tableau: &Tableau, stop: fn() -> bool) -> Result<Vec<Particle>> {
        self.prepare(rows)?;
        let Some(adaptive) = &self.adaptive else { return Ok(vec![]) };
        let Adaptive { records, uniform, .. } = adaptive;
        let stride = u32::try_from(self.stride / 16).unwrap_or(u32::MAX);
        let tableau = Tableau { rows: to_u32(rows), stride, ..*tableau };
        self.device.write(uniform, &[tableau])?;
        records.reset(&self.device, rows, tableau.t0)?;
        let place = self.constants(rows, (tableau.seed, tableau.first_row));
        for stage in 0..self.solver.stages() {
            let mut constants = Stage {
                // the end of the interval in the place of the time, which is each particle's own
                moment: [tableau.t1, 1.0, 0.0, 1.0],
                h: if stage == 0 { 0.0 } else { 1.0 },
                node: self.solver.c[stage] as f32,
                output: to_u32(stage),
                terms: to_u32(stage),
                ..place
            };
            for j in 0..MAX_STAGES.min(stage) {
                constants.coefficients[j] = self.solver.coefficient(stage, j) as f32;
            }
            self.tell(stage, &constants)?;
        }
        self.submit(0)?;
        self.device.submit([&self.prepared.ends[1]], &[])?;
        loop {
            if stop() {
                return Err(Error::Interrupted);
            }
            self.device.write(&records.unfinished, &[0u32])?;
            for stage in 1..self.solver.stages() {
                self.submit(stage)?;
            }
            self.device.submit([&self.prepared.ends[0]], &[])?;
            let unfinished: Vec<u32> = self.device.read(&records.unfinished, 0..4)?;
            if unfinished[0] == 0 {
                return records.finish(&self.device, rows, &tableau);
            }
        }
    }

    /// The states at the outputs of an adaptive solver: [rows, outputs, d].
    pub fn trajectory(&self, rows: usize) -> Result<Vec<f32>> {
        match &self.adaptive {
            Some(adaptive) => adaptive.records.trajectory(&self.device, rows),
            None => Ok(vec![]),
        }
    }

    /// α·x + β·v(c·x, t) at the particles' places: [rows, d]. Only with a solver of fixed steps.
    pub fn evaluate(&mut self, rows: usize, evaluation: &Evaluation) -> Result<Vec<f32>> {
        self.prepare(rows)?;
        let moment = narrow(evaluation);
        self.tell(0, &Stage { moment, ..self.constants(rows, ([0; 2], 0)) })?;
        self.submit(0)?;
        let width = 4 * self.load.quads();
        let padded: Vec<f32> = self.device.read(&self.slopes, 0..4 * (rows * width) as u64)?;
        Ok(padded.chunks_exact(width).flat_map(|row| &row[..self.architecture.dim]).copied().collect())
    }
}

fn width_out(layout: &Layout) -> usize {
    layout.layers[layout.layers.len() - 1].width_out
}
