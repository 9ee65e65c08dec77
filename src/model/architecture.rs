//! The shape of the network, and where its parameters lie on the device.

use rand::{Rng, RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::activation::Activation;
use crate::{Error, Result};

/// The shape of the network: features `[x, t, sin 2πkt (k = 1..K), cos 2πkt (k = 1..K), condition]`, hidden layers
/// `h = act(W·h + b)`, a linear output of size d.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// d, the dimension of the data.
    pub dim: usize,
    /// The widths of the hidden layers, the first one first.
    pub hidden: Vec<usize>,
    /// Between the layers.
    pub activation: Activation,
    /// K.
    pub time_frequencies: usize,
    /// C, the features of the condition; 0 of a model that is conditional on nothing. Files say it by what they list.
    #[serde(skip)]
    pub condition_features: usize,
}

impl Architecture {
    /// The features of one point: d + 1 + 2K + C.
    #[must_use]
    pub fn features(&self) -> usize {
        self.dim + 1 + 2 * self.time_frequencies + self.condition_features
    }

    /// (inputs, outputs) of each layer.
    #[must_use]
    pub fn layers(&self) -> Vec<(usize, usize)> {
        let widths: Vec<usize> =
            std::iter::once(self.features()).chain(self.hidden.iter().copied()).chain([self.dim]).collect();
        widths.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }

    /// The number of weights and biases.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.layers().iter().map(|(inputs, outputs)| (inputs + 1) * outputs).sum()
    }

    /// Floating-point operations of one evaluation of the velocity at one point.
    #[must_use]
    pub fn flops(&self) -> u64 {
        self.layers().iter().map(|(inputs, outputs)| 2 * (*inputs as u64) * (*outputs as u64)).sum()
    }

    /// Checks that every size is at least 1 and that the network is not beyond what can be addressed.
    ///
    /// # Errors
    /// [`Error::Config`] naming the flag to change.
    pub fn validate(&self) -> Result<()> {
        const LARGEST: usize = 1 << 20;
        if self.dim == 0 {
            return Err(Error::config("the data has no columns", "give at least one"));
        }
        if let Some(width) = self.hidden.iter().find(|width| **width == 0 || **width > LARGEST) {
            return Err(Error::config(
                format!("a hidden layer of width {width}"),
                format!("--hidden takes widths from 1 to {LARGEST}"),
            ));
        }
        // Each by itself first: their sum must not overflow.
        let each = [self.dim, self.time_frequencies, self.condition_features].iter().all(|n| *n <= LARGEST);
        if !each || self.features() > LARGEST {
            return Err(Error::config(
                format!("features of dimension {} with {} time frequencies", self.dim, self.time_frequencies),
                "lower --time-frequencies, or give data with fewer columns",
            ));
        }
        Ok(())
    }

    /// Random weights, uniform on ±1/√inputs, biases included (PyTorch's default for `Linear`). One vector a layer:
    /// W `[out, in]` row by row, then b `[out]`.
    #[must_use]
    pub fn initialize(&self, seed: u64) -> Vec<LayerWeights> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |bound: f32, count: usize| -> Vec<f32> {
            (0..count).map(|_| (2.0 * uniform(&mut rng) - 1.0) * bound).collect()
        };
        self.layers()
            .iter()
            .map(|(inputs, outputs)| {
                let bound = 1.0 / (*inputs as f32).sqrt();
                (draw(bound, inputs * outputs), draw(bound, *outputs))
            })
            .collect()
    }
}

/// Uniform on [0, 1) from the upper 24 bits, as on the device.
fn uniform(rng: &mut impl Rng) -> f32 {
    let integer = (rng.random::<u32>() >> 8) as f32;
    integer / 16_777_216.0
}

/// The weights of one layer: W `[out, in]` row by row, and b `[out]`.
pub type LayerWeights = (Vec<f32>, Vec<f32>);

/// Widths are padded with zeros to a multiple of this, so that no kernel needs a guard.
pub(crate) const PAD: usize = 8;

/// A part of a buffer that is bound begins at a multiple of so many numbers: 256 bytes.
pub(super) const BINDING_FLOATS: usize = 64;

