//! A step's gradient in one dispatch: fused_gradient.wgsl, against draw.rs and mlp.rs one after the other; and in two:
//! gradient_unrolled.wgsl and weight_gradient.wgsl.

use bytemuck::Zeroable;
use windfield::gpu::Variant;
use windfield::train::{Chunk, State};

use super::draw::wave_error;
use super::fused::Case;
use super::path::straight;
use crate::common::{Launch, Report, UNIT, device, random, wide, word};
use crate::reference::activation::Activation;
use crate::reference::draw::{Draw, draw, features};
use crate::reference::linear_backward_weight::linear_backward_weight;
use crate::reference::path::ot;

const SEED: u64 = 0x0bad_cafe_0000_0007;
const STEP: u32 = 4711;
const DATA_ROWS: usize = 53;
const SOURCE_ROWS: usize = 19;
const SIGMA_MIN: f32 = 1e-3;

/// Lanes of a row group, groups of four columns of a lane, rows of a tile, row groups of a workgroup, workgroups. Or those of a
/// subgroup, none, rows of a lane, one, workgroups.
#[derive(Clone, Copy, Debug)]
struct Cut {
    lanes: u32,
    quads: u32,
    rows: u32,
    groups: u32,
    workgroups: u32,
    /// Lanes take rows through layers that are written out, and the weights' gradient is left to weight_gradient.wgsl.
    unrolled: bool,
}

impl Cut {
    fn slices(self) -> usize {
        (self.groups * self.workgroups) as usize
    }
}

const fn cut(lanes: u32, quads: u32, rows: u32, groups: u32, workgroups: u32) -> Cut {
    Cut { lanes, quads, rows, groups, workgroups, unrolled: false }
}

fn network(
    dim: usize,
    hidden: &'static [usize],
    frequencies: usize,
    activation: Activation,
    textures: bool,
) -> Case {
    let cut = (8, 1, textures);
    Case { dim, hidden, frequencies, activation, cut, rows: 0, across: 0, subgroups: false }
}

fn variant(case: &Case, cut: Cut, source: bool) -> Variant {
    let widths = case.widths();
    let variant = (straight(SIGMA_MIN))
        .bake(Variant::new(if cut.unrolled { "gradient_unrolled" } else { "fused_gradient" }))
        .with("DIM", word(case.dim))
        .with("FREQUENCIES", word(case.frequencies))
        .with("WIDTH_IN", word(widths[0]))
        .with("WIDTH_OUT", word(widths[widths.len() - 1]))
        .with_float("T_MAX", 1.0)
        .with("LANES", cut.lanes)
        .with("TILE_ROWS", cut.rows)
        .part("ACTIVATION", case.activation.name())
        .flag("TEXTURES", case.cut.2)
        .flag("SOURCE", source);
    if cut.unrolled {
        return case
            .unrolled(variant, cut.lanes)
            .with("FOLD", FOLD)
            .flag("SUBGROUPS", true)
            .flag("GRADIENT", true);
    }
    let columns = 4 * (cut.lanes * cut.quads) as usize;
    let whole = widths[1..widths.len() - 1].iter().all(|width| *width == columns);
    variant
        .with("HIDDEN", word(case.hidden.len()))
        .with("QUADS", cut.quads)
        .with("GROUPS", cut.groups)
        .with("WHOLE", whole.into())
}

/// Rows after which those of the textures begin anew beside the others.
const FOLD: u32 = 64;

/// Rows of a column of rows in the textures, and how many columns.
fn folds(rows: usize) -> (usize, usize) {
    (rows.min(FOLD as usize), rows.div_ceil(FOLD as usize))
}

/// The rows of a matrix of so many columns of rows, in order, and back.
fn unfolded(values: &[f32], width: usize, (rows, folds): (usize, usize)) -> Vec<f32> {
    (0..folds * rows)
        .flat_map(|row| values[(row % rows * folds + row / rows) * width..][..width].to_vec())
        .collect()
}

fn folded(values: &[f32], width: usize, (rows, folds): (usize, usize)) -> Vec<f32> {
    let mut all = vec![0.0; rows * folds * width];
    for (row, from) in values.chunks_exact(width).enumerate() {
        all[(row % rows * folds + row / rows) * width..][..width].copy_from_slice(from);
    }
    all
}

