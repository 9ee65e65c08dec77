//! Entropic coupling: sinkhorn_begin.wgsl, sinkhorn.wgsl, sinkhorn_check.wgsl, sinkhorn_settle.wgsl, sinkhorn_swap.wgsl,
//! and what `Sinkhorn` makes of them.

use bytemuck::Zeroable;
use windfield::flow::{Assignment, Drawing, Entropic, Sinkhorn, SinkhornOptions};
use windfield::gpu::{Habits, Variant};

use super::assignment::{is_permutation, points};
use crate::common::{Launch, Report, UNIT, device, random, wide, word};
use crate::reference::assignment::{assignment_costs, cost};
use crate::reference::philox::{philox4x32, uniform};
use crate::reference::sinkhorn::{
    plan, sinkhorn, sinkhorn_begin, sinkhorn_check, sinkhorn_settle, sinkhorn_swap, solve, transposed,
};

fn options(epsilon: f32) -> SinkhornOptions {
    SinkhornOptions { epsilon, seed: 5, ..SinkhornOptions::default() }
}

fn solved(x0: &[f32], x1: &[f32], dim: usize, options: SinkhornOptions) -> Sinkhorn {
    Sinkhorn::solve(device(), x0, x1, dim, options).unwrap_or_else(|error| panic!("{error}"))
}

/// The marginals that the potentials make, in float64: the L1 errors of rows and columns.
fn marginal_errors(got: &Sinkhorn, costs: &[f64]) -> [f64; 2] {
    let n = got.partners.len();
    let [f, g] = [wide(&got.potentials[0]), wide(&got.potentials[1])];
    let plan = plan(costs, [&f, &g], got.epsilon);
    let error = |sums: Vec<f64>| sums.iter().map(|sum| (sum - 1.0 / n as f64).abs()).sum();
    [
        error((0..n).map(|i| plan[i * n..(i + 1) * n].iter().sum()).collect()),
        error((0..n).map(|j| (0..n).map(|i| plan[i * n + j]).sum()).collect()),
    ]
}

#[test]
fn marginals_are_within_the_tolerance_and_the_plan_is_the_twins() {
    let mut report = Report::new();
    for (n, dim, epsilon) in [
        (1, 1, 0.02),
        (2, 2, 0.1),
        (7, 3, 0.05),
        (64, 2, 0.02),
        (300, 2, 0.01),
        (129, 12, 0.05),
        (50, 1, 5e-3),
    ] {
        let name = format!("{n} points of dimension {dim}, ε {epsilon}");
        let [x0, x1] = points(0, n as u64, n, dim);
        let got = solved(&x0, &x1, dim, options(epsilon));
        let (x0, x1) = (wide(&x0), wide(&x1));
        let costs = assignment_costs(&x0, &x1, dim);
        let want = f64::from(epsilon) * sinkhorn_begin(&x0, &x1, dim);
        report.holds((got.epsilon - want).abs() <= 1e-5 * want, || format!("{name}: ε {}", got.epsilon));
        report.holds(got.converged && got.error <= 1e-4, || format!("{name}: {got:?}"));
        // Exponents are up to 1/ε, each with some roundings.
        let rounding = 8.0 * (dim + 4) as f64 * UNIT * (1.0 + 4.0 / f64::from(epsilon));
        for (side, error) in ["rows", "columns"].iter().zip(marginal_errors(&got, &costs)) {
            report.holds(error <= 1e-4 + rounding, || format!("{name}: {side} are off by {error:e}"));
        }
        let [f, g] = solve(&costs, n, got.epsilon);
        let best = plan(&costs, [&f, &g], got.epsilon);
        let best_cost = n as f64 * best.iter().zip(&costs).map(|(p, c)| p * c).sum::<f64>();
        let off = (got.plan_cost - best_cost).abs();
        report.holds(off <= 2e-3 * best_cost, || format!("{name}: {} for {best_cost}", got.plan_cost));
        report.holds(is_permutation(&got.partners), || format!("{name}: {:?}", got.partners));
        let partners: Vec<usize> = got.partners.iter().map(|&j| j as usize).collect();
        let own = cost(&costs, &partners);
        report.holds((own - got.cost).abs() <= 1e-9 * own, || format!("{name}: cost {} for {own}", got.cost));
    }
    report.finish();
}

