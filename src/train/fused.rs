//! The gradient of a step in one dispatch, for narrow networks.

use super::batch::{Pairs, padded, pair_variant};
use super::gradients::Recipe;
use super::trainer::{Optimiser, SquaredBy};
use crate::flow::Path;
use crate::gpu::{Binding, Buffer, Dispatch, Habits, List, Matrices, Purpose, Variant, Work, fits_texture};
use crate::model::{Architecture, Layout, NetworkTable, PAD, Parameters, to_u32, unrolled, unrolls};
use crate::{Error, Result};

/// Groups of four columns of a tile's rows that a lane keeps in registers.
const CELLS: u32 = 32;
/// Rows that a lane takes through all layers at once. Two share what the lanes bring, but make loops that are too long for the
/// cache of instructions, and take the compiler twice as long.
const LANE_ROWS: u32 = 1;
/// The most layers that are written out there and back: each takes the compiler a second or two, once on a machine.
const MOST_UNROLLED: usize = 9;
/// The most passes of a workgroup whose lanes take rows through all layers.
const MOST_PASSES: usize = 64;

/// How a step up to the gradient cuts a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Of a row group.
    pub lanes: u32,
    /// Groups of four columns that a lane owns; none where it owns rows.
    pub quads: u32,
    /// That a row group takes at once.
    pub rows: u32,
    /// Row groups of a workgroup.
    pub groups: u32,
    /// Whether a row group is a subgroup whose lanes take rows through all layers (`gradient_unrolled`).
    pub unrolled: bool,
}

impl Tile {
    /// The largest tile whose activations fit a workgroup's memory, or that are written out where lanes read each other's
    /// registers; none for a network that is too wide, or none that has no hidden layer.
    pub fn of(
        habits: &Habits,
        limits: &wgpu::Limits,
        architecture: &Architecture,
        layout: &Layout,
        batch: usize,
    ) -> Option<Self> {
        let hidden = layout.layers.len() - 1;
        NetworkTable::of(layout).filter(|_| hidden > 0)?;
        // A driver that has its subgroups in registers has no memory that is nearer than another.
        let lanes = habits.subgroup.filter(|_| habits.matrices == Matrices::Textures);
        lanes
            .and_then(|lanes| Self::unrolled(limits, layout, batch, lanes))
            .or_else(|| Self::cut(habits, limits, architecture, layout))
    }

    fn unrolled(limits: &wgpu::Limits, layout: &Layout, batch: usize, lanes: u32) -> Option<Self> {
        let tile = Self { lanes, quads: 0, rows: LANE_ROWS * lanes, groups: 1, unrolled: true };
        let (rows, _) = List::extent(tile.passes_and_groups(batch).1 * layout.len);
        let takes = unrolls(layout) && layout.layers.len() <= MOST_UNROLLED;
        (takes && fits_texture(limits, rows, 0)).then_some(tile)
    }

    /// How often each workgroup of an unrolled step takes its rows, and how many workgroups there are. Every one leaves a
    /// slice of the gradient, which costs as much as some passes: with B rows, √B/8 of them, so that both grow alike.
    fn passes_and_groups(self, batch: usize) -> (usize, usize) {
        let tiles = batch.div_ceil(self.rows as usize).max(1);
        let passes = tiles.div_ceil((batch.isqrt() / 8).max(1)).min(MOST_PASSES);
        (passes, tiles.div_ceil(passes))
    }

    fn cut(
        habits: &Habits,
        limits: &wgpu::Limits,
        architecture: &Architecture,
        layout: &Layout,
    ) -> Option<Self> {
        let widest = layout.layers.iter().map(|layer| layer.width_in).max().unwrap_or(0);
        let (lanes, groups) = habits.step_lanes;
        let quads = to_u32(widest).div_ceil(4 * lanes);
        let mut rows = (CELLS / quads.max(1)).min(habits.step_rows) / 4 * 4;
        while rows > 0 {
            let tile = Self { lanes, quads, rows, groups, unrolled: false };
            if tile.bytes(architecture, layout.layers.len() - 1)
                <= u64::from(limits.max_compute_workgroup_storage_size)
            {
                return Some(tile);
            }
            rows = rows / 8 * 4;
        }
        None
    }

