//! Conditions: shared/conditions.wgsl in draw.wgsl and endpoints.wgsl.

use bytemuck::Zeroable;
use windfield::gpu::Variant;
use windfield::train::{Chunk, State, Wave};

use super::path::straight;
use crate::common::{Launch, Report, padding, random, unpad, wide, word};
use crate::reference::conditions::{Kind, features, told};
use crate::reference::draw::{Draw, draw};
use crate::reference::path::ot;

const SEED: u64 = 0x0bad_5eed_0000_0011;
const STEP: u32 = 4001;
const ROWS: usize = 53;
/// Of 2^24.
const DROPOUT: u32 = 1 << 22;
const KINDS: [Kind; 3] = [Kind::Classes(3), Kind::Number, Kind::Classes(2)];
const FEATURES: usize = 7;
/// Of the features in a cost.
const SCALES: [f32; FEATURES] = [2.5, 2.5, 2.5, 0.75, 0.0, 4.0, 4.0];

/// [N, L]
fn values() -> Vec<f32> {
    let numbers = random(5, ROWS);
    (0..ROWS).flat_map(|i| [(i % 3) as f32, numbers[i], (i / 7 % 2) as f32]).collect()
}

/// What the kernels read.
fn labels() -> Vec<u32> {
    let mut words = vec![];
    let mut feature = 0;
    for (label, kind) in KINDS.into_iter().enumerate() {
        let what = match kind {
            Kind::Classes(count) => (0..word(count)).collect(),
            Kind::Number => vec![u32::MAX, u32::MAX - 1],
        };
        for what in what {
            words.extend([word(label), what, SCALES[feature].to_bits()]);
            feature += 1;
        }
    }
    words.extend(values().iter().map(|value| value.to_bits()));
    words
}

/// The features of a row of the data.
fn twin(row: u32) -> Vec<f64> {
    features(&KINDS, &wide(&values())[row as usize * KINDS.len()..][..KINDS.len()])
}

fn conditioned(variant: Variant) -> Variant {
    variant
        .with("CONDITIONS", word(FEATURES))
        .with("LABELS", word(KINDS.len()))
        .with("DROPOUT", DROPOUT)
        .flag("CONDITIONED", true)
}

fn chunk(first_row: usize, rows: usize, batch: usize) -> Chunk {
    Chunk {
        seed: [SEED as u32, (SEED >> 32) as u32],
        first_row: word(first_row),
        rows: word(rows),
        data_rows: word(ROWS),
        source_rows: 0,
        batch: word(batch),
        first_partial: 0,
    }
}

fn batch(dim: usize, data: &[f64], step: u32, rows: usize) -> crate::reference::draw::Batch {
    let path = ot(1e-3);
    draw(&Draw {
        seed: SEED,
        step,
        batch: rows,
        dim,
        data,
        source: None,
        path: &path,
        t_max: 1.0,
        noise: 0.0,
    })
}

