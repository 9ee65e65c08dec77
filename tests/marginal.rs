//! The exact marginals of data sets (eq. 5, 6) as the library gives them: against float64, against closed forms, and
//! against what must hold of any density and its flow.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "sizes of tests are small")]
#![allow(clippy::many_single_char_names, reason = "the names are those of the formulas")]

mod common;
mod reference;

use std::f64::consts::PI;

use common::{Report, UNIT, device, random, wide};
use reference::marginal::marginal;
use windfield::data::{Dataset, Standardization};
use windfield::flow::{Field, Marginal, Path};
use windfield::gpu::{Device, Habits};
use windfield::train::{Batch, BatchOptions};

fn dataset(values: Vec<f32>, dim: usize) -> Dataset {
    Dataset::from_rows("points", values, dim).unwrap_or_else(|error| panic!("{error}"))
}

fn marginals(device: &Device, data: &Dataset, path: &Path) -> Marginal {
    Marginal::new(device, data, None, path).unwrap_or_else(|error| panic!("{error}"))
}

fn field(marginal: &Marginal, points: &[f32], t: f64) -> Field {
    marginal.field(points, t).unwrap_or_else(|error| panic!("{error}"))
}

/// Points of the conditional paths at time t.
fn on_paths(path: &Path, data: &Dataset, t: f64, queries: usize, seed: u64) -> Vec<f32> {
    let [a, b, ..] = path.schedule(t);
    let dim = data.dim();
    let noise = random(seed, queries * dim);
    (0..queries * dim)
        .map(|i| {
            let row = data.row(i / dim * 7919 % data.rows());
            (a * f64::from(row[i % dim]) + b * f64::from(noise[i])) as f32
        })
        .collect()
}

/// The largest error of the densities, and that of the velocities next to the largest velocity.
fn errors(path: &Path, data: &Dataset, points: &[f32], t: f64, got: &Field) -> (f64, f64) {
    let schedule = vec![path.schedule(t); points.len() / data.dim()];
    let (density, velocity) = marginal(&wide(points), &schedule, &wide(data.values()), data.dim());
    let largest = |errors: &mut dyn Iterator<Item = f64>| errors.fold(0.0, f64::max);
    let scale = largest(&mut velocity.iter().map(|v| v.abs()));
    (
        largest(&mut got.log_densities.iter().zip(&density).map(|(got, want)| (got - want).abs())),
        largest(&mut got.velocities.iter().zip(&velocity).map(|(got, want)| (f64::from(*got) - want).abs()))
            / scale,
    )
}

/// As t → 1 the weights become one-hot; what is stated in the documentation is what is measured here.
#[test]
fn the_field_is_accurate_up_to_the_data() {
    let mut report = Report::new();
    let data = Dataset::open("moons:3000").unwrap_or_else(|error| panic!("{error}"));
    let digits = Dataset::open("digits:300").unwrap_or_else(|error| panic!("{error}"));
    let scale = digits.standardization();
    let mut values = digits.values().to_vec();
    scale.apply(&mut values);
    let digits = dataset(values, digits.dim());
    let path = Path::default();
    for (data, name) in [(&data, "moons"), (&digits, "digits")] {
        let marginal = marginals(device(), data, &path);
        for t in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0 - 1e-4, 1.0] {
            let points = on_paths(&path, data, t, 200, 5);
            let got = field(&marginal, &points, t);
            let (density, velocity) = errors(&path, data, &points, t, &got);
            println!("{name} t = {t}: log p within {density:.1e}, velocities within {velocity:.1e}");
            report
                .holds(density < 3e-5 * data.dim() as f64, || format!("{name}, t = {t}: log p {density:e}"));
            report.holds(velocity < 2e-5, || format!("{name}, t = {t}: velocity {velocity:e}"));
        }
    }
    report.finish();
}
