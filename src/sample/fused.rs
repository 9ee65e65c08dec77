//! The fused integrator: particles stay on the chip through many steps.

use std::time::Duration;

use bytemuck::Zeroable;

use super::layout::{NetworkTable, Tableau};
use super::sampler::Particles;
use crate::gpu::{Binding, Buffer, Device, Dispatch, Habits, Variant};
use crate::model::{Architecture, Layout, MAX_LAYERS, to_u32};
use crate::{Error, Result};

/// How the kernel is cut for a device: lanes of a workgroup, particles of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tiles {
    lanes: u32,
    rows: u32,
}

/// Columns of memory (vec4) that a particle needs: its state, the stages' velocities, two activations.
fn columns(layout: &Layout, stages: usize) -> usize {
    let out = layout.layers[layout.layers.len() - 1].width_out;
    ((1 + stages) * out + 2 * widest(layout)) / 4
}

pub(crate) fn widest(layout: &Layout) -> usize {
    layout.layers.iter().map(|layer| layer.width_in.max(layer.width_out)).max().unwrap_or(0)
}

/// The best cut that fits the workgroup's memory, or none: then the network is too wide for this kernel.
pub(crate) fn tiles(habits: &Habits, limits: &wgpu::Limits, layout: &Layout, stages: usize) -> Option<Tiles> {
    let room = limits.max_compute_workgroup_storage_size / (16 * to_u32(columns(layout, stages)));
    if layout.layers.len() > MAX_LAYERS || iterations(layout, stages) > habits.loop_iterations {
        return None;
    }
    habits.integrator_tiles.iter().map(|(lanes, rows)| Tiles { lanes: *lanes, rows: *rows }).find(|tiles| {
        tiles.lanes * tiles.rows <= room && tiles.lanes <= limits.max_compute_invocations_per_workgroup
    })
}

/// Loop iterations of one invocation for one step, all loops of the kernel that are not unrolled added up.
fn iterations(layout: &Layout, stages: usize) -> u32 {
    let first = &layout.layers[0];
    let out = layout.layers[layout.layers.len() - 1].width_out;
    let layers: usize =
        layout.layers.iter().map(|layer| 1 + layer.width_out / TILE_COLUMNS * (1 + layer.width_in / 4)).sum();
    let features = first.width_in / 4 * (1 + stages);
    to_u32(stages * (1 + layers + features) + out / 4 * (1 + stages) + 1)
}

const TILE_COLUMNS: usize = 8;

/// The variant of `integrator` for a network.
pub(crate) fn integrator_variant(
    architecture: &Architecture,
    layout: &Layout,
    stages: usize,
    tiles: Tiles,
    textures: bool,
) -> Variant {
    Variant::new("integrator")
        .with("DIM", to_u32(architecture.dim))
        .with("FREQUENCIES", to_u32(architecture.time_frequencies))
        .with("WIDTH_IN", to_u32(layout.layers[0].width_in))
        .with("WIDTH_OUT", to_u32(layout.layers[layout.layers.len() - 1].width_out))
        .with("WIDTH", to_u32(widest(layout)))
        .with("STAGES", to_u32(stages))
        .with("TILE_ROWS", tiles.rows)
        .with("TILE_COLUMNS", to_u32(TILE_COLUMNS))
        .with("LANES", tiles.lanes)
        .part("ACTIVATION", architecture.activation.name())
        .flag("TEXTURES", textures)
}

/// The kernel bound to a chunk of particles.
#[derive(Debug)]
pub(crate) struct Fused {
    device: Device,
    dispatch: Dispatch,
    tiles: Tiles,
    uniform: Buffer,
    tableau: Tableau,
    /// Steps that one dispatch may make by the loop bound.
    most_steps: u32,
    /// Steps of the next dispatch, by what the last ones took.
    steps: u32,
}

impl Fused {
    pub fn new(particles: &Particles<'_>, tiles: Tiles) -> Result<Self> {
        let Particles { device, architecture, layout, solver, parameters, points, rows } = *particles;
        let mut table = NetworkTable::zeroed();
        table.layers = to_u32(layout.layers.len());
        for (index, layer) in layout.layers.iter().enumerate() {
            let weight = layer.offset / 4;
            let bias = weight + layer.width_in * layer.width_out / 4;
            table.shape[index] =
                [to_u32(layer.width_in / 4), to_u32(layer.width_out), to_u32(weight), to_u32(bias)];
            table.outputs[index] = [to_u32(layer.outputs), to_u32(layer.first_row), 0, 0];
        }
        let table = device.uniform(&table)?;
        let tableau = Tableau::new(solver);
        let uniform = device.uniform(&tableau)?;
        let variant =
            integrator_variant(architecture, layout, solver.stages(), tiles, parameters.weights.is_some());
        let mut bindings = vec![
            Binding::whole(0, &uniform),
            Binding::whole(1, &table),
            Binding::whole(2, &parameters.buffer),
            Binding::whole(3, points),
        ];
        if let Some(weights) = &parameters.weights {
            bindings.push(Binding::texture(4, weights));
        }
        let groups = device.groups(rows.div_ceil(tiles.rows as usize) as u64, tiles.lanes);
        let dispatch = device.dispatch(&variant, &bindings, groups)?;
        let habits = device.habits();
        let work = architecture.flops() * rows as u64 * solver.stages() as u64;
        let most_steps = (habits.loop_iterations / iterations(layout, solver.stages())).max(1);
        let steps =
            u32::try_from(habits.dispatch_flops / work.max(1)).unwrap_or(u32::MAX).clamp(1, most_steps);
        Ok(Self { device: device.clone(), dispatch, tiles, uniform, tableau, most_steps, steps })
    }

    /// Carries the first `rows` particles from `step` to `end` in as many dispatches as it takes.
    /// `stop` is asked between them.
    pub fn advance(
        &mut self,
        rows: usize,
        t0: f32,
        h: f32,
        step: u32,
        end: u32,
        stop: fn() -> bool,
    ) -> Result<()> {
        let groups = self.device.groups(rows.div_ceil(self.tiles.rows as usize) as u64, self.tiles.lanes);
        let dispatch = self.dispatch.clone().with_groups(groups);
        let mut step = step;
        let target = Duration::from_millis(self.device.habits().submission_ms).as_secs_f32();
        while step < end {
            if stop() {
                return Err(Error::Interrupted);
            }
            let steps = self.steps.min(end - step);
            self.tableau = Tableau { t0, h, first_step: step, steps, rows: to_u32(rows), ..self.tableau };
            self.device.write(&self.uniform, &[self.tableau])?;
            let submission = self.device.submit([&dispatch], &[])?;
            self.device.wait(Some(&submission))?;
            let each = submission.elapsed().as_secs_f32() / steps as f32;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
            let fitting = (target / each.max(1e-9)) as u32;
            self.steps = fitting.clamp(1, self.most_steps).min(self.steps.saturating_mul(4));
            step += steps;
        }
        Ok(())
    }
}
