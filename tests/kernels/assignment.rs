//! Assignment problems: assignment_begin.wgsl, assignment_costs.wgsl, assignment.wgsl, endpoints.wgsl, and what
//! `Assignment` makes of them.

use bytemuck::Zeroable;
use pathfinding::prelude::{Matrix, kuhn_munkres_min};
use windfield::flow::{Assignment, Path, Problem};
use windfield::gpu::{Habits, Variant};
use windfield::train::{Chunk, State, Wave};

use super::draw::Exported;
use super::path::straight;
use super::random::normal_row_error;
use crate::common::{Launch, Report, UNIT, device, random, unpad, wide, word};
use crate::reference::assignment::{assignment, assignment_begin, assignment_costs, cost, least_cost};
use crate::reference::draw::{Draw, draw};
use crate::reference::path::ot;
use crate::reference::philox;

/// Memory sections of a problem.
const SECTIONS: usize = 9;
const DONE: u32 = 4;

/// How far the cost of the device's permutation may be above the optimum of the exact costs: a row's cost is cut to a
/// unit of at least 2⁻²⁷ of the bound, and rounds by (d + 2)·UNIT before; once for the row's own column, once for the
/// optimal one.
fn allowed(x0: &[f64], x1: &[f64], dim: usize, cost: f64) -> f64 {
    let n = (x0.len() / dim) as f64;
    2.0 * (n / assignment_begin(x0, x1, dim) + (dim + 2) as f64 * UNIT * cost)
}

/// Points of different kinds: normal, on a coarse grid (ties), few different ones, all equal, far from each other.
pub fn points(kind: usize, seed: u64, n: usize, dim: usize) -> [Vec<f32>; 2] {
    let x0 = random(2 * seed, n * dim);
    let x1 = random(2 * seed + 1, n * dim);
    match kind {
        0 => [x0, x1],
        1 => [x0, x1].map(|x| x.iter().map(|x| (2.0 * x).round()).collect()),
        2 => [x0, (0..n * dim).map(|i| ((i / dim) % 3 * (i % dim + 1)) as f32).collect()],
        3 => [vec![0.5; n * dim], vec![0.5; n * dim]],
        _ => [x0, x1.iter().map(|x| 1000.0 + x).collect()],
    }
}

pub fn is_permutation(partners: &[u32]) -> bool {
    let mut sorted = partners.to_vec();
    sorted.sort_unstable();
    sorted.into_iter().eq(0..word(partners.len()))
}

fn solved(x0: &[f32], x1: &[f32], dim: usize) -> Assignment {
    Assignment::solve(device(), x0, x1, dim).unwrap_or_else(|error| panic!("{error}"))
}

/// Holds an assignment against the least cost.
fn judge(
    report: &mut Report,
    name: &str,
    got: &Assignment,
    [x0, x1]: &[Vec<f32>; 2],
    dim: usize,
    least: f64,
) {
    let (x0, x1) = (wide(x0), wide(x1));
    report.holds(is_permutation(&got.partners), || format!("{name}: no permutation: {:?}", got.partners));
    let partners: Vec<usize> = got.partners.iter().map(|&j| j as usize).collect();
    let own = cost(&assignment_costs(&x0, &x1, dim), &partners);
    report.holds((got.cost - own).abs() <= 1e-12 * own, || format!("{name}: cost {} for {own}", got.cost));
    let slack = allowed(&x0, &x1, dim, own.max(least));
    report.holds(own <= least + slack && own >= least * (1.0 - 1e-12), || {
        format!("{name}: {own} where the least is {least}, allowed {slack:e}")
    });
    report.holds(got.gap >= own - least - 1e-12 * own, || {
        format!("{name}: the gap {:e} hides an excess of {:e}", got.gap, own - least)
    });
    // The certificate lowers costs by (d + 8)·UNIT once more, of columns that may cost more than the row's own.
    let largest = 2f64.powi(28) / assignment_begin(&x0, &x1, dim);
    let certain = slack + (dim + 10) as f64 * UNIT * largest * partners.len() as f64;
    report.holds(got.gap <= certain, || format!("{name}: gap {:e}, allowed {certain:e}", got.gap));
}

