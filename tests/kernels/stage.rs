//! What carries particles between evaluations of the network layer by layer: stage.wgsl, combine.wgsl, probe.wgsl,
//! trace.wgsl.

use bytemuck::Zeroable;
use windfield::gpu::Variant;
use windfield::sample::{Particle, Stage};

use super::draw::wave_error;
use super::fused::{FIRST_ROW, SEED, seed_words};
use super::random::normal_row_error;
use crate::common::{Launch, Report, UNIT, narrow, pad, padding, random, unpad, wide, word};
use crate::reference::divergence::{Probe, probe};
use crate::reference::draw::features;
use crate::reference::philox::{DIFFUSION, PROBE, normal_row};

/// What was there before: a kernel that does not write leaves it.
const UNTOUCHED: f32 = -7.0;

/// Dimensions, accumulators, time frequencies; every other one with textures.
const SHAPES: [(usize, usize, usize); 8] =
    [(1, 0, 0), (2, 1, 0), (3, 0, 2), (3, 5, 1), (5, 2, 0), (17, 0, 1), (64, 1, 3), (65, 0, 0)];
const ROWS: [usize; 4] = [1, 3, 64, 257];

/// The k_j [8, stride], each row padded; what is beside the state is not a number.
struct Slopes {
    all: Vec<f32>,
    stride: usize,
    state: usize,
    padded: usize,
}

impl Slopes {
    fn random(seed: u64, rows: usize, state: usize) -> Self {
        let padded = state.next_multiple_of(4);
        // The slopes of a stage end where they end; the next ones begin at a multiple of 256 bytes.
        let stride = (rows.next_multiple_of(16) * padded).next_multiple_of(64);
        let of = |j: u64| pad(&random(seed + j, rows * state), state, padded, stride / padded, f32::NAN);
        Self { all: (0..8).flat_map(of).collect(), stride, state, padded }
    }

    /// Of k_j: the state's columns.
    fn at(&self, j: usize, i: usize) -> f64 {
        self.all[j * self.stride + i / self.state * self.padded + i % self.state].into()
    }
}

fn groups(invocations: usize) -> [u32; 3] {
    [word(invocations.div_ceil(64)).div_ceil(2), 3, 1]
}

/// Times and steps of particles on their way to t1.
fn particles(rows: usize, t1: f32) -> Vec<Particle> {
    let uniform = random(33, 2 * rows);
    (0..rows)
        .map(|row| {
            let t = if t1 > 0.5 { 0.3 } else { 0.8 } + 0.02 * uniform[2 * row];
            // Some of them arrive.
            let h =
                (t1 - t).signum() * if row % 3 == 0 { 2.0 } else { 0.05 + 0.01 * uniform[2 * row + 1].abs() };
            Particle { h, ..Particle::at(t) }
        })
        .collect()
}