/// A layer's place among the parameters on the device, which are `f32`s in one buffer: W [width_out, width_in], then
/// b [width_out], each layer beginning where a binding can.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LayerLayout {
    pub inputs: usize,
    pub outputs: usize,
    pub width_in: usize,
    pub width_out: usize,
    pub offset: usize,
    /// Its first row in the texture that holds the weights of all layers, where there is one.
    pub first_row: usize,
}

impl LayerLayout {
    /// Floats of W and b, padded.
    pub fn len(&self) -> usize {
        (self.width_in + 1) * self.width_out
    }

    /// The bytes of W and b within the parameters.
    pub fn bytes(&self) -> std::ops::Range<u64> {
        4 * self.offset as u64..4 * (self.offset + self.len()) as u64
    }
}

/// Where the parameters of a network lie on the device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    pub layers: Vec<LayerLayout>,
    /// Floats of all parameters, padded.
    pub len: usize,
    /// Rows of the texture of all weights.
    pub texture_rows: usize,
}

/// The most layers of the tables that kernels keep of a network.
pub const MAX_LAYERS: usize = 32;

/// `Atlas` of shaders/shared/atlas.wgsl: where each layer's weights lie in the texture of them all.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Atlas {
    /// How many.
    pub layers: u32,
    /// Zero.
    pub padding: [u32; 3],
    /// Of each: its place among the parameters (vec4), quads of a row, rows, its first row in the texture.
    pub entries: [[u32; 4]; MAX_LAYERS],
}

impl Layout {
    pub fn new(architecture: &Architecture) -> Self {
        let (mut offset, mut first_row) = (0, 0);
        let layers = architecture
            .layers()
            .into_iter()
            .map(|(inputs, outputs)| {
                let layer = LayerLayout {
                    inputs,
                    outputs,
                    width_in: inputs.next_multiple_of(PAD),
                    width_out: outputs.next_multiple_of(PAD),
                    offset,
                    first_row,
                };
                first_row += layer.width_out;
                offset += layer.len().next_multiple_of(BINDING_FLOATS);
                layer
            })
            .collect();
        Self { layers, len: offset, texture_rows: first_row }
    }

    /// Width of the texture of all weights.
    pub fn texture_width(&self) -> usize {
        self.layers.iter().map(|layer| layer.width_in).max().unwrap_or(PAD)
    }

    /// The table of the texture of all weights.
    pub fn atlas(&self) -> Atlas {
        let word = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let mut atlas: Atlas = bytemuck::Zeroable::zeroed();
        atlas.layers = word(self.layers.len());
        for (entry, layer) in atlas.entries.iter_mut().zip(&self.layers) {
            *entry = [
                word(layer.offset / 4),
                word(layer.width_in / 4),
                word(layer.width_out),
                word(layer.first_row),
            ];
        }
        atlas
    }

    /// Spreads weights, one (W, b) a layer, over the padded buffer.
    pub fn pack(&self, weights: &[LayerWeights]) -> Vec<f32> {
        let mut packed = vec![0.0; self.len];
        for (layer, (weight, bias)) in self.layers.iter().zip(weights) {
            for (row, values) in weight.chunks_exact(layer.inputs).enumerate() {
                let at = layer.offset + row * layer.width_in;
                packed[at..at + layer.inputs].copy_from_slice(values);
            }
            let at = layer.offset + layer.width_in * layer.width_out;
            packed[at..at + layer.outputs].copy_from_slice(bias);
        }
        packed
    }

    /// The opposite of [`Layout::pack`].
    pub fn unpack(&self, packed: &[f32]) -> Vec<LayerWeights> {
        self.layers
            .iter()
            .map(|layer| {
                let rows = packed[layer.offset..].chunks_exact(layer.width_in).take(layer.outputs);
                let weight = rows.flat_map(|row| &row[..layer.inputs]).copied().collect();
                let at = layer.offset + layer.width_in * layer.width_out;
                (weight, packed[at..at + layer.outputs].to_vec())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpack_undoes_pack() {
        let architecture = Architecture {
            dim: 3,
            hidden: vec![5, 17],
            activation: Activation::default(),
            time_frequencies: 2,
            condition_features: 0,
        };
        let layout = Layout::new(&architecture);
        let weights = architecture.initialize(7);
        assert_eq!(layout.unpack(&layout.pack(&weights)), weights);
        assert!(layout.layers.iter().all(|layer| layer.offset % 64 == 0));
    }
}