/// The features of the condition follow those of the time, are all zero where the row is told nothing, and leave all else
/// as it is without them, bit for bit.
#[test]
fn rows_are_told_their_labels() {
    let mut report = Report::new();
    for (dim, frequencies, textures) in [(1, 0, false), (2, 3, true), (5, 1, false), (64, 2, true)] {
        for (first, rows) in [(0usize, 1usize), (0, 130), (64, 57)] {
            let plain = dim + 1 + 2 * frequencies;
            let run = |report: &mut Report, extra: usize| {
                let (width, out) = ((plain + extra).next_multiple_of(8), dim.next_multiple_of(8));
                let variant = (straight(1e-3).bake(Variant::new("draw")))
                    .with("DIM", word(dim))
                    .with("FREQUENCIES", word(frequencies))
                    .with("WIDTH_IN", word(width))
                    .with("WIDTH_OUT", word(out))
                    .with("LANES", 64)
                    .with_float("T_MAX", 1.0)
                    .flag("TEXTURES", textures);
                let variant = if extra > 0 { conditioned(variant) } else { variant };
                let padded = rows.next_multiple_of(16);
                let launch = Launch::new(variant)
                    .uniform(0, &chunk(first, rows, first + rows))
                    .input(1, &[State { step: STEP, ..State::zeroed() }])
                    .input(2, &random(1, ROWS * dim))
                    .output_matrix(3, &vec![-7.0; padded * width], width, textures)
                    .output(4, &vec![-7.0f32; padded * out]);
                let launch = if extra > 0 { launch.input(12, &labels()) } else { launch };
                let outputs = launch.run(report, [word((rows * width / 4).div_ceil(64)), 1, 1]);
                (outputs.get::<f32>(3), outputs.get::<f32>(4), width)
            };
            let name = format!("dimension {dim}, rows {first}..+{rows}");
            let (without, velocity, width) = run(&mut report, 0);
            let bare = unpad(&without, plain, width, rows);
            let (with, same, width) = run(&mut report, FEATURES);
            report.same_bits(&format!("{name}: velocity"), &same, &velocity);
            let all = unpad(&with, plain + FEATURES, width, rows);
            let columns = |from: usize, to: usize| -> Vec<f32> {
                all.chunks_exact(plain + FEATURES).flat_map(|row| row[from..to].to_vec()).collect()
            };
            report.same_bits(&format!("{name}: point and time"), &columns(0, plain), &bare);
            let drawn = batch(dim, &wide(&random(1, ROWS * dim)), STEP, first + rows);
            let want: Vec<f64> = (first..first + rows)
                .flat_map(|row| {
                    let row_told = told(SEED, word(row), STEP, DROPOUT);
                    if row_told { twin(drawn.index[row]) } else { vec![0.0; FEATURES] }
                })
                .collect();
            report.near(&format!("{name}: condition"), &columns(plain, plain + FEATURES), &want, 0.0);
            let zeros = padding(&with, plain + FEATURES, width, rows);
            report.same_bits(&format!("{name}: padding"), &zeros, &vec![0.0; zeros.len()]);
        }
    }
    report.finish();
}

/// Both ends of a pair go on with the same scaled features: those of the row that x1 is, whether or not it is told.
#[test]
fn ends_of_pairs_have_their_conditions() {
    let mut report = Report::new();
    let (batch_rows, steps, first_step) = (7, 6, 1000);
    for dim in [1, 2, 3, 5, 64] {
        let data = random(1, ROWS * dim);
        let (rows, width) = (batch_rows * steps, dim + FEATURES);
        let variant = Variant::new("endpoints").with("DIM", word(dim)).with("LANES", 64);
        let outputs = Launch::new(conditioned(variant.clone()))
            .uniform(0, &chunk(0, batch_rows, batch_rows))
            .uniform(1, &Wave { first_step, steps: 2, rows: word(rows), padding: 0 })
            .input(2, &data)
            .output(3, &vec![-7.0f32; rows * width])
            .output(4, &vec![-7.0f32; rows * width])
            .input(12, &labels())
            .run(&mut report, [word((rows * width.div_ceil(4)).div_ceil(64)), 1, 1]);
        let bare = Launch::new(variant)
            .uniform(0, &chunk(0, batch_rows, batch_rows))
            .uniform(1, &Wave { first_step, steps: 2, rows: word(rows), padding: 0 })
            .input(2, &data)
            .output(3, &vec![-7.0f32; rows * dim])
            .output(4, &vec![-7.0f32; rows * dim])
            .run(&mut report, [word((rows * dim.div_ceil(4)).div_ceil(64)), 1, 1]);
        let mut want = vec![];
        for step in (first_step..).take(steps) {
            for row in batch(dim, &wide(&data), step, batch_rows).index {
                want.extend(twin(row).iter().zip(SCALES).map(|(c, scale)| c * f64::from(scale)));
            }
        }
        for slot in [3, 4] {
            let got: Vec<f32> = outputs.get(slot);
            let part = |from: usize, to: usize| -> Vec<f32> {
                got.chunks_exact(width).flat_map(|row| row[from..to].to_vec()).collect()
            };
            report.same_bits(
                &format!("dimension {dim}, binding {slot}: points"),
                &part(0, dim),
                &bare.get(slot),
            );
            // One product.
            report.close(
                &format!("dimension {dim}, binding {slot}: conditions"),
                &part(dim, width),
                &want,
                |i| want[i].abs() * crate::common::UNIT,
            );
        }
    }
    report.finish();
}