#[test]
#[allow(clippy::too_many_lines, reason = "the kernel writes three things, each with its tolerance")]
fn stages_are_combined_as_the_formula_says() {
    let mut report = Report::new();
    for (shape, (dim, extra, frequencies)) in SHAPES.into_iter().enumerate() {
        let textures = shape % 2 == 0;
        let state = dim + extra;
        let width_in = (dim + 1 + 2 * frequencies).next_multiple_of(8);
        for rows in ROWS {
            for (i, (terms, t, h)) in
                [(0usize, 0.0f32, 0.25f32), (1, 0.3, 0.1), (3, 0.97, -0.05), (4, 1.0, 0.01), (8, 0.5, -1.0)]
                    .into_iter()
                    .enumerate()
            {
                let adaptive = i % 2 == 1;
                let padded = rows.next_multiple_of(16);
                let slopes = Slopes::random(20, rows, state);
                let coefficients: [f32; 8] = random(19, 8).try_into().expect("eight");
                let x = random(18, rows * state);
                let output = [0usize, 7, 5][shape % 3];
                let [_, scale, alpha, beta] = [0.0, 0.8f32, -1.7, 0.3];
                let t1 = if h > 0.0 { 1.0 } else { 0.0 };
                let own = particles(rows, t1);
                let constants = Stage {
                    moment: [if adaptive { t1 } else { t }, scale, alpha, beta],
                    // Where every particle has its own step, a factor of it.
                    h: if adaptive { 1.0 } else { h },
                    terms: word(terms),
                    rows: word(rows),
                    stride: word(slopes.stride / 4),
                    output: word(output),
                    node: 0.3,
                    coefficients,
                    ..Stage::zeroed()
                };
                // h and t of a row, as float32 computes them.
                let step = |row: usize| -> (f32, f32) {
                    if !adaptive {
                        return (h, t);
                    }
                    let left = t1 - own[row].t;
                    let h = if left.abs() <= 1.01 * own[row].h.abs() { left } else { own[row].h };
                    (h, own[row].t + 0.3 * h)
                };
                let variant = Variant::new("stage")
                    .with("DIM", word(dim))
                    .with("EXTRA", word(extra))
                    .with("FREQUENCIES", word(frequencies))
                    .with("WIDTH_IN", word(width_in))
                    .with("LANES", 64)
                    .flag("ADAPTIVE", adaptive)
                    .flag("TEXTURES", textures);
                let mut launch = Launch::new(variant)
                    .uniform(0, &constants)
                    .output(1, &slopes.all)
                    .input(2, &x)
                    .output_matrix(3, &vec![UNTOUCHED; padded * width_in], width_in, textures);
                if adaptive {
                    launch = launch.input(4, &own);
                }
                let outputs = launch.run(&mut report, groups(rows * (width_in / 4).max(slopes.padded / 4)));
                let (got, got_slopes): (Vec<f32>, Vec<f32>) = (outputs.get(3), outputs.get(1));

                let sum = |i: usize, f: fn(f64) -> f64| -> f64 {
                    let term = |j: usize| f(f64::from(coefficients[j]) * slopes.at(j, i));
                    f(x[i].into()) + f(step(i / state).0.into()) * (0..terms).map(term).sum::<f64>()
                };
                let y: Vec<f64> = (0..x.len()).map(|i| sum(i, |x| x)).collect();
                let allowed = |i: usize| (terms as f64 + 4.0) * UNIT * sum(i, f64::abs);
                let name = format!("{terms} terms, {rows} rows of {dim} + {extra}, adaptive {adaptive}");
                let k: Vec<f32> = unpad(&got_slopes[output * slopes.stride..], state, slopes.padded, rows);
                let alpha = f64::from(alpha);
                let want: Vec<f64> =
                    (0..x.len()).map(|i| alpha * if i % state < dim { y[i] } else { dim as f64 }).collect();
                report.close(&format!("{name}: k"), &k, &want, |i| {
                    if i % state < dim {
                        alpha.abs() * (allowed(i) + UNIT * y[i].abs())
                    } else {
                        UNIT * want[i].abs()
                    }
                });
                for j in (0..8).filter(|j| *j != output) {
                    let range = j * slopes.stride..(j + 1) * slopes.stride;
                    report.same_bits(
                        &format!("{name}: k_{j}"),
                        &got_slopes[range.clone()],
                        &slopes.all[range],
                    );
                }

                let columns = dim + 1 + 2 * frequencies;
                let scale = f64::from(scale);
                let inputs: Vec<f64> =
                    (0..rows * dim).map(|i| scale * y[i / dim * state + i % dim]).collect();
                let times: Vec<f64> = (0..rows).map(|row| step(row).1.into()).collect();
                let want = features(&inputs, &times, dim, frequencies);
                report.close(
                    &format!("{name}: features"),
                    &unpad(&got, columns, width_in, rows),
                    &want,
                    |i| match (i % columns).checked_sub(dim) {
                        None => {
                            let at = i / columns * state + i % columns;
                            scale * (allowed(at) + UNIT * y[at].abs())
                        }
                        // Of a time of its own, a product and a sum.
                        Some(0) => {
                            if adaptive {
                                UNIT
                            } else {
                                0.0
                            }
                        }
                        Some(_) => {
                            wave_error(frequencies)
                                + if adaptive { 7.0 * frequencies as f64 * UNIT } else { 0.0 }
                        }
                    },
                );
                let zeros = padding(&got, columns, width_in, rows);
                report.same_bits(&format!("{name}: padding"), &zeros, &vec![0.0; zeros.len()]);
                report.holds(got[rows * width_in..].iter().all(|&x| x == UNTOUCHED), || {
                    format!("{name}: rows beyond")
                });
            }
        }
    }
    report.finish();
}

