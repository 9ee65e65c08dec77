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

use common::{Report, UNIT, device, narrow, random, wide};
use reference::activation::ACTIVATIONS;
use reference::integrator::{integrate, tableau};
use reference::mlp::Mlp;
use windfield::Error;
use windfield::data::{Dataset, Standardization};
use windfield::flow::{Path, SOLVERS, Solver};
use windfield::gpu::{Device, Habits};
use windfield::model::{Architecture, Model};
use windfield::sample::{Kernels, SampleOptions, Sampler};

/// The two engines, laid out as for this device and as for a GPU.
fn engines() -> Vec<(&'static str, Device, Kernels)> {
    // How many iterations the driver goes through is not a matter of layout.
    let loop_iterations = device().habits().loop_iterations;
    let gpu = device().with_habits(Habits { loop_iterations, ..Habits::HARDWARE });
    vec![
        ("fused", device().clone(), Kernels::Fused),
        ("layered", device().clone(), Kernels::Layered),
        ("fused as on a GPU", gpu.clone(), Kernels::Fused),
        ("layered as on a GPU", gpu, Kernels::Layered),
    ]
}

fn model(architecture: Architecture, weights: Vec<(Vec<f32>, Vec<f32>)>) -> Model {
    Model {
        architecture,
        weights,
        path: Path::default(),
        standardization: None,
        source: None,
        seed: 0,
        steps: 0,
        columns: vec![],
        image: None,
    }
}

/// v(x, t) = −x, exactly: a network without hidden layers is a linear map of [x, t].
fn decay(dim: usize) -> Model {
    let architecture = Architecture {
        dim,
        hidden: vec![],
        activation: ACTIVATIONS[0].name().parse().expect("relu"),
        time_frequencies: 0,
    };
    let mut weight = vec![0.0; dim * (dim + 1)];
    for i in 0..dim {
        weight[i * (dim + 1) + i] = -1.0;
    }
    model(architecture, vec![(weight, vec![0.0; dim])])
}

/// A random network, and the same for the reference.
fn network(dim: usize, hidden: &[usize], time_frequencies: usize) -> (Model, Mlp) {
    let activation = reference::activation::Activation::Silu;
    let mut widths = vec![dim + 1 + 2 * time_frequencies];
    widths.extend(hidden);
    widths.push(dim);
    let mut mlp = Mlp::random(&widths, activation, 5);
    mlp.parameters.iter_mut().for_each(|tensor| *tensor = wide(&narrow(tensor)));
    let architecture = Architecture {
        dim,
        hidden: hidden.to_vec(),
        activation: activation.name().parse().expect("silu"),
        time_frequencies,
    };
    let weights = mlp.parameters.chunks_exact(2).map(|pair| (narrow(&pair[0]), narrow(&pair[1]))).collect();
    (model(architecture, weights), mlp)
}