/// The permutation costs what the plan says; and the optimum, or that of any pairs, at the ends of ε.
#[test]
fn permutations_are_samples_of_the_plan() {
    let mut report = Report::new();
    let (n, dim) = (512, 2);
    let [x0, x1] = points(0, 9, n, dim);
    let best = Assignment::solve(device(), &x0, &x1, dim).unwrap_or_else(|error| panic!("{error}")).cost;
    let mean = n as f64 * sinkhorn_begin(&wide(&x0), &wide(&x1), dim);
    let mut before = 0.0;
    for (epsilon, low, high) in [
        (1e-3, best, 1.06 * best),
        (0.02, 1.05 * best, 0.5 * mean),
        (0.1, 0.05 * mean, 0.5 * mean),
        (1e6, 0.85 * mean, 1.15 * mean),
    ] {
        let got = solved(&x0, &x1, dim, options(epsilon));
        let name = format!("ε {epsilon}");
        report.holds(is_permutation(&got.partners), || format!("{name}: no permutation"));
        report.holds((low..=high).contains(&got.cost), || {
            format!("{name}: {} is not between {low} and {high}", got.cost)
        });
        let share = got.cost / got.plan_cost;
        report.holds((share - 1.0).abs() < 0.12, || format!("{name}: {} for {}", got.cost, got.plan_cost));
        report.holds(got.plan_cost > before, || format!("{name}: the plan costs {}", got.plan_cost));
        before = got.plan_cost;
        println!(
            "ε {epsilon}: optimum {best:.2}, plan {:.2}, permutation {:.2}, mean {mean:.2}, {} iterations",
            got.plan_cost, got.cost, got.iterations
        );
    }
    report.finish();
}

#[test]
fn degenerate_points_are_permuted() {
    let mut report = Report::new();
    for (n, dim) in [(1, 2), (2, 1), (40, 9), (257, 2)] {
        {
            for kind in 0..5 {
                for epsilon in [1e-3, 0.05, 100.0] {
                    let [x0, x1] = points(kind, 10 * n as u64 + dim as u64, n, dim);
                    let got = solved(&x0, &x1, dim, options(epsilon));
                    let name = format!("{n} points, dimension {dim}, kind {kind}, ε {epsilon}");
                    report.holds(is_permutation(&got.partners), || format!("{name}: {:?}", got.partners));
                    let finite = got.potentials.iter().flatten().all(|x| x.is_finite())
                        && got.error.is_finite()
                        && got.plan_cost.is_finite();
                    report.holds(finite, || format!("{name}: {got:?}"));
                    // Points far from each other leave float32 few digits of their differences.
                    report.holds(got.converged || kind == 4 || epsilon < 0.01, || {
                        format!("{name}: off by {:e} after {} iterations", got.error, got.iterations)
                    });
                }
            }
        }
    }
    report.finish();
}

/// Neither the layout of an invocation, nor where dispatches are cut, nor how many problems are solved at once.
#[test]
fn nothing_but_points_and_seed_decides() {
    let mut report = Report::new();
    let (n, count) = (150, 5);
    for dim in [2, 12] {
        let [x0, x1] = points(0, 77, n * count, dim);
        let many = |habits: Habits| {
            let device = device().with_habits(habits);
            Sinkhorn::solve_many(&device, &x0, &x1, n, dim, options(0.05))
                .unwrap_or_else(|error| panic!("{error}"))
        };
        let habits = *device().habits();
        let want = many(habits);
        report.holds(want[0].partners != want[1].partners, || "problems draw alike".to_owned());
        for (which, habits) in [
            habits,
            Habits { loop_iterations: if dim == 2 { 600 } else { 20_000 }, ..habits },
            Habits { dispatch_flops: 50_000, ..habits },
        ]
        .into_iter()
        .enumerate()
        {
            report.equal(&format!("dimension {dim}, layout {which}"), &many(habits), &want);
        }
        let first = solved(&x0[..n * dim], &x1[..n * dim], dim, options(0.05));
        report.equal(&format!("dimension {dim}, alone"), &[first], &want[..1]);
        let other = solved(&x0[..n * dim], &x1[..n * dim], dim, SinkhornOptions { seed: 6, ..options(0.05) });
        report.holds(other.partners != want[0].partners, || "seeds draw alike".to_owned());
        // Lanes that share a row, and long rows in parts, find the same plan.
        for habits in [
            Habits { software: false, marginal_coordinates: 4, ..habits },
            Habits { software: false, loop_iterations: 300, ..habits },
        ] {
            for (got, want) in many(habits).iter().zip(&want) {
                report.holds(is_permutation(&got.partners), || "shared rows".to_owned());
                let off = (got.plan_cost - want.plan_cost).abs() / want.plan_cost;
                report.holds(off < 1e-3, || format!("{} for {}", got.plan_cost, want.plan_cost));
            }
        }
    }
    report.finish();
}

