//! The layers of the network: linear_forward.wgsl, linear_backward_input.wgsl, linear_backward_weight.wgsl, and their
//! like with tiles in the memory of workgroups, tiled_forward.wgsl, tiled_backward_input.wgsl, tiled_backward_weight.wgsl.

use windfield::gpu::Variant;
use windfield::model::Rows;

use crate::common::{Launch, Report, UNIT, device, pad, padding, random, unpad, wide, word};
use crate::reference::activation::{ACTIVATIONS, Activation};
use crate::reference::linear_backward_input::linear_backward_input_sloped;
use crate::reference::linear_backward_weight::linear_backward_weight;
use crate::reference::linear_forward::linear_forward;

/// How a product is cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Rows of a tile; outputs in the gradient of the weights.
    rows: usize,
    /// Columns of it; inputs in the gradient of the weights.
    columns: usize,
    /// Of a workgroup.
    lanes: usize,
    kind: Kind,
    /// How many of them lie along the columns.
    abreast: usize,
    /// A workgroup is a subgroup, whose lanes read what they have in common from each other's registers.
    subgroups: bool,
}

/// Where a tile is computed, and where the matrices lie.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// By an invocation, from buffers.
    Buffers,
    /// From textures.
    Textures,
    /// By a workgroup, whose lanes have so many groups of four rows and of columns, and which takes so many terms at a time.
    Tiled { quads: [usize; 2], depth: usize },
}

const fn cut(rows: usize, columns: usize, lanes: usize) -> Cut {
    Cut { rows, columns, lanes, abreast: 1, kind: Kind::Buffers, subgroups: false }
}

const fn textures(rows: usize, columns: usize, lanes: usize) -> Cut {
    Cut { rows, columns, lanes, abreast: 1, kind: Kind::Textures, subgroups: false }
}

/// Within subgroups of the device, as large as they are.
const fn within(rows: usize, columns: usize, kind: Kind) -> Cut {
    Cut { rows, columns, lanes: 0, abreast: 1, kind, subgroups: true }
}

const fn tiled(rows: usize, columns: usize, quads: [usize; 2], depth: usize) -> Cut {
    let lanes = rows / 4 / quads[0] * (columns / 4 / quads[1]);
    Cut { rows, columns, lanes, abreast: 1, kind: Kind::Tiled { quads, depth }, subgroups: false }
}

impl Cut {
    /// For the device. Where no subgroups are used, as on SwiftShader, the same tile without them.
    fn resolved(self) -> Self {
        if !self.subgroups {
            return self;
        }
        let subgroup = device().habits().subgroup;
        let lanes = subgroup.unwrap_or(8) as usize;
        Self { lanes, columns: self.columns.max(lanes), subgroups: subgroup.is_some(), ..self }
    }

    fn textures(&self) -> bool {
        self.kind == Kind::Textures
    }

    fn is_tiled(&self) -> bool {
        matches!(self.kind, Kind::Tiled { .. })
    }

    /// Rows are padded to a multiple of this. Tiles of workgroups need none.
    fn padding(&self) -> usize {
        if self.is_tiled() { 1 } else { self.rows }
    }

    /// Widths are padded to a multiple of this, and as in the model to a multiple of 8.
    fn width_padding(&self, along: usize) -> usize {
        if self.is_tiled() { 8 } else { along.max(8) }
    }

    /// Workgroups for so many rows and columns of what is computed.
    fn groups(&self, rows: usize, columns: usize) -> [u32; 3] {
        let lanes = if self.is_tiled() { 1 } else { self.lanes / self.abreast };
        let rows = word(rows.div_ceil(self.rows * lanes));
        let columns = word(columns.div_ceil(self.columns * self.abreast));
        if self.is_tiled() { [rows, columns, 1] } else { [columns, rows, 1] }
    }

