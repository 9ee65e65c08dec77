//! The batch of a training step: draw.wgsl.

use bytemuck::Zeroable;
use windfield::flow::Path;
use windfield::gpu::{Constant, Variant};
use windfield::train::{Chunk, State};

use super::path::{Case as PathCase, straight};
use super::random::normal_row_error;
use crate::common::{Launch, Outputs, Report, UNIT, padding, random, unpad, wide, word};
use crate::reference::draw::{Draw, draw, features};
use crate::reference::path::ot;
use crate::reference::philox;

const SEED: u64 = 0xfeed_beef_0000_0042;
const STEP: u32 = 70_001;
const DATA_ROWS: usize = 101;
const SOURCE_ROWS: usize = 37;
const SIGMA_MIN: f32 = 1e-3;

struct Case {
    dim: usize,
    frequencies: usize,
    source: bool,
    export: bool,
    /// Whether the features are a texture.
    textures: bool,
    path: Path,
}

impl Case {
    fn width_in(&self) -> usize {
        (self.dim + 1 + 2 * self.frequencies).next_multiple_of(8)
    }

    fn width_out(&self) -> usize {
        self.dim.next_multiple_of(8)
    }

    fn variant(&self) -> Variant {
        (self.path.bake(Variant::new("draw")))
            .with("DIM", word(self.dim))
            .with("FREQUENCIES", word(self.frequencies))
            .with("WIDTH_IN", word(self.width_in()))
            .with("WIDTH_OUT", word(self.width_out()))
            .with("LANES", 64)
            .with_float("T_MAX", self.path.t_max() as f32)
            .flag("SOURCE", self.source)
            .flag("EXPORT", self.export)
            .flag("TEXTURES", self.textures)
            .flag("NOISY", self.path.noise() > 0.0)
            .with_all((self.path.noise() > 0.0).then(|| ("PATH_NOISE", Constant::Float(self.path.noise()))))
    }

    /// Draws rows first..first + rows of a batch.
    fn run(&self, report: &mut Report, first: usize, rows: usize, fold: bool) -> Outputs {
        let chunk = Chunk {
            seed: [SEED as u32, (SEED >> 32) as u32],
            first_row: word(first),
            rows: word(rows),
            data_rows: word(DATA_ROWS),
            source_rows: word(SOURCE_ROWS),
            batch: word(first + rows),
            first_partial: 0,
        };
        let padded = rows.next_multiple_of(16);
        let unwritten = |floats: usize| vec![-7.0f32; padded * floats];
        let mut launch = Launch::new(self.variant())
            .uniform(0, &chunk)
            .input(1, &[State { step: STEP, ..State::zeroed() }])
            .input(2, &random(1, DATA_ROWS * self.dim))
            .output_matrix(3, &unwritten(self.width_in()), self.width_in(), self.textures)
            .output(4, &unwritten(self.width_out()));
        if self.source {
            launch = launch.input(5, &random(2, SOURCE_ROWS * self.dim));
        }
        if self.export {
            launch = launch.output(6, &vec![7u32; padded * (2 * self.width_out() + 4)]);
        }
        let groups = word((rows * self.width_in() / 4).div_ceil(64));
        launch.run(report, if fold { [groups.div_ceil(3), 4, 1] } else { [groups, 1, 1] })
    }
}

/// What EXPORT tells of the first rows.
pub struct Exported {
    pub x0: Vec<f32>,
    pub x1: Vec<f32>,
    pub index: Vec<u32>,
    pub t: Vec<f32>,
}

impl Exported {
    pub fn of(outputs: &Outputs, dim: usize, rows: usize) -> Self {
        let half = dim.next_multiple_of(8);
        let words: Vec<u32> = outputs.get(6);
        let of_rows: Vec<&[u32]> = words.chunks_exact(2 * half + 4).take(rows).collect();
        let numbers = |from: usize, count: usize| -> Vec<f32> {
            of_rows
                .iter()
                .flat_map(|row| &row[from..from + count])
                .map(|&bits| f32::from_bits(bits))
                .collect()
        };
        Self {
            x0: numbers(0, dim),
            x1: numbers(half, dim),
            index: of_rows.iter().map(|row| row[2 * half]).collect(),
            t: numbers(2 * half + 1, 1),
        }
    }
}

/// How far a time feature may be: k·t rounds, the angle of at most a quarter turn twice, and then the polynomial.
pub fn wave_error(frequencies: usize) -> f64 {
    (frequencies as f64 * std::f64::consts::TAU + std::f64::consts::FRAC_PI_2 + 3.0) * UNIT
}

