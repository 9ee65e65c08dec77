//! The fused integrators: particles stay on the chip through many steps.

use std::time::Duration;

use bytemuck::Zeroable;

use super::adaptive::Records;
use super::layout::{Particle, Tableau};
use super::sampler::Particles;
use super::timetable::Timetable;
use crate::flow::{Divergence, Method, Solver};
use crate::gpu::{Binding, Buffer, Device, Dispatch, Habits, Purpose, Variant, Work};
use crate::model::{Architecture, Layout, MAX_LAYERS, NetworkTable, to_u32, unrolled, unrolls};
use crate::{Error, Result};

/// Outputs of a layer that a lane computes at once.
const TILE_COLUMNS: usize = 8;
/// Tangents that a particle takes with it at once.
const TANGENTS: usize = 3;
/// Directions beyond which the layered integrator is faster: the fused one evaluates the velocity anew for each group.
const MOST_DIRECTIONS: usize = 4 * TANGENTS;
/// Slots of a lane: what its registers hold.
const SLOTS: usize = 4;
/// Steps of a dispatch: what the timetable has room for.
const MOST_STEPS: u32 = 4096;

/// How the kernel is cut for a device and a task: lanes of a workgroup, particles of a lane, tangents of a particle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tiles {
    lanes: u32,
    rows: u32,
    tangents: usize,
    groups: usize,
    /// Lanes along the outputs of a layer where all of them share the layers; 0: each goes through them by itself.
    across: u32,
    /// Whether a workgroup is a subgroup, whose lanes read the weights from each other's registers, and activations stay in
    /// them (shaders/shared/layers_unrolled.wgsl).
    subgroups: bool,
}

impl Tiles {
    /// Whether the lanes of a workgroup share the layers.
    pub fn is_shared(&self) -> bool {
        self.across > 0
    }

    /// Particles of a workgroup.
    pub fn particles(&self) -> u32 {
        self.rows * self.lanes
    }
}

/// What a particle carries with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub dim: usize,
    /// Accumulators of the divergence.
    pub extra: usize,
    /// Directions in which the network is differentiated.
    pub directions: usize,
}

impl Load {
    pub fn new(architecture: &Architecture, divergence: Option<Divergence>) -> Self {
        let dim = architecture.dim;
        Self {
            dim,
            extra: divergence.map_or(0, Divergence::accumulators),
            directions: divergence.map_or(0, |divergence| divergence.directions(dim)),
        }
    }

    /// Columns of a particle's state.
    pub fn state(&self) -> usize {
        self.dim + self.extra
    }

    /// The same in vec4.
    pub fn quads(&self) -> usize {
        self.state().div_ceil(4)
    }
}

/// Whether the velocity of the step before is kept in a column of its own.
fn kept(solver: &Solver) -> usize {
    usize::from(solver.method == Method::Multistep)
}

/// Columns of memory (vec4) that a slot needs for the state and the stages' velocities; and for each of two activations.
fn columns(layout: &Layout, solver: &Solver, load: Load) -> (usize, usize) {
    ((1 + solver.stages() + kept(solver)) * load.quads(), widest(layout) / 4)
}

pub(crate) fn widest(layout: &Layout) -> usize {
    layout.layers.iter().map(|layer| layer.width_in.max(layer.width_out)).max().unwrap_or(0)
}

/// The best cut that fits the workgroup's memory, or none: then the network is too wide for this kernel. Within subgroups
/// no memory is used.
pub(crate) fn tiles(
    habits: &Habits,
    limits: &wgpu::Limits,
    layout: &Layout,
    solver: &Solver,
    load: Load,
) -> Option<Tiles> {
    let (state, activation) = columns(layout, solver, load);
    let room = limits.max_compute_workgroup_storage_size as usize / (16 * (state + 2 * activation));
    let tangents = load.directions.min(TANGENTS);
    let groups = load.directions.div_ceil(TANGENTS).max(1);
    let cut = |lanes, rows| {
        // The lanes of a subgroup bring a step and each of its stages.
        let subgroups = habits.subgroup == Some(lanes) && unrolls(layout) && solver.stages() < lanes as usize;
        Tiles { lanes, rows, tangents, groups, across: 0, subgroups }
    };
    if layout.layers.len() > MAX_LAYERS
        || load.directions > MOST_DIRECTIONS
        || iterations(layout, solver, load, cut(1, 1)) > habits.loop_iterations / 2
    {
        return None;
    }
    if habits.shared_layers
        && load.directions == 0
        && !solver.is_adaptive()
        && let Some(tiles) = shared_tiles(limits, layout, solver, load)
    {
        return Some(tiles);
    }
    habits.integrator_tiles.iter().map(|(lanes, rows)| cut(*lanes, *rows)).find(|tiles| {
        let slots = tiles.rows as usize * (1 + tangents);
        (tiles.rows == 1 || slots <= SLOTS)
            && (tiles.subgroups || tiles.lanes as usize * slots <= room)
            && tiles.lanes <= limits.max_compute_invocations_per_workgroup
    })
}