#[test]
fn what_does_not_converge_says_so() {
    let [x0, x1] = points(0, 3, 200, 2);
    let got = solved(&x0, &x1, 2, SinkhornOptions { most_iterations: 8, ..options(1e-3) });
    assert!(!got.converged && got.error > 1e-4 && got.iterations == 8, "{got:?}");
    assert!(is_permutation(&got.partners));
}

#[test]
fn wrong_points_and_options_are_refused() {
    let refused = |x0: &[f32], x1: &[f32], options: SinkhornOptions| match Sinkhorn::solve(
        device(),
        x0,
        x1,
        2,
        options,
    ) {
        Ok(solved) => panic!("{solved:?}"),
        Err(error) => error.to_string(),
    };
    let message = refused(&[0.0, 1.0, f32::NAN, 2.0], &[0.0; 4], options(0.1));
    assert!(message.starts_with("coordinate 0 of point 1 of x0 is NaN"), "{message}");
    let message = refused(&[0.0; 4], &[0.0; 2], options(0.1));
    assert!(message.contains("give as many points"), "{message}");
    let message = refused(&[1e30, 0.0], &[0.0, -1e30], options(0.1));
    assert!(message.contains("beyond float32") && message.contains("scale them"), "{message}");
    for epsilon in [0.0, 1e-4, -1.0, f32::NAN, f32::INFINITY] {
        let message = refused(&[0.0; 4], &[0.0; 4], options(epsilon));
        assert!(message.contains("--epsilon"), "{message}");
    }
}

fn record(epsilon: f64, free: usize, stage: u32) -> Entropic {
    let epsilon = epsilon as f32;
    Entropic { epsilon, wanted: epsilon, relaxation: 1.0, free: word(free), stage, ..Entropic::zeroed() }
}

