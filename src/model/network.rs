//! The network's kernels: the dispatches of a forward pass, and in training of the backward pass.

use super::architecture::{LayerLayout, Layout};
use crate::Result;
use crate::gpu::{Binding, Buffer, Device, Dispatch, Purpose, Variant};
use crate::model::Activation;

/// Rows are padded to a multiple of this: the height of a tile.
pub(crate) const TILE_ROWS: u32 = 8;
const TILE_OUT: u32 = 4;

/// The widest tile that divides a padded width.
fn tile_columns(width: usize) -> u32 {
    if width.is_multiple_of(16) { 16 } else { 8 }
}

/// A network on the device with buffers for the activations of up to `rows` rows.
#[derive(Debug)]
pub(crate) struct Network {
    device: Device,
    activation: Activation,
    pub layout: Layout,
    /// Padded number of rows that the buffers hold.
    pub rows: usize,
    /// What goes into layer i; the last entry is the network's output. [rows, width]
    pub activations: Vec<Buffer>,
    /// act'(z) of hidden layer i, in training. [rows, width]
    slopes: Vec<Buffer>,
    /// dL/dz of layer i, in training. [rows, width]
    pub deltas: Vec<Buffer>,
}

/// How many padded rows of a network's activations every buffer can hold.
pub(crate) fn largest_rows(device: &Device, layout: &Layout) -> usize {
    let widest = layout.layers.iter().map(|layer| layer.width_in.max(layer.width_out)).max().unwrap_or(1);
    let bound = usize::try_from(device.largest_binding() / (4 * widest as u64)).unwrap_or(usize::MAX);
    bound / TILE_ROWS as usize * TILE_ROWS as usize
}

impl Network {
    /// Reserves the activations.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn new(device: &Device, layout: Layout, activation: Activation, rows: usize, training: bool) -> Result<Self> {
        let rows = rows.next_multiple_of(TILE_ROWS as usize);
        let reserve = |width: usize| {
            device.buffer(4 * rows as u64 * width as u64, Purpose { what: "the activations of a batch", flag: "--batch or --hidden" })
        };
        let inputs = layout.layers.iter().map(|layer| layer.width_in);
        let outputs = layout.layers.iter().map(|layer| layer.width_out);
        let last = layout.layers.last().map(|layer| layer.width_out);
        let activations = inputs.chain(last).map(reserve).collect::<Result<_>>()?;
        let hidden = layout.layers.len() - 1;
        let slopes = if training { outputs.clone().take(hidden).map(reserve).collect::<Result<_>>()? } else { vec![] };
        let deltas = if training { outputs.map(reserve).collect::<Result<_>>()? } else { vec![] };
        Ok(Self { device: device.clone(), activation, layout, rows, activations, slopes, deltas })
    }

    /// The network's input: features [rows, width].
    pub fn features(&self) -> &Buffer {
        &self.activations[0]
    }

    /// The network's output: v [rows, width].
    pub fn output(&self) -> &Buffer {
        &self.activations[self.layout.layers.len()]
    }

    fn is_training(&self) -> bool {
        !self.deltas.is_empty()
    }

    /// The forward pass over the first `rows` rows. The last layer writes to `output` (from that byte on) if given,
    /// instead of its own buffer.
    pub fn forward(&self, parameters: &Buffer, rows: usize, output: Option<(&Buffer, u64)>) -> Result<Vec<Dispatch>> {
        let rows = rows.next_multiple_of(TILE_ROWS as usize);
        let uniform = self.device.uniform(&[to_u32(rows), 0, 0, 0])?;
        let last = self.layout.layers.len() - 1;
        let mut dispatches = Vec::new();
        for (index, layer) in self.layout.layers.iter().enumerate() {
            let hidden = index < last;
            let variant = forward_variant(
                layer,
                if hidden { self.activation.name() } else { "identity" },
                hidden && self.is_training(),
                self.device.habits().tile_lanes,
            );
            let bytes = 4 * rows as u64 * layer.width_out as u64;
            let (to, from_byte) = match output {
                Some((buffer, at)) if !hidden => (buffer, at),
                _ => (&self.activations[index + 1], 0),
            };
            let mut bindings = vec![
                Binding::whole(0, &uniform),
                Binding::whole(1, &self.activations[index]),
                Binding::part(2, parameters, layer.bytes()),
                Binding::part(3, to, from_byte..from_byte + bytes),
            ];
            if hidden && self.is_training() {
                bindings.push(Binding::whole(4, &self.slopes[index]));
            }
            let groups = self.tile_groups(rows, layer.width_out);
            dispatches.push(self.device.dispatch(&variant, &bindings, groups)?.with_flops(flops(layer, rows)));
        }
        Ok(dispatches)
    }

    /// The backward pass from the last delta: gradients of all layers into `gradient` [slices, parameters], for the
    /// first `rows` rows; `accumulate` adds to what is there.
    pub fn backward(
        &self,
        parameters: &Buffer,
        gradient: &Buffer,
        rows: usize,
        slices: usize,
        accumulate: bool,
    ) -> Result<Vec<Dispatch>> {
        let rows = rows.next_multiple_of(TILE_ROWS as usize);
        let lanes = self.device.habits().tile_lanes;
        let uniform = self.device.uniform(&[to_u32(rows), 0, 0, 0])?;
        let slice_rows = rows.div_ceil(slices);
        let sliced = self.device.uniform(&[to_u32(rows), to_u32(slice_rows), to_u32(self.layout.len / 4), 0])?;
        let mut dispatches = Vec::new();
        for (index, layer) in self.layout.layers.iter().enumerate().rev() {
            let variant = backward_weight_variant(layer, accumulate, lanes);
            let end = 4 * ((slices - 1) * self.layout.len + layer.offset + layer.len()) as u64;
            let bindings = [
                Binding::whole(0, &sliced),
                Binding::whole(1, &self.deltas[index]),
                Binding::whole(2, &self.activations[index]),
                Binding::part(3, gradient, 4 * layer.offset as u64..end),
            ];
            let groups = [
                to_u32(layer.width_out).div_ceil(TILE_OUT * lanes),
                to_u32(layer.width_in) / tile_columns(layer.width_in),
                to_u32(slices),
            ];
            dispatches.push(self.device.dispatch(&variant, &bindings, groups)?.with_flops(flops(layer, rows)));
            if index > 0 {
                let variant = backward_input_variant(layer, lanes);
                let bindings = [
                    Binding::whole(0, &uniform),
                    Binding::whole(1, &self.deltas[index]),
                    Binding::part(2, parameters, layer.bytes()),
                    Binding::whole(3, &self.slopes[index - 1]),
                    Binding::whole(4, &self.deltas[index - 1]),
                ];
                let groups = self.tile_groups(rows, layer.width_in);
                dispatches.push(self.device.dispatch(&variant, &bindings, groups)?.with_flops(flops(layer, rows)));
            }
        }
        Ok(dispatches)
    }

    fn tile_groups(&self, rows: usize, width: usize) -> [u32; 3] {
        let lanes = self.device.habits().tile_lanes;
        [to_u32(rows).div_ceil(TILE_ROWS * lanes), to_u32(width) / tile_columns(width), 1]
    }
}

