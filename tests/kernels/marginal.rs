//! The softmax over a data set and its weighted sums: marginal.wgsl for small dimensions; marginal_logits.wgsl,
//! marginal_weights.wgsl and marginal_moments.wgsl for any; marginal_merge.wgsl for both.

use windfield::flow::{SLICE_ROWS, Slices};
use windfield::gpu::Variant;

use crate::common::{Launch, Report, UNIT, narrow, pad, padding, random, unpad, wide, word};
use crate::reference::marginal::{
    Queries, marginal_logits, marginal_merge, marginal_moments, marginal_weights,
};

const LANES: usize = 64;
/// The kernels' own.
const LOWEST: f32 = -3e38;
/// Sums that marginal_merge.wgsl keeps.
const LEVELS: usize = 3;
/// One of them, of one query: top, sum, and all weighted sums with their magnitudes.
type Sums = (f64, f64, Vec<f64>);

/// Queries on and off the paths to the data, each at its own time; every column has another unit.
struct Case {
    dim: usize,
    /// Rows of the data, of which those from `first` on are gone over.
    rows: usize,
    first: usize,
    queries: usize,
    data: Vec<f32>,
    centres: Vec<f32>,
    offsets: Vec<f32>,
    schedule: Vec<[f32; 2]>,
    columns: Vec<f32>,
    /// What the twins are given: the same.
    twin: Queries,
}

impl Case {
    fn new(dim: usize, rows: usize, first: usize, queries: usize) -> Self {
        let std: Vec<f64> = (0..dim).map(|k| 1.0 + 0.3 * (k % 4) as f64).collect();
        let data: Vec<f32> = random(3, rows * dim)
            .iter()
            .enumerate()
            .map(|(i, y)| (f64::from(*y) * std[i % dim]) as f32)
            .collect();
        let noise = random(4, queries * dim);
        let (mut centres, mut offsets, mut schedule) = (vec![], vec![], vec![]);
        for q in 0..queries {
            // From the whole Gaussian to single points: all weights alike, and one that is all.
            let t: f64 = [0.0, 0.01, 0.45, 0.55, 0.9, 0.99, 0.999, 0.9999, 1.0][q % 9];
            let b = 1.0 - (1.0 - 1e-5) * t;
            // Every fifth is far away from all data: all weights vanish but for what is taken off the logarithms.
            let far = if q % 5 == 4 { 10.0 * b } else { 0.0 };
            for k in 0..dim {
                let row = q * 7919 % rows;
                let x = t * f64::from(data[row * dim + k]) / std[k] + b * f64::from(noise[q * dim + k]) + far;
                let centre = (std[k] * x * t / (t * t + b * b)) as f32;
                centres.push(centre);
                offsets.push((x - t * f64::from(centre) / std[k]) as f32);
            }
            schedule.push([t as f32, (std::f64::consts::LOG2_E / (2.0 * b * b)) as f32]);
        }
        let columns: Vec<f32> = std.iter().map(|std| (1.0 / std) as f32).collect();
        let twin = Queries {
            centres: wide(&centres),
            offsets: wide(&offsets),
            entries: schedule.iter().map(|entry| entry.map(f64::from)).collect(),
            columns: wide(&columns),
        };
        Self { dim, rows, first, queries, data, centres, offsets, schedule, columns, twin }
    }

    fn name(&self) -> String {
        let Self { dim, rows, first, queries, .. } = self;
        format!("dimension {dim}, rows {first}..{rows}, {queries} queries")
    }

    fn slices(&self) -> usize {
        (self.rows - self.first).div_ceil(SLICE_ROWS)
    }

    fn uniform(&self) -> Slices {
        Slices {
            first_row: word(self.first),
            rows: word(self.rows - self.first),
            count: word(self.slices()),
            queries: word(self.queries),
            ..Slices::default()
        }
    }

    /// c − x1
    fn away(&self, q: usize, j: usize, k: usize) -> f64 {
        self.twin.centres[q * self.dim + k] - f64::from(self.data[j * self.dim + k])
    }

    /// What rounds in a·(c − x1)/std + g: the slope, the difference, their product, and the sum, which is no larger than
    /// both terms together.
    fn residual_error(&self, q: usize, j: usize, k: usize) -> f64 {
        let product = self.twin.entries[q][0] * self.twin.columns[k] * self.away(q, j, k);
        UNIT * (4.0 * product.abs() + self.twin.offsets[q * self.dim + k].abs())
    }

