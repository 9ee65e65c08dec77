//! The network's kernels: the dispatches of a forward pass, and in training of the backward pass.

use bytemuck::{Pod, Zeroable};

use super::architecture::{BINDING_FLOATS, LayerLayout, Layout, MAX_LAYERS};
use super::kernels::Kernels;
use super::tiled;
use crate::gpu::{
    Binding, Buffer, Device, Dispatch, Habits, List, Matrices, Matrix, Purpose, Texture, Variant, Work,
    fits_texture,
};
use crate::model::Activation;
use crate::{Error, Result};

/// Rows are padded to a multiple of this: the height of the tallest tile.
pub(crate) const TILE_ROWS: u32 = 16;

/// `Rows` of shaders/shared/rows.wgsl: the rows that the kernels of a layer go over.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Rows {
    /// Padded to a multiple of the tile.
    pub count: u32,
    /// The layer's first row in the texture of all weights.
    pub first_weight: u32,
    /// Rows of a slice of the weight gradient: a multiple of four.
    pub slice_rows: u32,
    /// Distance between slices of the gradients, in vec4.
    pub slice_stride: u32,
    /// Rows after which the slopes of tangents begin again.
    pub period: u32,
    /// Where the layer's gradient begins in a texture of all of it, in vec4.
    pub first_gradient: u32,
    /// Zero.
    pub padding: [u32; 2],
}

/// `Network` of shaders/shared/network.wgsl: where each layer lies.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct NetworkTable {
    /// How many.
    pub layers: u32,
    /// Zero.
    pub padding: [u32; 3],
    /// Of each: inputs / 4, outputs, both padded; where W and b begin, in vec4.
    pub shape: [[u32; 4]; MAX_LAYERS],
    /// Of each: the true number of outputs, the first row in the texture of all weights; the first column (vec4)
    /// among the inputs, and among the outputs, of all layers side by side.
    pub outputs: [[u32; 4]; MAX_LAYERS],
}

impl NetworkTable {
    /// Of a network; `None` if it has more layers than the table.
    pub(crate) fn of(layout: &Layout) -> Option<Self> {
        let mut table = Self::zeroed();
        if layout.layers.len() > MAX_LAYERS {
            return None;
        }
        table.layers = to_u32(layout.layers.len());
        let (mut input, mut output) = (0, 0);
        for (index, layer) in layout.layers.iter().enumerate() {
            let weight = layer.offset / 4;
            let bias = weight + layer.width_in * layer.width_out / 4;
            table.shape[index] =
                [to_u32(layer.width_in / 4), to_u32(layer.width_out), to_u32(weight), to_u32(bias)];
            table.outputs[index] =
                [to_u32(layer.outputs), to_u32(layer.first_row), to_u32(input), to_u32(output)];
            input += layer.width_in / 4;
            output += layer.width_out / 4;
        }
        Some(table)
    }
}

/// The widest network whose layers are written out, so that all numbers of a lane stay in registers.
const UNROLLED: usize = 64;

/// Whether shaders/shared/layers_unrolled.wgsl takes such a network.
pub(crate) fn unrolls(layout: &Layout) -> bool {
    let widest = layout.layers.iter().map(|layer| layer.width_in.max(layer.width_out)).max().unwrap_or(0);
    widest <= UNROLLED && layout.layers.len() > 1
}

/// A variant of a kernel that includes it, for subgroups of so many lanes.
pub(crate) fn unrolled(variant: Variant, layout: &Layout, lanes: u32) -> Variant {
    let hidden = layout.layers.len() - 1;
    let width = layout.layers[..hidden].iter().map(|layer| layer.width_out).max().unwrap_or(0);
    let whole = width.is_multiple_of(lanes as usize)
        && layout.layers[..hidden].iter().all(|layer| layer.outputs == width);
    variant
        .with("HIDDEN", to_u32(hidden))
        .with("QUADS", to_u32(width / 4))
        .flag("DEEP", hidden > 1)
        .flag("DEEPER", hidden > 2)
        .flag("SEVERAL", hidden > 3)
        .flag("ODD", hidden.is_multiple_of(2))
        .flag("WHOLE", whole)
}

/// The parameters on the device: a buffer, and a copy of the weights in a texture where kernels read them there.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    pub buffer: Buffer,
    pub weights: Option<Texture>,
}