#[test]
fn steps_end_as_the_formula_says() {
    let mut report = Report::new();
    for (dim, extra, _) in SHAPES {
        let state = dim + extra;
        for rows in ROWS {
            for (terms, h, noise) in [(1usize, 0.1f32, 0.7f32), (4, -0.3, 0.0), (8, 1.0, 0.05)] {
                let slopes = Slopes::random(40, rows, state);
                let coefficients: [f32; 8] = random(41, 8).try_into().expect("eight");
                let x = random(42, rows * state);
                let constants = Stage {
                    h,
                    noise,
                    terms: word(terms),
                    rows: word(rows),
                    stride: word(slopes.stride / 4),
                    step: 12,
                    seed: seed_words(),
                    first_row: FIRST_ROW,
                    coefficients,
                    ..Stage::zeroed()
                };
                let variant = Variant::new("stage")
                    .with("DIM", word(dim))
                    .with("EXTRA", word(extra))
                    .with("WIDTH_IN", word((dim + 1).next_multiple_of(8)))
                    .with("LANES", 64)
                    .flag("UPDATE", true)
                    .flag("STOCHASTIC", noise > 0.0);
                let got: Vec<f32> = Launch::new(variant)
                    .uniform(0, &constants)
                    .input(1, &slopes.all)
                    .output(2, &x)
                    .run(
                        &mut report,
                        groups(rows * (dim + 1).next_multiple_of(8).max(state.next_multiple_of(4)) / 4),
                    )
                    .get(2);
                let xi: Vec<f64> = (0..word(rows))
                    .flat_map(|row| {
                        let mut xi = normal_row(SEED, FIRST_ROW + row, 12, DIFFUSION, dim);
                        xi.resize(state, 0.0);
                        xi
                    })
                    .collect();
                let sum = |i: usize, f: fn(f64) -> f64| -> f64 {
                    let term = |j: usize| f(f64::from(coefficients[j]) * slopes.at(j, i));
                    f(x[i].into())
                        + f(h.into()) * (0..terms).map(term).sum::<f64>()
                        + f(f64::from(noise) * xi[i])
                };
                let want: Vec<f64> = (0..x.len()).map(|i| sum(i, |x| x)).collect();
                let errors: Vec<f64> = (0..word(rows))
                    .flat_map(|row| {
                        let mut errors = normal_row_error(SEED, FIRST_ROW + row, 12, DIFFUSION, dim);
                        errors.resize(state, 0.0);
                        errors
                    })
                    .collect();
                let allowed =
                    |i: usize| (terms as f64 + 5.0) * UNIT * sum(i, f64::abs) + f64::from(noise) * errors[i];
                report.close(&format!("{terms} terms, {rows} rows of {dim} + {extra}"), &got, &want, allowed);
            }
        }
    }
    report.finish();
}