    /// Its square, the sum over the coordinates and the factor.
    fn logit_error(&self, q: usize, j: usize) -> f64 {
        let rounding = (self.dim + 5) as f64 * UNIT;
        let one = |k: usize| {
            let r = self.twin.residual(q, k, f64::from(self.data[j * self.dim + k])).abs();
            let e = self.residual_error(q, j, k);
            2.0 * r * e + e * e + rounding * r * r
        };
        self.twin.entries[q][1] * (0..self.dim).map(one).sum::<f64>()
    }

    /// The kernel's inputs, every row as wide as this.
    fn launch(&self, variant: Variant, width: usize) -> Launch {
        let wide = |values: &[f32], rows: usize| pad(values, self.dim, width, rows, 0.0);
        Launch::new(variant)
            .uniform(0, &self.uniform())
            .input(1, &wide(&self.data, self.rows))
            .input(2, &wide(&self.centres, self.queries))
    }

    /// Those of what takes distances as well.
    fn launch_all(&self, variant: Variant, width: usize) -> Launch {
        let wide = |values: &[f32], rows: usize| pad(values, self.dim, width, rows, 0.0);
        self.launch(variant, width)
            .input(3, &wide(&self.offsets, self.queries))
            .input(4, &self.schedule)
            .input(5, &wide(&self.columns, 1))
    }

    /// Rows of a slice.
    fn range(&self, slice: usize) -> std::ops::Range<usize> {
        let begin = self.first + slice * SLICE_ROWS;
        begin..(begin + SLICE_ROWS).min(self.rows)
    }
}

/// WGSL's bound for 2^x, relative: 3 + 2·|x| ULP, and the rounding of x itself is within it.
fn exp2_error(x: f64) -> f64 {
    (3.0 + 2.0 * x.abs()) * 2.0 * UNIT
}

/// One slice of one query as a kernel has it: the sums, brought to the twin's maximum.
fn at_top(value: f32, got_top: f32, top: f64) -> f32 {
    (f64::from(value) * (f64::from(got_top) - top).exp2()) as f32
}

fn groups(items: usize) -> [u32; 3] {
    // Folded, as where one dimension of the grid has too few.
    let groups = items.div_ceil(LANES);
    if groups > 3 { [word(groups.div_ceil(2)), 2, 1] } else { [word(groups), 1, 1] }
}