impl Parameters {
    /// Uploads packed parameters; with a texture if the device likes that and the weights fit one.
    pub fn upload(device: &Device, layout: &Layout, packed: &[f32]) -> Result<Self> {
        check_width(device, layout)?;
        let purpose = Purpose { what: "the network's weights", flag: "--hidden" };
        let buffer = device.upload(packed, purpose)?;
        if !textures(device, layout) {
            return Ok(Self { buffer, weights: None });
        }
        let texture = device.texture(layout.texture_rows, layout.texture_width(), purpose)?;
        for layer in &layout.layers {
            let weight = &packed[layer.offset..layer.offset + layer.width_in * layer.width_out];
            device.write_texture(&texture, layer.first_row, weight, layer.width_in)?;
        }
        Ok(Self { buffer, weights: Some(texture) })
    }
}

/// Whether matrices lie in textures.
pub(crate) fn textures(device: &Device, layout: &Layout) -> bool {
    device.habits().matrices == Matrices::Textures
        && device.updates_textures()
        && layout.layers.len() <= MAX_LAYERS
        && fits_texture(device.limits(), layout.texture_rows, widest(layout))
}

/// Whether the loops over a layer's inputs and outputs, four at a time, are within what an invocation may do.
fn check_width(device: &Device, layout: &Layout) -> Result<()> {
    // The loops of the widest kernel around that one.
    const AROUND: u32 = 1024;
    let limit = 4 * u64::from(device.habits().loop_iterations.saturating_sub(AROUND));
    let asked = widest(layout) as u64;
    if asked <= limit {
        return Ok(());
    }
    Err(Error::Limit {
        what: "a layer of the network".to_owned(),
        asked,
        unit: "inputs or outputs",
        limit_name: "the width that a kernel can go over",
        limit,
        device: device.info().name.clone(),
        flag: "--hidden, or the number of the data's columns".to_owned(),
    })
}

fn widest(layout: &Layout) -> usize {
    layout.layers.iter().map(|layer| layer.width_in.max(layer.width_out)).max().unwrap_or(1)
}

/// What a network leaves behind of a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// Its output alone.
    Nothing,
    /// The slopes of the activations, for forward-mode derivatives.
    Slopes,
    /// Those and what the backward pass needs.
    Training,
}

/// A network on the device with matrices for the activations of up to `rows` rows.
#[derive(Debug)]
pub(crate) struct Network {
    device: Device,
    activation: Activation,
    layout: Layout,
    /// Whether tiles lie in the memory of workgroups.
    tiled: bool,
    /// Padded number of rows that the matrices hold.
    pub rows: usize,
    keeps: Keeps,
    /// What goes into layer i. [rows, width]
    activations: Vec<Matrix>,
    /// The network's output. [rows, width]
    output: Buffer,
    /// act'(z) of hidden layer i, where they are kept. [rows, width]
    slopes: Vec<Matrix>,
    /// dL/dz of layer i, in training. [rows, width]
    deltas: Vec<Matrix>,
}

/// How many padded rows of a network's activations a device can hold.
pub(crate) fn largest_rows(device: &Device, layout: &Layout) -> usize {
    let bound = usize::try_from(device.largest_binding() / (4 * widest(layout) as u64)).unwrap_or(usize::MAX);
    let limits = device.limits();
    let bound = match Kernels::of_layers(device, layout) {
        Kernels::Textures => bound.min(limits.max_texture_dimension_2d as usize),
        Kernels::Tiled => {
            bound.min(tiled::LEAST_ROWS as usize * limits.max_compute_workgroups_per_dimension as usize)
        }
        _ => bound,
    };
    bound / TILE_ROWS as usize * TILE_ROWS as usize
}