fn layer_variant(kernel: &'static str, layer: &LayerLayout, lanes: u32) -> Variant {
    Variant::new(kernel)
        .with("WIDTH_IN", to_u32(layer.width_in))
        .with("WIDTH_OUT", to_u32(layer.width_out))
        .with("LANES", lanes)
}

/// The variant of `linear_forward` for a layer.
pub(crate) fn forward_variant(layer: &LayerLayout, activation: &str, training: bool, lanes: u32) -> Variant {
    layer_variant("linear_forward", layer, lanes)
        .with("OUTPUTS", to_u32(layer.outputs))
        .with("TILE_ROWS", TILE_ROWS)
        .with("TILE_COLUMNS", tile_columns(layer.width_out))
        .part("ACTIVATION", activation)
        .flag("TRAINING", training)
}

/// The variant of `linear_backward_input` for a layer.
pub(crate) fn backward_input_variant(layer: &LayerLayout, lanes: u32) -> Variant {
    layer_variant("linear_backward_input", layer, lanes)
        .with("TILE_ROWS", TILE_ROWS)
        .with("TILE_COLUMNS", tile_columns(layer.width_in))
}

/// The variant of `linear_backward_weight` for a layer.
pub(crate) fn backward_weight_variant(layer: &LayerLayout, accumulate: bool, lanes: u32) -> Variant {
    layer_variant("linear_backward_weight", layer, lanes)
        .with("TILE_OUT", TILE_OUT)
        .with("TILE_IN", tile_columns(layer.width_in))
        .flag("ACCUMULATE", accumulate)
}

fn flops(layer: &LayerLayout, rows: usize) -> u64 {
    2 * rows as u64 * layer.inputs as u64 * layer.outputs as u64
}

/// Sizes on the device are `u32`. Whatever does not fit was refused by a limit before it comes here.
pub(crate) fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