    /// Of a workgroup's memory.
    fn bytes(self, architecture: &Architecture, hidden: usize) -> u64 {
        let ends = architecture.features().next_multiple_of(PAD) + architecture.dim.next_multiple_of(PAD);
        // Slopes, and what goes into the layers above.
        let row = ends / 4 + 2 * hidden * (self.lanes * self.quads) as usize;
        let sums = self.lanes * self.rows / 4;
        16 * u64::from(self.groups) * (u64::from(self.rows) * row as u64 + u64::from(sums))
    }

    /// Of all loops of an invocation, at most.
    pub fn iterations(self, habits: &Habits, batch: usize, layout: &Layout) -> u64 {
        let layers = layout.layers.iter().map(|layer| (layer.width_in + layer.width_out) as u64).sum::<u64>();
        if self.unrolled {
            // There and back, and once more to leave the gradient; or its slices, where `step` squares them.
            let (passes, groups) = self.passes_and_groups(batch);
            return (layers * (passes as u64 + 1)).max((layout.len.div_ceil(256) * (groups + 1)) as u64);
        }
        let tiles = self.tiles(habits, batch) as u64;
        let outputs = layout.layers.last().map_or(0, |layer| layer.outputs as u64);
        tiles * (layers + (2 + u64::from(self.rows / 4 * self.lanes)) * outputs + u64::from(self.rows) * 64)
    }

    /// Of a row group, in a batch.
    fn tiles(self, habits: &Habits, batch: usize) -> usize {
        batch.div_ceil(self.slices(habits, batch)).div_ceil(self.rows as usize)
    }

    /// Among how many row groups a batch is shared: each leaves a slice of its gradient, and a sum of its loss.
    pub fn slices(self, habits: &Habits, batch: usize) -> usize {
        if self.unrolled {
            return self.passes_and_groups(batch).1;
        }
        let each = (habits.step_slice_rows.max(self.rows) * self.groups) as usize;
        batch.div_ceil(each).clamp(1, habits.step_slices as usize / self.groups as usize)
            * self.groups as usize
    }
}

/// The variant of `fused_gradient` or `gradient_unrolled` for a network and a path.
pub(crate) fn fused_gradient_variant(
    architecture: &Architecture,
    layout: &Layout,
    path: &Path,
    tile: Tile,
    batch: usize,
    pairs: Pairs,
    textures: bool,
) -> Variant {
    let kernel = if tile.unrolled { "gradient_unrolled" } else { "fused_gradient" };
    let variant = pair_variant(kernel, architecture, path, pairs)
        .with("LANES", tile.lanes)
        .part("ACTIVATION", architecture.activation.name())
        .flag("TEXTURES", textures);
    if tile.unrolled {
        // Of four columns that the network sees, the subgroup brings one for each of four rows.
        let few = architecture.features().div_ceil(4) <= tile.lanes as usize / 4;
        let variant = variant
            .with("TILE_ROWS", tile.rows / tile.lanes)
            .with("PASSES", to_u32(tile.passes_and_groups(batch).0))
            .with("PARAMETERS", to_u32(layout.len / 4))
            .flag("FEW", few);
        return unrolled(variant, layout, tile.lanes).flag("SUBGROUPS", true).flag("GRADIENT", true);
    }
    let columns = 4 * (tile.lanes * tile.quads) as usize;
    let whole = architecture.hidden.iter().all(|width| width.next_multiple_of(PAD) == columns);
    padded(variant, architecture)
        .with("HIDDEN", to_u32(architecture.hidden.len()))
        .with("QUADS", tile.quads)
        .with("TILE_ROWS", tile.rows)
        .with("GROUPS", tile.groups)
        .with("WHOLE", whole.into())
}

/// What the fused gradient of a batch leaves behind, and the dispatches that make it.
pub(super) struct FusedGradient {
    pub dispatches: Vec<Dispatch>,
    /// Of the loss, one a row group.
    pub sums: Buffer,
    pub partials: usize,
    pub optimiser: Optimiser,
}