impl Network {
    /// Reserves the activations.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn new(
        device: &Device,
        layout: Layout,
        activation: Activation,
        rows: usize,
        keeps: Keeps,
    ) -> Result<Self> {
        let rows = rows.next_multiple_of(TILE_ROWS as usize);
        let purpose = Purpose { what: "the activations of a batch", flag: "--batch or --hidden" };
        let tiled = Kernels::of_layers(device, &layout) == Kernels::Tiled;
        let textures = textures(device, &layout);
        let matrix = |width: usize| Matrix::new(device, rows, width, textures, purpose);
        let last = layout.layers.len() - 1;
        let outputs = layout.layers.iter().map(|layer| layer.width_out);
        let activations = layout.layers.iter().map(|layer| matrix(layer.width_in)).collect::<Result<_>>()?;
        let output = device.buffer(4 * (rows * layout.layers[last].width_out) as u64, purpose)?;
        let slopes = outputs
            .clone()
            .take(if keeps == Keeps::Nothing { 0 } else { last })
            .map(matrix)
            .collect::<Result<_>>()?;
        let deltas = outputs
            .take(if keeps == Keeps::Training { last + 1 } else { 0 })
            .map(matrix)
            .collect::<Result<_>>()?;
        Ok(Self {
            device: device.clone(),
            activation,
            layout,
            tiled,
            rows,
            keeps,
            activations,
            output,
            slopes,
            deltas,
        })
    }

    /// The network's input: features [rows, width].
    pub fn features(&self) -> &Matrix {
        &self.activations[0]
    }

    /// The network's output: v [rows, width].
    pub fn output(&self) -> &Buffer {
        &self.output
    }

    /// In training, where dL/dv is expected: [rows, width].
    pub fn output_delta(&self) -> &Matrix {
        &self.deltas[self.deltas.len() - 1]
    }

    /// Whether the forward pass leaves the activations' slopes behind.
    fn keeps_slopes(&self) -> bool {
        self.keeps != Keeps::Nothing
    }

    fn rows(&self, layer: &LayerLayout, rows: usize, slices: usize) -> Result<Buffer> {
        self.device.uniform(&Rows {
            count: to_u32(rows),
            first_weight: to_u32(layer.first_row),
            slice_rows: to_u32(rows.div_ceil(slices).next_multiple_of(4)),
            slice_stride: to_u32(self.layout.len / 4),
            first_gradient: to_u32(layer.offset / 4),
            ..Rows::zeroed()
        })
    }

    /// The forward pass over the first `rows` rows.
    pub fn forward(&self, parameters: &Parameters, rows: usize) -> Result<Vec<Dispatch>> {
        let rows = rows.next_multiple_of(TILE_ROWS as usize);
        let habits = self.device.habits();
        let last = self.layout.layers.len() - 1;
        let mut dispatches = Vec::new();
        for (index, layer) in self.layout.layers.iter().enumerate() {
            let hidden = index < last;
            let activation = if hidden { self.activation.name() } else { "identity" };
            let slopes = hidden && self.keeps_slopes();
            let (variant, groups) = if self.tiled {
                let tile = tiled::Tile::of(habits, rows, layer.width_out, 1);
                (tile.forward(layer, activation, slopes), tile.groups(rows, layer.width_out, 1))
            } else {
                let textures = (parameters.weights.is_some(), parameters.weights.is_some() && hidden);
                (
                    forward_variant(habits, layer, activation, slopes, textures),
                    Tile::forward(habits, layer).groups(rows, layer.width_out, 1),
                )
            };
            let uniform = self.rows(layer, rows, 1)?;
            let to = if hidden {
                Binding::matrix(3, &self.activations[index + 1])
            } else {
                Binding::whole(3, &self.output)
            };
            let mut bindings = vec![
                Binding::whole(0, &uniform),
                Binding::matrix(1, &self.activations[index]),
                Binding::part(2, &parameters.buffer, layer.bytes()),
                to,
            ];
            if slopes {
                bindings.push(Binding::matrix(4, &self.slopes[index]));
            }
            if let Some(weights) = &parameters.weights {
                bindings.push(Binding::texture(5, weights));
            }
            let outputs = if slopes { 2 } else { 1 };
            let numbers = rows * (layer.width_in + outputs * layer.width_out) + layer.len();
            let work = product_work(layer, rows, numbers);
            dispatches.push(self.device.dispatch(&variant, &bindings, groups)?.with_work(work));
        }
        Ok(dispatches)
    }

    /// Forward-mode derivatives: `tangents` times `period` rows, probe by probe one below the other, go through the
    /// layers linearised at what `primal` was last evaluated at, h' = act'(z)·(W·h'). `period` is its number of rows,
    /// padded; `primal` keeps its slopes, as in training. They come in by [`Network::features`] and come out at
    /// [`Network::output`].
    pub fn forward_tangents(
        &self,
        parameters: &Parameters,
        primal: &Self,
        tangents: usize,
        period: usize,
    ) -> Result<Vec<Dispatch>> {
        let rows = tangents * period;
        let habits = self.device.habits();
        let last = self.layout.layers.len() - 1;
        let textures = parameters.weights.is_some();
        let mut dispatches = Vec::new();
        for (index, layer) in self.layout.layers.iter().enumerate() {
            let hidden = index < last;
            let (variant, groups) = if self.tiled {
                let tile = tiled::Tile::of(habits, rows, layer.width_out, 1);
                (tile.tangent(layer, !hidden), tile.groups(rows, layer.width_out, 1))
            } else {
                (
                    tangent_variant(habits, layer, !hidden, (textures, textures && hidden)),
                    Tile::forward(habits, layer).groups(rows, layer.width_out, 1),
                )
            };
            let uniform = self.device.uniform(&Rows {
                count: to_u32(rows),
                first_weight: to_u32(layer.first_row),
                period: to_u32(period),
                ..Rows::zeroed()
            })?;
            let output = if hidden {
                Binding::matrix(3, &self.activations[index + 1])
            } else {
                Binding::whole(3, &self.output)
            };
            let mut bindings =
                vec![Binding::whole(0, &uniform), Binding::matrix(1, &self.activations[index]), output];
            match &parameters.weights {
                Some(weights) => bindings.push(Binding::texture(5, weights)),
                None => bindings.push(Binding::part(2, &parameters.buffer, layer.bytes())),
            }
            if hidden {
                bindings.push(Binding::matrix(4, &primal.slopes[index]));
            }
            let slopes = if hidden { period * layer.width_out } else { 0 };
            let numbers = rows * (layer.width_in + layer.width_out) + layer.len() + slopes;
            let work = product_work(layer, rows, numbers);
            dispatches.push(self.device.dispatch(&variant, &bindings, groups)?.with_work(work));
        }
        Ok(dispatches)
    }

    /// The numbers whose sum is the square of a gradient in one slice; none where the kernels leave none.
    #[must_use]
    pub fn squares(&self) -> Option<usize> {
        (!self.tiled).then(|| self.squares_of(&self.layout.layers))
    }

    /// Of some layers: one an invocation, so that every layer begins where a binding can.
    fn squares_of(&self, layers: &[LayerLayout]) -> usize {
        let of = |layer: &LayerLayout| {
            let tile = Tile::backward_weight(self.device.habits(), layer);
            let [x, y, _] = tile.groups(layer.width_out, layer.width_in, 1);
            ((x * y * tile.lanes) as usize).next_multiple_of(BINDING_FLOATS)
        };
        layers.iter().map(of).sum()
    }

    /// The backward pass from [`Network::output_delta`]: gradients of all layers into `gradient`
    /// [slices, parameters], for the first `rows` rows; `accumulate` adds to what is there. Where there is one slice,
    /// `squares` [[`squares`](Self::squares)] receives what the square of the gradient is the sum of.
    pub fn backward(
        &self,
        parameters: &Parameters,
        gradient: &List,
        rows: usize,
        slices: usize,
        squares: Option<&Buffer>,
        accumulate: bool,
    ) -> Result<Vec<Dispatch>> {
        let squares = squares.filter(|_| slices == 1 && !self.tiled);
        let rows = rows.next_multiple_of(TILE_ROWS as usize);
        let habits = self.device.habits();
        let mut dispatches = Vec::new();
        for (index, layer) in self.layout.layers.iter().enumerate().rev() {
            let textures = parameters.weights.is_some();
            let uniform = self.rows(layer, rows, slices)?;
            let (width_in, width_out) = (layer.width_in, layer.width_out);
            let (variant, groups) = if self.tiled {
                let tile = tiled::Tile::of(habits, width_out, width_in, slices);
                (tile.backward_weight(layer, accumulate), tile.groups(width_out, width_in, slices))
            } else {
                (
                    backward_weight_variant(habits, layer, accumulate, textures, squares.is_some()),
                    Tile::backward_weight(habits, layer).groups(width_out, width_in, slices),
                )
            };
            let end = 4 * ((slices - 1) * self.layout.len + layer.offset + layer.len()) as u64;
            let mut bindings = vec![
                Binding::whole(0, &uniform),
                Binding::matrix(1, &self.deltas[index]),
                Binding::matrix(2, &self.activations[index]),
                Binding::list_part(3, gradient, 4 * layer.offset as u64..end),
            ];
            if let Some(squares) = squares {
                let first = self.squares_of(&self.layout.layers[..index]);
                let last = self.squares_of(&self.layout.layers[..=index]);
                bindings.push(Binding::part(4, squares, 4 * first as u64..4 * last as u64));
            }
            let passes = if accumulate { 2 } else { 1 };
            let numbers = rows * (layer.width_out + layer.width_in) + passes * slices * layer.len();
            let work = product_work(layer, rows, numbers);
            dispatches.push(self.device.dispatch(&variant, &bindings, groups)?.with_work(work));
            if index > 0 {
                let (variant, groups) = if self.tiled {
                    let tile = tiled::Tile::of(habits, rows, width_in, 1);
                    (tile.backward_input(layer), tile.groups(rows, width_in, 1))
                } else {
                    let [by_columns, by_rows, _] =
                        Tile::backward_input(habits, layer).groups(rows, width_in, 1);
                    (backward_input_variant(habits, layer, textures), [by_rows, by_columns, 1])
                };
                let weights = match &parameters.weights {
                    Some(weights) => Binding::texture(2, weights),
                    None => Binding::part(2, &parameters.buffer, layer.bytes()),
                };
                let bindings = [
                    Binding::whole(0, &uniform),
                    Binding::matrix(1, &self.deltas[index]),
                    weights,
                    Binding::matrix(3, &self.slopes[index - 1]),
                    Binding::matrix(4, &self.deltas[index - 1]),
                ];
                let numbers = rows * (layer.width_out + 2 * layer.width_in) + layer.len();
                let work = product_work(layer, rows, numbers);
                dispatches.push(self.device.dispatch(&variant, &bindings, groups)?.with_work(work));
            }
        }
        Ok(dispatches)
    }
}