#[test]
fn slices_in_registers_are_the_twins() {
    let mut report = Report::new();
    let (mut held, mut lost) = (0, 0);
    for (i, (dim, tile)) in
        [(1, 8), (2, 8), (2, 1), (3, 4), (4, 2), (5, 2), (13, 1), (16, 1)].into_iter().enumerate()
    {
        for (rows, first) in [(1, 0), (5, 0), (256, 0), (263, 256), (1031, 256)] {
            let case = Case::new(dim, rows, first, if i % 2 == 0 { 24 } else { 64 });
            let (quads, slices, queries) = (dim.div_ceil(4), case.slices(), case.queries);
            // First or second moments, in turns.
            let power = 1 + (i + rows) as i32 % 2;
            let variant = Variant::new("marginal")
                .flag("SQUARES", power == 2)
                .with("DIM", word(dim))
                .with("QUADS", word(quads))
                .with("QUERIES", word(tile))
                .with("ROWS", 4)
                .with("LANES", word(LANES));
            let outputs = case
                .launch_all(variant, dim)
                .output(6, &vec![[7.0f32; 2]; slices * queries])
                .output(7, &vec![7.0f32; slices * queries * 4 * quads])
                .run(&mut report, groups(slices * queries / tile));
            let (sums, moments): (Vec<[f32; 2]>, Vec<f32>) = (outputs.get(6), outputs.get(7));
            for slice in 0..slices {
                let range = case.range(slice);
                let y = wide(&case.data[range.start * dim..range.end * dim]);
                let logits = marginal_logits(&case.twin, &y);
                let (weights, top, sum) = marginal_weights(&logits, queries);
                let want = marginal_moments(&case.twin, &y, &weights, power);
                for q in 0..queries {
                    let name = format!("{}, slice {slice}, query {q}", case.name());
                    let [got_top, got_sum] = sums[slice * queries + q];
                    let errors: Vec<f64> = range.clone().map(|j| case.logit_error(q, j)).collect();
                    let allowed = errors.iter().copied().fold(0.0, f64::max);
                    report.near(&format!("{name}: top"), &[got_top], &[top[q]], allowed);
                    // So far away that a rounding decides: not the slice that counts, and all that is known of its
                    // weights is that one is 1.
                    if allowed > 1.0 {
                        lost += 1;
                        report.holds((0.999..=257.0).contains(&got_sum), || format!("{name}: sum {got_sum}"));
                        continue;
                    }
                    held += 1;
                    // How often the maximum rises: each time everything before is multiplied by a power of 2.
                    let (mut highest, mut rises) = (f64::NEG_INFINITY, 0.0);
                    for group in logits.chunks(4 * queries) {
                        let here = group.iter().skip(q).step_by(queries).copied().fold(f64::MIN, f64::max);
                        if here > highest {
                            (highest, rises) = (here, rises + 1.0);
                        }
                    }
                    let additions = range.len() as f64 + 4.0;
                    let relative: Vec<f64> = (0..range.len())
                        .map(|j| {
                            let below = top[q] - logits[j * queries + q];
                            // Errors of logarithms add up with their own exponentials; the powers of 2 of all
                            // rescalings have exponents that add up to at most this row's.
                            let exponent = errors[j] + allowed;
                            exponent.exp2() - 1.0
                                + exp2_error(below)
                                + rises * (exp2_error(0.0) + UNIT)
                                + additions * UNIT
                        })
                        .collect();
                    // 2⁻¹²⁶ in place of nothing, a few hundred times.
                    let tiny = 1e-34;
                    let w = |j: usize| weights[j * queries + q];
                    let total = |f: &dyn Fn(usize) -> f64| (0..range.len()).map(f).sum::<f64>() + tiny;
                    report.near(
                        &format!("{name}: sum"),
                        &[at_top(got_sum, got_top, top[q])],
                        &[sum[q]],
                        total(&|j| w(j) * relative[j]),
                    );
                    for k in 0..4 * quads {
                        let moment = moments[(slice * queries + q) * 4 * quads + k];
                        if k >= dim {
                            report.equal(&format!("{name}: padding"), &[moment], &[0.0]);
                            continue;
                        }
                        report.near(
                            &format!("{name}: moment {k}"),
                            &[at_top(moment, got_top, top[q])],
                            &[want[q * dim + k]],
                            total(&|j| {
                                let away = case.away(q, range.start + j, k).abs();
                                w(j) * (relative[j] + 4.0 * UNIT) * away.powi(power)
                            }),
                        );
                    }
                }
            }
        }
    }
    report.holds(held > 2 * lost, || format!("{held} slices held against the twin, {lost} not"));
    report.finish();
}

#[test]
fn logits_are_the_twins() {
    let mut report = Report::new();
    for (dim, rows, first, queries) in
        [(1, 1, 0, 8), (4, 255, 0, 8), (17, 300, 256, 24), (65, 257, 0, 16), (784, 7, 0, 8)]
    {
        let case = Case::new(dim, rows, first, queries);
        let (width, slices) = (dim.next_multiple_of(4), case.slices());
        let variant = Variant::new("marginal_logits")
            .with("QUADS", word(width / 4))
            .with("QUERIES", 8)
            .with("ROWS", 8)
            .with("LANES", word(LANES));
        let outputs = case
            .launch_all(variant, width)
            .output(6, &vec![7.0f32; slices * SLICE_ROWS * queries])
            .run(&mut report, groups(slices * SLICE_ROWS / 8 * queries / 8));
        let got: Vec<f32> = outputs.get(6);
        let want = marginal_logits(&case.twin, &wide(&case.data[first * dim..]));
        let (inside, beyond) = got.split_at(want.len());
        report.close(&case.name(), inside, &want, |i| case.logit_error(i % queries, first + i / queries));
        report.equal(&format!("{}: beyond", case.name()), beyond, &vec![LOWEST; beyond.len()]);
    }
    report.finish();
}

