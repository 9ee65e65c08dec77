//! Layers by tiles in the workgroup's memory, as GPUs want them: the shapes of tiles, and which one a product gets.

use super::architecture::{LayerLayout, Layout};
use super::network::to_u32;
use crate::gpu::{Habits, Variant};

/// A tile of a product: how a workgroup shares it, and how many terms it takes at a time (shaders/shared/tile.wgsl).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Lanes along the columns and along the rows.
    lanes: [u32; 2],
    /// Groups of four columns and of four rows of a lane.
    quads: [u32; 2],
    depth: u32,
}

/// All shapes, the largest first: the larger, the more often a number is used that was brought, and the fewer invocations
/// share the work. One has 64 sums in registers in the first two, then 32 and 16; no more than 16 KiB of memory and 256
/// invocations are taken, which every WebGPU device has.
pub(crate) const TILES: [Tile; 4] = [
    Tile { lanes: [16, 16], quads: [2, 2], depth: 16 },
    Tile { lanes: [8, 8], quads: [2, 2], depth: 16 },
    Tile { lanes: [16, 8], quads: [1, 2], depth: 16 },
    Tile { lanes: [8, 8], quads: [1, 1], depth: 32 },
];

/// Rows of the smallest tile.
pub(crate) const LEAST_ROWS: u32 = 32;

impl Tile {
    fn rows(self) -> u32 {
        4 * self.quads[1] * self.lanes[1]
    }

    fn columns(self) -> u32 {
        4 * self.quads[0] * self.lanes[0]
    }

    /// The largest that keeps the device busy with a product of so many rows and columns, cut into slices, and does not
    /// compute much beyond it.
    pub fn of(habits: &Habits, rows: usize, columns: usize, slices: usize) -> Self {
        let fits = |tile: &&Self| {
            let (rows_of_tile, columns_of_tile) = (tile.rows() as usize, tile.columns() as usize);
            let (x, y) = (rows.div_ceil(rows_of_tile), columns.div_ceil(columns_of_tile));
            // A ninth more than there is, at most.
            let waste = 8 * (x * rows_of_tile * y * columns_of_tile) > 9 * rows * columns;
            let lanes = (tile.lanes[0] * tile.lanes[1]) as usize;
            !waste && x * y * slices * lanes >= habits.invocations as usize
        };
        TILES.iter().find(fits).copied().unwrap_or(TILES[TILES.len() - 1])
    }

    /// Workgroups for a product of so many rows and columns.
    pub fn groups(self, rows: usize, columns: usize, slices: usize) -> [u32; 3] {
        [to_u32(rows).div_ceil(self.rows()), to_u32(columns).div_ceil(self.columns()), to_u32(slices)]
    }

    fn variant(self, kernel: &'static str, layer: &LayerLayout) -> Variant {
        Variant::new(kernel)
            .with("WIDTH_IN", to_u32(layer.width_in))
            .with("WIDTH_OUT", to_u32(layer.width_out))
            .with("LANES_X", self.lanes[0])
            .with("LANES_Y", self.lanes[1])
            .with("QUADS_X", self.quads[0])
            .with("QUADS_Y", self.quads[1])
            .with("DEPTH", self.depth)
    }

    /// The variant of `tiled_forward` for a layer.
    pub fn forward(self, layer: &LayerLayout, activation: &str, training: bool) -> Variant {
        self.variant("tiled_forward", layer)
            .with("OUTPUTS", to_u32(layer.outputs))
            .part("ACTIVATION", activation)
            .flag("TRAINING", training)
    }

    /// The variant of `tiled_forward` that takes tangents through a layer.
    pub fn tangent(self, layer: &LayerLayout, last: bool) -> Variant {
        // The layer's activation enters by its slopes.
        self.forward(layer, "identity", false).flag("TANGENT", true).flag("LINEAR", last)
    }

    /// The variant of `tiled_backward_input` for a layer.
    pub fn backward_input(self, layer: &LayerLayout) -> Variant {
        self.variant("tiled_backward_input", layer)
    }

    /// The variant of `tiled_backward_weight` for a layer.
    pub fn backward_weight(self, layer: &LayerLayout, accumulate: bool) -> Variant {
        self.variant("tiled_backward_weight", layer).flag("ROW_SUMS", true).flag("ACCUMULATE", accumulate)
    }
}

/// Whether the loops over a layer's inputs and outputs are within what an invocation may do.
pub(crate) fn fits(habits: &Habits, layout: &Layout) -> bool {
    let widest = layout.layers.iter().map(|layer| layer.width_in.max(layer.width_out)).max().unwrap_or(0);
    // One for each piece, and one for each four of its terms.
    let iterations = |tile: &Tile| to_u32(widest).div_ceil(tile.depth) * (1 + tile.depth / 4);
    TILES.iter().all(|tile| iterations(tile) <= habits.loop_iterations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_fit_every_device_and_share_their_work() {
        let limits = wgpu::Limits::default();
        for tile in TILES {
            let lanes = tile.lanes[0] * tile.lanes[1];
            assert!(lanes <= limits.max_compute_invocations_per_workgroup);
            let floats = (tile.rows() + tile.columns()) * tile.depth;
            assert!(4 * floats <= limits.max_compute_workgroup_storage_size);
            // Squares of 4 × 4 are shared without remainder; groups of four are swapped among eight; sums of rows need a
            // lane each.
            assert_eq!(floats / 16 % lanes, 0);
            assert!(matches!(tile.depth, 8 | 16 | 32));
            assert_eq!((tile.rows() / 4 % 8, tile.columns() / 4 % 8), (0, 0));
            assert!(tile.rows() / 4 <= lanes && tile.rows() >= LEAST_ROWS);
        }
    }

    #[test]
    fn products_get_the_largest_tile_that_keeps_the_device_busy() {
        let of = |rows, columns, slices| Tile::of(&Habits::HARDWARE, rows, columns, slices);
        assert_eq!(of(1 << 16, 512, 1), TILES[0]);
        assert_eq!(of(1 << 14, 192, 1), TILES[1]);
        assert_eq!(of(4096, 256, 1), TILES[2]);
        assert_eq!(of(512, 256, 1), TILES[3]);
        // Three quarters of it would lie beyond the matrix.
        assert_eq!(of(1 << 16, 8, 1), TILES[3]);
        assert_eq!(of(256, 256, 16), TILES[2]);
        assert_eq!(of(4096, 256, 1).groups(4096, 250, 1), [64, 4, 1]);
    }
}