/// How a product over a layer's weights is cut into tiles: one invocation computes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    /// Along the side that the lanes of a workgroup share out, a tile each.
    own: u32,
    /// Along the side that is the same for all of them.
    common: u32,
    lanes: u32,
    /// How many of the lanes lie side by side along the common side instead: one, but where the own side is short.
    abreast: u32,
    /// Whether a workgroup is a subgroup, whose lanes read from each other's registers what is the same for all.
    subgroups: bool,
}

impl Tile {
    /// For a product over so many columns of the side that the lanes have in common. Large tiles read less, and take
    /// drivers seconds to compile: they are for layers that have the work to repay it. What a subgroup has in common costs
    /// little to bring, so its tiles are long on that side.
    fn of(habits: &Habits, layer: &LayerLayout, own: usize, common: usize) -> Self {
        const WORTH: usize = 128 * 128;
        const WORTH_WITHIN: usize = 32 * 32;
        let weights = layer.width_in * layer.width_out;
        if let Some(lanes) = habits.subgroup {
            let sides: &[u32] = if weights >= WORTH_WITHIN { &[32, 16, 8] } else { &[8, 16] };
            let fits = |side: &&u32| side.is_multiple_of(lanes) && to_u32(common).is_multiple_of(**side);
            if let Some(common) = sides.iter().copied().find(|side| fits(&side)) {
                return Self { own: 8, common, lanes, abreast: 1, subgroups: true };
            }
        }
        let large = weights >= WORTH;
        let along = |width: usize, most: u32| {
            if large && most == 16 && width.is_multiple_of(16) { 16 } else { 8 }
        };
        let own = along(own, habits.tile_rows.min(TILE_ROWS));
        Self { own, common: along(common, 16), lanes: habits.tile_lanes, abreast: 1, subgroups: false }
    }

