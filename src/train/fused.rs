//! The gradient of a step in one dispatch, for narrow networks.

use super::batch::{DrawSources, Pairs, pair_variant};
use crate::flow::Path;
use crate::gpu::{Binding, Buffer, Device, Dispatch, Habits, Purpose, Variant, Work};
use crate::model::{Architecture, Layout, NetworkTable, PAD, Parameters, to_u32};
use crate::{Error, Result};

/// Groups of four columns of a tile's rows that a lane keeps in registers.
const CELLS: u32 = 32;

/// How `fused_gradient` cuts a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Of a row group.
    pub lanes: u32,
    /// Groups of four columns that a lane owns.
    pub quads: u32,
    /// That a row group takes at once.
    pub rows: u32,
    /// Row groups of a workgroup.
    pub groups: u32,
    /// Whether a row group is a subgroup.
    pub subgroups: bool,
}

impl Tile {
    /// The largest tile whose activations fit a workgroup's memory; none for a network that is too wide, or none that
    /// has no hidden layer.
    pub fn of(
        habits: &Habits,
        limits: &wgpu::Limits,
        architecture: &Architecture,
        layout: &Layout,
    ) -> Option<Self> {
        let hidden = layout.layers.len() - 1;
        let widest = layout.layers.iter().map(|layer| layer.width_in).max().unwrap_or(0);
        NetworkTable::of(layout).filter(|_| hidden > 0)?;
        let (lanes, groups) = habits.subgroup.map_or(habits.step_lanes, |lanes| (lanes, 1));
        let quads = to_u32(widest).div_ceil(4 * lanes);
        let mut rows = (CELLS / quads.max(1)).min(habits.step_rows) / 4 * 4;
        while rows > 0 {
            let tile = Self { lanes, quads, rows, groups, subgroups: habits.subgroup.is_some() };
            if tile.bytes(architecture, hidden) <= u64::from(limits.max_compute_workgroup_storage_size) {
                return Some(tile);
            }
            rows = rows / 8 * 4;
        }
        None
    }

    /// Of a workgroup's memory.
    fn bytes(self, architecture: &Architecture, hidden: usize) -> u64 {
        let ends = architecture.features().next_multiple_of(PAD) + architecture.dim.next_multiple_of(PAD);
        let row = ends / 4 + 2 * hidden * (self.lanes * self.quads) as usize;
        let sums = if self.subgroups { 0 } else { self.lanes * self.rows / 4 };
        16 * u64::from(self.groups) * (u64::from(self.rows) * row as u64 + u64::from(sums))
    }

    /// Of all loops of an invocation, at most.
    pub fn iterations(self, habits: &Habits, batch: usize, layout: &Layout) -> u64 {
        let tiles = batch.div_ceil(self.slices(habits, batch)).div_ceil(self.rows as usize) as u64;
        let layers = layout.layers.iter().map(|layer| (layer.width_in + layer.width_out) as u64).sum::<u64>();
        let outputs = layout.layers.last().map_or(0, |layer| layer.outputs as u64);
        tiles * (layers + (2 + u64::from(self.rows / 4 * self.lanes)) * outputs + u64::from(self.rows) * 64)
    }

    /// Into how many slices the gradient of a batch is cut.
    pub fn slices(self, habits: &Habits, batch: usize) -> usize {
        let each = (habits.step_slice_rows.max(self.rows) * self.groups) as usize;
        batch.div_ceil(each).clamp(1, habits.step_slices as usize / self.groups as usize)
            * self.groups as usize
    }
}

/// The variant of `fused_gradient` for a network and a path.
pub(crate) fn fused_gradient_variant(
    architecture: &Architecture,
    path: &Path,
    tile: Tile,
    pairs: Pairs,
    textures: bool,
) -> Variant {
    let columns = 4 * (tile.lanes * tile.quads) as usize;
    let whole = architecture.hidden.iter().all(|width| width.next_multiple_of(PAD) == columns);
    pair_variant("fused_gradient", architecture, path, pairs)
        .with("HIDDEN", to_u32(architecture.hidden.len()))
        .with("LANES", tile.lanes)
        .with("QUADS", tile.quads)
        .with("TILE_ROWS", tile.rows)
        .with("GROUPS", tile.groups)
        .with("WHOLE", whole.into())
        .with("PER_LANE", if tile.subgroups { tile.quads } else { 1 })
        .part("ACTIVATION", architecture.activation.name())
        .flag("SUBGROUPS", tile.subgroups)
        .flag("TEXTURES", textures)
}

/// What the fused gradient of a batch leaves behind, and the dispatch that makes it.
pub(super) struct FusedGradient {
    pub dispatch: Dispatch,
    /// Of the loss, one a slice.
    pub sums: Buffer,
}

impl FusedGradient {
    /// Lays the dispatch out for the batches of a seed.
    ///
    /// # Errors
    /// [`Error::Limit`] or [`Error::OutOfMemory`] if it does not fit the device.
    #[allow(clippy::too_many_arguments, reason = "what a step is made of")]
    pub fn new(
        device: &Device,
        architecture: &Architecture,
        layout: &Layout,
        path: &Path,
        (seed, batch): (u64, usize),
        from: &DrawSources<'_>,
        parameters: &Parameters,
        state: &Buffer,
        (gradient, slices): (&Buffer, usize),
        tile: Tile,
    ) -> Result<Self> {
        let table = NetworkTable::of(layout).ok_or_else(|| {
            Error::config("--kernels fused does not fit this network", "use --kernels auto")
        })?;
        let network = device.uniform(&table)?;
        let chunk = device.uniform(&from.data.chunk(seed, batch, 0, batch))?;
        let sums = device.buffer(4 * slices as u64, Purpose { what: "the loss", flag: "--batch" })?;
        let textures = parameters.weights.is_some();
        let variant = fused_gradient_variant(architecture, path, tile, from.pairs(), textures);
        let mut bindings = from.bindings(&chunk, state);
        bindings.push(Binding::whole(3, &network));
        bindings.push(Binding::whole(4, &parameters.buffer));
        bindings.push(Binding::whole(6, gradient));
        bindings.push(Binding::whole(7, &sums));
        if let Some(weights) = &parameters.weights {
            bindings.push(Binding::texture(10, weights));
        }
        // The weights are read, each slice is written; batches are small beside them.
        let work = Work {
            flops: 3 * batch as u64 * architecture.flops(),
            bytes: 4 * (slices as u64 + 1) * layout.len as u64,
        };
        let groups = [to_u32(slices) / tile.groups, 1, 1];
        let dispatch = device.dispatch(&variant, &bindings, groups)?.with_work(work);
        Ok(Self { dispatch, sums })
    }
}
