//! What training learns, against what is known exactly: the marginal field between Gaussians, and the loss that no
//! field can fall below.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "sizes of tests are small")]
#![allow(clippy::many_single_char_names, reason = "the names are those of the formulas")]

mod common;
mod reference;

use std::f64::consts::PI;
use std::ops::ControlFlow;

use common::{Report, device, random, wide};
use windfield::data::Dataset;
use windfield::flow::Solver;
use windfield::model::Model;
use windfield::sample::{SampleOptions, Sampler};
use windfield::train::{Batch, BatchOptions, TrainOptions, Trainer, mean_loss};

fn train(data: &Dataset, options: TrainOptions) -> Model {
    let mut trainer = Trainer::new(device(), data, None, options).unwrap_or_else(|error| panic!("{error}"));
    trainer.run(|_| ControlFlow::Continue(())).unwrap_or_else(|error| panic!("{error}"));
    trainer.model().unwrap_or_else(|error| panic!("{error}"))
}

/// The loss over fresh batches, and its standard error.
fn loss(model: &Model, data: &Dataset, batches: u32) -> (f64, f64) {
    mean_loss(device(), model, data, None, 4096, batches, 99).unwrap_or_else(|error| panic!("{error}"))
}

/// N(0, I) → N(m, s²I): the exact marginal field is v(x, t) = m + (t·s² − (1 − t)) / (t²s² + (1 − t)²)·(x − t·m), its
/// flow φ_1(x) = m + s·x, and the crossing energy, which is the loss of that field, d·s·π/2.
#[test]
fn the_field_between_gaussians_is_learnt() {
    let mut report = Report::new();
    let (m, s) = ([1.0, -0.5], 0.5);
    let values =
        wide(&random(71, 2 * 200_000)).iter().enumerate().map(|(i, x)| (m[i % 2] + s * x) as f32).collect();
    let data = Dataset::from_rows("gaussian", values, 2).expect("a data set");
    let options = TrainOptions {
        hidden: vec![64, 64],
        batch: 256,
        steps: 3000,
        lr: 3e-3,
        ema: 0.995,
        standardize: false,
        seed: 1,
        ..TrainOptions::default()
    };
    let model = train(&data, options);

    // The distance from the exact field, in the mean over t and x_t.
    let drawn = BatchOptions {
        path: model.path.clone(),
        coupling: windfield::flow::Coupling::Independent,
        batch: 20_000,
        seed: 98,
        standardize: false,
        step: 0,
    };
    let batch = Batch::draw(device(), &data, None, &drawn).unwrap_or_else(|error| panic!("{error}"));
    let parameters =
        model.weights.iter().flat_map(|(weight, bias)| [wide(weight), wide(bias)]).collect::<Vec<_>>();
    let mlp = reference::mlp::Mlp::new(&[3, 64, 64, 2], reference::activation::Activation::Silu, parameters);
    let v = mlp.forward(&reference::draw::features(&wide(&batch.xt), &wide(&batch.t), 2, 0));
    let mut distance = 0.0;
    for (i, v) in v.iter().enumerate() {
        let (x, t, m) = (f64::from(batch.xt[i]), f64::from(batch.t[i / 2]), m[i % 2]);
        let exact = m + (t * s * s - (1.0 - t)) / (t * t * s * s + (1.0 - t).powi(2)) * (x - t * m);
        distance += (v - exact).powi(2) / drawn.batch as f64;
    }
    // It was 0.0085; a field of zero is ‖m‖² + d·s² + d − C = 2.18 away.
    report.near("E ‖v − u‖²", &[distance as f32], &[0.0], 0.02);

    // L_CFM = L_FM + C: what the trainer reports is that distance above the crossing energy.
    let (mean, error) = loss(&model, &data, 128);
    let floor = 2.0 * s * PI / 2.0;
    println!("loss {mean:.4} ± {error:.4}, floor {floor:.4}, distance {distance:.4}");
    // The distance and the data are samples themselves, of 20 000 and 200 000 points.
    report.near("L_CFM − L_FM", &[(mean - distance) as f32], &[floor], 4.0 * error + 0.01);

    let sampling =
        SampleOptions { solver: Solver::named("rk4").expect("rk4"), steps: 20, ..SampleOptions::default() };
    let mut sampler =
        Sampler::new(device(), &model, None, sampling).unwrap_or_else(|error| panic!("{error}"));
    let noise = sampler.noise(0, 5000).unwrap_or_else(|error| panic!("{error}"));
    let samples = sampler.sample(0, 5000).unwrap_or_else(|error| panic!("{error}"));
    let error = (0..noise.len())
        .map(|i| (f64::from(samples[i]) - (m[i % 2] + s * f64::from(noise[i]))).powi(2))
        .sum::<f64>()
        / 5000.0;
    println!("root mean square distance of φ_1: {:.4}", error.sqrt());
    // It was 0.024, of points that move by 1.3 in the root mean square.
    report.near("φ_1", &[error.sqrt() as f32], &[0.0], 0.06);
    report.finish();
}

/// No field has a loss below 7.490 ± 0.014 on the checkerboard; what a network has above that is what it has not learnt.
#[test]
fn the_checkerboard_is_learnt() {
    let mut report = Report::new();
    let data = Dataset::open("checkerboard:1000000").unwrap_or_else(|error| panic!("{error}"));
    let options = TrainOptions {
        hidden: vec![64, 64, 64],
        activation: "gelu".parse().expect("an activation"),
        batch: 256,
        steps: 4000,
        lr: 5e-3,
        ema: 0.995,
        // the floor is that of data units
        standardize: false,
        seed: 1,
        ..TrainOptions::default()
    };
    let model = train(&data, options);
    // other points of the same density
    let fresh = Dataset::open_seeded("checkerboard:1000000", 1).unwrap_or_else(|error| panic!("{error}"));
    let (mean, error) = loss(&model, &fresh, 512);
    let excess = mean - 7.490;
    println!("loss {mean:.4} ± {error:.4}, excess {excess:.4}");
    // Three seeds gave 0.087, 0.088 and 0.089; other layouts of the work end elsewhere by some 0.005, and the loss is
    // measured to 0.0065. The reference settings, five hundred times the work, are nearer to the floor; the best
    // linear field is 0.57 above it. Less than the floor, by more than both are known to, would be a mistake in the
    // loss.
    report.holds(excess < 0.12, || format!("an excess of {excess:.4}"));
    report.holds(excess > -3.0 * error.hypot(0.014), || format!("{excess:.4} below the floor"));
    report.finish();
}