    /// For a layer with outputs for a quarter of the lanes at most: the others go to inputs.
    fn of_few(habits: &Habits, layer: &LayerLayout) -> Option<Self> {
        const OWN: u32 = 8;
        let busy = to_u32(layer.width_out).div_ceil(OWN).next_power_of_two();
        let lanes = habits.subgroup.unwrap_or(habits.tile_lanes);
        (busy <= lanes / 4).then(|| {
            let common = if layer.width_in.is_multiple_of(16) { 16 } else { 8 };
            Self { own: OWN, common, lanes, abreast: lanes / busy, subgroups: false }
        })
    }

    /// Of the rows that go forward through a layer: in common are its outputs.
    fn forward(habits: &Habits, layer: &LayerLayout) -> Self {
        Self::of(habits, layer, TILE_ROWS as usize, layer.width_out)
    }

    /// Of the rows whose gradient goes back through it: in common are its inputs.
    fn backward_input(habits: &Habits, layer: &LayerLayout) -> Self {
        Self::of(habits, layer, TILE_ROWS as usize, layer.width_in)
    }

    /// Of the gradient of its weights: outputs, and in common inputs.
    fn backward_weight(habits: &Habits, layer: &LayerLayout) -> Self {
        // `tile_rows` is of rows: outputs are cut as inputs are.
        let all = Habits { tile_rows: 16, ..*habits };
        Self::of_few(habits, layer).unwrap_or_else(|| Self::of(&all, layer, layer.width_out, layer.width_in))
    }

