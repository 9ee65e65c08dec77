//! Sampling as a whole: fields whose flow is known in closed form, the solvers' orders, and what a sample must not
//! depend on.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "sizes of tests are small"
)]

mod common;
mod reference;

use common::models::{affine, carry, decay, engines, fixed_steps, flow, named, network, with};
use common::{Report, UNIT, cramped_device, device, random, wide};
use reference::adaptive::{Tolerance as Exactness, adaptive};
use reference::integrator::{cosine, order, power, solve, uniform};
use windfield::Error;
use windfield::data::{Dataset, Standardization};
use windfield::flow::{Diffusion, Divergence, Grid, Path, ProbeDistribution, SOLVERS};
use windfield::gpu::{Device, Habits};
use windfield::model::Model;
use windfield::sample::{Kernels, SampleOptions, Sampler, Start, Tolerance};

fn sampler(device: &Device, model: &Model, source: Option<&Dataset>, options: &SampleOptions) -> Sampler {
    Sampler::new(device, model, source, options.clone())
        .unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

/// The twin's grid.
type Times = fn((f64, f64), usize) -> Vec<f64>;

/// The grids, and the twin's.
fn grids() -> [(Grid, Times); 4] {
    [
        (Grid::Uniform, uniform),
        (Grid::Cosine, cosine),
        (Grid::Power(2.0), |interval, steps| power(2.0, interval, steps)),
        (Grid::Power(0.5), |interval, steps| power(0.5, interval, steps)),
    ]
}

fn dopri5(tolerance: f32, kernels: Kernels) -> SampleOptions {
    let tolerance = Tolerance { relative: tolerance, absolute: tolerance, ..Tolerance::default() };
    SampleOptions { tolerance, ..with(named("dopri5"), 1, kernels) }
}

/// The slope of the straight line through the logarithms of step and error.
fn slope(steps: &[u32], errors: &[f64]) -> f64 {
    let points: Vec<(f64, f64)> =
        steps.iter().zip(errors).map(|(steps, error)| (-f64::from(*steps).ln(), error.abs().ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (h, e) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|point| (point.0 - h) * (point.1 - e)).sum();
    covariance / points.iter().map(|point| (point.0 - h).powi(2)).sum::<f64>()
}

#[test]
fn errors_fall_with_the_order_of_the_solver() {
    let mut report = Report::new();
    // Many points at once, whose roundings average out: what is left is the solver's own error.
    let x: Vec<f32> = random(21, 2000).iter().map(|x| 1.0 + 0.2 * x.abs()).collect();
    for (name, device, kernels) in engines() {
        for solver in fixed_steps() {
            // The last grid begins with a step so long that it spoils the order.
            for (grid, times) in &grids()[..if name.ends_with("GPU") { 1 } else { 3 }] {
                // The smallest error is a hundred times what float32 makes of the coefficients.
                let steps: &[u32] = match solver.order {
                    1 => &[16, 32, 64, 128],
                    2 => &[8, 16, 32, 64],
                    _ => &[2, 3, 4, 6],
                };
                let error = |factor: f64| factor - (-1.0f64).exp();
                let errors: Vec<f64> = (steps.iter())
                    .map(|&steps| {
                        let options = SampleOptions { grid: grid.clone(), ..with(solver, steps, kernels) };
                        let got = carry(&device, &decay(1), &options, &x);
                        let ratio = |(got, x): (&f32, &f32)| f64::from(*got) / f64::from(*x);
                        error(got.iter().zip(&x).map(ratio).sum::<f64>() / x.len() as f64)
                    })
                    .collect();
                // At steps so large the slope is not yet the order; what it is in exact arithmetic the twin knows.
                let exact = |steps: u32| {
                    let states =
                        solve(solver.name, |x, _| vec![-x[0]], &[1.0], &times((0.0, 1.0), steps as usize));
                    error(states[steps as usize][0])
                };
                let want = slope(steps, &steps.iter().map(|steps| exact(*steps)).collect::<Vec<_>>());
                let fine = slope(&[400, 500], &[exact(400), exact(500)]);
                let name = format!("{name}: {}, {grid}", solver.name);
                assert_eq!(order(solver.name), solver.order as i32, "{name}");
                assert!((fine - f64::from(solver.order)).abs() < 0.1, "{name}: {fine}");
                report.holds((want - f64::from(solver.order)).abs() < 0.8, || format!("{name}: {want}"));
                report.near(&name, &[slope(steps, &errors) as f32], &[want], 0.02);
            }
        }
    }
    report.finish();
}

#[test]
fn both_engines_are_the_references() {
    let mut report = Report::new();
    for (dim, hidden, frequencies) in [(1usize, &[][..], 0), (3, &[17, 24][..], 1), (65, &[16][..], 0)] {
        let (model, mlp) = network(dim, hidden, frequencies);
        let x = random(31, 77 * dim);
        for (i, solver) in fixed_steps().enumerate() {
            for (j, (t0, t1)) in [(0.0f32, 1.0f32), (0.75, 0.25)].into_iter().enumerate() {
                let (grid, times) = &grids()[(i + j) % 4];
                let velocity = |x: &[f64], t: f64| mlp.velocity(x, t, frequencies);
                let trajectory = solve(solver.name, velocity, &wide(&x), &times((t0.into(), t1.into()), 7));
                let scale = trajectory[7].iter().fold(1.0f64, |scale, x| scale.max(x.abs()));
                for (name, device, kernels) in engines() {
                    let options = SampleOptions { t0, t1, grid: grid.clone(), ..with(solver, 7, kernels) };
                    let got = carry(&device, &model, &options, &x);
                    let name = format!("{name} {}, {:?}, {grid} from {t0} to {t1}", solver.name, mlp.widths);
                    // As for the kernel by itself; h = 1/7 and the times round once more.
                    report.near(&name, &got, &trajectory[7], 2e-6 * scale);
                }
            }
        }
    }
    report.finish();
}

#[test]
fn a_sample_depends_on_its_number_alone() {
    let mut report = Report::new();
    let (dim, count) = (3, 300);
    let (model, _) = network(dim, &[17, 24], 1);
    let source = Dataset::from_rows("source", random(7, 50 * dim), dim).expect("a data set");
    for (name, device, kernels) in engines() {
        // Small chunks, as of a device that holds few particles.
        let small = device.with_habits(Habits { particles: 64, ..*device.habits() });
        for source in [None, Some(&source)] {
            let options = SampleOptions { seed: 0x1_0000_0005, ..with(&SOLVERS[2], 5, kernels) };
            let mut large = sampler(&device, &model, source, &options);
            let whole = large.sample(0, count).unwrap_or_else(|error| panic!("{error}"));
            let seeds = reference::noise::noise(
                options.seed,
                0,
                count as u32,
                dim,
                source.map(|source| wide(source.values())).as_deref(),
            );
            let noise = large.noise(0, count).unwrap_or_else(|error| panic!("{error}"));
            report.near(&format!("{name}: x0"), &noise, &seeds, 2e-6);
            let mut chunked = sampler(&small, &model, source, &options);
            report
                .holds(chunked.chunk_rows() == 64, || format!("{name}: chunks of {}", chunked.chunk_rows()));
            for (step, count) in [(1, 5), (7, 70), (64, count)] {
                let mut parts = vec![];
                for first in (0..count).step_by(step) {
                    let rows = step.min(count - first);
                    parts
                        .extend(chunked.sample(first as u64, rows).unwrap_or_else(|error| panic!("{error}")));
                }
                report.same_bits(&format!("{name}: in parts of {step}"), &parts, &whole[..count * dim]);
            }
            // And it can be carried as a given point.
            let carried = large.carry(&noise).unwrap_or_else(|error| panic!("{error}"));
            report.same_bits(&format!("{name}: carried"), &carried, &whole);
            let other = sampler(&device, &model, source, &SampleOptions { seed: 5, ..options })
                .sample(0, count)
                .unwrap_or_else(|error| panic!("{error}"));
            report.holds(other != whole, || format!("{name}: the high word of the seed does not count"));
        }
    }
    report.finish();
}

/// Also the probes, the noise on the way and the steps of a particle are its own.
#[test]
fn all_that_a_particle_meets_depends_on_its_number_alone() {
    let mut report = Report::new();
    let (dim, count) = (3usize, 150usize);
    let (model, _) = network(dim, &[17], 0);
    let probes = Divergence::Hutchinson { probes: 3, distribution: ProbeDistribution::Gaussian };
    let base = SampleOptions { seed: 0x1_0000_0005, ..SampleOptions::default() };
    let ways = [
        SampleOptions { divergence: Some(probes), solver: named("dopri5"), ..base.clone() },
        SampleOptions { divergence: Some(probes), solver: named("ab2"), steps: 6, ..base.clone() },
        SampleOptions { divergence: Some(Divergence::Exact), solver: named("dopri5"), ..base.clone() },
        SampleOptions {
            solver: named("euler-maruyama"),
            steps: 6,
            t1: 0.9,
            diffusion: Some(Diffusion::new(|t| 1.0 - t)),
            ..base
        },
    ];
    for (name, device, kernels) in &engines()[..2] {
        let small = device.with_habits(Habits { particles: 64, ..*device.habits() });
        for options in &ways {
            let options = SampleOptions { kernels: *kernels, ..options.clone() };
            let name = format!("{name}, {}", options.solver.name);
            let run = |sampler: &mut Sampler, first: u64, rows: usize| {
                sampler.flow(Start::Samples { first, rows }, false).unwrap_or_else(|error| panic!("{error}"))
            };
            let whole = run(&mut sampler(device, &model, None, &options), 0, count);
            let mut chunked = sampler(&small, &model, None, &options);
            let (mut points, mut divergence, mut evaluations) = (vec![], vec![], vec![]);
            for first in (0..count).step_by(50) {
                let part = run(&mut chunked, first as u64, 50);
                points.extend(part.points);
                divergence.extend(part.divergence);
                evaluations.extend(part.evaluations);
            }
            report.same_bits(&format!("{name}: points"), &points, &whole.points);
            report.same_bits(&format!("{name}: divergence"), &divergence, &whole.divergence);
            report.equal(&format!("{name}: evaluations"), &evaluations, &whole.evaluations);
            let others =
                run(&mut sampler(device, &model, None, &SampleOptions { seed: 5, ..options }), 0, count);
            report.holds(others.points != whole.points, || format!("{name}: the high word of the seed"));
            // Given points have the numbers that they are said to have.
            if options_have_probes(&chunked) {
                let noise = chunked.noise(70, 40).unwrap_or_else(|error| panic!("{error}"));
                let again = chunked
                    .flow(Start::Points { first: 70, values: &noise }, false)
                    .unwrap_or_else(|error| panic!("{error}"));
                let columns = divergence.len() / count;
                report.same_bits(
                    &format!("{name}: given points"),
                    &again.divergence,
                    &whole.divergence[70 * columns..110 * columns],
                );
            }
        }
    }
    report.finish();
}

fn options_have_probes(sampler: &Sampler) -> bool {
    sampler.options().divergence.is_some()
}

/// Tolerances from coarse to fine: errors, evaluations, and the counts of the twin.
#[test]
fn adaptive_errors_fall_with_the_tolerance() {
    let mut report = Report::new();
    let (dim, rows) = (3, 90);
    let (model, mlp) = network(dim, &[17, 24], 2);
    let x = random(81, rows * dim);
    let velocity = |x: &[f64], t: f64| mlp.velocity(x, t, 2);
    let fine = Exactness { atol: 1e-10, rtol: 1e-10 };
    for (t0, t1) in [(0.0f32, 1.0f32), (1.0, 0.0)] {
        let interval = (f64::from(t0), f64::from(t1));
        let exact: Vec<f64> =
            wide(&x).chunks(dim).flat_map(|x| adaptive(velocity, x, interval, fine, 100_000).y).collect();
        for (name, device, kernels) in engines() {
            let mut previous = (f64::INFINITY, 0);
            for tolerance in [1e-2f32, 1e-3, 1e-4, 1e-5] {
                let options = SampleOptions { t0, t1, ..dopri5(tolerance, kernels) };
                let got = flow(&device, &model, &options, &x);
                let name = format!("{name} from {t0} to {t1} within {tolerance:e}");
                let error = (got.points.iter().zip(&exact))
                    .map(|(got, want)| (f64::from(*got) - want).abs())
                    .fold(0.0, f64::max);
                let total: u32 = got.evaluations.iter().sum();
                report.holds(error < previous.0 / 2.0 && total > previous.1, || {
                    format!("{name}: an error of {error:e} after {:e}, {total} evaluations", previous.0)
                });
                previous = (error, total);
                let counted: Vec<u32> =
                    got.accepted.iter().zip(&got.rejected).map(|(a, r)| 1 + 6 * (a + r)).collect();
                report.equal(&format!("{name}: evaluations"), &got.evaluations, &counted);
                // Rounding may shift a decision of some; the steps of most are those of the twin, and so is the error.
                let twin = Exactness { atol: tolerance.into(), rtol: tolerance.into() };
                let (mut same, mut twins) = (0, 0.0f64);
                for row in 0..rows {
                    let at = row * dim..(row + 1) * dim;
                    let twin = adaptive(velocity, &wide(&x[at.clone()]), interval, twin, 1000);
                    let counts = [got.accepted[row] as usize, got.rejected[row] as usize];
                    same += usize::from([twin.accepted(), twin.rejected()] == counts);
                    for (got, want) in twin.y.iter().zip(&exact[at]) {
                        twins = twins.max((got - want).abs());
                    }
                }
                report.holds(same * 10 >= rows * 8, || format!("{name}: {same} of {rows} as the twin"));
                let allowed = 1.5 * twins + 3e-6;
                report.holds(error < allowed, || {
                    format!("{name}: an error of {error:e}, the twin's {twins:e}")
                });
            }
        }
    }
    report.finish();
}

/// The states on the way of an adaptive solver come from inside its steps.
#[test]
fn adaptive_trajectories_are_the_references() {
    let mut report = Report::new();
    let (dim, rows) = (3, 40);
    let (model, mlp) = network(dim, &[17, 24], 1);
    let velocity = |x: &[f64], t: f64| mlp.velocity(x, t, 1);
    let fine = Exactness { atol: 1e-10, rtol: 1e-10 };
    for (name, device, kernels) in engines() {
        for (t0, t1, grid, times) in [
            (0.0f32, 1.0f32, Grid::Cosine, cosine((0.0, 1.0), 9)),
            (0.8, 0.1, Grid::Uniform, uniform((f64::from(0.8f32), f64::from(0.1f32)), 9)),
            (
                0.0,
                0.5,
                Grid::Times((0..10).map(|i| f64::from(i * i) / 162.0).collect()),
                power(2.0, (0.0, 0.5), 9),
            ),
        ] {
            let options = SampleOptions { t0, t1, grid, steps: 9, ..dopri5(1e-5, kernels) };
            let mut sampler = sampler(&device, &model, None, &options);
            let start = Start::Samples { first: 5, rows };
            let flow = sampler.flow(start, true).unwrap_or_else(|error| panic!("{error}"));
            let noise = sampler.noise(5, rows).unwrap_or_else(|error| panic!("{error}"));
            let plain = sampler.flow(start, false).unwrap_or_else(|error| panic!("{error}"));
            let name = format!("{name} from {t0} to {t1}");
            let states = |k: usize| -> Vec<f32> {
                let rows = flow.trajectory.chunks_exact(10 * dim);
                rows.flat_map(|row| &row[k * dim..(k + 1) * dim]).copied().collect()
            };
            report.same_bits(&format!("{name}: the first"), &states(0), &noise);
            report.same_bits(&format!("{name}: the last"), &states(9), &flow.points);
            report.same_bits(&format!("{name}: without a trajectory"), &plain.points, &flow.points);
            for row in 0..rows {
                let x0 = wide(&noise[row * dim..(row + 1) * dim]);
                let exact = adaptive(velocity, &x0, (times[0], times[9]), fine, 100_000);
                let want: Vec<f64> = times.iter().flat_map(|t| exact.at(*t)).collect();
                let got = &flow.trajectory[row * 10 * dim..(row + 1) * 10 * dim];
                // The interpolation is of an order less than the steps are.
                report.near(&format!("{name}, row {row}"), got, &want, 2e-4);
            }
        }
    }
    report.finish();
}

/// A solver that remembers its last step forgets it when others come.
#[test]
fn chunks_leave_nothing_behind() {
    let mut report = Report::new();
    let (model, _) = network(2, &[16], 0);
    let x = random(91, 50 * 2);
    for (name, device, kernels) in engines() {
        for solver in [named("ab2"), named("dopri5")] {
            let mut used = sampler(&device, &model, None, &with(solver, 5, kernels));
            let fresh = used.carry(&x).unwrap_or_else(|error| panic!("{error}"));
            // One that no number comes out of: adaptive solvers say so.
            let lost = used.carry(&vec![f32::MAX; x.len()]);
            report.holds(lost.is_err() == solver.is_adaptive(), || format!("{name} {}", solver.name));
            let again = used.carry(&x).unwrap_or_else(|error| panic!("{error}"));
            report.same_bits(&format!("{name} {}", solver.name), &again, &fresh);
        }
    }
    report.finish();
}

#[test]
fn particles_that_do_not_arrive_are_named() {
    let (model, _) = network(2, &[16], 0);
    for (name, device, kernels) in engines() {
        let tolerance = Tolerance { relative: 1e-6, absolute: 1e-6, most_steps: 4 };
        let options = SampleOptions { tolerance, ..dopri5(1e-6, kernels) };
        let mut sampler = sampler(&device, &model, None, &options);
        // The first of them is where it wants to be at once.
        let error = sampler.sample(1000, 20).expect_err("four attempts are too few").to_string();
        assert!(error.contains("particle 10") && error.contains("--max-steps 4"), "{name}: {error}");
        let mut x = random(95, 20);
        x[6] = f32::NAN;
        let loose = SampleOptions { tolerance: Tolerance::default(), ..options };
        let start = Start::Points { first: 70, values: &x };
        let error = Sampler::new(&device, &model, None, loose)
            .and_then(|mut sampler| sampler.flow(start, false))
            .expect_err("no number")
            .to_string();
        assert!(error.contains("particle 73"), "{name}: {error}");
    }
}

#[test]
fn a_trajectory_ends_in_the_sample() {
    let mut report = Report::new();
    let (dim, rows, steps) = (3, 70, 6);
    let (model, _) = network(dim, &[17, 24], 1);
    for (name, device, kernels) in engines() {
        let mut sampler = sampler(&device, &model, None, &with(&SOLVERS[3], steps, kernels));
        let states = steps as usize + 1;
        let trajectory = sampler.sample_trajectory(4, rows).unwrap_or_else(|error| panic!("{error}"));
        let state = |k: usize| -> Vec<f32> {
            trajectory
                .chunks_exact(states * dim)
                .flat_map(|row| &row[k * dim..(k + 1) * dim])
                .copied()
                .collect()
        };
        let ends = |sampler: &mut Sampler| {
            let noise = sampler.noise(4, rows).unwrap_or_else(|error| panic!("{error}"));
            let sample = sampler.sample(4, rows).unwrap_or_else(|error| panic!("{error}"));
            let carried = sampler.carry_trajectory(&noise).unwrap_or_else(|error| panic!("{error}"));
            (noise, sample, carried)
        };
        let (noise, sample, carried) = ends(&mut sampler);
        report.equal(&format!("{name}: length"), &[trajectory.len()], &[rows * states * dim]);
        report.same_bits(&format!("{name}: the first state"), &state(0), &noise);
        report.same_bits(&format!("{name}: the last state"), &state(states - 1), &sample);
        report.same_bits(&format!("{name}: from given points"), &carried, &trajectory);
        report.holds((1..states).all(|k| state(k) != state(k - 1)), || {
            format!("{name}: a step that does not move")
        });
    }
    report.finish();
}

#[test]
fn backwards_undoes_forwards() {
    let mut report = Report::new();
    let (model, _) = network(3, &[17, 24], 1);
    let x = random(41, 50 * 3);
    for (name, device, kernels) in engines() {
        // The error of order h⁴ is 10⁻⁷, that of order h² some 10⁻⁴, and what dopri5 is asked for; the rest are the
        // roundings of all the steps, stretched by the flow.
        let ways = [
            (with(named("rk4"), 40, kernels), 1e-5),
            (with(named("ab2"), 400, kernels), 2e-4),
            (dopri5(1e-5, kernels), 2e-4),
        ];
        for (forwards, allowed) in ways {
            let backwards = SampleOptions { t0: 1.0, t1: 0.0, ..forwards.clone() };
            let there = carry(&device, &model, &forwards, &x);
            let back = carry(&device, &model, &backwards, &there);
            let name = format!("{name} {}", forwards.solver.name);
            report.near(&name, &back, &wide(&x), allowed);
            // Half the way and the other half are the whole way.
            let half = SampleOptions { steps: forwards.steps.div_ceil(2), ..forwards };
            let middle = carry(&device, &model, &SampleOptions { t1: 0.5, ..half.clone() }, &x);
            let end = carry(&device, &model, &SampleOptions { t0: 0.5, ..half }, &middle);
            report.near(&format!("{name} in halves"), &end, &wide(&there), allowed);
        }
    }
    report.finish();
}

/// Loops beyond what drivers go through without a word.
#[test]
fn long_integrations_are_whole() {
    let mut report = Report::new();
    for (name, device, kernels) in engines() {
        let steps = if kernels == Kernels::Fused { 20_000u32 } else { 3000 };
        let got = carry(&device, &decay(3), &with(&SOLVERS[0], steps, kernels), &[1.0, -2.0, 0.5]);
        // Euler's own result, which float32 follows within one rounding a step.
        let h = f64::from((1.0 / f64::from(steps)) as f32);
        let factor = (1.0 - h).powi(steps as i32);
        let want = [factor, -2.0 * factor, 0.5 * factor];
        report.close(&format!("{name}, {steps} steps"), &got, &want, |i| {
            f64::from(steps) * UNIT * want[i].abs()
        });
        // Round and round, by as many attempts: each has an error of 10⁻⁵ at most.
        let frequency = if kernels == Kernels::Fused { 1000.0f32 } else { 100.0 };
        let rotation = affine(&[0.0, -frequency, frequency, 0.0], &[0.0; 2], &[0.0; 2]);
        let got = flow(&device, &rotation, &dopri5(1e-5, kernels), &[1.0, 0.0]);
        let (sin, cos) = f64::from(frequency).sin_cos();
        let attempts = got.accepted[0] + got.rejected[0];
        report.holds(f64::from(attempts) > 2.0 * f64::from(frequency), || format!("{name}: {attempts}"));
        report.near(
            &format!("{name}, {attempts} attempts"),
            &got.points,
            &[cos, sin],
            2e-5 * f64::from(attempts),
        );
    }
    report.finish();
}

#[test]
fn velocities_are_the_references_however_many_points() {
    let mut report = Report::new();
    let (model, mlp) = network(3, &[17, 24], 1);
    let x = random(51, 1000 * 3);
    for (name, device, kernels) in engines() {
        let small = device.with_habits(Habits { particles: 300, ..*device.habits() });
        let mut sampler = sampler(&small, &model, None, &with(&SOLVERS[1], 3, kernels));
        for t in [0.0f32, 0.3, 1.0] {
            let got = sampler.velocity(&x, t).unwrap_or_else(|error| panic!("{error}"));
            let want = mlp.velocity(&wide(&x), t.into(), 1);
            report.near(&format!("{name} at {t}"), &got, &want, 2e-6);
        }
    }
    report.finish();
}

#[test]
fn networks_of_any_width_are_carried() {
    let mut report = Report::new();
    // One that the fused kernel has no room for, and one with more layers than its table.
    for hidden in [vec![1100], vec![8; 40]] {
        let (model, mlp) = network(2, &hidden, 0);
        let x = random(61, 33 * 2);
        let error = Sampler::new(device(), &model, None, with(&SOLVERS[1], 4, Kernels::Fused))
            .expect_err("too large");
        report.holds(matches!(error, Error::Config { .. }), || format!("{error}"));
        let mut any = sampler(device(), &model, None, &with(&SOLVERS[1], 4, Kernels::Auto));
        report.holds(!any.is_fused(), || "fused".to_owned());
        let velocity = |x: &[f64], t: f64| mlp.velocity(x, t, 0);
        let want = solve("midpoint", velocity, &wide(&x), &uniform((0.0, 1.0), 4));
        let got = any.carry(&x).unwrap_or_else(|error| panic!("{error}"));
        report.near(&format!("{} layers", hidden.len() + 1), &got, &want[4], 4e-6);
    }
    report.finish();
}

#[test]
fn lanes_share_the_layers_where_asked() {
    let mut report = Report::new();
    for hidden in [vec![40, 33], vec![20]] {
        let (model, mlp) = network(3, &hidden, 1);
        let x = random(71, 150 * 3);
        let mut shared = sampler(device(), &model, None, &with(named("rk4"), 4, Kernels::Shared));
        report.holds(shared.kernels() == Kernels::Shared, || format!("{:?}", shared.kernels()));
        let got = shared.carry(&x).unwrap_or_else(|error| panic!("{error}"));
        let want =
            solve("rk4", |x: &[f64], t: f64| mlp.velocity(x, t, 1), &wide(&x), &uniform((0.0, 1.0), 4));
        report.near(&format!("{hidden:?}"), &got, &want[4], 4e-6);
    }
    // Too narrow, too wide, and in steps of their own.
    for (hidden, solver) in [(16, "rk4"), (65, "rk4"), (40, "dopri5")] {
        let (model, _) = network(2, &[hidden], 0);
        let error = Sampler::new(device(), &model, None, with(named(solver), 4, Kernels::Shared))
            .expect_err("not for these");
        report.holds(error.to_string().contains("--kernels auto"), || format!("{error}"));
    }
    report.finish();
}

#[test]
fn what_cannot_be_sampled_is_refused() {
    let (one, two) = (decay(1), decay(2));
    let options = SampleOptions::default();
    let source = Dataset::from_rows("points", vec![0.0; 6], 3).expect("a data set");
    let noise = |g: f64| Some(Diffusion::new(move |_| g));
    let stochastic =
        SampleOptions { solver: named("euler-maruyama"), diffusion: noise(1.0), t1: 0.9, ..options.clone() };
    let adaptive = dopri5(1e-3, Kernels::Auto);
    let tolerance = |value, most_steps| Tolerance { relative: value, absolute: 1e-3, most_steps };
    let probes =
        |probes| Some(Divergence::Hutchinson { probes, distribution: ProbeDistribution::Rademacher });
    let mut refusals: Vec<(&str, windfield::Result<()>)> = [
        ("no steps", SampleOptions { steps: 0, ..options.clone() }),
        ("too many steps", SampleOptions { steps: (1 << 24) + 1, ..options.clone() }),
        ("no interval", SampleOptions { t0: 0.5, t1: 0.5, ..options.clone() }),
        ("before noise", SampleOptions { t0: -0.1, ..options.clone() }),
        ("beyond data", SampleOptions { t1: 1.1, ..options.clone() }),
        ("no number", SampleOptions { t1: f32::NAN, ..options.clone() }),
        ("no diffusion", SampleOptions { solver: named("euler-maruyama"), ..options.clone() }),
        ("a diffusion of a flow", SampleOptions { diffusion: noise(1.0), ..options.clone() }),
        ("a negative diffusion", SampleOptions { diffusion: noise(-1.0), ..stochastic.clone() }),
        ("no number of a diffusion", SampleOptions { diffusion: noise(f64::NAN), ..stochastic.clone() }),
        ("noise backwards", SampleOptions { t0: 1.0, t1: 0.0, ..stochastic.clone() }),
        ("a density of noise", SampleOptions { divergence: Some(Divergence::Exact), ..stochastic }),
        ("no tolerance", SampleOptions { tolerance: tolerance(0.0, 10), ..options.clone() }),
        ("a tolerance of no number", SampleOptions { tolerance: tolerance(f32::NAN, 10), ..options.clone() }),
        ("no attempts", SampleOptions { tolerance: tolerance(1e-3, 0), ..options.clone() }),
        ("no probes", SampleOptions { divergence: probes(0), ..options.clone() }),
        ("too many probes", SampleOptions { divergence: probes(1 << 20), ..options.clone() }),
        ("other steps by themselves", SampleOptions { through: Some(Path::default()), ..adaptive.clone() }),
    ]
    .into_iter()
    .map(|(what, options)| (what, Sampler::new(device(), &one, None, options).map(|_| ())))
    .collect();
    refusals.push((
        "another dimension",
        Sampler::new(device(), &two, Some(&source), options.clone()).map(|_| ()),
    ));
    let mut sampler = sampler(device(), &two, None, &options);
    let most = sampler.chunk_rows();
    refusals.push(("no rows", sampler.sample(0, 0).map(|_| ())));
    refusals.push(("no rows of noise", sampler.noise(0, 0).map(|_| ())));
    refusals.push(("too many rows of noise", sampler.noise(0, most + 1).map(|_| ())));
    refusals.push(("the end of all numbers", sampler.sample(u64::MAX, 2).map(|_| ())));
    refusals.push(("too many rows", sampler.sample(0, most + 1).map(|_| ())));
    refusals.push(("too many samples", sampler.sample(u64::from(u32::MAX) - 1, 2).map(|_| ())));
    refusals.push(("half a point", sampler.carry(&[1.0, 2.0, 3.0]).map(|_| ())));
    refusals.push(("no point", sampler.carry(&[]).map(|_| ())));
    for (what, result) in refusals {
        let error = result.err().unwrap_or_else(|| panic!("{what} was accepted"));
        assert!(matches!(error, Error::Config { .. }), "{what}: {error:?}");
        assert!(!error.to_string().contains('\n'), "{what}: {error}");
    }
    assert!(sampler.sample(u64::from(u32::MAX) - 2, 2).is_ok(), "the last two samples");
}

#[test]
fn data_units_are_those_of_the_standardisation() {
    let mut report = Report::new();
    let mut standardized = decay(2);
    standardized.standardization = Some(Standardization { mean: vec![10.0, -1.0], std: vec![2.0, 0.5] });
    let source = Dataset::from_rows("source", vec![12.0, -1.0, 10.0, 0.0], 2).expect("a data set");
    let mut sampler = sampler(device(), &standardized, Some(&source), &SampleOptions::default());
    // Rows of the source are in data units; the sampler's points are in the network's.
    for x0 in sampler.noise(0, 20).unwrap_or_else(|error| panic!("{error}")).chunks_exact(2) {
        report.holds([[1.0, 0.0], [0.0, 2.0]].contains(&[x0[0], x0[1]]), || format!("{x0:?}"));
    }
    let mut points = vec![1.0, 2.0];
    sampler.to_data_units(&mut points);
    report.equal("to data units", &points, &[12.0, 0.0]);
    sampler.to_network_units(&mut points);
    report.equal("and back", &points, &[1.0, 2.0]);
    report.finish();
}

/// Neither a source in blocks, nor how few particles a device carries at once, shows in the samples or their densities.
#[test]
fn samples_do_not_depend_on_what_a_device_sees_at_once() {
    let values = random(5, 2 * 70_000);
    let source = Dataset::from_rows("normal", values.clone(), 2).expect("a data set");
    let mut model = network(2, &[16], 0).0;
    model.standardization = Some(Standardization { mean: vec![0.5, -1.0], std: vec![2.0, 0.5] });
    for (name, source) in [("noise", None), ("a source", Some(&source))] {
        let samples = |device: &Device| {
            let mut sampler =
                sampler(device, &model, source, &SampleOptions { steps: 3, ..Default::default() });
            sampler.sample(0, 1000).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        assert!(samples(cramped_device()) == samples(device()), "{name}");
    }
    // More than a device of this limit sees at once, in and out.
    let likelihoods = |device: &Device| {
        let options = SampleOptions {
            t0: 1.0,
            t1: 0.0,
            steps: 2,
            divergence: Some(Divergence::Exact),
            ..Default::default()
        };
        let mut sampler = sampler(device, &model, None, &options);
        let mut all = vec![];
        for (index, points) in values.chunks(2 * sampler.chunk_rows()).enumerate() {
            let first = (index * sampler.chunk_rows()) as u64;
            let flow = sampler.flow(Start::Points { first, values: points }, false);
            let densities = flow.and_then(|flow| sampler.log_density(&flow, false));
            let densities = densities.unwrap_or_else(|error| panic!("{error}"));
            all.extend(densities.values.iter().map(|density| density.to_bits()));
        }
        all
    };
    assert!(likelihoods(cramped_device()) == likelihoods(device()));
}