/// The cut for lanes that share the layers (shaders/shared/layer_shared.wgsl): eight particles and eight outputs of a
/// layer each. In wide networks an invocation would have more of them than registers, and narrow ones leave it idle.
fn shared_tiles(limits: &wgpu::Limits, layout: &Layout, solver: &Solver, load: Load) -> Option<Tiles> {
    let across: u32 = match widest(layout) {
        17..=32 => 4,
        33..=64 => 8,
        _ => return None,
    };
    // One activation, not two, and a piece of the weights: 16 inputs of 8 outputs a lane.
    let (state, activation) = columns(layout, solver, load);
    let columns = state + activation;
    let bytes = |particles: u32| 16 * (columns * particles as usize + 16 * 2 * across as usize);
    [64, 32]
        .into_iter()
        .find(|particles| bytes(*particles) <= limits.max_compute_workgroup_storage_size as usize)
        .map(|particles| Tiles {
            lanes: across * particles / 8,
            rows: 8 / across,
            tangents: 0,
            groups: 1,
            across,
            subgroups: false,
        })
}

/// Loop iterations of one invocation for one step, all loops of the kernel that are not unrolled added up.
fn iterations(layout: &Layout, solver: &Solver, load: Load, tiles: Tiles) -> u32 {
    let stages = solver.stages();
    let (quads, rows) = (load.quads(), tiles.rows as usize);
    let layers: usize =
        layout.layers.iter().map(|layer| 1 + layer.width_out / TILE_COLUMNS * (1 + layer.width_in / 4)).sum();
    let features = layout.layers[0].width_in / 4 * (1 + rows * stages);
    let traces = rows * tiles.tangents * quads;
    let stage = 1 + quads * (1 + rows * stages) + tiles.groups * (1 + layers + features + traces) + quads;
    // What follows the stages goes over them at most four times: error, end, interpolation, copy.
    to_u32(stages * stage + 4 * rows * quads * (2 + 2 * stages) + 1)
}

/// The variant of `integrator` or `adaptive` for a network.
pub(crate) fn fused_variant(
    architecture: &Architecture,
    layout: &Layout,
    solver: &Solver,
    divergence: Option<Divergence>,
    tiles: Tiles,
    textures: bool,
    trajectory: bool,
) -> Variant {
    let load = Load::new(architecture, divergence);
    let variant = Variant::new(if solver.is_adaptive() { "adaptive" } else { "integrator" })
        .with("DIM", to_u32(architecture.dim))
        .with("FREQUENCIES", to_u32(architecture.time_frequencies))
        .with("WIDTH_IN", to_u32(layout.layers[0].width_in))
        .with("WIDTH_OUT", to_u32(layout.layers[layout.layers.len() - 1].width_out))
        .with("WIDTH", to_u32(widest(layout)))
        .with("STAGES", to_u32(solver.stages()))
        .with("KEPT", to_u32(kept(solver)))
        .with("TILE_ROWS", tiles.rows)
        .with("LANES", tiles.lanes)
        .part("ACTIVATION", architecture.activation.name())
        .flag("MULTISTEP", solver.method == Method::Multistep)
        .flag("STOCHASTIC", solver.method == Method::Stochastic)
        .flag("TRAJECTORY", trajectory)
        .flag("SUBGROUPS", tiles.subgroups)
        .flag("TEXTURES", textures);
    let variant = if tiles.is_shared() {
        variant.with("TILE_COLUMNS", to_u32(TILE_COLUMNS)).with("LANES_X", tiles.across).flag("SHARED", true)
    } else if tiles.subgroups {
        unrolled(variant, layout, tiles.lanes)
    } else {
        variant.with("TILE_COLUMNS", to_u32(TILE_COLUMNS))
    };
    match divergence {
        None => variant,
        Some(divergence) => variant
            .with("EXTRA", to_u32(load.extra))
            .with("TANGENTS", to_u32(tiles.tangents))
            .with("PROBE_GROUPS", to_u32(tiles.groups))
            .part("PROBE", divergence.part())
            .flag("DIVERGENCE", true),
    }
}