/// Every kernel by itself, without checks and with them.
#[test]
#[allow(clippy::too_many_lines, reason = "five kernels on the same points")]
fn kernels_are_the_twins() {
    let mut report = Report::new();
    for (n, dim, split, queries) in
        [(1, 1, 1, 4), (5, 2, 1, 16), (70, 2, 16, 4), (33, 10, 1, 4), (40, 11, 16, 4)]
    {
        let name = format!("{n} points of dimension {dim}, {split} lanes a row");
        let [x0, x1] = points(0, 5 + n as u64, n, dim);
        let (wide0, wide1) = (wide(&x0), wide(&x1));
        let costs = assignment_costs(&wide0, &wide1, dim);
        let mean = sinkhorn_begin(&wide0, &wide1, dim);
        let outputs = Launch::new(
            Variant::new("sinkhorn_begin").with("N", word(n)).with("DIM", word(dim)).with("LANES", 64),
        )
        .uniform(0, &[0.05f32, 0.0, 0.0, 0.0])
        .input(1, &x0)
        .input(2, &x1)
        .output(3, &[Entropic::zeroed()])
        .output(4, &vec![-7.0f32; 2 * n])
        .output(5, &vec![7u32; 4 * n])
        .run(&mut report, [1, 1, 1]);
        let begun: Vec<Entropic> = outputs.get(3);
        // Coordinates, from the first point on, are up to some ten; their squares are added up.
        report.near(
            &format!("{name}: mean cost"),
            &[begun[0].mean_cost],
            &[mean],
            400.0 * (n + 8) as f64 * UNIT * mean.max(1.0),
        );
        report.near(
            &format!("{name}: ε"),
            &[begun[0].wanted],
            &[0.05 * f64::from(begun[0].mean_cost)],
            4.0 * UNIT * mean,
        );
        report.equal(&format!("{name}: potentials"), &outputs.get::<f32>(4), &vec![0.0; 2 * n]);
        let lists: Vec<u32> = outputs.get(5);
        let want: Vec<u32> = (0..4 * n).map(|i| if i < 3 * n { word(i % n) } else { u32::MAX }).collect();
        report.equal(&format!("{name}: lists"), &lists, &want);

        let epsilon = f64::from((0.2 * mean) as f32);
        let potentials = random(n as u64, 2 * n);
        let variant = |own: u32| {
            Variant::new("sinkhorn")
                .with("N", word(n))
                .with("DIM", word(dim))
                .with("QUERIES", queries)
                .with("SPLIT", split)
                .with("BLOCK", 16)
                .with("LANES", 64)
                .with("OWN", own)
                .flag("SPLIT_LANES", split > 1)
                .flag("WIDE", dim > 8)
        };
        let groups = word(n).div_ceil(queries);
        let workgroups = [(groups * split).div_ceil(64), 1, 1];
        for own in [0, 1] {
            let (y, z) = if own == 0 { (&x1, &x0) } else { (&x0, &x1) };
            let sided = if own == 0 { costs.clone() } else { transposed(&costs, n) };
            let other = &potentials[n * (1 - own as usize)..][..n];
            let old = wide(&potentials[n * own as usize..][..n]);
            let want = sinkhorn(&sided, &wide(other), epsilon);
            // In parts of the columns: the first leaves what the second takes up.
            let cut = if n > 32 * split as usize { 16 * split } else { word(n) };
            let mut partials = vec![[-7.0f32; 4]; n];
            let mut moved = potentials.clone();
            let mut changes = vec![-7.0f32; n];
            for (first, end) in [(0, cut), (cut, word(n))].into_iter().take(if cut < word(n) { 2 } else { 1 })
            {
                let outputs = Launch::new(variant(own))
                    .uniform(0, &[0, groups, first, end])
                    .input(1, &[record(epsilon, n, 0)])
                    .input(2, y)
                    .input(3, z)
                    .output(4, &moved)
                    .output(5, &partials)
                    .output(6, &changes)
                    .run(&mut report, workgroups);
                (moved, partials, changes) = (outputs.get(4), outputs.get(5), outputs.get(6));
            }
            let got = &moved[n * own as usize..][..n];
            // A cost and its exponent, relative to the largest of them; the sum and its logarithm.
            let error = (dim + 8) as f64 * UNIT * (20.0 * mean + 5.0) + (n + 40) as f64 * UNIT * epsilon;
            report.near(&format!("{name}: potentials of side {own}"), got, &want, error);
            report.equal(&format!("{name}: the others"), &moved[n * (1 - own as usize)..][..n], other);
            let want: Vec<f64> = (0..n).map(|i| (((old[i] - want[i]) / epsilon).exp() - 1.0).abs()).collect();
            report.close(&format!("{name}: changes"), &changes, &want, |i| {
                (want[i] + 1.0) * (4.0 * error / epsilon + 1e-6)
            });
            let total = sinkhorn_check(&old, &wide(got), epsilon);
            let outputs = Launch::new(Variant::new("sinkhorn_check").with("N", word(n)).with("LANES", 64))
                .uniform(0, &[1e-9f32.to_bits(), 1, 0, 0])
                .output(1, &[record(epsilon, n, 0)])
                .input(2, &changes)
                .run(&mut report, [1, 1, 1]);
            let checked: Vec<Entropic> = outputs.get(1);
            let slack = (total + 1.0) * (8.0 * error / epsilon + 1e-5);
            report.near(&format!("{name}: error"), &[checked[0].error], &[total], slack);
            report.equal(
                &format!("{name}: stage"),
                &[checked[0].iterations, checked[0].stage, checked[0].missed],
                &[1, 1, 1],
            );
        }

        // A drawing: whatever is drawn is free, and each column's first row is known.
        let potentials = vec![0.0f32; 2 * n];
        let free = n.div_ceil(2);
        let mut lists = vec![u32::MAX; 4 * n];
        for i in 0..free {
            lists[i] = word(n - 1 - i);
            lists[n + i] = word(2 * i % n + usize::from(2 * i >= n && n % 2 == 0));
        }
        let drawing = Drawing { seed: [3, 4], number: 17, stride: 1 };
        let draw_groups = word(n).div_ceil(4);
        let outputs = Launch::new(variant(0).with("QUERIES", 4).flag("DRAW", true))
            .uniform(0, &[0, draw_groups, 0, word(n)])
            .input(1, &[record(epsilon, free, 1)])
            .input(2, &x1)
            .input(3, &x0)
            .output(4, &potentials)
            .output(5, &vec![[-7.0f32; 4]; n])
            .uniform(6, &drawing)
            .output(7, &lists)
            .run(&mut report, [(draw_groups * split).div_ceil(64), 1, 1]);
        let mut drawn_lists: Vec<u32> = outputs.get(7);
        let drawn = drawn_lists[2 * n..2 * n + free].to_vec();
        report.holds(drawn.iter().all(|column| lists[n..n + free].contains(column)), || {
            format!("{name}: {drawn:?} of {:?}", &lists[n..n + free])
        });
        for column in 0..n {
            let first = drawn.iter().position(|&drawn| drawn == word(column)).map_or(u32::MAX, word);
            report.equal(&format!("{name}: owner"), &[drawn_lists[3 * n + column]], &[first]);
        }
        let (mut rows, mut columns) = (lists[..free].to_vec(), lists[n..n + free].to_vec());
        let mut partners = vec![u32::MAX; n];
        sinkhorn_settle(&mut rows, &mut columns, &drawn, &mut partners);
        let outputs = Launch::new(Variant::new("sinkhorn_settle").with("N", word(n)).with("LANES", 8))
            .output(0, &[record(epsilon, free, 1)])
            .output(1, &drawn_lists)
            .output(2, &vec![u32::MAX; n])
            .run(&mut report, [1, 1, 1]);
        report.equal(&format!("{name}: partners"), &outputs.get::<u32>(2), &partners);
        let settled: Vec<Entropic> = outputs.get(0);
        report.equal(&format!("{name}: free"), &[settled[0].free, settled[0].round], &[word(rows.len()), 1]);
        drawn_lists = outputs.get(1);
        report.equal(&format!("{name}: free rows"), &drawn_lists[..rows.len()], &rows);
        report.equal(&format!("{name}: free columns"), &drawn_lists[n..n + columns.len()], &columns);
        let outputs = Launch::new(
            Variant::new("sinkhorn_settle").with("N", word(n)).with("LANES", 8).flag("LAST", true),
        )
        .output(0, &settled)
        .output(1, &drawn_lists)
        .output(2, &partners)
        .run(&mut report, [1, 1, 1]);
        for (row, column) in rows.iter().zip(&columns) {
            partners[*row as usize] = *column;
        }
        report.equal(&format!("{name}: all partners"), &outputs.get::<u32>(2), &partners);

        // A sweep of exchanges, but for those that hang on the last digit.
        let span = n.next_power_of_two();
        let mut want: Vec<u32> = (0..word(n)).collect();
        for round in 1..span {
            sinkhorn_swap(&costs, &mut want, epsilon, round, |a| {
                uniform(philox4x32([word(a), word(round), 17, 6 | (3 << 8)], [3, 4])[0])
            });
        }
        let outputs = Launch::new(
            Variant::new("sinkhorn_swap")
                .with("N", word(n))
                .with("SPAN", word(span))
                .with("DIM", word(dim))
                .with("LANES", 8)
                .flag("WIDE", dim > 8),
        )
        .uniform(0, &[1, word(span), 3, 0])
        .uniform(1, &drawing)
        .input(2, &[record(epsilon, n, 1)])
        .input(3, &x0)
        .input(4, &x1)
        .output(5, &(0..word(n)).collect::<Vec<u32>>())
        .run(&mut report, [1, 1, 1]);
        report.equal(&format!("{name}: exchanged"), &outputs.get::<u32>(5), &want);
    }
    report.finish();
}
