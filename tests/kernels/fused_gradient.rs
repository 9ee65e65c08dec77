//! A step's gradient in one dispatch: fused_gradient.wgsl, against draw.rs and mlp.rs one after the other.

use bytemuck::Zeroable;
use windfield::gpu::Variant;
use windfield::train::{Chunk, State};

use super::draw::wave_error;
use super::fused::Case;
use super::path::straight;
use crate::common::{Launch, Report, UNIT, device, random, wide, word};
use crate::reference::activation::Activation;
use crate::reference::draw::{Draw, draw, features};
use crate::reference::path::ot;

const SEED: u64 = 0x0bad_cafe_0000_0007;
const STEP: u32 = 4711;
const DATA_ROWS: usize = 53;
const SOURCE_ROWS: usize = 19;
const SIGMA_MIN: f32 = 1e-3;

/// Lanes of a row group, groups of four columns of a lane, rows of a tile, row groups of a workgroup, workgroups.
#[derive(Clone, Copy, Debug)]
struct Cut {
    lanes: u32,
    quads: u32,
    rows: u32,
    groups: u32,
    workgroups: u32,
    subgroups: bool,
}

impl Cut {
    fn slices(self) -> usize {
        (self.groups * self.workgroups) as usize
    }
}

const fn cut(lanes: u32, quads: u32, rows: u32, groups: u32, workgroups: u32) -> Cut {
    Cut { lanes, quads, rows, groups, workgroups, subgroups: false }
}

fn network(
    dim: usize,
    hidden: &'static [usize],
    frequencies: usize,
    activation: Activation,
    textures: bool,
) -> Case {
    Case { dim, hidden, frequencies, activation, cut: (8, 1, textures), rows: 0, across: 0 }
}

fn variant(case: &Case, cut: Cut, source: bool) -> Variant {
    let widths = case.widths();
    let columns = 4 * (cut.lanes * cut.quads) as usize;
    let whole = widths[1..widths.len() - 1].iter().all(|width| *width == columns);
    (straight(SIGMA_MIN).bake(Variant::new("fused_gradient")))
        .with("DIM", word(case.dim))
        .with("FREQUENCIES", word(case.frequencies))
        .with("WIDTH_IN", word(widths[0]))
        .with("WIDTH_OUT", word(widths[widths.len() - 1]))
        .with_float("T_MAX", 1.0)
        .with("HIDDEN", word(case.hidden.len()))
        .with("LANES", cut.lanes)
        .with("QUADS", cut.quads)
        .with("TILE_ROWS", cut.rows)
        .with("GROUPS", cut.groups)
        .with("PER_LANE", if cut.subgroups { cut.quads } else { 1 })
        .with("WHOLE", whole.into())
        .part("ACTIVATION", case.activation.name())
        .flag("SUBGROUPS", cut.subgroups)
        .flag("TEXTURES", case.cut.2)
        .flag("SOURCE", source)
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
    let mut launch = Launch::new(variant(case, cut, source))
        .uniform(0, &chunk)
        .input(1, &[State { step: STEP, ..State::zeroed() }])
        .input(2, &data)
        .uniform(3, &table)
        .input(4, &parameters)
        .output(6, &vec![0.0f32; cut.slices() * parameters.len()])
        .output(7, &vec![-7.0f32; cut.slices()]);
    if source {
        launch = launch.input(5, &other);
    }
    if case.cut.2 {
        launch = launch.matrix(10, &texture, case.texture_width(), true);
    }
    // Twice: the second time over what the first has left.
    let [outputs, checked] = launch.repeat(2).run_both(report, [cut.workgroups, 1, 1]);
    let name = format!("{} of {rows} rows, {cut:?}", case.name());
    // The same numbers; the sign of a zero, in rows that count for nothing, is the compiler's.
    for slot in [6, 7] {
        let (without, with) = (outputs.get::<f32>(slot), checked.get::<f32>(slot));
        report.equal(&format!("{name} @binding({slot}) without checks against with checks"), &without, &with);
    }

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

    let sums: Vec<f32> = outputs.get(7);
    let loss: f64 = wide(&sums).iter().sum::<f64>() / rows as f64;
    // A velocity of order 1 is as exact as its features and some layers of sums of some hundred products.
    let each = wave_error(case.frequencies) + 4.0 * UNIT * (mlp.layers() as f64 + 1.0);
    report.near(
        &format!("{name}: loss"),
        &[loss as f32],
        &[twin.loss],
        each * (2.0 * twin.loss.sqrt() + twin.loss),
    );

    let slices: Vec<f32> = outputs.get(6);
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

/// Within a subgroup where these are used, as on lavapipe; elsewhere the same cuts through the workgroup's memory.
#[test]
fn gradients_within_subgroups_are_the_twins() {
    let mut report = Report::new();
    let subgroup = device().habits().subgroup;
    let lanes = subgroup.unwrap_or(8);
    for (case, width, rows, workgroups, tile, source) in [
        (network(2, &[64, 64, 64], 0, Activation::Silu, true), 64, 100, 2, 16, false),
        (network(2, &[32], 0, Activation::Tanh, false), 32, 1, 1, 8, false),
        (network(5, &[31, 17], 1, Activation::Gelu, true), 32, 45, 2, 8, true),
        (network(20, &[40, 64, 8], 0, Activation::Softplus, true), 64, 33, 1, 4, false),
    ] {
        let quads = width / 4 / lanes;
        let cut = Cut { subgroups: subgroup.is_some(), ..cut(lanes, quads, tile, 1, workgroups) };
        compare(&mut report, &case, cut, rows, source);
    }
    report.finish();
}