/// The kernel bound to a chunk of particles.
#[derive(Debug)]
pub(crate) struct Fused {
    device: Device,
    dispatch: Dispatch,
    tiles: Tiles,
    uniform: Buffer,
    tableau: Tableau,
    /// What the kernel reads between steps, or keeps of the particles.
    extent: Extent,
    /// Steps that one dispatch may make by the loop bound.
    most_steps: u32,
    /// Steps of a dispatch of all rows before anything is measured.
    first_steps: u32,
    /// Steps of the next dispatch, by what the last ones took.
    steps: u32,
    /// Particles of the last dispatch.
    rows: usize,
    /// Of one particle in one step.
    flops: u64,
    /// Numbers that a dispatch reads of the network, and of each particle reads and writes.
    numbers: (usize, usize),
}

#[derive(Debug)]
enum Extent {
    /// The timetable of a dispatch's steps.
    Fixed(Buffer),
    Adaptive(Records),
}

impl Fused {
    pub fn new(particles: &Particles<'_>, tiles: Tiles) -> Result<Self> {
        let Particles { device, architecture, layout, solver, divergence, parameters, points, rows, outputs } =
            *particles;
        let load = Load::new(architecture, divergence);
        // `tiles` are of networks that have a table.
        let table = NetworkTable::of(layout).unwrap_or(NetworkTable::zeroed());
        let table = device.uniform(&table)?;
        let tableau = Tableau::new(solver);
        let uniform = device.uniform(&tableau)?;
        let habits = device.habits();
        let each = iterations(layout, solver, load, tiles);
        let mut budget = habits.loop_iterations;
        if let Some(times) = outputs {
            // What is left of the loop bound when every output falls into one dispatch.
            let interpolation = to_u32(times.len() * (1 + load.quads() * (1 + 2 * solver.stages())));
            budget = budget.saturating_sub(interpolation.saturating_mul(tiles.rows));
            if budget < each {
                return Err(Error::config(
                    format!("{} states of a trajectory", times.len() - 1),
                    "an adaptive solver gives fewer at once: lower --steps, which is their number",
                ));
            }
        }
        let most_steps = (budget / each).clamp(1, MOST_STEPS);
        let variant = fused_variant(
            architecture,
            layout,
            solver,
            divergence,
            tiles,
            parameters.weights.is_some(),
            outputs.is_some(),
        );
        let purpose = Purpose { what: "the steps of a dispatch", flag: "the chunk" };
        let kept = match solver.method {
            Method::Multistep | Method::Adaptive { .. } => {
                Some(device.buffer(16 * (rows * load.quads()) as u64, purpose)?)
            }
            Method::RungeKutta | Method::Stochastic => None,
        };
        let extent = if solver.is_adaptive() {
            Extent::Adaptive(Records::new(particles)?)
        } else {
            let bytes = 16 * u64::from(most_steps) * (1 + solver.stages()) as u64;
            Extent::Fixed(device.buffer(bytes, purpose)?)
        };
        let mut bindings = vec![
            Binding::whole(0, &uniform),
            Binding::whole(1, &table),
            Binding::whole(2, &parameters.buffer),
            Binding::whole(3, points),
        ];
        if let Some(weights) = &parameters.weights {
            bindings.push(Binding::texture(4, weights));
        }
        match &extent {
            Extent::Fixed(timetable) => bindings.push(Binding::whole(5, timetable)),
            Extent::Adaptive(records) => {
                bindings.push(Binding::whole(5, &records.particles));
                bindings.push(Binding::whole(7, &records.unfinished));
                bindings.extend(records.output_bindings(8));
            }
        }
        if let Some(kept) = &kept {
            bindings.push(Binding::whole(6, kept));
        }
        let groups = device.groups(rows.div_ceil(tiles.rows as usize) as u64, tiles.lanes);
        let dispatch = device.dispatch(&variant, &bindings, groups)?;
        let work = architecture.flops()
            * (tiles.groups * (1 + tiles.tangents)) as u64
            * rows as u64
            * solver.stages() as u64;
        let steps =
            u32::try_from(habits.dispatch_flops / work.max(1)).unwrap_or(u32::MAX).clamp(1, most_steps);
        let evaluations = (solver.stages() * (1 + load.directions)) as u64;
        Ok(Self {
            device: device.clone(),
            flops: architecture.flops() * evaluations,
            numbers: (layout.len, 2 * load.state() + if kept.is_some() { 8 * load.quads() } else { 0 }),
            dispatch,
            tiles,
            uniform,
            tableau,
            extent,
            most_steps,
            first_steps: steps,
            steps,
            rows,
        })
    }

    /// The dispatch over so many particles.
    fn over(&self, rows: usize) -> Dispatch {
        let groups = self.device.groups(rows.div_ceil(self.tiles.rows as usize) as u64, self.tiles.lanes);
        self.dispatch.clone().with_groups(groups)
    }