    /// The kernel for this cut. `rows` and `columns`: how the kernels that compute tiles in registers call its sides.
    fn variant(&self, layer: &Layer, kernels: [&'static str; 2], sides: [&'static str; 2]) -> Variant {
        let variant = Variant::new(kernels[usize::from(self.is_tiled())])
            .with("WIDTH_IN", word(layer.width_in))
            .with("WIDTH_OUT", word(layer.width_out));
        match self.kind {
            Kind::Tiled { quads, depth } => variant
                .with("LANES_Y", word(self.rows / 4 / quads[0]))
                .with("LANES_X", word(self.columns / 4 / quads[1]))
                .with("QUADS_Y", word(quads[0]))
                .with("QUADS_X", word(quads[1]))
                .with("DEPTH", word(depth)),
            _ => variant
                .with("LANES", word(self.lanes))
                .with(sides[0], word(self.rows))
                .with(sides[1], word(self.columns))
                .flag("TEXTURES", self.textures())
                .flag("SUBGROUPS", self.subgroups),
        }
    }
}

const SMALL: Cut = cut(4, 4, 8);

/// How the kernels over rows are cut: those of software drivers, those of GPUs, and others.
const ROW_CUTS: &[Cut] = &[
    within(8, 32, Kind::Textures),
    within(8, 16, Kind::Textures),
    within(8, 8, Kind::Textures),
    within(8, 32, Kind::Buffers),
    textures(16, 16, 16),
    textures(16, 8, 16),
    cut(8, 16, 32),
    cut(8, 8, 32),
    cut(16, 16, 16),
    textures(8, 16, 32),
    tiled(128, 128, [2, 2], 16),
    tiled(64, 64, [2, 2], 16),
    tiled(64, 64, [2, 1], 16),
    tiled(32, 32, [1, 1], 32),
    tiled(64, 64, [2, 2], 8),
    SMALL,
];
/// How the gradient of the weights is cut.
const WEIGHT_CUTS: &[Cut] = &[
    within(8, 32, Kind::Textures),
    within(8, 16, Kind::Textures),
    within(8, 8, Kind::Textures),
    within(8, 32, Kind::Buffers),
    textures(16, 16, 16),
    textures(8, 16, 16),
    textures(16, 8, 16),
    textures(8, 8, 16),
    Cut { abreast: 8, ..textures(8, 16, 8) },
    Cut { abreast: 4, ..textures(8, 8, 8) },
    cut(16, 16, 32),
    cut(8, 16, 32),
    Cut { abreast: 32, ..cut(8, 16, 32) },
    cut(16, 8, 32),
    cut(8, 8, 32),
    tiled(128, 128, [2, 2], 16),
    tiled(64, 64, [2, 2], 16),
    tiled(64, 64, [2, 1], 16),
    tiled(32, 32, [1, 1], 32),
    tiled(64, 64, [2, 2], 8),
    SMALL,
];

/// Inputs and outputs: 1, primes, multiples of every tile and non-multiples, narrow to wide and wide to narrow.
const SHAPES: &[(usize, usize)] =
    &[(1, 1), (3, 5), (8, 8), (17, 31), (64, 64), (67, 2), (9, 16), (3, 130), (1031, 16)];

/// The kernels that compute tiles in registers, and in the memory of workgroups.
const FORWARD: [&str; 2] = ["linear_forward", "tiled_forward"];
const BACKWARD_INPUT: [&str; 2] = ["linear_backward_input", "tiled_backward_input"];
const BACKWARD_WEIGHT: [&str; 2] = ["linear_backward_weight", "tiled_backward_weight"];
/// How the first two call the sides of a tile in registers.
const ROWS_AND_COLUMNS: [&str; 2] = ["TILE_ROWS", "TILE_COLUMNS"];

/// Rows: fewer than a tile, whole tiles and broken ones, more than a workgroup has.
const ROWS: &[usize] = &[1, 3, 16, 17, 129, 304];

