//! A step's gradient in one dispatch: fused_gradient.wgsl and gradient_unrolled.wgsl, against draw.rs and mlp.rs one after
//! the other.

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

/// Lanes of a row group, groups of four columns of a lane, rows of a tile, row groups of a workgroup, workgroups. Or those of a
/// subgroup, none, rows of a lane, passes, workgroups.
#[derive(Clone, Copy, Debug)]
struct Cut {
    lanes: u32,
    quads: u32,
    rows: u32,
    groups: u32,
    workgroups: u32,
    /// Lanes take rows through layers that are written out.
    unrolled: bool,
}

impl Cut {
    fn slices(self) -> usize {
        (if self.unrolled { 1 } else { self.groups } * self.workgroups) as usize
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
        .with_float("T_MAX", 1.0)
        .with("LANES", cut.lanes)
        .with("TILE_ROWS", cut.rows)
        .part("ACTIVATION", case.activation.name())
        .flag("TEXTURES", case.cut.2)
        .flag("SOURCE", source);
    if cut.unrolled {
        return case
            .unrolled(variant, cut.lanes)
            .with("PASSES", cut.groups)
            .with("PARAMETERS", word(case.network().1.len() / 4))
            .flag("FEW", (case.dim + 1 + 2 * case.frequencies).div_ceil(4) <= cut.lanes as usize / 4)
            .flag("SUBGROUPS", true)
            .flag("GRADIENT", true);
    }
    let columns = 4 * (cut.lanes * cut.quads) as usize;
    let whole = widths[1..widths.len() - 1].iter().all(|width| *width == columns);
    variant
        .with("WIDTH_IN", word(widths[0]))
        .with("WIDTH_OUT", word(widths[widths.len() - 1]))
        .with("HIDDEN", word(case.hidden.len()))
        .with("QUADS", cut.quads)
        .with("GROUPS", cut.groups)
        .with("WHOLE", whole.into())
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
    // Twice: the second time over what the first has left.
    let unwritten = vec![0.0f32; cut.slices() * parameters.len()];
    let launch = launch.output_list(6, &unwritten, cut.unrolled).repeat(2);
    let [outputs, checked] = launch.run_both(&mut *report, [cut.workgroups, 1, 1]);
    // The same numbers; the sign of a zero, in rows that count for nothing, is the compiler's.
    for slot in [6, 7] {
        let (without, with) = (outputs.get::<f32>(slot), checked.get::<f32>(slot));
        report.equal(&format!("{name} @binding({slot}) without checks against with checks"), &without, &with);
    }
    let sums: Vec<f32> = outputs.get(7);
    let mut slices: Vec<f32> = outputs.get(6);
    slices.truncate(unwritten.len());

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
/// or passes before the last one. Where no subgroups are used, as on SwiftShader, the same through the workgroup's memory.
#[test]
fn gradients_within_subgroups_are_the_twins() {
    let mut report = Report::new();
    let subgroup = device().habits().subgroup;
    for (case, each, passes, rows, source) in [
        (network(2, &[64, 64, 64], 0, Activation::Silu, true), 2, 4, 300usize, false),
        (network(2, &[16], 0, Activation::Tanh, true), 1, 1, 1, false),
        (network(2, &[64, 64], 0, Activation::Relu, true), 2, 1, 131, true),
        (network(5, &[31, 17], 1, Activation::Gelu, true), 2, 3, 45, true),
        (network(20, &[40, 64, 8], 0, Activation::Softplus, true), 1, 2, 33, true),
        (network(37, &[20], 1, Activation::Silu, true), 1, 1, 19, false),
        (network(2, &[16; 4], 0, Activation::Tanh, false), 2, 2, 70, false),
        (network(1, &[16, 9, 16, 3, 7], 2, Activation::Selu, true), 1, 5, 29, false),
        (network(3, &[32; 5], 0, Activation::Silu, true), 2, 2, 100, false),
    ] {
        let cut = match subgroup {
            Some(lanes) => {
                let workgroups = word(rows).div_ceil(each * lanes * passes);
                Cut { unrolled: true, ..cut(lanes, 0, each, passes, workgroups) }
            }
            None => cut(8, 2, 4, 1, 2),
        };
        compare(&mut report, &case, cut, rows, source);
    }
    report.finish();
}
