//! The gradient of a step in one dispatch or two, for narrow networks.

use super::batch::{Pairs, pair_variant};
use super::gradients::Recipe;
use super::trainer::Optimiser;
use crate::flow::Path;
use crate::gpu::{Binding, Buffer, Dispatch, Habits, Matrices, Purpose, Variant, Work, fits_texture};
use crate::model::{Architecture, Layout, NetworkTable, PAD, Parameters, to_u32, unrolled, unrolls};
use crate::{Error, Result};

/// Groups of four columns of a tile's rows that a lane keeps in registers.
const CELLS: u32 = 32;
/// Rows of a lane that takes them through all layers. More of them share what the lanes bring, but have no room in the
/// nearest cache, and take longer to compile.
const LANE_ROWS: u32 = 2;
/// The most layers that are written out there and back: each pair takes the compiler a second or less.
const MOST_UNROLLED: usize = 9;
/// Outputs and inputs of a tile of `weight_gradient`.
const WEIGHT_TILE: (u32, u32) = (8, 16);
/// Rows after which the textures of what goes into every layer, and of dL/dz, begin a new column of rows: a batch may have
/// more than a texture.
const FOLD: usize = 4096;

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
    /// Whether a row group is a subgroup whose lanes take rows through all layers (`gradient_unrolled`), and the weights'
    /// gradient is a dispatch of its own, after that of all rows.
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
        let (rows, folds) = tile.folds(batch);
        let columns = layout
            .layers
            .iter()
            .map(|layer| layer.width_in)
            .sum::<usize>()
            .max(layout.layers.iter().map(|layer| layer.width_out).sum());
        let takes = unrolls(layout) && layout.layers.len() <= MOST_UNROLLED;
        (takes && fits_texture(limits, rows, folds * columns)).then_some(tile)
    }

    /// Rows of a fold of the textures, and how many folds a batch has.
    pub fn folds(self, batch: usize) -> (usize, usize) {
        let padded = batch.next_multiple_of(self.rows as usize);
        (padded.min(FOLD), padded.div_ceil(FOLD))
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
            // There and back, and the loop over all rows of `weight_gradient`.
            return layers.max(batch.div_ceil(4) as u64 + 64);
        }
        let tiles = self.tiles(habits, batch) as u64;
        let outputs = layout.layers.last().map_or(0, |layer| layer.outputs as u64);
        tiles * (layers + (2 + u64::from(self.rows / 4 * self.lanes)) * outputs + u64::from(self.rows) * 64)
    }

    /// Of a row group, in a batch.
    fn tiles(self, habits: &Habits, batch: usize) -> usize {
        batch.div_ceil(self.row_groups(habits, batch)).div_ceil(self.rows as usize)
    }

    /// Into how many slices the gradient of a batch is cut.
    pub fn slices(self, habits: &Habits, batch: usize) -> usize {
        if self.unrolled { 1 } else { self.row_groups(habits, batch) }
    }

    /// Among how many row groups a batch is shared.
    fn row_groups(self, habits: &Habits, batch: usize) -> usize {
        if self.unrolled {
            return batch.div_ceil(self.rows as usize);
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
    pairs: Pairs,
    textures: bool,
) -> Variant {
    let kernel = if tile.unrolled { "gradient_unrolled" } else { "fused_gradient" };
    let variant = pair_variant(kernel, architecture, path, pairs)
        .with("LANES", tile.lanes)
        .part("ACTIVATION", architecture.activation.name())
        .flag("TEXTURES", textures);
    if tile.unrolled {
        let variant = variant.with("TILE_ROWS", tile.rows / tile.lanes).with("FOLD", to_u32(FOLD));
        return unrolled(variant, layout, tile.lanes).flag("SUBGROUPS", true).flag("GRADIENT", true);
    }
    let columns = 4 * (tile.lanes * tile.quads) as usize;
    let whole = architecture.hidden.iter().all(|width| width.next_multiple_of(PAD) == columns);
    variant
        .with("HIDDEN", to_u32(architecture.hidden.len()))
        .with("QUADS", tile.quads)
        .with("TILE_ROWS", tile.rows)
        .with("GROUPS", tile.groups)
        .with("WHOLE", whole.into())
}

/// The variant of `weight_gradient`.
pub(crate) fn weight_gradient_variant(tile: Tile) -> Variant {
    Variant::new("weight_gradient")
        .with("LANES", tile.lanes)
        .with("FOLD", to_u32(FOLD))
        .with("TILE_OUT", WEIGHT_TILE.0)
        .with("TILE_IN", WEIGHT_TILE.1)
}

/// Workgroups of `weight_gradient`: along the tiles of the largest layer, and the layers.
fn weight_groups(tile: Tile, layout: &Layout) -> [u32; 3] {
    let tiles = |outputs: usize, inputs: usize| {
        to_u32(outputs).div_ceil(WEIGHT_TILE.0) * to_u32(inputs).div_ceil(WEIGHT_TILE.1)
    };
    let most = layout.layers.iter().map(|layer| tiles(layer.width_out, layer.width_in)).max().unwrap_or(1);
    [most.div_ceil(tile.lanes), to_u32(layout.layers.len()), 1]
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
    /// Lays the dispatches out, up to the sums of the gradient's squares.
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
        let partials = tile.row_groups(habits, batch);
        let sums = device.buffer(4 * partials as u64, Purpose { what: "the loss", flag: "--batch" })?;
        let weight_groups = weight_groups(tile, layout);
        let squares = if tile.unrolled { Some((weight_groups[0] * weight_groups[1]) as usize) } else { None };
        let optimiser = Optimiser::new(device, layout, tile.slices(habits, batch), squares)?;
        let textures = parameters.weights.is_some();
        let variant = fused_gradient_variant(architecture, layout, path, tile, from.pairs(), textures);
        let mut bindings = from.bindings(&chunk, state);
        bindings.push(Binding::whole(3, &network));
        bindings.push(Binding::whole(4, &parameters.buffer));
        bindings.push(Binding::whole(7, &sums));
        if let Some(weights) = &parameters.weights {
            bindings.push(Binding::texture(10, weights));
        }
        let groups = [to_u32(partials) / tile.groups, 1, 1];
        let flops = batch as u64 * architecture.flops();
        if !tile.unrolled {
            bindings.push(Binding::list(6, &optimiser.gradient));
            // The weights are read, each slice is written; batches are small beside them.
            let work =
                Work { flops: 3 * flops, bytes: 4 * (optimiser.slices as u64 + 1) * layout.len as u64 };
            let dispatches = vec![
                device.dispatch(&variant, &bindings, groups)?.with_work(work),
                optimiser.reduce(device, layout)?,
            ];
            return Ok(Self { dispatches, sums, partials, optimiser });
        }
        let purpose = Purpose { what: "the activations of a batch", flag: "--batch" };
        let (rows, folds) = tile.folds(batch);
        let wide_in = layout.layers.iter().map(|layer| layer.width_in).sum::<usize>();
        let wide_out = layout.layers.iter().map(|layer| layer.width_out).sum::<usize>();
        let inputs = device.texture(rows, folds * wide_in, purpose)?;
        let deltas = device.texture(rows, folds * wide_out, purpose)?;
        bindings.push(Binding::texture(6, &inputs));
        bindings.push(Binding::texture(11, &deltas));
        let numbers = batch * (wide_in + wide_out) + layout.len;
        let work = Work { flops: 2 * flops, bytes: 4 * numbers as u64 };
        let rows = device.dispatch(&variant, &bindings, groups)?.with_work(work);
        let bindings = [
            Binding::whole(0, &chunk),
            Binding::whole(1, &network),
            Binding::texture(2, &inputs),
            Binding::texture(3, &deltas),
            Binding::list(4, &optimiser.gradient),
            Binding::whole(5, &optimiser.squares),
        ];
        let work = Work { flops, bytes: 4 * numbers as u64 };
        let weights =
            device.dispatch(&weight_gradient_variant(tile), &bindings, weight_groups)?.with_work(work);
        Ok(Self { dispatches: vec![rows, weights], sums, partials, optimiser })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Activation;

    #[test]
    fn activations_are_kept_where_they_fit_a_texture() {
        let architecture = Architecture {
            dim: 2,
            hidden: vec![64; 3],
            activation: Activation::default(),
            time_frequencies: 0,
            condition_features: 0,
        };
        let layout = Layout::new(&architecture);
        let limits = wgpu::Limits { max_compute_workgroup_storage_size: 1 << 15, ..wgpu::Limits::default() };
        let largest = limits.max_texture_dimension_2d as usize;
        let of = |habits: &Habits, batch| Tile::of(habits, &limits, &architecture, &layout, batch).unwrap();
        let wide_in = layout.layers.iter().map(|layer| layer.width_in).sum::<usize>();
        for lanes in [8, 16] {
            let habits = Habits { subgroup: Some(lanes), ..Habits::SOFTWARE };
            let most = 4 * largest / wide_in * FOLD;
            for batch in [1, 5, 256, 1000, FOLD, FOLD + 1, largest + 1, most, most + 1] {
                let tile = of(&habits, batch);
                assert_eq!(tile.unrolled, batch <= most, "{batch}");
                let (rows, folds) = tile.folds(batch);
                if tile.unrolled {
                    assert!(rows * folds >= batch.next_multiple_of(tile.rows as usize), "{batch}");
                    assert!(rows.is_multiple_of(tile.rows as usize) && tile.slices(&habits, batch) == 1);
                    assert!(fits_texture(&limits, rows, folds * wide_in), "{batch}");
                }
            }
        }
        for habits in [Habits::SOFTWARE, Habits::HARDWARE] {
            assert!(!of(&habits, 256).unrolled);
        }
    }
}
