//! Sampling as a whole: the order of every solver, the two kinds of kernels, chunks, trajectories, both directions of
//! time, and long integrations.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "sizes of tests are small")]

mod common;
mod reference;

use common::{device, random};
use windfield::data::Dataset;
use windfield::flow::{Path, SOLVERS, Solver};
use windfield::gpu::{Device, Habits};
use windfield::model::{Architecture, Model};
use windfield::sample::{Kernels, SampleOptions, Sampler};

/// A model of given layers (W, b).
fn model(dim: usize, hidden: &[usize], activation: &str, weights: Vec<(Vec<f32>, Vec<f32>)>) -> Model {
    Model {
        architecture: Architecture {
            dim,
            hidden: hidden.to_vec(),
            activation: activation.parse().expect("an activation"),
            time_frequencies: 0,
        },
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

/// x' = −x, which a network without hidden layers is: W = [−1, 0] on (x, t).
fn decay() -> Model {
    model(1, &[], "silu", vec![(vec![-1.0, 0.0], vec![0.0])])
}

/// A network with random weights.
fn random_model(dim: usize, hidden: &[usize]) -> Model {
    let architecture = Architecture {
        dim,
        hidden: hidden.to_vec(),
        activation: "tanh".parse().expect("an activation"),
        time_frequencies: 0,
    };
    let weights = architecture.initialize(3);
    model(dim, hidden, "tanh", weights)
}

fn sampler(device: &Device, model: &Model, options: &SampleOptions) -> Sampler {
    Sampler::new(device, model, None, options.clone()).expect("a sampler")
}

fn options(solver: &'static Solver, steps: u32, kernels: Kernels) -> SampleOptions {
    SampleOptions { solver, steps, kernels, ..SampleOptions::default() }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

const KINDS: [Kernels; 2] = [Kernels::Fused, Kernels::Layered];

#[test]
fn every_solver_has_the_order_that_its_table_claims() {
    let mut failures = Vec::new();
    for solver in SOLVERS {
        // Few enough steps that truncation is far above float32's rounding, some 1e-7.
        let steps: &[u32] = if solver.order >= 4 { &[2, 4, 8] } else { &[8, 16, 32] };
        for kernels in KINDS {
            let errors: Vec<f64> = steps
                .iter()
                .map(|&steps| {
                    let end = sampler(device(), &decay(), &options(solver, steps, kernels)).carry(&[1.0]);
                    (f64::from(end.expect("an end")[0]) - (-1f64).exp()).abs()
                })
                .collect();
            let last = steps.len() - 1;
            let slope = (errors[0] / errors[last]).ln() / (f64::from(steps[last]) / f64::from(steps[0])).ln();
            // On steps this long the next term of the error still shows: up to a fifth of an order.
            if (slope - f64::from(solver.order)).abs() > 0.3 {
                failures.push(format!("{} by {kernels:?}: order {slope:.2} from {errors:?}", solver.name));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_fused_and_the_layered_kernels_agree() {
    for (dim, hidden) in
        [(1, vec![8]), (2, vec![64, 64, 64]), (3, vec![17, 5]), (17, vec![33, 64]), (2, vec![])]
    {
        let model = random_model(dim, &hidden);
        for solver in SOLVERS {
            let noise = random(5, 37 * dim);
            let ends = [Habits::SOFTWARE, Habits::HARDWARE].map(|habits| {
                KINDS.map(|kernels| {
                    let device = device().with_habits(habits);
                    sampler(&device, &model, &options(solver, 7, kernels)).carry(&noise).expect("ends")
                })
            });
            for end in ends.iter().flatten() {
                let off = largest_difference(end, &ends[0][0]);
                // 7 steps of at most 4 stages, each a sum of some 64 terms of order one in float32
                assert!(off < 2e-5, "{} of {dim} through {hidden:?}: {off:e} apart", solver.name);
            }
        }
    }
}

#[test]
fn a_sample_does_not_depend_on_its_chunk() {
    let model = random_model(3, &[17]);
    for kernels in KINDS {
        let mut sampler = sampler(device(), &model, &options(&SOLVERS[1], 3, kernels));
        let whole = sampler.sample(0, 100).expect("samples");
        let part = sampler.sample(41, 23).expect("samples");
        assert_eq!(part, whole[3 * 41..3 * 64], "{kernels:?}");
        let noise = sampler.noise(41, 23).expect("noise");
        assert_eq!(sampler.carry(&noise).expect("ends"), part, "{kernels:?}");
    }
}

#[test]
fn seeds_make_other_samples_of_the_same_distribution() {
    let model = random_model(2, &[8]);
    let noise = |seed| {
        let options = SampleOptions { seed, ..SampleOptions::default() };
        sampler(device(), &model, &options).noise(0, 4000).expect("noise")
    };
    let (a, b) = (noise(1), noise(1 << 40));
    assert_eq!(a, noise(1));
    assert_ne!(a, b);
    for values in [a, b] {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let square = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
        // five standard errors of 8000 normals
        assert!(mean.abs() < 5.0 / 8000f32.sqrt() && (square - 1.0).abs() < 5.0 * (2.0 / 8000f32).sqrt());
    }
}

#[test]
fn a_trajectory_begins_with_the_noise_and_ends_with_the_sample() {
    let model = random_model(2, &[16]);
    for kernels in KINDS {
        let mut sampler = sampler(device(), &model, &options(&SOLVERS[2], 5, kernels));
        let paths = sampler.sample_trajectory(10, 30).expect("paths");
        assert_eq!(paths.len(), 30 * 6 * 2);
        let at = |state: usize| -> Vec<f32> {
            paths.chunks_exact(12).flat_map(|path| &path[2 * state..2 * state + 2]).copied().collect()
        };
        assert_eq!(at(0), sampler.noise(10, 30).expect("noise"), "{kernels:?}");
        assert_eq!(at(5), sampler.sample(10, 30).expect("samples"), "{kernels:?}");
        let middle = sampler.carry_trajectory(&at(0)).expect("paths");
        assert_eq!(middle, paths, "{kernels:?}");
    }
}

#[test]
fn backwards_undoes_forwards() {
    let model = random_model(3, &[32, 32]);
    let rk4 = Solver::named("rk4").expect("a solver");
    for kernels in KINDS {
        let forth = options(rk4, 20, kernels);
        let back = SampleOptions { t0: 1.0, t1: 0.0, ..forth.clone() };
        let noise = random(9, 3 * 50);
        let ends = sampler(device(), &model, &forth).carry(&noise).expect("ends");
        let begins = sampler(device(), &model, &back).carry(&ends).expect("begins");
        assert!(largest_difference(&ends, &noise) > 0.05, "the flow moves the points");
        let off = largest_difference(&begins, &noise);
        assert!(off < 1e-5, "{kernels:?}: {off:e}");
    }
}

#[test]
fn an_interval_in_two_parts_is_the_interval() {
    let model = random_model(2, &[16]);
    let euler = Solver::named("euler").expect("a solver");
    let part = |t0, t1, steps, points: &[f32]| {
        let options = SampleOptions { t0, t1, ..options(euler, steps, Kernels::Auto) };
        sampler(device(), &model, &options).carry(points).expect("points")
    };
    let noise = random(2, 2 * 20);
    let halves = part(0.5, 1.0, 8, &part(0.0, 0.5, 8, &noise));
    assert!(largest_difference(&halves, &part(0.0, 1.0, 16, &noise)) < 1e-6);
}

/// Mesa's software rasterizer ends all loops of an invocation after 65 535 iterations in total, and says nothing.
#[test]
fn long_integrations_are_whole() {
    // Three hidden layers of 64 that come to nothing, and a bias: v = 1. Its 5000 steps are millions of iterations.
    let widths = [3, 64, 64, 64, 2];
    let mut weights: Vec<_> =
        widths.windows(2).map(|pair| (vec![0.0; pair[0] * pair[1]], vec![0.0; pair[1]])).collect();
    weights[3].1 = vec![1.0, -1.0];
    let model = model(2, &[64, 64, 64], "relu", weights);
    let euler = Solver::named("euler").expect("a solver");
    for kernels in KINDS {
        let ends =
            sampler(device(), &model, &options(euler, 5000, kernels)).carry(&[0.0, 0.0]).expect("an end");
        // 5000 roundings of a sum up to 1
        assert!(
            (ends[0] - 1.0).abs() < 5000.0 * 6e-8 && (ends[1] + 1.0).abs() < 5000.0 * 6e-8,
            "{kernels:?}: {ends:?}"
        );
    }
    let end =
        sampler(device(), &decay(), &options(euler, 5000, Kernels::Fused)).carry(&[1.0]).expect("an end")[0];
    let exact = (1.0 - 1.0 / 5000f64).powi(5000);
    assert!((f64::from(end) - exact).abs() < 1e-5, "{end} instead of {exact}");
}

#[test]
fn a_source_takes_the_place_of_the_noise() {
    let model = random_model(2, &[8]);
    let source = Dataset::from_rows("three", vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2).expect("a data set");
    let mut sampler =
        Sampler::new(device(), &model, Some(&source), SampleOptions::default()).expect("a sampler");
    let points = sampler.noise(0, 600).expect("points");
    let mut counts = [0; 3];
    for point in points.chunks_exact(2) {
        let row = (0..3).find(|&row| source.row(row) == point).expect("a row of the source");
        counts[row] += 1;
    }
    // five standard deviations of 600 draws of one in three
    assert!(counts.iter().all(|&count| (i32::abs(count - 200)) < 58), "{counts:?}");
}

#[test]
fn the_velocity_is_the_networks() {
    let model = random_model(3, &[33, 17]);
    let parameters = model.weights.iter().flat_map(|(w, b)| [common::wide(w), common::wide(b)]).collect();
    let twin = reference::mlp::Mlp::new(&[4, 33, 17, 3], reference::activation::Activation::Tanh, parameters);
    let points = random(4, 3 * 1000);
    let mut sampler = sampler(device(), &model, &SampleOptions::default());
    for t in [0.0f32, 0.3, 1.0] {
        let got = sampler.velocity(&points, t).expect("velocities");
        let want: Vec<f64> =
            points.chunks_exact(3).flat_map(|x| twin.velocity(&common::wide(x), t.into(), 0)).collect();
        let off = got.iter().zip(&want).map(|(got, want)| (f64::from(*got) - want).abs()).fold(0.0, f64::max);
        assert!(off < 1e-6, "t = {t}: {off:e}");
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let model = random_model(2, &[8]);
    let refused = |options: SampleOptions| {
        let error = Sampler::new(device(), &model, None, options).expect_err("an error").to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    let good = SampleOptions::default();
    assert!(refused(SampleOptions { steps: 0, ..good.clone() }).contains("--steps"));
    assert!(refused(SampleOptions { t0: 0.5, t1: 0.5, ..good.clone() }).contains("--t0"));
    assert!(refused(SampleOptions { t1: f32::NAN, ..good.clone() }).contains("--t1"));
    let mut sampler = sampler(device(), &model, &good);
    assert!(sampler.carry(&[1.0]).is_err() && sampler.carry(&[]).is_err());
    assert!(sampler.sample(0, sampler.chunk_rows() + 1).is_err());
    assert!(sampler.sample(u64::from(u32::MAX), 2).is_err());
    let source = Dataset::from_rows("line", vec![1.0], 1).expect("a data set");
    assert!(Sampler::new(device(), &model, Some(&source), good).is_err());
    let deep = random_model(2, &[8; 40]);
    let fused = SampleOptions { kernels: Kernels::Fused, ..SampleOptions::default() };
    assert!(Sampler::new(device(), &deep, None, fused).is_err());
    assert!(sampler_of_anything(&deep));
}

/// A network that is too deep for the fused kernel still samples.
fn sampler_of_anything(model: &Model) -> bool {
    let points =
        sampler(device(), model, &SampleOptions { steps: 2, ..SampleOptions::default() }).sample(0, 3);
    points.expect("samples").iter().all(|x| x.is_finite())
}