impl FusedGradient {
    /// Lays the dispatches out, up to what [`SquaredBy`] leaves to others.
    ///
    /// # Errors
    /// [`Error::Limit`] or [`Error::OutOfMemory`] if they do not fit the device.
    pub fn new(
        recipe: &Recipe<'_>,
        layout: &Layout,
        parameters: &Parameters,
        state: &Buffer,
        tile: Tile,
    ) -> Result<Self> {
        let Recipe { device, architecture, path, seed, batch, from } = *recipe;
        let habits = device.habits();
        let table = NetworkTable::of(layout).ok_or_else(|| {
            Error::config("--kernels fused does not fit this network", "use --kernels auto")
        })?;
        let network = device.uniform(&table)?;
        let chunk = device.uniform(&from.data.chunk(seed, batch, 0, batch))?;
        let partials = tile.slices(habits, batch);
        let sums = device.buffer(4 * partials as u64, Purpose { what: "the loss", flag: "--batch" })?;
        let squared = if tile.unrolled { SquaredBy::Step } else { SquaredBy::Reduction };
        let optimiser = Optimiser::new(device, layout, partials, squared)?;
        let textures = parameters.weights.is_some();
        let variant = fused_gradient_variant(architecture, layout, path, tile, batch, from.pairs(), textures);
        let mut bindings = from.bindings(&chunk, state);
        bindings.push(Binding::whole(3, &network));
        bindings.push(Binding::whole(4, &parameters.buffer));
        bindings.push(Binding::whole(7, &sums));
        if let Some(weights) = &parameters.weights {
            bindings.push(Binding::texture(10, weights));
        }
        bindings.push(Binding::list(6, &optimiser.gradient));
        let groups = [to_u32(partials) / tile.groups, 1, 1];
        // The weights are read, each slice is written; batches are small beside them.
        let work = Work {
            flops: 3 * batch as u64 * architecture.flops(),
            bytes: 4 * (optimiser.slices as u64 + 1) * layout.len as u64,
        };
        let mut dispatches = vec![device.dispatch(&variant, &bindings, groups)?.with_work(work)];
        if squared == SquaredBy::Reduction {
            dispatches.push(optimiser.reduce(device, layout)?);
        }
        Ok(Self { dispatches, sums, partials, optimiser })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Activation;

    #[test]
    fn slices_are_left_where_they_fit_a_texture() {
        let architecture = Architecture {
            dim: 2,
            hidden: vec![64; 3],
            activation: Activation::default(),
            time_frequencies: 0,
            condition_features: 0,
        };
        let layout = Layout::new(&architecture);
        let limits = wgpu::Limits { max_compute_workgroup_storage_size: 1 << 15, ..wgpu::Limits::default() };
        let of = |habits: &Habits, batch| Tile::of(habits, &limits, &architecture, &layout, batch).unwrap();
        let largest = limits.max_texture_dimension_2d as usize * 1024 / (layout.len / 4);
        for lanes in [8, 16] {
            let habits = Habits { subgroup: Some(lanes), ..Habits::SOFTWARE };
            let most = largest * MOST_PASSES * (LANE_ROWS * lanes) as usize;
            for batch in [1, 5, 256, 1000, 4096, 1 << 20, most, most + 1] {
                let tile = of(&habits, batch);
                assert_eq!(tile.unrolled, batch <= most, "{batch}");
                if tile.unrolled {
                    let (passes, groups) = tile.passes_and_groups(batch);
                    let rows = passes * tile.rows as usize;
                    assert!((groups - 1) * rows < batch && batch <= groups * rows, "{batch}");
                    assert_eq!(tile.slices(&habits, batch), groups);
                }
            }
            assert_eq!(of(&habits, 256).slices(&habits, 256), 2);
        }
        for habits in [Habits::SOFTWARE, Habits::HARDWARE] {
            assert!(!of(&habits, 256).unrolled);
        }
    }
}