#[test]
fn the_network_s_part_is_added() {
    let mut report = Report::new();
    for (dim, extra, _) in SHAPES {
        let (state, width_out) = (dim + extra, dim.next_multiple_of(8));
        for rows in ROWS {
            let slopes = Slopes::random(50, rows, state);
            let v = random(51, rows * dim);
            let predicted = pad(&v, dim, width_out, rows.next_multiple_of(16), f32::NAN);
            let constants = Stage {
                moment: [0.5, 0.9, 3.0, -1.3],
                rows: word(rows),
                stride: word(slopes.stride / 4),
                output: 3,
                ..Stage::zeroed()
            };
            let variant = Variant::new("combine")
                .with("DIM", word(dim))
                .with("EXTRA", word(extra))
                .with("WIDTH_OUT", word(width_out))
                .with("LANES", 64);
            let got: Vec<f32> = Launch::new(variant)
                .uniform(0, &constants)
                .input(1, &predicted)
                .output(2, &slopes.all)
                .run(&mut report, groups(rows * dim.div_ceil(4)))
                .get(2);
            let name = format!("{rows} rows of {dim} + {extra}");
            let k = unpad(&got[3 * slopes.stride..], state, slopes.padded, rows);
            let beta = f64::from(-1.3f32);
            let part = |i: usize| {
                if i % state < dim { beta * f64::from(v[i / state * dim + i % state]) } else { 0.0 }
            };
            let want: Vec<f64> = (0..rows * state).map(|i| slopes.at(3, i) + part(i)).collect();
            report.close(&name, &k, &want, |i| {
                if i % state < dim { 2.0 * UNIT * (slopes.at(3, i).abs() + part(i).abs()) } else { 0.0 }
            });
            for j in (0..8).filter(|j| *j != 3) {
                let range = j * slopes.stride..(j + 1) * slopes.stride;
                report.same_bits(&format!("{name}: k_{j}"), &got[range.clone()], &slopes.all[range]);
            }
        }
    }
    report.finish();
}

/// Which probes: the file, the twin, how many accumulators, probes at once and the first of them.
const PROBES: [(&str, Option<Probe>, usize, usize, u32); 4] = [
    ("exact", None, 1, 3, 2),
    ("exact", None, 1, 1, 0),
    ("rademacher", Some(Probe::Rademacher), 7, 3, 4),
    ("gaussian", Some(Probe::Gaussian), 2, 2, 0),
];

/// Probe `index` of a row.
fn direction(kind: Option<Probe>, row: usize, index: u32, dim: usize) -> Vec<f64> {
    match kind {
        None => (0..dim).map(|column| f64::from(column == index as usize)).collect(),
        Some(kind) => probe(kind, SEED, FIRST_ROW + word(row), index, dim),
    }
}

/// How far the device's probe may be from it.
fn direction_error(kind: Option<Probe>, row: usize, index: u32, dim: usize) -> Vec<f64> {
    match kind {
        Some(Probe::Gaussian) => normal_row_error(SEED, FIRST_ROW + word(row), index, PROBE, dim),
        _ => vec![0.0; dim],
    }
}

#[test]
fn probes_come_from_their_addresses() {
    let mut report = Report::new();
    for (part, kind, extra, tangents, first) in PROBES {
        for (shape, (dim, _, frequencies)) in SHAPES.into_iter().enumerate() {
            let textures = shape % 2 == 1;
            let width_in = (dim + 1 + 2 * frequencies).next_multiple_of(8);
            for rows in [1usize, 17, 64] {
                let period = rows.next_multiple_of(16);
                let constants = Stage {
                    rows: word(rows),
                    seed: seed_words(),
                    first_row: FIRST_ROW,
                    first_probe: first,
                    period: word(period),
                    ..Stage::zeroed()
                };
                let variant = Variant::new("probe")
                    .with("DIM", word(dim))
                    .with("WIDTH_IN", word(width_in))
                    .with("TANGENTS", word(tangents))
                    .with("LANES", 64)
                    .part("PROBE", part)
                    .flag("TEXTURES", textures);
                let got: Vec<f32> = Launch::new(variant)
                    .uniform(0, &constants)
                    .output_matrix(1, &vec![UNTOUCHED; tangents * period * width_in], width_in, textures)
                    .run(&mut report, groups(tangents * period * width_in / 4))
                    .get(1);
                let all = |of: fn(Option<Probe>, usize, u32, usize) -> Vec<f64>| -> Vec<f64> {
                    (0..tangents * period)
                        .flat_map(|line| {
                            let mut epsilon = of(kind, line % period, first + word(line / period), dim);
                            epsilon.resize(width_in, 0.0);
                            epsilon
                        })
                        .collect()
                };
                let (want, errors) = (all(direction), all(direction_error));
                let name = format!("{part}, {extra} accumulators, {rows} rows of {dim}");
                report.close(&name, &got, &want, |i| errors[i]);
                let zeros = padding(&got, dim, width_in, tangents * period);
                report.same_bits("padding", &zeros, &vec![0.0; zeros.len()]);
            }
        }
    }
    report.finish();
}