/// Drivers compile small tiles in a fraction of the time: every shape has the last cut, which is the smallest, and every
/// cut has one shape of several tiles, some of them broken.
fn shapes_and_cuts(cuts: &'static [Cut]) -> impl Iterator<Item = ((usize, usize), Cut)> {
    let small = cuts[cuts.len() - 1];
    let shapes = SHAPES.iter().map(move |&shape| (shape, small));
    let tiled = tiled(32, 32, [1, 1], 32);
    let of_workgroups = [(1, 1), (17, 31), (67, 2), (3, 130)].map(|shape| (shape, tiled));
    // Those of workgroups and of subgroups have a shape more, of more than one of these.
    let large = cuts.iter().filter(|cut| cut.is_tiled() || cut.subgroups).map(|&cut| ((137, 150), cut));
    let all = shapes.chain(of_workgroups).chain(large).chain(cuts.iter().map(|&cut| ((35, 50), cut)));
    all.map(|(shape, cut)| (shape, cut.resolved()))
}

struct Layer {
    inputs: usize,
    outputs: usize,
    /// Both padded to whole tiles, and as in the model to a multiple of 8.
    width_in: usize,
    width_out: usize,
    // [outputs, inputs]
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Layer {
    fn random((inputs, outputs): (usize, usize), pad: usize) -> Self {
        Self {
            inputs,
            outputs,
            width_in: inputs.next_multiple_of(pad),
            width_out: outputs.next_multiple_of(pad),
            weight: random(1, inputs * outputs),
            bias: random(2, outputs),
        }
    }

    /// W [width_out, width_in], then b [width_out].
    fn packed(&self) -> Vec<f32> {
        let mut packed = pad(&self.weight, self.inputs, self.width_in, self.width_out, 0.0);
        packed.extend(pad(&self.bias, self.outputs, self.width_out, 1, 0.0));
        packed
    }

    /// The texture of all weights, where this layer's begin at row [`FIRST_WEIGHT`].
    fn atlas(&self) -> Vec<f32> {
        let mut atlas = vec![f32::NAN; FIRST_WEIGHT * self.width_in];
        atlas.extend(pad(&self.weight, self.inputs, self.width_in, self.width_out, 0.0));
        atlas
    }
}

/// Rows of other layers before this one's.
const FIRST_WEIGHT: usize = 5;

fn rows_of(padded: usize) -> Rows {
    Rows { count: word(padded), first_weight: word(FIRST_WEIGHT), ..Rows::default() }
}

/// x [rows, inputs] through a layer on the device: h and, in training, the slope; both padded.
fn forward(
    report: &mut Report,
    layer: &Layer,
    x: &[f32],
    activation: Activation,
    training: bool,
    cut: Cut,
) -> (Vec<f32>, Vec<f32>) {
    let rows = x.len() / layer.inputs;
    let padded = rows.next_multiple_of(cut.padding());
    // The last layer's output is a buffer in any case.
    let output_texture = cut.textures() && activation != Activation::Identity;
    let variant = cut
        .variant(layer, FORWARD, ROWS_AND_COLUMNS)
        .with("OUTPUTS", word(layer.outputs))
        .part("ACTIVATION", activation.name())
        .flag("TRAINING", training)
        .flag("OUTPUT_TEXTURE", output_texture);
    let unwritten = vec![-7.0f32; padded * layer.width_out];
    let mut launch = Launch::new(variant)
        .uniform(0, &rows_of(padded))
        // Rows beyond the true ones hold what an earlier batch left.
        .matrix(1, &pad(x, layer.inputs, layer.width_in, padded, 3.0), layer.width_in, cut.textures())
        .input(2, &layer.packed())
        .output_matrix(3, &unwritten, layer.width_out, output_texture);
    if cut.textures() {
        launch = launch.matrix(5, &layer.atlas(), layer.width_in, true);
    }
    if training {
        launch = launch.output_matrix(4, &unwritten, layer.width_out, output_texture);
    }
    let outputs = launch.run(report, cut.groups(padded, layer.width_out));
    (outputs.get(3), if training { outputs.get(4) } else { vec![] })
}

/// |x|·|W|ᵀ + |b|, to which the rounding of z is relative.
// out: [rows, outputs]
fn magnitude(layer: &Layer, x: &[f32]) -> Vec<f64> {
    let absolute = |values: &[f32]| wide(values).into_iter().map(f64::abs).collect::<Vec<_>>();
    linear_forward(&absolute(x), &absolute(&layer.weight), &absolute(&layer.bias), Activation::Identity).h
}

/// The steepest slope of any activation here, and of any slope: gelu's 1.13 and selu's 1.76 at 0, tanh's 0.77.
const STEEPEST: f64 = 1.8;

/// The activations' own rounding: a few operations on numbers up to max(1, |z|), one of them an exponential or a
/// tanh, for which WGSL allows some tens of roundoffs at these arguments.
fn activation_rounding(z: f64) -> f64 {
    40.0 * UNIT * z.abs().max(1.0)
}

#[test]
fn forward_is_the_twins() {
    let mut report = Report::new();
    let cases = shapes_and_cuts(ROW_CUTS).enumerate().map(|(i, (shape, cut))| {
        let activation = if i % 7 == 6 { Activation::Identity } else { ACTIVATIONS[i % 7] };
        (shape, cut, activation, i % 3 != 0)
    });
    // And every activation in one shape.
    let all = ACTIVATIONS.into_iter().map(|activation| ((17, 31), SMALL, activation, true));
    for (shape, cut, activation, training) in cases.chain(all) {
        let layer = Layer::random(shape, cut.width_padding(cut.columns));
        for &rows in ROWS {
            let x = random(3, rows * layer.inputs);
            let (h, slope) = forward(&mut report, &layer, &x, activation, training, cut);
            let twin = linear_forward(&wide(&x), &wide(&layer.weight), &wide(&layer.bias), activation);
            let magnitude = magnitude(&layer, &x);
            let terms = layer.inputs as f64 + 2.0;
            let allowed = |i: usize| STEEPEST * terms * UNIT * magnitude[i] + activation_rounding(twin.z[i]);
            let name = format!("{} {shape:?} {cut:?}, {rows} rows", activation.name());
            report.close(&name, &unpad(&h, layer.outputs, layer.width_out, rows), &twin.h, allowed);
            let zeros = padding(&h, layer.outputs, layer.width_out, rows);
            report.equal(&format!("{name}: padding"), &zeros, &vec![0.0; zeros.len()]);
            if training {
                let got = unpad(&slope, layer.outputs, layer.width_out, rows);
                // A kink is no place to compare slopes: on which side of it z lies is a matter of rounding.
                let kink = matches!(activation, Activation::Relu | Activation::Selu);
                report.close(&format!("{name}: slope"), &got, &twin.slope, |i| {
                    let at_kink = kink && twin.z[i].abs() <= terms * UNIT * magnitude[i];
                    if at_kink { STEEPEST } else { allowed(i) }
                });
                report.holds(slope.iter().all(|slope| slope.is_finite()), || {
                    format!("{name}: a slope is not finite")
                });
            }
        }
    }
    report.finish();
}

/// Tangents lie below one another, probe by probe, and share the slopes of their particle.
#[test]
fn tangents_are_the_twins() {
    let mut report = Report::new();
    for (i, (shape, cut)) in shapes_and_cuts(ROW_CUTS).enumerate() {
        let layer = Layer::random(shape, cut.width_padding(cut.columns));
        for &(rows, tangents) in &[(1usize, 1usize), (3, 5), (17, 2), (129, 3)] {
            let last = i % 3 == 1;
            let period = rows.next_multiple_of(cut.padding());
            let x = random(5, tangents * period * layer.inputs);
            let slope = random(6, period * layer.outputs);
            let textured = cut.textures() && !last;
            let variant = cut
                .variant(&layer, FORWARD, ROWS_AND_COLUMNS)
                .with("OUTPUTS", word(layer.outputs))
                .part("ACTIVATION", "identity")
                .flag("TRAINING", false)
                .flag("TANGENT", true)
                .flag("LINEAR", last)
                .flag("OUTPUT_TEXTURE", textured);
            let unwritten = vec![-7.0f32; tangents * period * layer.width_out];
            let constants = Rows { period: word(period), ..rows_of(tangents * period) };
            let padded = pad(&x, layer.inputs, layer.width_in, tangents * period, 0.0);
            let mut launch = Launch::new(variant)
                .uniform(0, &constants)
                .matrix(1, &padded, layer.width_in, cut.textures())
                .output_matrix(3, &unwritten, layer.width_out, textured);
            launch = if cut.textures() {
                launch.matrix(5, &layer.atlas(), layer.width_in, true)
            } else {
                launch.input(2, &layer.packed())
            };
            if !last {
                let slope = pad(&slope, layer.outputs, layer.width_out, period, f32::NAN);
                launch = launch.matrix(4, &slope, layer.width_out, textured);
            }
            let groups = cut.groups(tangents * period, layer.width_out);
            let got: Vec<f32> = launch.run(&mut report, groups).get(3);
            // W·x' without b, times the slope.
            let no_bias = vec![0.0; layer.outputs];
            let slope_at = |i: usize| if last { 1.0 } else { f64::from(slope[i % (period * layer.outputs)]) };
            let absolute = |values: &[f32]| wide(values).into_iter().map(f64::abs).collect::<Vec<_>>();
            let product = linear_forward(&wide(&x), &wide(&layer.weight), &no_bias, Activation::Identity).z;
            let terms =
                linear_forward(&absolute(&x), &absolute(&layer.weight), &no_bias, Activation::Identity).z;
            let want: Vec<f64> = product.iter().enumerate().map(|(i, z)| slope_at(i) * z).collect();
            let name = format!("tangents {shape:?} {cut:?}, {tangents} of {rows} rows, last {last}");
            let lines = tangents * period;
            report.close(&name, &unpad(&got, layer.outputs, layer.width_out, lines), &want, |i| {
                (layer.inputs as f64 + 3.0) * UNIT * slope_at(i).abs() * terms[i]
            });
            let zeros = padding(&got, layer.outputs, layer.width_out, lines);
            report.equal(&format!("{name}: padding"), &zeros, &vec![0.0; zeros.len()]);
        }
    }
    report.finish();
}

/// z is exact here, so that the activations are judged by themselves, far out as well.
#[test]
fn activations_are_the_twins_from_end_to_end() {
    let mut report = Report::new();
    let cut = SMALL;
    let layer =
        Layer { weight: vec![1.0], bias: vec![0.0], ..Layer::random((1, 1), cut.width_padding(cut.columns)) };
    let far = [20.0, 30.0, 44.0, 50.0, 80.0, 88.0, 90.0, 100.0, 1e3, 1e4, 1e9];
    let near = (0..=2000).map(|i| i as f32 / 160.0);
    let z: Vec<f32> = near.chain(far).flat_map(|z| [z, -z]).collect();
    for activation in ACTIVATIONS.into_iter().chain([Activation::Identity]) {
        let (h, slope) = forward(&mut report, &layer, &z, activation, true, cut);
        let values: Vec<f64> = z.iter().map(|&z| activation.value(z.into())).collect();
        let slopes: Vec<f64> = z.iter().map(|&z| activation.slope(z.into())).collect();
        let name = activation.name();
        let column = |padded: &[f32]| unpad(padded, 1, layer.width_out, z.len());
        report.close(name, &column(&h), &values, |i| activation_rounding(z[i].into()));
        // A slope is of order 1 however large z is.
        report.near(&format!("{name}'"), &column(&slope), &slopes, activation_rounding(1.0));
    }
    report.finish();
}

#[test]
fn backward_to_the_input_is_the_twins() {
    let mut report = Report::new();
    for (shape, cut) in shapes_and_cuts(ROW_CUTS) {
        let layer = Layer::random(shape, cut.width_padding(cut.columns));
        for &rows in ROWS {
            let delta = random(4, rows * layer.outputs);
            let slope = random(5, rows * layer.inputs);
            let padded = rows.next_multiple_of(cut.padding());
            let variant = cut.variant(&layer, BACKWARD_INPUT, ROWS_AND_COLUMNS);
            let launch = Launch::new(variant)
                .uniform(0, &rows_of(padded))
                .matrix(
                    1,
                    &pad(&delta, layer.outputs, layer.width_out, padded, 0.0),
                    layer.width_out,
                    cut.textures(),
                )
                .matrix(
                    3,
                    &pad(&slope, layer.inputs, layer.width_in, padded, 3.0),
                    layer.width_in,
                    cut.textures(),
                )
                .output_matrix(4, &vec![-7.0f32; padded * layer.width_in], layer.width_in, cut.textures());
            let launch = if cut.textures() {
                launch.matrix(2, &layer.atlas(), layer.width_in, true)
            } else {
                launch.input(2, &layer.packed())
            };
            let [x, y, z] = cut.groups(padded, layer.width_in);
            // Here tiles in registers are counted along the rows first, too.
            let groups = if cut.is_tiled() { [x, y, z] } else { [y, x, z] };
            let below: Vec<f32> = launch.run(&mut report, groups).get(4);
            let by = |f: fn(f64) -> f64| {
                let of = |values: &[f32]| wide(values).into_iter().map(f).collect::<Vec<_>>();
                linear_backward_input_sloped(&of(&delta), &of(&layer.weight), layer.outputs, &of(&slope))
            };
            let (want, magnitude) = (by(|x| x), by(f64::abs));
            let name = format!("{shape:?} {cut:?}, {rows} rows");
            report.close(&name, &unpad(&below, layer.inputs, layer.width_in, rows), &want, |i| {
                (layer.outputs as f64 + 2.0) * UNIT * magnitude[i]
            });
            // Where dZ or W is padded, exact zeros: the gradient of the layer below relies on them.
            let zeros = padding(&below, layer.inputs, layer.width_in, rows);
            report.equal(&format!("{name}: padded columns"), &zeros, &vec![0.0; zeros.len()]);
            let zeros = &below[rows * layer.width_in..];
            report.equal(&format!("{name}: padded rows"), zeros, &vec![0.0; zeros.len()]);
        }
    }
    report.finish();
}

#[test]
fn backward_to_the_weights_is_the_twins() {
    let mut report = Report::new();
    for (shape, cut) in shapes_and_cuts(WEIGHT_CUTS) {
        let layer = Layer::random(shape, cut.width_padding(cut.columns.max(cut.rows)));
        for (i, &rows) in ROWS.iter().enumerate() {
            // Slices that divide the rows and ones that do not; more slices than rows to fill them.
            for slices in [1, [2, 3, 5][i % 3]] {
                for accumulate in [false, true] {
                    backward_weight(&mut report, &layer, rows, slices, accumulate, cut);
                }
            }
        }
    }
    report.finish();
}

/// Of everything that was stored, once.
fn squares_are_those_of(report: &mut Report, name: &str, partials: &[f32], gradient: &[f32]) {
    let sum: f64 = wide(partials).iter().sum();
    let want: f64 = wide(gradient).iter().map(|g| g * g).sum();
    report.close(&format!("{name}: squares"), &[sum as f32], &[want], |_| 64.0 * UNIT * want);
}

fn backward_weight(
    report: &mut Report,
    layer: &Layer,
    rows: usize,
    slices: usize,
    accumulate: bool,
    cut: Cut,
) {
    let delta = random(6, rows * layer.outputs);
    let x = random(7, rows * layer.inputs);
    let padded = rows.next_multiple_of(16);
    let slice_rows = padded.div_ceil(slices).next_multiple_of(4);
    let (width_in, width_out) = (layer.width_in, layer.width_out);
    let len = (width_in + 1) * width_out;
    // Other layers' gradients lie between the slices.
    let stride = len + 64;
    let squared = slices == 1 && !cut.is_tiled();
    let folded = slices == 1 && cut.textures();
    // In a texture another layer's gradient lies before it.
    let begin = if folded { 4 * 37 } else { 0 };
    let before = random(8, begin + (slices - 1) * stride + len);
    let variant = cut
        .variant(layer, BACKWARD_WEIGHT, ["TILE_OUT", "TILE_IN"])
        .flag("ROW_SUMS", true)
        .flag("ACCUMULATE", accumulate)
        .flag("SQUARES", squared)
        .flag("FOLDED_GRADIENT", folded);
    let variant = if cut.is_tiled() { variant } else { variant.with("LANES_IN", word(cut.abreast)) };
    let rows_uniform = Rows {
        slice_rows: word(slice_rows),
        slice_stride: word(stride / 4),
        first_gradient: word(begin / 4),
        ..rows_of(padded)
    };
    let launch = Launch::new(variant)
        .uniform(0, &rows_uniform)
        .matrix(1, &pad(&delta, layer.outputs, width_out, padded, 0.0), width_out, cut.textures())
        .matrix(2, &pad(&x, layer.inputs, width_in, padded, 3.0), width_in, cut.textures())
        .output_list(3, &before, folded);
    let [across, down, _] = cut.groups(width_out, width_in);
    let groups = [across, down, word(slices)];
    let squares = vec![0.0_f32; (across * down) as usize * cut.lanes];
    let launch = if squared { launch.output(4, &squares) } else { launch };
    let results = launch.run(report, groups);
    let gradient: Vec<f32> = results.get(3);
    let (before_it, gradient) = gradient.split_at(begin);

    let name = format!(
        "{:?} {cut:?}, {rows} rows in {slices} slices{}",
        (layer.inputs, layer.outputs),
        if accumulate { ", accumulated" } else { "" }
    );
    report.same_bits(&format!("{name}: another layer's"), before_it, &before[..begin]);
    let before = &before[begin..];
    if squared {
        squares_are_those_of(report, &name, &results.get(4), &gradient[..len]);
    }
    for slice in 0..slices {
        let at = slice * stride;
        let (first, last) = ((slice * slice_rows).min(rows), ((slice + 1) * slice_rows).min(rows));
        let by = |f: fn(f64) -> f64| {
            let of = |values: &[f32], columns: usize| {
                wide(&values[first * columns..last * columns]).into_iter().map(f).collect::<Vec<_>>()
            };
            let zeros = (vec![0.0; layer.outputs * layer.inputs], vec![0.0; layer.outputs]);
            let (mut dw, mut db) = if first == last {
                zeros
            } else {
                linear_backward_weight(&of(&delta, layer.outputs), &of(&x, layer.inputs), last - first)
            };
            if accumulate {
                let old = |from: usize, columns: usize, width: usize, count: usize| {
                    wide(&unpad(&before[from..], columns, width, count))
                        .into_iter()
                        .map(f)
                        .collect::<Vec<_>>()
                };
                let add = |sums: &mut [f64], old: Vec<f64>| {
                    sums.iter_mut().zip(old).for_each(|(sum, old)| *sum += old);
                };
                add(&mut dw, old(at, layer.inputs, width_in, layer.outputs));
                add(&mut db, old(at + width_in * width_out, layer.outputs, width_out, 1));
            }
            (dw, db)
        };
        let ((dw, db), (dw_magnitude, db_magnitude)) = (by(|x| x), by(f64::abs));
        let terms = (last - first) as f64 + 2.0;
        let got = &gradient[at..at + len];
        let (got_dw, got_db) = got.split_at(width_in * width_out);
        let got_dw = unpad(got_dw, layer.inputs, width_in, layer.outputs);
        report
            .close(&format!("{name}: dW of slice {slice}"), &got_dw, &dw, |i| terms * UNIT * dw_magnitude[i]);
        report.close(&format!("{name}: db of slice {slice}"), &got_db[..layer.outputs], &db, |i| {
            terms * UNIT * db_magnitude[i]
        });
        if !accumulate {
            let padded_outputs: f32 =
                got[layer.outputs * width_in..width_out * width_in].iter().map(|g| g.abs()).sum();
            report.equal(&format!("{name}: padded outputs of slice {slice}"), &[padded_outputs], &[0.0]);
            let padded_inputs: f32 =
                padding(got, layer.inputs, width_in, layer.outputs).iter().map(|g| g.abs()).sum();
            report.equal(&format!("{name}: padded inputs of slice {slice}"), &[padded_inputs], &[0.0]);
        }
        if slice + 1 < slices {
            report.same_bits(
                &format!("{name}: between slices {slice} and {}", slice + 1),
                &gradient[at + len..at + stride],
                &before[at + len..at + stride],
            );
        }
    }
}