    /// Whether the lanes of a workgroup share the layers.
    pub fn is_shared(&self) -> bool {
        self.tiles.is_shared()
    }

    /// One dispatch, and what it teaches of the next one's length.
    fn dispatch(&mut self, rows: usize) -> Result<()> {
        let dispatch = self.over(rows);
        let target = Duration::from_millis(self.device.habits().submission_ms).as_secs_f32();
        self.device.write(&self.uniform, &[self.tableau])?;
        let submission = self.device.submit([&dispatch], &[])?;
        self.device.wait(Some(&submission))?;
        let each = submission.elapsed().as_secs_f32() / self.tableau.steps as f32;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let fitting = (target / each.max(1e-9)) as u32;
        self.steps = fitting.clamp(1, self.most_steps).min(self.steps.saturating_mul(4));
        Ok(())
    }

    /// Carries particles from `step` to `end` of a timetable in as many dispatches as it takes. `stop` is asked
    /// between them. `address`: key of the random numbers, and the first row.
    pub fn advance(
        &mut self,
        rows: usize,
        address: ([u32; 2], u32),
        timetable: &Timetable,
        (mut step, end): (u32, u32),
        stop: fn() -> bool,
    ) -> Result<()> {
        if rows > self.rows {
            // What a few particles took says little of many.
            self.steps = self.first_steps.min(self.steps);
        }
        self.rows = rows;
        while step < end {
            if stop() {
                return Err(Error::Interrupted);
            }
            let steps = self.steps.min(end - step);
            self.tell(rows, address, timetable, step, steps)?;
            self.dispatch(rows)?;
            step += steps;
        }
        Ok(())
    }

    /// Tells the kernel the steps of its next dispatch.
    fn tell(
        &mut self,
        rows: usize,
        address: ([u32; 2], u32),
        timetable: &Timetable,
        first_step: u32,
        steps: u32,
    ) -> Result<()> {
        let mut lines: Vec<[f32; 4]> = Vec::new();
        for i in first_step..first_step + steps {
            let step = timetable.step(i);
            lines.push([step.h, step.noise, step.weights[0], step.weights[1]]);
            lines.extend(step.stages);
        }
        if let Extent::Fixed(buffer) = &self.extent {
            self.device.write(buffer, &lines)?;
        }
        let (seed, first_row) = address;
        self.tableau = Tableau { seed, first_row, rows: to_u32(rows), first_step, steps, ..self.tableau };
        Ok(())
    }

    /// The dispatch of the first steps of a timetable, and how many these are.
    pub fn plan(&mut self, rows: usize, timetable: &Timetable) -> Result<(Dispatch, u32)> {
        let steps = self.first_steps.min(timetable.steps);
        self.tell(rows, ([0; 2], 0), timetable, 0, steps)?;
        self.device.write(&self.uniform, &[self.tableau])?;
        let (network, particle) = self.numbers;
        let work = Work {
            flops: self.flops * rows as u64 * u64::from(steps),
            ..Work::new(0, network + rows * particle)
        };
        Ok((self.over(rows).with_work(work), steps))
    }

    /// Carries particles through the interval of `tableau` until all of them have arrived.
    pub fn adapt(&mut self, rows: usize, tableau: &Tableau, stop: fn() -> bool) -> Result<Vec<Particle>> {
        self.tableau = Tableau { rows: to_u32(rows), first_step: 0, ..*tableau };
        // The last dispatch of other particles ended as soon as none of them was left: it says nothing of these. While
        // any are left, all steps have been made, and they become fewer and faster.
        self.steps = self.first_steps;
        if let Extent::Adaptive(records) = &self.extent {
            records.reset(&self.device, rows, tableau.t0)?;
        }
        loop {
            if stop() {
                return Err(Error::Interrupted);
            }
            self.tableau.steps = self.steps;
            if let Extent::Adaptive(records) = &self.extent {
                self.device.write(&records.unfinished, &[0u32])?;
            }
            self.dispatch(rows)?;
            let Extent::Adaptive(records) = &self.extent else { return Ok(vec![]) };
            let unfinished: Vec<u32> = self.device.read(&records.unfinished, 0..4)?;
            if unfinished[0] == 0 {
                return records.finish(&self.device, rows, &self.tableau);
            }
            self.tableau.first_step = 1;
        }
    }

    /// The states at the outputs of an adaptive solver: [rows, outputs, d].
    pub fn trajectory(&self, rows: usize) -> Result<Vec<f32>> {
        match &self.extent {
            Extent::Adaptive(records) => records.trajectory(&self.device, rows),
            Extent::Fixed(_) => Ok(vec![]),
        }
    }
}
