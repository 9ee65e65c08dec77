//! What training learns, held against what is known exactly: the field and the loss's floor between Gaussians, and the
//! floor of the checkerboard.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "sizes of tests are small")]

mod common;
mod reference;

use std::f64::consts::PI;
use std::ops::ControlFlow;

use common::{device, random, wide};
use windfield::data::Dataset;
use windfield::model::Model;
use windfield::sample::{SampleOptions, Sampler};
use windfield::train::{Schedule, TrainOptions, Trainer, mean_loss};

fn learn(data: &Dataset, options: TrainOptions) -> Model {
    let mut trainer = Trainer::new(device(), data, None, options).expect("a trainer");
    trainer.run(|_| ControlFlow::Continue(())).expect("a run");
    trainer.model().expect("a model")
}

/// N(0, I) → N(m, s²·I) with the straight path: the marginal field is linear in x, the floor of the loss is
/// C = d·s·π/2, and the flow is x ↦ m + s·x.
#[test]
fn between_gaussians_the_exact_field_is_learned() {
    let (m, s) = ([1.0, -0.5], 0.5);
    let normals = random(11, 2 * 50_000);
    let rows = normals.chunks_exact(2).flat_map(|x| [m[0] + s * x[0], m[1] + s * x[1]]).collect();
    let data = Dataset::from_rows("gaussian", rows, 2).expect("a data set");
    let options = TrainOptions {
        hidden: vec![64, 64],
        batch: 512,
        steps: 3000,
        lr: 4e-3,
        schedule: Schedule::Cosine,
        standardize: false,
        ..TrainOptions::default()
    };
    let model = learn(&data, options);

    let (loss, error) = mean_loss(device(), &model, &data, None, 2048, 400, 77).expect("a loss");
    let floor = 2.0 * f64::from(s) * PI / 2.0;
    let excess = loss - floor;
    println!("loss {loss:.4} ± {error:.4}, floor {floor:.4}");
    // The excess is the mean squared distance to the exact field. It reached 0.004 here; an untrained network is 1.2
    // above. Below the floor there is only the noise of the estimate and of 50 000 points for a density.
    assert!(excess > -4.0 * error - 0.01, "{loss} is below the floor {floor}");
    assert!(excess < 0.02, "{loss} is {excess} above the floor {floor}");

    let mut sampler = Sampler::new(device(), &model, None, SampleOptions::default()).expect("a sampler");
    let s = f64::from(s);
    for t in [0.0, 0.25, 0.5, 0.75, 1.0] {
        // points where the path is at time t
        let spread = ((1.0 - t) * (1.0 - t) + t * t * s * s).sqrt();
        let points: Vec<f32> = random(12, 2 * 2000)
            .chunks_exact(2)
            .flat_map(|x| [0, 1].map(|i| (t * f64::from(m[i]) + spread * f64::from(x[i])) as f32))
            .collect();
        let learned = wide(&sampler.velocity(&points, t as f32).expect("velocities"));
        let slope = (t * s * s - (1.0 - t)) / (spread * spread);
        let square: f64 = wide(&points)
            .iter()
            .zip(&learned)
            .enumerate()
            .map(|(i, (x, v))| {
                let mean = f64::from(m[i % 2]);
                (v - (mean + slope * (x - t * mean))).powi(2)
            })
            .sum();
        let distance = (square / 2000.0).sqrt();
        println!("t = {t}: the field is {distance:.3} from the exact one");
        // At the ends the training sees few points; in between it reached 0.03 to 0.08.
        assert!(distance < 0.2, "t = {t}: {distance} from the exact field");
    }

    let noise = sampler.noise(0, 4000).expect("noise");
    let ends = sampler.sample(0, 4000).expect("samples");
    let square: f64 = wide(&noise)
        .iter()
        .zip(wide(&ends))
        .enumerate()
        .map(|(i, (x, end))| (end - (f64::from(m[i % 2]) + s * x)).powi(2))
        .sum();
    let distance = (square / 4000.0).sqrt();
    println!("the flow is {distance:.3} from m + s·x");
    assert!(distance < 0.1, "the flow is {distance} from the exact one");
}

/// The reference library's checkerboard has an irreducible loss of 7.490 ± 0.014.
#[test]
fn the_checkerboard_comes_close_to_its_floor() {
    let data = Dataset::open("checkerboard").expect("a data set");
    let options = TrainOptions {
        hidden: vec![128, 128, 128],
        activation: "gelu".parse().expect("an activation"),
        batch: 512,
        steps: 5000,
        lr: 4e-3,
        standardize: false,
        ..TrainOptions::default()
    };
    let model = learn(&data, options);
    // other points of the same density
    let fresh = Dataset::open_seeded("checkerboard", 1).expect("a data set");
    let (loss, error) = mean_loss(device(), &model, &fresh, None, 2048, 400, 78).expect("a loss");
    let excess = loss - 7.490;
    println!("loss {loss:.4} ± {error:.4}, {excess:.4} above the floor");
    // It reached 0.04 here, ± 0.01. The best linear field, which knows the mean and the variance 6.58 but no squares, is
    // d·s·π/2 − 7.490 = 0.57 above the floor. The margin is for other adapters, whose rounding makes another run of it.
    assert!(excess > -0.014 - 4.0 * error, "{loss} is below the floor");
    assert!(excess < 0.1, "{loss} is {excess} above the floor");
}