#[test]
fn no_permutation_is_better() {
    let mut report = Report::new();
    for n in 1..=7 {
        for dim in [1, 2, 3, 9] {
            for kind in 0..5 {
                let ends = points(kind, 10 * n as u64 + dim as u64, n, dim);
                let got = solved(&ends[0], &ends[1], dim);
                let least = least_cost(&assignment_costs(&wide(&ends[0]), &wide(&ends[1]), dim), n);
                judge(
                    &mut report,
                    &format!("{n} points, dimension {dim}, kind {kind}"),
                    &got,
                    &ends,
                    dim,
                    least,
                );
            }
        }
    }
    report.finish();
}

/// Against the `pathfinding` crate, whose costs are integers too: finer ones.
#[test]
fn large_problems_are_optimal() {
    let mut report = Report::new();
    for (n, dim, kinds) in [(33, 2, 0..5), (200, 1, 0..3), (257, 10, 0..2), (512, 2, 0..3)] {
        for kind in kinds {
            let ends = points(kind, n as u64, n, dim);
            let costs = assignment_costs(&wide(&ends[0]), &wide(&ends[1]), dim);
            let fine = costs.iter().map(|cost| (cost * 2f64.powi(32)).round() as i64).collect();
            let matrix = Matrix::from_vec(n, n, fine).expect("a square matrix");
            let (_, partners) = kuhn_munkres_min(&matrix);
            let least = cost(&costs, &partners);
            let got = solved(&ends[0], &ends[1], dim);
            judge(&mut report, &format!("{n} points, dimension {dim}, kind {kind}"), &got, &ends, dim, least);
        }
    }
    report.finish();
}

/// Neither the layout, nor where dispatches are cut, nor how many problems are solved at once.
#[test]
fn nothing_but_the_points_decides() {
    let mut report = Report::new();
    let (n, count) = (150, 5);
    for dim in [2, 12] {
        let [x0, x1] = points(0, 77, n * count, dim);
        let wanted: Vec<Assignment> =
            (x0.chunks(n * dim).zip(x1.chunks(n * dim))).map(|(x0, x1)| solved(x0, x1, dim)).collect();
        let habits = *device().habits();
        let others = [
            habits,
            Habits { loop_iterations: 600, ..habits },
            Habits { assignment_columns: 4, assignment_lanes: 32, ..habits },
            Habits { assignment_columns: 20, loop_iterations: 1000, ..habits },
        ];
        for (which, habits) in others.into_iter().enumerate() {
            let device = device().with_habits(habits);
            let got =
                Assignment::solve_many(&device, &x0, &x1, n, dim).unwrap_or_else(|error| panic!("{error}"));
            report.equal(&format!("dimension {dim}, layout {which}"), &got, &wanted);
        }
    }
    report.finish();
}

#[test]
fn wrong_points_are_refused() {
    let refused = |x0: &[f32], x1: &[f32], dim: usize| match Assignment::solve(device(), x0, x1, dim) {
        Ok(solved) => panic!("{solved:?}"),
        Err(error) => error.to_string(),
    };
    let message = refused(&[0.0, 1.0, f32::NAN, 2.0], &[0.0; 4], 2);
    assert!(message.starts_with("coordinate 0 of point 1 of x0 is NaN"), "{message}");
    let message = refused(&[0.0; 4], &[0.0, f32::INFINITY, 0.0, 0.0], 2);
    assert!(message.starts_with("coordinate 1 of point 0 of x1 is inf"), "{message}");
    for (x0, x1, dim) in [(4, 2, 2), (0, 0, 2), (3, 3, 2), (2, 2, 0)] {
        let message = refused(&vec![0.0; x0], &vec![0.0; x1], dim);
        assert!(message.contains("give as many points"), "{message}");
    }
    let message = refused(&[1e30, 0.0], &[0.0, -1e30], 1);
    assert!(message.contains("beyond float32") && message.contains("scale them"), "{message}");
    let message = refused(&vec![0.0; 20_000], &vec![0.0; 20_000], 1);
    assert!(message.contains("20000 points is out of range") && message.contains("16384"), "{message}");
}