#[test]
fn weights_are_the_twins() {
    let mut report = Report::new();
    for (slices, queries) in [(1, 8), (3, 24), (2, 256)] {
        let mut logits: Vec<f32> =
            random(5, slices * SLICE_ROWS * queries).iter().map(|x| -20.0 * x * x).collect();
        // The last slice has five rows; one query is far away.
        let from = (slices * SLICE_ROWS - (SLICE_ROWS - 5)) * queries;
        logits[from..].fill(LOWEST);
        for row in logits.chunks_exact_mut(queries) {
            row[3] = (row[3] * 50.0 - 9e6).max(LOWEST);
        }
        let uniform = Slices { count: word(slices), queries: word(queries), ..Slices::default() };
        let outputs = Launch::new(Variant::new("marginal_weights").with("LANES", word(LANES)))
            .uniform(0, &uniform)
            .output(1, &logits)
            .output(2, &vec![[7.0f32; 2]; slices * queries])
            .run(&mut report, groups(slices * queries / 4));
        let (weights, sums): (Vec<f32>, Vec<[f32; 2]>) = (outputs.get(1), outputs.get(2));
        for slice in 0..slices {
            let name = format!("{queries} queries, slice {slice}");
            let range = slice * SLICE_ROWS * queries..(slice + 1) * SLICE_ROWS * queries;
            let logits = wide(&logits[range.clone()]);
            let (want, top, sum) = marginal_weights(&logits, queries);
            let error = |i: usize| want[i] * exp2_error(logits[i] - top[i % queries]) + 2f64.powi(-125);
            let error = |i: usize| error(i).min(1.0);
            report.close(&name, &weights[range], &want, error);
            let sums = &sums[slice * queries..(slice + 1) * queries];
            report.near(&format!("{name}: top"), &sums.iter().map(|s| s[0]).collect::<Vec<_>>(), &top, 0.0);
            let got: Vec<f32> = sums.iter().map(|s| s[1]).collect();
            report.close(&format!("{name}: sum"), &got, &sum, |q| {
                (0..SLICE_ROWS).map(|j| error(j * queries + q)).sum::<f64>() + 257.0 * UNIT * sum[q]
            });
        }
    }
    report.finish();
}

#[test]
fn moments_are_the_twins() {
    let mut report = Report::new();
    for (dim, rows, first, queries, power) in [
        (1, 1, 0, 8, 1),
        (4, 255, 0, 8, 1),
        (4, 255, 0, 8, 2),
        (17, 600, 256, 24, 1),
        (17, 600, 256, 24, 2),
        (65, 257, 0, 16, 1),
        (65, 257, 0, 16, 2),
        (784, 7, 0, 8, 1),
    ] {
        let case = Case::new(dim, rows, first, queries);
        let (width, slices) = (dim.next_multiple_of(4), case.slices());
        let weights: Vec<f32> =
            random(6, slices * SLICE_ROWS * queries).iter().map(|x| (-x * x).exp2()).collect();
        let variant = Variant::new("marginal_moments")
            .flag("SQUARES", power == 2)
            .with("QUADS", word(width / 4))
            .with("QUERIES", 8)
            .with("LANES", word(LANES));
        let outputs = case
            .launch(variant, width)
            .input(3, &weights)
            .output(4, &vec![7.0f32; slices * queries * width])
            .run(&mut report, groups(slices * queries / 8 * width / 4));
        let got: Vec<f32> = outputs.get(4);
        for slice in 0..slices {
            let range = case.range(slice);
            let y = wide(&case.data[range.start * dim..range.end * dim]);
            let of_slice = wide(&weights[slice * SLICE_ROWS * queries..][..range.len() * queries]);
            let want = marginal_moments(&case.twin, &y, &of_slice, power);
            let name = format!("{}, power {power}, slice {slice}", case.name());
            let padded = &got[slice * queries * width..(slice + 1) * queries * width];
            report.close(&name, &unpad(padded, dim, width, queries), &want, |i| {
                let (q, k) = (i / dim, i % dim);
                let terms = (0..range.len())
                    .map(|j| of_slice[j * queries + q] * case.away(q, range.start + j, k).abs().powi(power));
                (range.len() + 4) as f64 * UNIT * terms.sum::<f64>()
            });
            let beside = padding(padded, dim, width, queries);
            report.equal(&format!("{name}: padding"), &beside, &vec![0.0; beside.len()]);
        }
    }
    report.finish();
}

