//! The device memory of a training run, by formula.

use crate::gpu::{List, pitch};
use crate::model::{Layout, PAD};

/// What a training run keeps in the device's memory, in bytes, by the sizes alone.
///
/// With N rows of d columns in the data, P parameters (with the padding of their matrices), f features of a point, hidden
/// widths w, and everything of a row padded to multiples of eight, the numbers of four bytes are
///
/// | what | numbers |
/// | --- | --- |
/// | data | N·d, and as many of a source as it has |
/// | weights | 3·P: the weights and Adam's two moments; P more with a weight average, and one copy of the matrices in a texture on software drivers |
/// | gradient | S·P in S slices |
/// | activations | R·(f + 3·Σw + 3·d) for the R rows of a batch that go through the network at once. In the fused step none |
/// | gathered | T·B·d where the data lie in blocks, for waves of T steps, and as many of the source |
///
/// and what does not grow, some 200 KiB. A matrix in a texture has 16 columns more where its columns are a multiple of 64, and
/// a list of parameters rows of 4112. A coupling needs n·(2·d + 10) numbers for each of the problems of n points that
/// are solved side by side, and n² more where the costs are kept in a matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// The data set, and the source.
    pub data: u64,
    /// Weights, moments, average, and the copy in a texture.
    pub weights: u64,
    /// The slices of the gradient.
    pub gradient: u64,
    /// What a pass keeps of its rows.
    pub activations: u64,
    /// The rows of the data that the steps of a wave pick.
    pub gathered: u64,
}

impl Footprint {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.data + self.weights + self.gradient + self.activations + self.gathered
    }

    /// Of weights, and of the gradient in slices, whether they lie in textures or not.
    pub(super) fn of_weights(
        layout: &Layout,
        average: bool,
        texture: bool,
        (slices, folded): (usize, bool),
    ) -> Self {
        let copy = if texture { layout.texture_rows * pitch(layout.texture_width()) } else { 0 };
        let (average, moments) = (usize::from(average) * layout.len, 2 * layout.len);
        let lists = List::numbers(average, texture) + List::numbers(moments, texture);
        let gradient = List::numbers(slices * layout.len, folded);
        Self { weights: bytes(layout.len + lists + copy), gradient: bytes(gradient), ..Self::default() }
    }

    /// Of so many rows that go through the network at once; `textures`: where the operands of its products lie.
    pub(super) fn with_rows(self, layout: &Layout, rows: usize, textures: bool) -> Self {
        let rows = rows.next_multiple_of(crate::model::TILE_ROWS as usize);
        let operand = |width: usize| if textures { pitch(width) } else { width };
        // What goes into every layer and dL/dz of it; the slopes of the hidden ones; the output and the target.
        let inputs: usize = layout.layers.iter().map(|layer| operand(layer.width_in)).sum();
        let deltas: usize = layout.layers.iter().map(|layer| operand(layer.width_out)).sum();
        let slopes: usize = layout.layers.iter().skip(1).map(|layer| operand(layer.width_in)).sum();
        let last = layout.layers.last().map_or(0, |layer| layer.width_out.next_multiple_of(PAD));
        Self { activations: bytes(rows * (inputs + deltas + slopes + 2 * last)), ..self }
    }
}

fn bytes(numbers: usize) -> u64 {
    4 * numbers as u64
}