/// Every kernel of a solve, without checks and with them.
#[test]
fn kernels_are_the_twins() {
    let mut report = Report::new();
    for (n, dim, lanes) in [(1, 1, 8), (5, 2, 8), (17, 3, 8), (70, 2, 32), (33, 10, 16)] {
        let name = format!("{n} points of dimension {dim}");
        let problems = 2;
        let [x0, x1] = points(0, 5, problems * n, dim);
        let columns = n.div_ceil(lanes);
        let padded = columns * lanes;
        let words = SECTIONS * padded;
        let [n_word, dim_word] = [word(n), word(dim)];

        let begin = Launch::new(
            (Variant::new("assignment_begin").with("N", n_word).with("DIM", dim_word))
                .with("LANES", 64)
                .with("MEMORY", word(words)),
        );
        let outputs = begin
            .input(0, &x0)
            .input(1, &x1)
            .output(2, &vec![Problem::zeroed(); problems])
            .output(3, &vec![-7i32; problems * words])
            .run(&mut report, [word(problems), 1, 1]);
        let records: Vec<Problem> = outputs.get(2);
        let scales: Vec<f64> = (x0.chunks(n * dim).zip(x1.chunks(n * dim)))
            .map(|(x0, x1)| assignment_begin(&wide(x0), &wide(x1), dim))
            .collect();
        let got: Vec<f32> = records.iter().map(|problem| problem.scale).collect();
        // The bound rounds; where it is next to a power of two, the scale may be the next one.
        for (got, want) in got.iter().zip(&scales) {
            let ratio = f64::from(*got) / want;
            report.holds([0.5, 1.0, 2.0].contains(&ratio), || format!("{name}: scale {got} for {want}"));
        }
        let memory: Vec<i32> = outputs.get(3);
        report.equal(&format!("{name}: memory"), &memory, &vec![0; problems * words]);

        let matrix = dim > 8;
        let costs = matrix.then(|| {
            let tiles = word(problems * n.div_ceil(4) * padded / 4);
            let variant = (Variant::new("assignment_costs").with("N", n_word).with("DIM", dim_word))
                .with("PADDED", word(padded))
                .with("LANES", 64);
            let outputs = Launch::new(variant)
                .uniform(0, &[0u32, tiles, 0, 0])
                .input(1, &x0)
                .input(2, &x1)
                .output(3, &vec![-7.0f32; problems * n * padded])
                .run(&mut report, [tiles.div_ceil(64), 1, 1]);
            let costs: Vec<f32> = outputs.get(3);
            for (k, costs) in costs.chunks(n * padded).enumerate() {
                let part = k * n * dim..(k + 1) * n * dim;
                let want = assignment_costs(&wide(&x0[part.clone()]), &wide(&x1[part]), dim);
                let error = |i: usize| (dim + 2) as f64 * UNIT * want[i];
                report.close(&format!("{name}: costs {k}"), &unpad(costs, n, padded, n), &want, error);
            }
            costs
        });

        let variant = |bids| {
            (Variant::new("assignment").with("N", n_word).with("DIM", dim_word))
                .with("LANES", word(lanes))
                .with("COLUMNS", word(columns))
                .with("LEVELS", word(lanes).ilog2().div_ceil(3))
                .with("MOST_BIDS", 32 * n_word)
                .flag("MATRIX", matrix)
                .flag("BIDS", bids)
        };
        let given = |launch: Launch| match &costs {
            Some(costs) => launch.input(4, costs),
            None => launch.input(4, &x0).input(5, &x1),
        };
        // As often as the largest number of scans asks for.
        let rounds = 20u32;
        let enough = |scans: usize| scans.div_ceil(16 * rounds as usize);
        let auction = given(
            Launch::new(variant(true)).uniform(0, &[rounds, 0, 0, 0]).output(1, &records).output(2, &memory),
        );
        let outputs = auction.repeat(enough(4 * 32 * n)).run(&mut report, [word(problems), 1, 1]);
        let (records, memory): (Vec<Problem>, Vec<i32>) = (outputs.get(1), outputs.get(2));
        report.holds(records.iter().all(|problem| problem.stage == 1), || format!("{name}: auction"));
        let paths = given(
            Launch::new(variant(false))
                .uniform(0, &[rounds, 0, 0, 0])
                .output(1, &records)
                .output(2, &memory)
                .output(3, &vec![word(n); problems * n]),
        );
        let outputs = paths.repeat(enough(2 * n + n * n)).run(&mut report, [word(problems), 1, 1]);
        let records: Vec<Problem> = outputs.get(1);
        report.holds(records.iter().all(|problem| problem.stage == DONE), || format!("{name}: paths"));
        let partners: Vec<u32> = outputs.get(3);
        for (k, partners) in partners.chunks(n).enumerate() {
            let part = k * n * dim..(k + 1) * n * dim;
            let (x0, x1) = (wide(&x0[part.clone()]), wide(&x1[part]));
            let costs = assignment_costs(&x0, &x1, dim);
            let least = cost(&costs, &assignment(&costs, n));
            report.holds(is_permutation(partners), || format!("{name}: {partners:?}"));
            let partners: Vec<usize> = partners.iter().map(|&j| j as usize).collect();
            let own = cost(&costs, &partners);
            report.holds(own <= least + allowed(&x0, &x1, dim, own), || format!("{name}: {own} for {least}"));
        }
    }
    report.finish();
}