#[test]
fn slices_merge_like_the_twins() {
    let mut report = Report::new();
    // Within a run of 64, over the ends of one and of several, and over the end of a run of runs.
    for (quads, slices, queries, first) in
        [(1, 1, 8, 0), (1, 9, 64, 60), (5, 3, 16, 4094), (2, 300, 8, 3970), (1, 1, 8, 64)]
    {
        let stride = 4 * quads * queries;
        for begun in [false, true] {
            let tops =
                |seed: u64, n: usize| -> Vec<f32> { random(seed, n).iter().map(|x| 3.0 * x - 1e3).collect() };
            let positive =
                |seed: u64, n: usize| -> Vec<f32> { random(seed, n).iter().map(|x| 1.0 + x * x).collect() };
            let (top, sum) = (tops(7, slices * queries), positive(8, slices * queries));
            let sums: Vec<[f32; 2]> = top.iter().zip(&sum).map(|(&top, &sum)| [top, sum]).collect();
            let moments = random(9, slices * stride);
            let (old_top, old_sum) = (tops(10, LEVELS * queries), positive(11, LEVELS * queries));
            let old = random(12, LEVELS * stride);
            let before: Vec<[f32; 2]> = (0..LEVELS * queries * quads)
                .map(|i| if begun { [old_top[i / quads], old_sum[i / quads]] } else { [f32::NAN; 2] })
                .collect();
            let uniform = Slices {
                count: word(slices),
                queries: word(queries),
                begun: begun.into(),
                first_slice: first,
                ..Slices::default()
            };
            let variant =
                Variant::new("marginal_merge").with("QUADS", word(quads)).with("LANES", word(LANES));
            let outputs = Launch::new(variant)
                .uniform(0, &uniform)
                .input(1, &sums)
                .input(2, &moments)
                .output(3, &before)
                .output(4, &if begun { old.clone() } else { vec![f32::NAN; LEVELS * stride] })
                .run(&mut report, groups(queries * quads));
            let (got_sums, got): (Vec<[f32; 2]>, Vec<f32>) = (outputs.get(3), outputs.get(4));
            for q in 0..queries {
                let name = format!("{slices} slices of {queries} queries, {quads} quads, query {q}");
                // The weighted sums of a query, and their magnitudes, which bound what rounds.
                let of = |all: &[f32]| wide(&all[4 * quads * q..4 * quads * (q + 1)]);
                let magnitudes = |v: Vec<f64>| -> Vec<f64> {
                    v.iter().copied().chain(v.iter().map(|x| x.abs())).collect()
                };
                let nothing = || (f64::from(LOWEST), 0.0, vec![0.0; 8 * quads]);
                let merge = |a: &Sums, b: &Sums| marginal_merge((a.0, a.1, &a.2), (b.0, b.1, &b.2));
                let mut levels: Vec<Sums> = (0..LEVELS)
                    .map(|level| {
                        let at = level * queries + q;
                        let old = magnitudes(of(&old[level * stride..(level + 1) * stride]));
                        if begun { (f64::from(old_top[at]), f64::from(old_sum[at]), old) } else { nothing() }
                    })
                    .collect();
                for s in 0..slices {
                    for (level, run) in [(0, 64), (1, 64 * 64)] {
                        if (first as usize + s).is_multiple_of(run) {
                            levels[level + 1] = merge(&levels[level + 1], &levels[level]);
                            levels[level] = nothing();
                        }
                    }
                    let slice = magnitudes(of(&moments[s * stride..(s + 1) * stride]));
                    let at = s * queries + q;
                    levels[0] = merge(&levels[0], &(f64::from(top[at]), f64::from(sum[at]), slice));
                }
                // Each slice: two powers of 2, two products, an addition. The exponents of one slice's way add up to
                // what it is below the highest, of which what counts is within some 30.
                let additions = (slices.min(64) + slices / 64 + 2) as f64;
                let relative = additions * (2.0 * exp2_error(0.0) + 3.0 * UNIT) + exp2_error(30.0);
                for (level, want) in levels.iter().enumerate() {
                    let name = format!("{name}, level {level}");
                    for copy in 0..quads {
                        let [got_top, got_sum] = got_sums[(level * queries + q) * quads + copy];
                        report.near(&format!("{name}: top"), &[got_top], &[want.0], 0.0);
                        report.near(&format!("{name}: sum"), &[got_sum], &[want.1], relative * want.1);
                    }
                    let (want, magnitude) = want.2.split_at(4 * quads);
                    let got = narrow(&of(&got[level * stride..(level + 1) * stride]));
                    report.close(&name, &got, want, |i| relative * magnitude[i] + 1e-30);
                }
            }
        }
    }
    report.finish();
}