#[test]
fn batches_are_the_twins() {
    let mut report = Report::new();
    let path = ot(f64::from(SIGMA_MIN));
    for (i, dim) in [1, 2, 3, 4, 5, 7, 64, 65, 784].into_iter().enumerate() {
        let (data, source) = (wide(&random(1, DATA_ROWS * dim)), wide(&random(2, SOURCE_ROWS * dim)));
        for (j, (source_too, export)) in
            [(false, false), (false, true), (true, false), (true, true)].into_iter().enumerate()
        {
            let textures = (i + j) % 2 == 0;
            let case = Case {
                dim,
                frequencies: [0, 3, 1][(i + j) % 3],
                source: source_too,
                export,
                textures,
                path: straight(SIGMA_MIN),
            };
            // The last is the second part of a batch, on a folded grid.
            for (first, rows, fold) in
                [(0, 1, false), (0, 3, false), (0, 64, false), (0, 257, false), (64, 57, true)]
            {
                let name = format!(
                    "dimension {dim}, {} frequencies{}{}, rows {first}..+{rows}",
                    case.frequencies,
                    if source_too { ", source" } else { "" },
                    if export { ", export" } else { "" }
                );
                let outputs = case.run(&mut report, first, rows, fold);
                let twin = draw(&Draw {
                    seed: SEED,
                    step: STEP,
                    batch: first + rows,
                    dim,
                    data: &data,
                    source: source_too.then_some(&source),
                    path: &path,
                    t_max: 1.0,
                    noise: 0.0,
                });
                let (from, from_row) = (first * dim, first);
                // x0 by Box–Muller; a copy of the source's row is exact.
                let normals: Vec<f64> = (word(first)..word(first + rows))
                    .flat_map(|row| normal_row_error(SEED, row, STEP, philox::SOURCE, dim))
                    .collect();
                let normal = |i: usize| if source_too { 0.0 } else { normals[i] };
                // The products and the sum of b·x0 + a·x1, and b = (1 − t) + σ·t before it: five roundings.
                let combination =
                    |i: usize| normal(i) + 5.0 * UNIT * (twin.x0[from + i].abs() + twin.x1[from + i].abs());

                let width = case.width_in();
                let columns = dim + 1 + 2 * case.frequencies;
                let got: Vec<f32> = outputs.get(3);
                let want = features(&twin.xt[from..], &twin.t[from_row..], dim, case.frequencies);
                report.close(&format!("{name}: features"), &unpad(&got, columns, width, rows), &want, |i| {
                    let (row, column) = (i / columns, i % columns);
                    match column.checked_sub(dim) {
                        None => combination(row * dim + column),
                        Some(0) => 0.0, // t itself
                        Some(_) => wave_error(case.frequencies),
                    }
                });
                let zeros = padding(&got, columns, width, rows);
                report.same_bits(
                    &format!("{name}: padding of the features"),
                    &zeros,
                    &vec![0.0; zeros.len()],
                );
                report.holds(got[rows * width..].iter().all(|&x| x == -7.0), || {
                    format!("{name}: rows beyond the part")
                });

                let width = case.width_out();
                let got: Vec<f32> = outputs.get(4);
                report.close(
                    &format!("{name}: velocity"),
                    &unpad(&got, dim, width, rows),
                    &twin.ut[from..],
                    combination,
                );
                // −0 where b' multiplies the zeros: equal to 0, whatever its sign
                let zeros = padding(&got, dim, width, rows);
                report.equal(&format!("{name}: padding of the velocity"), &zeros, &vec![0.0; zeros.len()]);

                if export {
                    let Exported { x0, x1, index, t } = Exported::of(&outputs, dim, rows);
                    report.close(&format!("{name}: x0"), &x0, &twin.x0[from..], normal);
                    report.near(&format!("{name}: x1"), &x1, &twin.x1[from..], 0.0);
                    report.equal(&format!("{name}: index"), &index, &twin.index[from_row..]);
                    report.near(&format!("{name}: t"), &t, &twin.t[from_row..], 0.0);
                }
            }
        }
    }
    report.finish();
}

/// What a batch is does not depend on who asks: with and without the export, in textures and in buffers, the same bits.
#[test]
fn neither_export_nor_textures_change_anything() {
    let mut report = Report::new();
    for source in [false, true] {
        let case = |export| Case {
            dim: 3,
            frequencies: 2,
            source,
            export,
            textures: !export,
            path: straight(SIGMA_MIN),
        };
        let (plain, exported) =
            (case(false).run(&mut report, 0, 200, false), case(true).run(&mut report, 0, 200, false));
        for slot in [3, 4] {
            report.same_bits(&format!("binding {slot}"), &plain.get(slot), &exported.get(slot));
        }
    }
    report.finish();
}