    /// Workgroups for so many rows (or outputs) and columns. Those next to each other have the rows in common, of which
    /// there may be many; back to the input, whoever dispatches changes the two around, as that kernel counts them.
    fn groups(self, own: usize, common: usize, slices: usize) -> [u32; 3] {
        let common = to_u32(common).div_ceil(self.common * self.abreast);
        [common, to_u32(own).div_ceil(self.own * self.lanes / self.abreast), to_u32(slices)]
    }

    /// The variant of a kernel. `sides`: how it calls its own side of a tile, and the common one.
    fn variant(self, kernel: &'static str, layer: &LayerLayout, sides: [&'static str; 2]) -> Variant {
        Variant::new(kernel)
            .with("WIDTH_IN", to_u32(layer.width_in))
            .with("WIDTH_OUT", to_u32(layer.width_out))
            .with("LANES", self.lanes)
            .with(sides[0], self.own)
            .with(sides[1], self.common)
            .flag("SUBGROUPS", self.subgroups)
    }
}

/// The variant of `linear_forward` for a layer. `textures`: of its operands, of its output.
pub(crate) fn forward_variant(
    habits: &Habits,
    layer: &LayerLayout,
    activation: &str,
    training: bool,
    textures: (bool, bool),
) -> Variant {
    Tile::forward(habits, layer)
        .variant("linear_forward", layer, ["TILE_ROWS", "TILE_COLUMNS"])
        .with("OUTPUTS", to_u32(layer.outputs))
        .part("ACTIVATION", activation)
        .flag("TRAINING", training)
        .flag("TEXTURES", textures.0)
        .flag("OUTPUT_TEXTURE", textures.1)
}

/// The variant of `linear_forward` that takes tangents through a layer.
pub(crate) fn tangent_variant(
    habits: &Habits,
    layer: &LayerLayout,
    last: bool,
    textures: (bool, bool),
) -> Variant {
    // The layer's activation enters by its slopes.
    forward_variant(habits, layer, "identity", false, textures).flag("TANGENT", true).flag("LINEAR", last)
}

/// The variant of `linear_backward_input` for a layer.
pub(crate) fn backward_input_variant(habits: &Habits, layer: &LayerLayout, textures: bool) -> Variant {
    Tile::backward_input(habits, layer)
        .variant("linear_backward_input", layer, ["TILE_ROWS", "TILE_COLUMNS"])
        .flag("TEXTURES", textures)
}

/// The variant of `linear_backward_weight` for a layer. Where it leaves the gradient's squares, nobody goes over the gradient
/// in a buffer: it lies where the matrices do.
pub(crate) fn backward_weight_variant(
    habits: &Habits,
    layer: &LayerLayout,
    accumulate: bool,
    textures: bool,
    squares: bool,
) -> Variant {
    let tile = Tile::backward_weight(habits, layer);
    tile.variant("linear_backward_weight", layer, ["TILE_OUT", "TILE_IN"])
        .with("LANES_IN", tile.abreast)
        .flag("ACCUMULATE", accumulate)
        .flag("TEXTURES", textures)
        .flag("SQUARES", squares)
        .flag("FOLDED_GRADIENT", textures && squares)
}

/// The work of a product of matrices over a layer's weights that goes over so many numbers.
fn product_work(layer: &LayerLayout, rows: usize, numbers: usize) -> Work {
    Work::new(2 * rows * layer.inputs * layer.outputs, numbers)
}

/// Sizes on the device are `u32`. Whatever does not fit was refused by a limit before it comes here.
pub(crate) fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
