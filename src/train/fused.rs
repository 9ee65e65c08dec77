//! The gradient of a step in one dispatch or two, for narrow networks.

use super::batch::{Pairs, pair_variant};
use super::gradients::Recipe;
use super::trainer::Optimiser;
use crate::flow::Path;
use crate::gpu::{Binding, Buffer, Dispatch, Habits, Matrices, Purpose, Variant, Work, fits_texture};
use crate::model::{Architecture, Layout, NetworkTable, PAD, Parameters, to_u32};
use crate::{Error, Result};

/// Groups of four columns of a tile's rows that a lane keeps in registers.
const CELLS: u32 = 32;
/// Outputs and inputs of a tile of `weight_gradient`.
const WEIGHT_TILE: (u32, u32) = (8, 16);

/// The lanes of a subgroup where they may read the registers of a lane that is known only when they do: lavapipe does that
/// in one instruction for eight lanes, and one by one for sixteen.
fn subgroup(habits: &Habits) -> Option<u32> {
    habits.subgroup.filter(|lanes| *lanes == 8)
}

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
    /// Whether the weights' gradient is a dispatch of its own, after that of all rows.
    pub apart: bool,
}

impl Tile {
    /// The largest tile whose activations fit a workgroup's memory; none for a network that is too wide, or none that
    /// has no hidden layer.
    pub fn of(
        habits: &Habits,
        limits: &wgpu::Limits,
        architecture: &Architecture,
        layout: &Layout,
        batch: usize,
    ) -> Option<Self> {
        // A driver that has its subgroups in registers has no memory that is nearer than another: what is added up in
        // memory for every tile costs more than the tiles' activations do, once.
        let apart = subgroup(habits).is_some() && habits.matrices == Matrices::Textures;
        let tile = Self::cut(habits, limits, architecture, layout, apart)?;
        let columns = layout.layers.iter().map(|layer| layer.width_in.max(layer.width_out)).sum();
        let fits = fits_texture(limits, tile.padded(habits, batch), columns);
        if apart && !fits { Self::cut(habits, limits, architecture, layout, false) } else { Some(tile) }
    }

    fn cut(
        habits: &Habits,
        limits: &wgpu::Limits,
        architecture: &Architecture,
        layout: &Layout,
        apart: bool,
    ) -> Option<Self> {
        let hidden = layout.layers.len() - 1;
        let widest = layout.layers.iter().map(|layer| layer.width_in).max().unwrap_or(0);
        NetworkTable::of(layout).filter(|_| hidden > 0)?;
        let (lanes, groups) = subgroup(habits).map_or(habits.step_lanes, |lanes| (lanes, 1));
        let quads = to_u32(widest).div_ceil(4 * lanes);
        let mut rows = (CELLS / quads.max(1)).min(habits.step_rows) / 4 * 4;
        while rows > 0 {
            let tile = Self { lanes, quads, rows, groups, subgroups: subgroup(habits).is_some(), apart };
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
        // Slopes, and what goes into the layers above.
        let kept = if self.apart { 1 } else { 2 };
        let row = ends / 4 + kept * hidden * (self.lanes * self.quads) as usize;
        let sums = if self.subgroups { 0 } else { self.lanes * self.rows / 4 };
        16 * u64::from(self.groups) * (u64::from(self.rows) * row as u64 + u64::from(sums))
    }

    /// Of all loops of an invocation, at most.
    pub fn iterations(self, habits: &Habits, batch: usize, layout: &Layout) -> u64 {
        let tiles = self.tiles(habits, batch) as u64;
        let layers = layout.layers.iter().map(|layer| (layer.width_in + layer.width_out) as u64).sum::<u64>();
        let outputs = layout.layers.last().map_or(0, |layer| layer.outputs as u64);
        let here = tiles
            * (layers + (2 + u64::from(self.rows / 4 * self.lanes)) * outputs + u64::from(self.rows) * 64);
        here.max(if self.apart { batch.div_ceil(4) as u64 + 64 } else { 0 })
    }

    /// Of a row group, in a batch.
    fn tiles(self, habits: &Habits, batch: usize) -> usize {
        batch.div_ceil(self.row_groups(habits, batch)).div_ceil(self.rows as usize)
    }

    /// Rows of a batch, with those that fill the last tiles.
    pub fn padded(self, habits: &Habits, batch: usize) -> usize {
        self.row_groups(habits, batch) * self.tiles(habits, batch) * self.rows as usize
    }

    /// Into how many slices the gradient of a batch is cut.
    pub fn slices(self, habits: &Habits, batch: usize) -> usize {
        if self.apart { 1 } else { self.row_groups(habits, batch) }
    }

    /// Among how many row groups a batch is shared.
    fn row_groups(self, habits: &Habits, batch: usize) -> usize {
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
        .flag("APART", tile.apart)
        .flag("TEXTURES", textures)
}

/// The variant of `weight_gradient`.
pub(crate) fn weight_gradient_variant(tile: Tile) -> Variant {
    Variant::new("weight_gradient")
        .with("LANES", tile.lanes)
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
        let squares = if tile.apart { Some((weight_groups[0] * weight_groups[1]) as usize) } else { None };
        let optimiser = Optimiser::new(device, layout, tile.slices(habits, batch), squares)?;
        let textures = parameters.weights.is_some();
        let variant = fused_gradient_variant(architecture, path, tile, from.pairs(), textures);
        let mut bindings = from.bindings(&chunk, state);
        bindings.push(Binding::whole(3, &network));
        bindings.push(Binding::whole(4, &parameters.buffer));
        bindings.push(Binding::whole(7, &sums));
        if let Some(weights) = &parameters.weights {
            bindings.push(Binding::texture(10, weights));
        }
        let groups = [to_u32(partials) / tile.groups, 1, 1];
        let flops = batch as u64 * architecture.flops();
        if !tile.apart {
            bindings.push(Binding::whole(6, &optimiser.gradient));
            // The weights are read, each slice is written; batches are small beside them.
            let work =
                Work { flops: 3 * flops, bytes: 4 * (optimiser.slices as u64 + 1) * layout.len as u64 };
            let dispatches = vec![
                device.dispatch(&variant, &bindings, groups)?.with_work(work),
                optimiser.reduce(device, layout)?,
            ];
            return Ok(Self { dispatches, sums, partials, optimiser });
        }
        let (rows, purpose) =
            (tile.padded(habits, batch), Purpose { what: "the activations of a batch", flag: "--batch" });
        let wide_in = layout.layers.iter().map(|layer| layer.width_in).sum();
        let wide_out = layout.layers.iter().map(|layer| layer.width_out).sum();
        let inputs = device.texture(rows, wide_in, purpose)?;
        let deltas = device.texture(rows, wide_out, purpose)?;
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
            Binding::whole(4, &optimiser.gradient),
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
        let habits = Habits { subgroup: Some(8), ..Habits::SOFTWARE };
        for batch in [1, 5, 256, 1000, largest - 256, largest + 1, 10 * largest] {
            let tile = of(&habits, batch);
            assert_eq!(tile.apart, batch <= largest, "{batch}");
            let rows = tile.padded(&habits, batch);
            assert!(rows >= batch.next_multiple_of(4) && rows.is_multiple_of(tile.rows as usize), "{batch}");
            assert!(!tile.apart || (rows <= largest && tile.slices(&habits, batch) == 1));
        }
        for habits in [Habits::SOFTWARE, Habits::HARDWARE] {
            assert!(!of(&habits, 256).apart);
        }
    }
}