fn sampler(device: &Device, model: &Model, source: Option<&Dataset>, options: &SampleOptions) -> Sampler {
    Sampler::new(device, model, source, options.clone())
        .unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

fn carry(device: &Device, model: &Model, options: &SampleOptions, x: &[f32]) -> Vec<f32> {
    sampler(device, model, None, options).carry(x).unwrap_or_else(|error| panic!("{error}"))
}

fn with(solver: &'static Solver, steps: u32, kernels: Kernels) -> SampleOptions {
    SampleOptions { solver, steps, kernels, ..SampleOptions::default() }
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

/// On x' = −x a step of order p multiplies by the exponential series up to (−h)^p / p!.
fn exact_factor(order: u32, steps: u32) -> f64 {
    let h = -1.0 / f64::from(steps);
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..=order {
        term *= h / f64::from(k);
        sum += term;
    }
    sum.powi(steps as i32)
}

#[test]
fn errors_fall_with_the_order_of_the_solver() {
    let mut report = Report::new();
    // Many points at once, whose roundings average out: what is left is the solver's own error.
    let x: Vec<f32> = random(21, 2000).iter().map(|x| 1.0 + 0.2 * x.abs()).collect();
    for (name, device, kernels) in engines() {
        for solver in SOLVERS {
            // The smallest error is a hundred times what float32 makes of the coefficients.
            let steps: &[u32] = match solver.order {
                1 => &[16, 32, 64, 128],
                2 => &[8, 16, 32, 64],
                _ => &[2, 3, 4, 6],
            };
            let error = |factor: f64| factor - (-1.0f64).exp();
            let errors: Vec<f64> = (steps.iter())
                .map(|&steps| {
                    let got = carry(&device, &decay(1), &with(solver, steps, kernels), &x);
                    let ratio = |(got, x): (&f32, &f32)| f64::from(*got) / f64::from(*x);
                    error(got.iter().zip(&x).map(ratio).sum::<f64>() / x.len() as f64)
                })
                .collect();
            // At steps so large the slope is not yet the order; in exact arithmetic it is 1.01, 2.04 and 4.25.
            let exact: Vec<f64> =
                steps.iter().map(|&steps| error(exact_factor(solver.order, steps))).collect();
            let want = slope(steps, &exact);
            assert!((want - f64::from(solver.order)).abs() < 0.3, "{}: {want}", solver.name);
            report.near(&format!("{name}: {}", solver.name), &[slope(steps, &errors) as f32], &[want], 0.02);
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
        for solver in SOLVERS {
            for (t0, t1) in [(0.0f32, 1.0f32), (0.75, 0.25)] {
                let velocity = |x: &[f64], t: f64| mlp.velocity(x, t, frequencies);
                let trajectory =
                    integrate(tableau(solver.name), velocity, &wide(&x), (t0.into(), t1.into()), 7);
                let scale = trajectory[7].iter().fold(1.0f64, |scale, x| scale.max(x.abs()));
                for (name, device, kernels) in engines() {
                    let options = SampleOptions { t0, t1, ..with(solver, 7, kernels) };
                    let got = carry(&device, &model, &options, &x);
                    let name = format!("{name} {}, {:?}, from {t0} to {t1}", solver.name, mlp.widths);
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
        let forwards = with(&SOLVERS[3], 40, kernels);
        let backwards = SampleOptions { t0: 1.0, t1: 0.0, ..forwards.clone() };
        let there = carry(&device, &model, &forwards, &x);
        let back = carry(&device, &model, &backwards, &there);
        // The error of order h⁴ is 10⁻⁷; the rest are the roundings of eighty steps, stretched by the flow.
        report.near(name, &back, &wide(&x), 1e-5);
        // Half the way and the other half are the whole way.
        let half = SampleOptions { steps: 20, ..forwards };
        let middle = carry(&device, &model, &SampleOptions { t1: 0.5, ..half.clone() }, &x);
        let end = carry(&device, &model, &SampleOptions { t0: 0.5, ..half }, &middle);
        report.near(&format!("{name} in halves"), &end, &wide(&there), 1e-5);
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
        let want = integrate(tableau("midpoint"), velocity, &wide(&x), (0.0, 1.0), 4);
        let got = any.carry(&x).unwrap_or_else(|error| panic!("{error}"));
        report.near(&format!("{} layers", hidden.len() + 1), &got, &want[4], 4e-6);
    }
    report.finish();
}

#[test]
fn what_cannot_be_sampled_is_refused() {
    let (one, two) = (decay(1), decay(2));
    let options = SampleOptions::default();
    let source = Dataset::from_rows("points", vec![0.0; 6], 3).expect("a data set");
    let mut refusals: Vec<(&str, windfield::Result<()>)> = [
        ("no steps", SampleOptions { steps: 0, ..options.clone() }),
        ("too many steps", SampleOptions { steps: (1 << 24) + 1, ..options.clone() }),
        ("no interval", SampleOptions { t0: 0.5, t1: 0.5, ..options.clone() }),
        ("before noise", SampleOptions { t0: -0.1, ..options.clone() }),
        ("beyond data", SampleOptions { t1: 1.1, ..options.clone() }),
        ("no number", SampleOptions { t1: f32::NAN, ..options.clone() }),
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