#[test]
fn traces_are_added_to_their_accumulators() {
    let mut report = Report::new();
    for (part, kind, extra, tangents, first) in PROBES {
        for (dim, _, _) in SHAPES {
            let (state, width_out) = (dim + extra, dim.next_multiple_of(8));
            for rows in ROWS {
                let period = rows.next_multiple_of(16);
                let slopes = Slopes::random(60, rows, state);
                let products = random(61, tangents * period * dim);
                let constants = Stage {
                    moment: [0.5, 0.7, 5.0, -1.5],
                    rows: word(rows),
                    stride: word(slopes.stride / 4),
                    output: 2,
                    seed: seed_words(),
                    first_row: FIRST_ROW,
                    first_probe: first,
                    period: word(period),
                    ..Stage::zeroed()
                };
                let variant = Variant::new("trace")
                    .with("DIM", word(dim))
                    .with("EXTRA", word(extra))
                    .with("WIDTH_OUT", word(width_out))
                    .with("TANGENTS", word(tangents))
                    .with("LANES", 64)
                    .part("PROBE", part);
                let got: Vec<f32> = Launch::new(variant)
                    .uniform(0, &constants)
                    .input(1, &pad(&products, dim, width_out, tangents * period, 0.0))
                    .output(2, &slopes.all)
                    .run(&mut report, groups(rows))
                    .get(2);
                let name = format!("{part}, {rows} rows of {dim} + {extra}");
                let factor = f64::from(0.7f32) * -1.5;
                // (the sum, Σ |terms|) of a column of the state
                let sum = |row: usize, column: usize, f: fn(f64) -> f64| -> f64 {
                    let mut sum = f(slopes.at(2, row * state + column));
                    for j in 0..tangents {
                        let index = first + word(j);
                        // The unit vectors have one accumulator, random probes one each.
                        let to = if kind.is_none() { 0 } else { index as usize };
                        if to < extra && column == dim + to {
                            let epsilon = direction(kind, row, index, dim);
                            let product = &products[(j * period + row) * dim..][..dim];
                            sum += f(factor)
                                * epsilon.iter().zip(product).map(|(e, p)| f(e * f64::from(*p))).sum::<f64>();
                        }
                    }
                    sum
                };
                let k = unpad(&got[2 * slopes.stride..], state, slopes.padded, rows);
                let all = |f: fn(f64) -> f64| -> Vec<f64> {
                    (0..rows * state).map(|i| sum(i / state, i % state, f)).collect()
                };
                let (want, terms) = (all(|x| x), all(f64::abs));
                // A sum of d products; and what the normals are off by.
                let normals = |i: usize| -> f64 {
                    let errors = |j: usize| direction_error(kind, i / state, first + word(j), dim);
                    let products = |j: usize| &products[(j * period + i / state) * dim..][..dim];
                    let off = |j: usize| {
                        errors(j).iter().zip(products(j)).map(|(e, p)| e * f64::from(p.abs())).sum::<f64>()
                    };
                    factor.abs() * (0..tangents).map(off).sum::<f64>()
                };
                report.close(&name, &k, &want, |i| {
                    if i % state < dim {
                        0.0
                    } else {
                        ((dim + tangents) as f64 + 4.0) * UNIT * terms[i] + normals(i)
                    }
                });
                for j in (0..8).filter(|j| *j != 2) {
                    let range = j * slopes.stride..(j + 1) * slopes.stride;
                    report.same_bits(&format!("{name}: k_{j}"), &got[range.clone()], &slopes.all[range]);
                }
            }
        }
    }
    report.finish();
}

/// As the device rounds: what the tests above compare with is made of these.
#[test]
fn probes_of_the_twin_are_signs_and_normals() {
    let row = probe(Probe::Rademacher, SEED, FIRST_ROW, 3, 9);
    assert!(row.iter().all(|e| e.abs() == 1.0) && wide(&narrow(&row)) == row);
}