/// The sums of squared errors, and the slices of the gradient.
fn sums_and_slices(
    report: &mut Report,
    name: &str,
    case: &Case,
    cut: Cut,
    rows: usize,
    launch: Launch,
) -> (Vec<f32>, Vec<f32>) {
    let widths = case.widths();
    let (wide_in, wide_out): (usize, usize) =
        (widths[..widths.len() - 1].iter().sum(), widths[1..].iter().sum());
    let folds = folds(cut.slices() * (cut.lanes * cut.rows) as usize);
    let unwritten = |width: usize| vec![-7.0f32; folds.0 * folds.1 * width];
    let launch = if cut.unrolled {
        launch.output_matrix(6, &unwritten(wide_in), folds.1 * wide_in, true).output_matrix(
            11,
            &unwritten(wide_out),
            folds.1 * wide_out,
            true,
        )
    } else {
        launch.output(6, &vec![0.0f32; cut.slices() * case.network().1.len()])
    };
    // Twice: the second time over what the first has left.
    let [outputs, checked] = launch.repeat(2).run_both(report, [cut.workgroups, 1, 1]);
    // The same numbers; the sign of a zero, in rows that count for nothing, is the compiler's.
    for slot in if cut.unrolled { vec![6, 7, 11] } else { vec![6, 7] } {
        let (without, with) = (outputs.get::<f32>(slot), checked.get::<f32>(slot));
        report.equal(&format!("{name} @binding({slot}) without checks against with checks"), &without, &with);
    }
    if !cut.unrolled {
        return (outputs.get(7), outputs.get(6));
    }
    let inputs = unfolded(&outputs.get::<f32>(6), wide_in, folds);
    let deltas = unfolded(&outputs.get::<f32>(11), wide_out, folds);
    // Rows that fill the last tile count for nothing.
    let tiles = cut.slices() * (cut.lanes * cut.rows) as usize;
    report.holds(deltas[rows * wide_out..tiles * wide_out].iter().all(|delta| *delta == 0.0), || {
        format!("{name}: dZ of rows beyond the batch")
    });
    (outputs.get(7), weight_gradient(report, case, cut.lanes, rows, (&inputs, &deltas)))
}