const SEED: u64 = 0x0bad_cafe_0000_0007;

/// The pairs of steps to come are those that the steps draw.
#[test]
fn endpoints_are_those_of_the_batches() {
    let mut report = Report::new();
    let (batch, steps, first_step) = (7, 6, 1000);
    for dim in [1, 2, 5, 64] {
        for source_too in [false, true] {
            let (data, source) = (random(1, 31 * dim), random(2, 12 * dim));
            let (wide_data, wide_source) = (wide(&data), wide(&source));
            let variant = Variant::new("endpoints").with("DIM", word(dim)).with("LANES", 64);
            let rows = batch * steps;
            let launch = Launch::new(variant.flag("SOURCE", source_too))
                .uniform(0, &chunk(0, batch, batch))
                .uniform(1, &Wave { first_step, steps: 2, rows: word(rows), padding: 0 })
                .input(2, &data)
                .output(3, &vec![-7.0f32; rows * dim])
                .output(4, &vec![-7.0f32; rows * dim]);
            let launch = if source_too { launch.input(5, &source) } else { launch };
            let outputs = launch.run(&mut report, [word((rows * dim.div_ceil(4)).div_ceil(64)), 1, 1]);
            let (x0, x1): (Vec<f32>, Vec<f32>) = (outputs.get(3), outputs.get(4));
            for (k, step) in (first_step..).take(steps).enumerate() {
                let path = ot(1e-5);
                let twin = draw(&Draw {
                    seed: SEED,
                    step,
                    batch,
                    dim,
                    data: &wide_data,
                    source: source_too.then_some(&wide_source),
                    path: &path,
                    t_max: 1.0,
                    noise: 0.0,
                });
                let errors: Vec<f64> = (0..word(batch))
                    .flat_map(|row| normal_row_error(SEED, row, step, philox::SOURCE, dim))
                    .collect();
                let part = k * batch * dim..(k + 1) * batch * dim;
                let name = format!("dimension {dim}, step {step}");
                let error = |i: usize| if source_too { 0.0 } else { errors[i] };
                report.close(&format!("{name}: x0"), &x0[part.clone()], &twin.x0, error);
                report.near(&format!("{name}: x1"), &x1[part], &twin.x1, 0.0);
            }
        }
    }
    report.finish();
}