/// Every path, times that end before 1 included.
#[test]
fn batches_of_every_path_are_the_twins() {
    let mut report = Report::new();
    let (dim, rows) = (2, 3000);
    let data = wide(&random(1, DATA_ROWS * dim));
    for PathCase { path, twin, error } in PathCase::all() {
        let name = path.name();
        let case = Case { dim, frequencies: 0, source: false, export: true, textures: false, path };
        let outputs = case.run(&mut report, 0, rows, false);
        let t_max = case.path.t_max() as f32;
        let want = draw(&Draw {
            seed: SEED,
            step: STEP,
            batch: rows,
            dim,
            data: &data,
            source: None,
            path: &*twin,
            t_max,
            noise: 0.0,
        });
        let t = Exported::of(&outputs, dim, rows).t;
        report.near(&format!("{name}: t"), &t, &want.t, 0.0);
        report.holds(t.iter().all(|t| (0.0..=t_max).contains(t)), || format!("{name}: t is beyond {t_max}"));
        // The coefficients', those of x0, and the two products and the sum.
        let combination = |i: usize, (of_x0, of_x1): (usize, usize)| {
            let (row, column) = (i / dim, i % dim);
            let normal = normal_row_error(SEED, word(row), STEP, philox::SOURCE, dim)[column];
            let coefficients = twin(want.t[row]).array();
            let errors = error(want.t[row]);
            let (x0, x1) = (want.x0[i].abs(), want.x1[i].abs());
            let term = |c: usize, x: f64| (coefficients[c].abs() * 3.0 * UNIT + errors[c]) * x;
            // Numbers below float32's normal ones may be zero, in the coefficients too.
            let tiny = 512.0 * f64::from(f32::MIN_POSITIVE);
            (coefficients[of_x0].abs() + errors[of_x0]) * normal + term(of_x0, x0) + term(of_x1, x1) + tiny
        };
        let points = unpad(&outputs.get::<f32>(3), dim, case.width_in(), rows);
        report.close(&format!("{name}: xt"), &points, &want.xt, |i| combination(i, (1, 0)));
        let velocity = unpad(&outputs.get::<f32>(4), dim, case.width_out(), rows);
        report.close(&format!("{name}: ut"), &velocity, &want.ut, |i| combination(i, (3, 2)));
    }
    report.finish();
}

/// Noise around the path moves the points by σ·ε, and nothing else.
#[test]
fn noise_around_the_path_is_the_twins() {
    let mut report = Report::new();
    let rows = 500;
    let noise = 0.25f32;
    let path = ot(f64::from(SIGMA_MIN));
    for (dim, source) in [(1, false), (2, true), (5, false), (8, true)] {
        let (data, other) = (wide(&random(1, DATA_ROWS * dim)), wide(&random(2, SOURCE_ROWS * dim)));
        let clean = straight(SIGMA_MIN);
        let noisy = clean.clone().with_noise(noise).unwrap_or_else(|error| panic!("{error}"));
        let mut case = |path| {
            let case = Case { dim, frequencies: 2, source, export: true, textures: false, path };
            let outputs = case.run(&mut report, 0, rows, false);
            let features: Vec<f32> = outputs.get(3);
            let width = case.width_in();
            (unpad(&features, dim, width, rows), outputs.get::<f32>(4), outputs.get::<f32>(6), {
                let columns = dim + 1 + 2 * case.frequencies;
                let wide = unpad(&features, columns, width, rows);
                wide.chunks_exact(columns).flat_map(|row| row[dim..].to_vec()).collect::<Vec<f32>>()
            })
        };
        let (without, with) = (case(clean), case(noisy));
        let name = format!("dimension {dim}{}", if source { ", source" } else { "" });
        report.same_bits(&format!("{name}: velocity"), &with.1, &without.1);
        report.same_bits(&format!("{name}: x0 and x1"), &with.2, &without.2);
        report.same_bits(&format!("{name}: times"), &with.3, &without.3);
        let twin = draw(&Draw {
            seed: SEED,
            step: STEP,
            batch: rows,
            dim,
            data: &data,
            source: source.then_some(&other),
            path: &path,
            t_max: 1.0,
            noise: noise.into(),
        });
        let errors = |stream| -> Vec<f64> {
            (0..word(rows)).flat_map(|row| normal_row_error(SEED, row, STEP, stream, dim)).collect()
        };
        let (own, around) = (errors(philox::SOURCE), errors(philox::PATH));
        report.close(&format!("{name}: xt"), &with.0, &twin.xt, |i| {
            let own = if source { 0.0 } else { own[i] };
            // As without, and another product and sum.
            own + f64::from(noise) * around[i]
                + 7.0 * UNIT * (twin.x0[i].abs() + twin.x1[i].abs() + 2.0 * f64::from(noise) * 6.0)
        });
        report.holds(with.0 != without.0, || format!("{name}: no noise"));
    }
    report.finish();
}