fn compare(report: &mut Report, case: &Case, cut: Cut, rows: usize, source: bool) {
    let dim = case.dim;
    let (table, parameters, texture) = case.network();
    let chunk = Chunk {
        seed: [SEED as u32, (SEED >> 32) as u32],
        first_row: 0,
        rows: word(rows),
        data_rows: word(DATA_ROWS),
        source_rows: word(SOURCE_ROWS),
        batch: word(rows),
        first_partial: 0,
    };
    let (data, other) = (random(1, DATA_ROWS * dim), random(2, SOURCE_ROWS * dim));
    let launch = Launch::new(variant(case, cut, source))
        .uniform(0, &chunk)
        .input(1, &[State { step: STEP, ..State::zeroed() }])
        .input(2, &data)
        .uniform(3, &table)
        .input(4, &parameters)
        .output(7, &vec![-7.0f32; cut.slices()]);
    let launch = if source { launch.input(5, &other) } else { launch };
    let launch = if case.cut.2 { launch.matrix(10, &texture, case.texture_width(), true) } else { launch };
    let name = format!("{} of {rows} rows, {cut:?}", case.name());
    let (sums, slices) = sums_and_slices(report, &name, case, cut, rows, launch);

    let path = ot(f64::from(SIGMA_MIN));
    let (data, other) = (wide(&data), wide(&other));
    let batch = draw(&Draw {
        seed: SEED,
        step: STEP,
        batch: rows,
        dim,
        data: &data,
        source: source.then_some(&other),
        path: &path,
        t_max: 1.0,
        noise: 0.0,
    });
    let mlp = case.mlp();
    let twin = mlp.gradients(&features(&batch.xt, &batch.t, dim, case.frequencies), &batch.ut, rows);

    let loss: f64 = wide(&sums).iter().sum::<f64>() / rows as f64;
    // A velocity of order 1 is as exact as its features and some layers of sums of some hundred products.
    let each = wave_error(case.frequencies) + 4.0 * UNIT * (mlp.layers() as f64 + 1.0);
    report.near(
        &format!("{name}: loss"),
        &[loss as f32],
        &[twin.loss],
        each * (2.0 * twin.loss.sqrt() + twin.loss),
    );

    let mut gradient = vec![0.0f64; parameters.len()];
    for slice in slices.chunks_exact(parameters.len()) {
        gradient.iter_mut().zip(slice).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let mut seen = vec![false; gradient.len()];
    for layer in 0..mlp.layers() {
        let [quads_in, _, weight, bias] = table.shape[layer].map(|word| word as usize);
        let (inputs, outs) = (mlp.widths[layer], mlp.widths[layer + 1]);
        let weights: Vec<usize> =
            (0..outs).flat_map(|n| (0..inputs).map(move |k| 4 * weight + n * 4 * quads_in + k)).collect();
        let biases: Vec<usize> = (0..outs).map(|n| 4 * bias + n).collect();
        for (kind, places, want) in [
            ("weight", weights, &twin.parameters[2 * layer]),
            ("bias", biases, &twin.parameters[2 * layer + 1]),
        ] {
            let got: Vec<f32> = places.iter().map(|place| gradient[*place] as f32).collect();
            for place in &places {
                seen[*place] = true;
            }
            // A mean of products over the rows, of either sign: as exact as the terms, of which the tensor's largest
            // element stands for the order.
            let scale = want.iter().fold(0.0f64, |scale, value| scale.max(value.abs()));
            report.near(&format!("{name}: layers.{layer}.{kind}"), &got, want, 4.0 * each * scale);
        }
    }
    let padding: Vec<f32> =
        gradient.iter().zip(seen).filter(|(_, seen)| !seen).map(|(value, _)| *value as f32).collect();
    report.equal(&format!("{name}: padding"), &padding, &vec![0.0; padding.len()]);
}

/// Outputs and inputs of a tile of `weight_gradient`.
const TILE: (usize, usize) = (8, 16);

/// The gradients of all layers, from what goes into them and dL/dz side by side; their squares are held against them.
fn weight_gradient(
    report: &mut Report,
    case: &Case,
    lanes: u32,
    rows: usize,
    (inputs, deltas): (&[f32], &[f32]),
) -> Vec<f32> {
    let widths = case.widths();
    let (table, parameters, _) = case.network();
    let tiles = |layer: usize| widths[layer + 1] / TILE.0 * widths[layer].div_ceil(TILE.1);
    let layers = widths.len() - 1;
    let most = (0..layers).map(tiles).max().unwrap();
    let groups = [word(most).div_ceil(lanes), word(layers), 1];
    let variant = Variant::new("weight_gradient")
        .with("TILE_OUT", word(TILE.0))
        .with("TILE_IN", word(TILE.1))
        .with("FOLD", FOLD)
        .with("LANES", lanes);
    let (wide_in, wide_out): (usize, usize) = (widths[..layers].iter().sum(), widths[1..].iter().sum());
    let folds = folds(inputs.len() / wide_in);
    let outputs = Launch::new(variant)
        .uniform(0, &Chunk { rows: word(rows), batch: word(rows), ..Chunk::zeroed() })
        .uniform(1, &table)
        .matrix(2, &folded(inputs, wide_in, folds), folds.1 * wide_in, true)
        .matrix(3, &folded(deltas, wide_out, folds), folds.1 * wide_out, true)
        .output_list(4, &vec![0.0; parameters.len()], true)
        .output(5, &vec![-7.0f32; (groups[0] * groups[1]) as usize])
        .run(report, groups);
    let (mut gradient, squares): (Vec<f32>, Vec<f32>) = (outputs.get(4), outputs.get(5));
    gradient.truncate(parameters.len());
    let want: f64 = wide(&gradient).iter().map(|g| g * g).sum();
    // Positive terms, each a square: one rounding; those of a lane, two levels in a vec4, log2(lanes) of the tree.
    let roundings = (TILE.0 * TILE.1 / 4) as f64 + 6.0 + f64::from(lanes).log2();
    let got = wide(&squares).iter().sum::<f64>();
    report.near(
        &format!("{}, {rows} rows: squares", case.name()),
        &[got as f32],
        &[want],
        (roundings + 1.0) * UNIT * want,
    );
    gradient
}

/// Of layers that are narrower than a tile, broken tiles, batches that end within four rows.
#[test]
fn weight_gradients_are_the_twins() {
    let mut report = Report::new();
    for (case, lanes, rows) in [
        (network(2, &[64, 64, 64], 0, Activation::Silu, true), 8, 256usize),
        (network(2, &[16], 0, Activation::Silu, true), 8, 1),
        (network(5, &[31, 24], 3, Activation::Silu, true), 4, 50),
        (network(17, &[40, 8, 56], 1, Activation::Silu, true), 8, 19),
        (network(9, &[], 0, Activation::Silu, true), 2, 7),
    ] {
        let widths = case.widths();
        let layers = widths.len() - 1;
        let padded = rows.next_multiple_of(4);
        let x = random(3, padded * widths[..layers].iter().sum::<usize>());
        let mut dz = random(4, padded * widths[1..].iter().sum::<usize>());
        let across = widths[1..].iter().sum::<usize>();
        dz[rows * across..].fill(0.0);
        let gradient = weight_gradient(&mut report, &case, lanes, rows, (&x, &dz));
        let (table, ..) = case.network();
        let (mut input, mut output) = (0, 0);
        for layer in 0..layers {
            let (inputs, outputs) = (widths[layer], widths[layer + 1]);
            let columns = |values: &[f32], all: usize, first: usize, width: usize| -> Vec<f64> {
                (0..rows).flat_map(|row| wide(&values[row * all + first..][..width])).collect()
            };
            let x = columns(&x, widths[..layers].iter().sum(), input, inputs);
            let dz = columns(&dz, across, output, outputs);
            let (dw, db) = linear_backward_weight(&dz, &x, rows);
            let absolute = |values: &[f64]| values.iter().map(|value| value.abs()).collect::<Vec<_>>();
            let (dw_size, db_size) = linear_backward_weight(&absolute(&dz), &absolute(&x), rows);
            let name = format!("{} of {rows} rows, {lanes} lanes: layer {layer}", case.name());
            let [_, _, weight, bias] = table.shape[layer].map(|word| 4 * word as usize);
            let terms = rows as f64 + 2.0;
            report.close(&name, &gradient[weight..][..inputs * outputs], &dw, |i| terms * UNIT * dw_size[i]);
            report.close(&name, &gradient[bias..][..outputs], &db, |i| terms * UNIT * db_size[i]);
            input += inputs;
            output += outputs;
        }
    }
    report.finish();
}

/// Through the workgroup's memory: every activation, widths below the lanes' columns and beside them, tiles beyond the
/// batch, several tiles and row groups.
#[test]
fn gradients_are_the_twins() {
    let mut report = Report::new();
    for (case, cut, rows, source) in [
        (network(2, &[16], 0, Activation::Silu, true), cut(4, 1, 4, 1, 1), 1, false),
        (network(2, &[64, 64, 64], 0, Activation::Silu, false), cut(16, 1, 4, 2, 3), 77, false),
        (network(3, &[5, 17], 2, Activation::Gelu, true), cut(8, 1, 8, 1, 2), 33, true),
        (network(5, &[31, 24], 0, Activation::Softplus, false), cut(4, 2, 8, 2, 1), 50, false),
        (network(17, &[40], 1, Activation::Tanh, true), cut(8, 2, 4, 1, 3), 19, true),
        (network(2, &[1, 1, 1, 1], 3, Activation::Selu, false), cut(4, 1, 4, 4, 1), 9, false),
        (network(9, &[32, 8], 0, Activation::Relu, true), cut(2, 4, 4, 1, 2), 21, false),
    ] {
        compare(&mut report, &case, cut, rows, source);
    }
    report.finish();
}

/// Within subgroups, as many lanes as the device has: one hidden layer to five, so that the last one has a partner or none, all
/// of one width or of several, with more features and outputs than lanes; every activation; batches that end within a tile,
/// and beyond a fold of the textures. Where no subgroups are used, as on SwiftShader, the same through the workgroup's memory.
#[test]
fn gradients_within_subgroups_are_the_twins() {
    let mut report = Report::new();
    let subgroup = device().habits().subgroup;
    for (case, each, rows, source) in [
        (network(2, &[64, 64, 64], 0, Activation::Silu, true), 2, 100usize, false),
        (network(2, &[16], 0, Activation::Tanh, true), 1, 1, false),
        (network(2, &[64, 64], 0, Activation::Relu, true), 2, 131, true),
        (network(5, &[31, 17], 1, Activation::Gelu, true), 2, 45, true),
        (network(20, &[40, 64, 8], 0, Activation::Softplus, true), 1, 33, true),
        (network(37, &[20], 1, Activation::Silu, true), 1, 19, false),
        (network(2, &[16; 4], 0, Activation::Tanh, false), 2, 70, false),
        (network(1, &[16, 9, 16, 3, 7], 2, Activation::Selu, true), 1, 29, false),
        (network(3, &[32; 5], 0, Activation::Silu, true), 2, 300, false),
    ] {
        let cut = match subgroup {
            Some(lanes) => {
                let workgroups = word(rows).div_ceil(each * lanes);
                Cut { unrolled: true, ..cut(lanes, 0, each, 1, workgroups) }
            }
            None => cut(8, 2, 4, 1, 2),
        };
        compare(&mut report, &case, cut, rows, source);
    }
    report.finish();
}