fn chunk(first: usize, rows: usize, batch: usize) -> Chunk {
    Chunk {
        seed: [SEED as u32, (SEED >> 32) as u32],
        first_row: word(first),
        rows: word(rows),
        data_rows: 31,
        source_rows: 12,
        batch: word(batch),
        first_partial: 0,
    }
}

/// draw.wgsl, COUPLED: everything is as drawn, but x0 is that of the partner, at its step.
#[test]
fn a_coupled_batch_takes_its_partners_noise() {
    let mut report = Report::new();
    let (dim, batch, steps, first_step) = (3, 20, 4, 500);
    let data = random(1, 31 * dim);
    let wide_data = wide(&data);
    let path: Path = straight(1e-3);
    let twin_path = ot(f64::from(1e-3f32));
    let twin = |step| {
        draw(&Draw {
            seed: SEED,
            step,
            batch,
            dim,
            data: &wide_data,
            source: None,
            path: &twin_path,
            t_max: 1.0,
            noise: 0.0,
        })
    };
    // Two problems of two steps each; the second one is reversed.
    let of_problem = 2 * batch;
    let partners: Vec<u32> =
        (0..2 * of_problem)
            .map(|i| {
                if i < of_problem {
                    (word(i) * 7 + 3) % word(of_problem)
                } else {
                    word(2 * of_problem - 1 - i)
                }
            })
            .collect();
    for offset in 0..steps {
        let step = first_step + offset;
        let variant = (path.bake(Variant::new("draw")))
            .with("DIM", word(dim))
            .with("FREQUENCIES", 0)
            .with("WIDTH_IN", 8)
            .with("WIDTH_OUT", 8)
            .with("LANES", 64)
            .with_float("T_MAX", 1.0)
            .flag("COUPLED", true)
            .flag("EXPORT", true);
        // The second part of the batch.
        let (first, rows) = (5, batch - 5);
        let outputs = Launch::new(variant)
            .uniform(0, &chunk(first, rows, batch))
            .input(1, &[State { step, ..State::zeroed() }])
            .input(2, &data)
            .output(3, &vec![-7.0f32; 16 * 8])
            .output(4, &vec![-7.0f32; 16 * 8])
            .output(6, &[7u32; 16 * 20])
            .uniform(8, &Wave { first_step, steps: 2, rows: word(2 * of_problem), padding: 0 })
            .input(9, &partners)
            .run(&mut report, [1, 1, 1]);
        let name = format!("step {step}");
        let own = twin(step);
        let Exported { x0, x1, index, .. } = Exported::of(&outputs, dim, rows);
        report.near(&format!("{name}: x1"), &x1, &own.x1[first * dim..], 0.0);
        let (mut want, mut errors) = (vec![], vec![]);
        for row in first..batch {
            let partner = partners[(offset as usize * batch) + row] as usize;
            let at = first_step + offset / 2 * 2 + word(partner / batch);
            want.extend(twin(at).x0[partner % batch * dim..][..dim].to_vec());
            errors.extend(normal_row_error(SEED, word(partner % batch), at, philox::SOURCE, dim));
        }
        report.close(&format!("{name}: x0"), &x0, &want, |i| errors[i]);
        // x_t is on the path between the two.
        let xt = unpad(&outputs.get::<f32>(3), dim, 8, rows);
        let (b, a): (Vec<f64>, Vec<f64>) =
            own.t[first..].iter().map(|&t| (twin_path(t).b, twin_path(t).a)).unzip();
        let points: Vec<f64> =
            (0..rows * dim).map(|i| b[i / dim] * want[i] + a[i / dim] * own.x1[first * dim + i]).collect();
        report.close(&format!("{name}: xt"), &xt, &points, |i| {
            errors[i] + 5.0 * UNIT * (want[i].abs() + own.x1[first * dim + i].abs())
        });
        report.equal(&format!("{name}: index"), &index, &own.index[first..]);
    }
    report.finish();
}
