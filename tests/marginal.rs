//! The exact marginals of data sets (eq. 5, 6) as the library gives them: against float64, against closed forms, and
//! against what must hold of any density and its flow.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "sizes of tests are small"
)]
#![allow(clippy::many_single_char_names, reason = "the names are those of the formulas")]

mod common;
mod reference;

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::ops::ControlFlow;

use common::{Report, UNIT, cramped_device, device, random, wide};
use reference::marginal::{marginal, marginal_standardized, marginal_variance};
use windfield::data::{Dataset, Standardization};
use windfield::flow::{Field, Marginal, PATHS, Path};
use windfield::gpu::{Device, Habits};
use windfield::train::{Checkpoint, ExactLoss, TrainOptions, Trainer};

fn dataset(values: Vec<f32>, dim: usize) -> Dataset {
    Dataset::from_rows("points", values, dim).unwrap_or_else(|error| panic!("{error}"))
}

fn marginals(device: &Device, data: &Dataset, path: &Path) -> Marginal {
    Marginal::new(device, data, None, path).unwrap_or_else(|error| panic!("{error}"))
}

fn field(marginal: &Marginal, points: &[f32], t: f64) -> Field {
    marginal.field(points, t).unwrap_or_else(|error| panic!("{error}"))
}

/// Where the path is laid in the coordinates of the data.
fn plain(dim: usize) -> Standardization {
    Standardization { mean: vec![0.0; dim], std: vec![1.0; dim] }
}

/// Points of the conditional paths at time t.
fn on_paths(path: &Path, data: &Dataset, t: f64, queries: usize, seed: u64) -> Vec<f32> {
    on_paths_to(&plain(data.dim()), path, data, t, queries, seed)
}

/// The same of the paths to the standardised data, in data units.
fn on_paths_to(
    Standardization { mean, std }: &Standardization,
    path: &Path,
    data: &Dataset,
    t: f64,
    queries: usize,
    seed: u64,
) -> Vec<f32> {
    let [a, b, ..] = path.schedule(t);
    let dim = data.dim();
    let noise = random(seed, queries * dim);
    (0..queries * dim)
        .map(|i| {
            let (row, k) = (data.row(i / dim * 7919 % data.rows()), i % dim);
            let x1 = (f64::from(row[k]) - mean[k]) / std[k];
            (mean[k] + std[k] * (a * x1 + b * f64::from(noise[i]))) as f32
        })
        .collect()
}

/// The largest error of the densities, and that of the velocities next to the largest velocity.
fn errors(path: &Path, data: &Dataset, points: &[f32], t: f64, got: &Field) -> (f64, f64) {
    errors_of(&plain(data.dim()), path, data, points, t, got)
}

/// The same of a path to the standardised data; velocities are compared in its coordinates, points and field are in
/// data units.
fn errors_of(
    scale: &Standardization,
    path: &Path,
    data: &Dataset,
    points: &[f32],
    t: f64,
    got: &Field,
) -> (f64, f64) {
    let schedule = vec![path.schedule(t); points.len() / data.dim()];
    let (density, velocity) =
        marginal_standardized(&wide(points), &schedule, &wide(data.values()), &scale.mean, &scale.std);
    let largest = |errors: &mut dyn Iterator<Item = f64>| errors.fold(0.0, f64::max);
    let std = |i: usize| scale.std[i % data.dim()];
    // (all of them may be 0)
    let length = largest(&mut velocity.iter().enumerate().map(|(i, v)| v.abs() / std(i)));
    let off = got.velocities.iter().zip(&velocity).enumerate();
    (
        largest(&mut got.log_densities.iter().zip(&density).map(|(got, want)| (got - want).abs())),
        largest(&mut off.map(|(i, (got, want))| (f64::from(*got) - want).abs() / std(i)))
            / length.max(f64::MIN_POSITIVE),
    )
}

/// As t → 1 the weights become one-hot; what is stated in the documentation is what is measured here.
#[test]
fn the_field_is_accurate_up_to_the_data() {
    let mut report = Report::new();
    let path = Path::default();
    for name in ["moons:3000", "digits:300"] {
        let data = Dataset::open(name).unwrap_or_else(|error| panic!("{error}"));
        let standardization = data.standardization();
        for wanted in [None, Some(&standardization)] {
            let scale = wanted.cloned().unwrap_or_else(|| plain(data.dim()));
            let marginal =
                Marginal::new(device(), &data, wanted, &path).unwrap_or_else(|error| panic!("{error}"));
            for t in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0 - 1e-4, 1.0] {
                let points = on_paths_to(&scale, &path, &data, t, 200, 5);
                let got = field(&marginal, &points, t);
                let (density, velocity) = errors_of(&scale, &path, &data, &points, t, &got);
                let what = if wanted.is_some() { "standardised" } else { "as they are" };
                println!(
                    "{name} {what}, t = {t}: log p within {density:.1e}, velocities within {velocity:.1e}"
                );
                // A logarithm is a sum of d squares, each of the order of 1.
                report.holds(density < 1e-6 + 5e-7 * data.dim() as f64, || {
                    format!("{name} {what}, t = {t}: log p {density:e}")
                });
                report.holds(velocity < 1e-6, || format!("{name} {what}, t = {t}: velocity {velocity:e}"));
            }
        }
    }
    report.finish();
}

/// Units that float32 can only just hold, columns far from 0 next to their deviation, and a path that is narrow long
/// before it arrives: nothing is lost but what sums and products round.
#[test]
fn units_and_paths_take_nothing_from_the_accuracy() {
    let mut report = Report::new();
    let units = [(0.0, 1e-36), (2000.0, 10.0), (0.0, 1e36), (1e5, 100.0), (-3e-20, 1e-22)];
    let narrow = Path::custom("t", "(1 - t)^4 + 1e-5*t", &BTreeMap::new());
    let narrow = narrow.unwrap_or_else(|error| panic!("{error}"));
    for dim in [5, 20] {
        let values = random(41, 400 * dim).into_iter().enumerate().map(|(i, x)| {
            let (mean, std) = units[i % dim % 5];
            (mean + std * f64::from(x)) as f32
        });
        let data = dataset(values.collect(), dim);
        let scale = data.standardization();
        for path in [Path::default(), narrow.clone()] {
            let marginal = Marginal::new(device(), &data, Some(&scale), &path);
            let marginal = marginal.unwrap_or_else(|error| panic!("{error}"));
            for t in [0.0, 0.3, 0.6, 0.9, 0.99] {
                let points = on_paths_to(&scale, &path, &data, t, 100, 10);
                let got = field(&marginal, &points, t);
                let (density, velocity) = errors_of(&scale, &path, &data, &points, t, &got);
                let name = format!("{}, dimension {dim}, t = {t}", path.name());
                println!("{name}: log p within {density:.1e}, velocities within {velocity:.1e}");
                report.holds(density < 4e-6 + 1e-6 * dim as f64, || format!("{name}: log p {density:e}"));
                report.holds(velocity < 2e-6, || format!("{name}: velocity {velocity:e}"));
            }
        }
    }
    report.finish();
}

/// Every path, small dimensions and general ones, up to where its times end.
#[test]
fn every_path_has_its_marginals() {
    let mut report = Report::new();
    for family in PATHS {
        let Ok(path) = Path::named(family.name) else { continue };
        for dim in [1, 3, 17] {
            let data = dataset(random(31, 700 * dim), dim);
            let marginal = marginals(device(), &data, &path);
            for t in [0.0, 0.3, 0.8, path.t_max() - 1e-3] {
                let points = on_paths(&path, &data, t, 70, 6);
                let (density, velocity) = errors(&path, &data, &points, t, &field(&marginal, &points, t));
                let name = format!("{}, dimension {dim}, t = {t}", family.name);
                // A logarithm is a sum of d squares, each of the order of 1.
                report.holds(density < 4e-6 + 1e-6 * dim as f64, || format!("{name}: log p {density:e}"));
                report.holds(velocity < 1e-5, || format!("{name}: velocity {velocity:e}"));
            }
        }
    }
    report.finish();
}

/// How the work is cut decides nothing: slices are added in the order of the data, one by one.
#[test]
fn the_cut_does_not_matter() {
    let mut report = Report::new();
    let path = Path::default();
    let smallest = device().with_habits(Habits { dispatch_flops: 1, ..*device().habits() });
    let patient = device().with_habits(Habits { dispatch_flops: 1 << 40, ..*device().habits() });
    let hardware = device().with_habits(Habits::HARDWARE);
    for (dim, rows) in [(2, 5000), (40, 1300)] {
        let data = dataset(random(32, rows * dim), dim);
        for queries in [1, 61] {
            let points = on_paths(&path, &data, 0.7, queries, 7);
            let whole = field(&marginals(device(), &data, &path), &points, 0.7);
            for other in [&smallest, &patient] {
                let got = field(&marginals(other, &data, &path), &points, 0.7);
                report.same_bits("velocities", &got.velocities, &whole.velocities);
                report.equal("log densities", &got.log_densities, &whole.log_densities);
            }
            let got = field(&marginals(&hardware, &data, &path), &points, 0.7);
            report.near("tiles of a GPU", &got.velocities, &wide(&whole.velocities), 1e-5);
            // A time for each point.
            let marginal = marginals(device(), &data, &path);
            let each =
                marginal.field_at(&points, &vec![0.7; queries]).unwrap_or_else(|error| panic!("{error}"));
            report.same_bits("one time for each", &each.velocities, &whole.velocities);
        }
    }
    report.finish();
}

/// More slices than one dispatch takes, and more rows than any loop may have.
#[test]
fn large_data_sets_are_whole() {
    let mut report = Report::new();
    let (path, rows) = (Path::default(), 1_200_000);
    // A third of the data lies at either end of the table.
    let values = (0..rows).map(|i| if i < rows / 3 { -1.0 } else { 1.0 } + 1e-7 * i as f32).collect();
    let data = dataset(values, 1);
    let points = [0.0, -0.5, 0.3];
    let got = field(&marginals(device(), &data, &path), &points, 0.5);
    let (density, velocity) = errors(&path, &data, &points, 0.5, &got);
    // Sums of 256 rows, of 64 slices, of 64 such runs: half a rounding each, and not all in one direction.
    println!("log p within {density:.1e}, velocities within {velocity:.1e}");
    report.holds(density < 3e-6, || format!("log p {density:e}"));
    report.holds(velocity < 3e-6, || format!("velocity {velocity:e}"));
    report.finish();
}

#[test]
fn times_may_differ_from_point_to_point() {
    let mut report = Report::new();
    let (path, data) = (Path::default(), dataset(random(33, 900), 3));
    let marginal = marginals(device(), &data, &path);
    let times: Vec<f64> = (0..50).map(|i| f64::from(i) / 50.0).collect();
    let points = random(34, 150);
    let got = marginal.field_at(&points, &times).unwrap_or_else(|error| panic!("{error}"));
    for (i, &t) in times.iter().enumerate() {
        let alone = field(&marginal, &points[3 * i..3 * i + 3], t);
        report.same_bits(&format!("t = {t}"), &got.velocities[3 * i..3 * i + 3], &alone.velocities);
        report.equal(&format!("t = {t}: log p"), &got.log_densities[i..=i], &alone.log_densities);
    }
    report.finish();
}

/// The order of the rows is that of the sums.
#[test]
fn the_order_of_the_data_does_not_matter() {
    let mut report = Report::new();
    let path = Path::default();
    let data = dataset(random(35, 2 * 3001), 2);
    let order: Vec<usize> = (0..3001).map(|i| i * 1009 % 3001).collect();
    let points = on_paths(&path, &data, 0.8, 100, 8);
    let a = field(&marginals(device(), &data, &path), &points, 0.8);
    let b = field(&marginals(device(), &data.select(&order), &path), &points, 0.8);
    let largest = a.velocities.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
    report.near("velocities", &b.velocities, &wide(&a.velocities), 1e-5 * f64::from(largest));
    for (a, b) in a.log_densities.iter().zip(&b.log_densities) {
        report.holds((a - b).abs() < 3e-6, || format!("{a} and {b}"));
    }
    report.finish();
}

/// One point: N(a·x1, b²·I), and straight there.
#[test]
fn one_point_is_a_gaussian() {
    let mut report = Report::new();
    let path = Path::default();
    for dim in [1, 5, 100] {
        let x1 = random(36, dim);
        let marginal = marginals(device(), &dataset(x1.clone(), dim), &path);
        for t in [0.0, 0.5, 0.999, 1.0] {
            let [a, b, da, db] = path.schedule(t);
            let x: Vec<f32> = x1
                .iter()
                .zip(random(37, dim))
                .map(|(&x1, x0)| (a * f64::from(x1) + b * f64::from(x0)) as f32)
                .collect();
            let got = field(&marginal, &x, t);
            let r: Vec<f64> = x.iter().zip(&x1).map(|(&x, &x1)| f64::from(x) - a * f64::from(x1)).collect();
            let square: f64 = r.iter().map(|r| r * r).sum();
            let log = -square / (2.0 * b * b) - dim as f64 * (b * (2.0 * PI).sqrt()).ln();
            let error = (got.log_densities[0] - log).abs();
            report
                .holds(error < 2e-6 * (1.0 + dim as f64), || format!("dimension {dim}, t = {t}: {error:e}"));
            let want: Vec<f64> = r.iter().zip(&x1).map(|(r, &x1)| db / b * r + da * f64::from(x1)).collect();
            report.close(&format!("dimension {dim}, t = {t}"), &got.velocities, &want, |i| {
                1e-6 * (db / b * r[i]).abs().max(1.0)
            });
        }
    }
    report.finish();
}

/// N(0, I) → N(m, s²I): v = m + (t·s² − (1 − t))/(t²s² + (1 − t)²)·(x − t·m), up to the error of the sample.
#[test]
fn a_gaussian_sample_has_the_gaussians_field() {
    let mut report = Report::new();
    let (m, s, rows) = ([1.0, -0.5], 0.5, 100_000);
    let values =
        random(38, 2 * rows).iter().enumerate().map(|(i, x)| (m[i % 2] + s * f64::from(*x)) as f32).collect();
    let data = dataset(values, 2);
    let path = Path::named("ot")
        .and_then(|path| path.with("sigma_min", 0.0))
        .unwrap_or_else(|error| panic!("{error}"));
    let marginal = marginals(device(), &data, &path);
    for t in [0.1, 0.5, 0.8] {
        let points = on_paths(&path, &data, t, 500, 9);
        let got = field(&marginal, &points, t);
        let variance = t * t * s * s + (1.0 - t) * (1.0 - t);
        let (mut density, mut velocity) = (0.0, 0.0);
        for (i, x) in points.chunks_exact(2).enumerate() {
            let mut log = -(2.0 * PI * variance).ln();
            for k in 0..2 {
                let r = f64::from(x[k]) - t * m[k];
                log -= r * r / (2.0 * variance);
                let v = m[k] + (t * s * s - (1.0 - t)) / variance * r;
                velocity += (f64::from(got.velocities[2 * i + k]) - v).powi(2) / 500.0;
            }
            density += (got.log_densities[i] - log).powi(2) / 500.0;
        }
        println!("t = {t}: log p within {:.4}, velocity within {:.4}", density.sqrt(), velocity.sqrt());
        // The kernel's window of width b/a takes in so many of the rows where the density is highest, and some
        // fewer elsewhere; the velocity multiplies the error of the rows' mean by 1/(1 − t).
        let window = ((1.0 - t) / t / s).powi(2).min(1.0) * rows as f64;
        let scatter = 5.0 / window.sqrt();
        report.holds(density.sqrt() < scatter, || format!("t = {t}: log p {:e}", density.sqrt()));
        report.holds(velocity.sqrt() < 2.0 * scatter, || format!("t = {t}: velocity {:e}", velocity.sqrt()));
    }
    report.finish();
}

/// A grid of points over [−4, 4]².
fn grid(side: usize, step: f64) -> Vec<f32> {
    let place = |i: usize| ((i as f64 - (side as f64 - 1.0) / 2.0) * step) as f32;
    (0..side * side).flat_map(|i| [place(i % side), place(i / side)]).collect()
}

#[test]
fn a_density_has_mass_one() {
    let mut report = Report::new();
    let data = Dataset::open("moons:700").unwrap_or_else(|error| panic!("{error}"));
    for (name, t) in [("ot", 0.0), ("ot", 0.6), ("cosine", 0.5), ("ve", 0.7)] {
        let path = Path::named(name).unwrap_or_else(|error| panic!("{error}"));
        // As wide as the Gaussian of one row, six deviations around the data.
        let b = path.schedule(t)[1];
        let step = b.min(1.0) / 5.0;
        let side = ((8.0 + 12.0 * b) / step).ceil() as usize;
        let got = field(&marginals(device(), &data, &path), &grid(side, step), t);
        let mass: f64 = got.log_densities.iter().map(|log| log.exp()).sum::<f64>() * step * step;
        println!("{name}, t = {t}: mass {mass:.7} of {side}² points");
        report.holds((mass - 1.0).abs() < 1e-5, || format!("{name}, t = {t}: mass {mass}"));
    }
    report.finish();
}

/// ∂p/∂t + div(p·u) = 0 (Theorem 1), by differences of fourth order in time and space.
#[test]
fn density_and_field_obey_the_continuity_equation() {
    let mut report = Report::new();
    let data = Dataset::open("moons:700").unwrap_or_else(|error| panic!("{error}"));
    for (name, t) in [("ot", 0.5), ("vp", 0.7), ("poly:3", 0.6)] {
        let path = Path::named(name).unwrap_or_else(|error| panic!("{error}"));
        let marginal = marginals(device(), &data, &path);
        // Data some deviations away move by as many of them in time.
        let b = path.schedule(t)[1];
        let (side, in_space, in_time) = (60, 0.1 * b, 0.01 * b);
        let points = grid(side, 0.1);
        let density = |points: &[f32], t: f64| -> Vec<f64> {
            field(&marginal, points, t).log_densities.iter().map(|log| log.exp()).collect()
        };
        let shifted = |k: usize, by: f64| -> Vec<f32> {
            let step = |(i, x): (usize, &f32)| if i % 2 == k { (f64::from(*x) + by) as f32 } else { *x };
            points.iter().enumerate().map(step).collect()
        };
        // p·u_k at points moved by so much
        let flux = |k: usize, by: f64| -> Vec<f64> {
            let points = shifted(k, by);
            let got = field(&marginal, &points, t);
            got.log_densities
                .iter()
                .enumerate()
                .map(|(i, log)| log.exp() * f64::from(got.velocities[2 * i + k]))
                .collect()
        };
        let slope = |h: f64, f: &dyn Fn(f64) -> Vec<f64>| -> Vec<f64> {
            let [a, b, c, d] = [f(-2.0 * h), f(-h), f(h), f(2.0 * h)];
            (0..a.len()).map(|i| (a[i] - 8.0 * b[i] + 8.0 * c[i] - d[i]) / (12.0 * h)).collect()
        };
        let change = slope(in_time, &|by| density(&points, t + by));
        let (out_x, out_y) = (slope(in_space, &|by| flux(0, by)), slope(in_space, &|by| flux(1, by)));
        let largest = change.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        let worst = (0..change.len()).map(|i| (change[i] + out_x[i] + out_y[i]).abs()).fold(0.0, f64::max);
        println!("{name}, t = {t}: {worst:.1e} beside changes of {largest:.2}");
        report.holds(worst < 3e-4 * largest, || format!("{name}: {worst:e} beside {largest:e}"));
        report.holds(largest > 0.05, || format!("{name}: nothing moves"));
    }
    report.finish();
}

fn measured(data: &Dataset, options: TrainOptions) -> (Trainer, Vec<(u64, ExactLoss)>) {
    let mut trainer = Trainer::new(device(), data, None, options).unwrap_or_else(|error| panic!("{error}"));
    let mut losses = vec![];
    let outcome = trainer.run(|progress| {
        losses.extend(progress.exact.map(|exact| (progress.step, exact)));
        ControlFlow::Continue(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    (trainer, losses)
}

/// Between Gaussians, C = d·s·π/2; on the checkerboard it is known to be 7.490 ± 0.014.
#[test]
fn the_floor_is_the_crossing_energy() {
    let mut report = Report::new();
    let s = 0.5;
    let values = random(39, 3 * 50_000).iter().map(|x| (2.0 + s * f64::from(*x)) as f32).collect();
    let gaussian = dataset(values, 3);
    let checkerboard = Dataset::open("checkerboard:100000").unwrap_or_else(|error| panic!("{error}"));
    for (data, name, want, known) in
        [(&gaussian, "gaussian", 3.0 * s * PI / 2.0, 0.0), (&checkerboard, "checkerboard", 7.490, 0.014)]
    {
        let options = TrainOptions {
            hidden: vec![16],
            steps: 3,
            warmup: 0,
            standardize: false,
            exact_every: 1,
            exact_rows: 4096,
            seed: 4,
            ..TrainOptions::default()
        };
        let (trainer, losses) = measured(data, options);
        let floor = trainer.floor().expect("it is measured");
        println!(
            "{name}: C = {:.4} ± {:.4}, {want:.4} ± {known} is known",
            floor.crossing_energy, floor.error
        );
        // Near t = 1 the rows of the sample stand out one by one and their paths do not cross, which those of the
        // density do: over times of the order of the rows' distance, some hundredth of the whole.
        let allowed = 3.5 * floor.error.hypot(known) + 0.01 * want;
        report.holds((floor.crossing_energy - want).abs() < allowed, || format!("{name}: {floor:?}"));
        report.holds(floor.rows == 4096 && floor.error < 0.03 * want, || format!("{name}: {floor:?}"));
        // L_CFM = L_FM + C for any network, here one that knows nothing: over one batch up to the mean of
        // 2·(v − u)·(u − u(x | x1)), whose terms are of the order of twice the root of both losses.
        report.equal("steps", &losses.iter().map(|loss| loss.0).collect::<Vec<_>>(), &[1, 2, 3]);
        for (step, ExactLoss { fm, cfm }) in losses {
            let scatter = 2.0 * 2.0 * (fm * floor.crossing_energy / 4096.0).sqrt();
            let gap = cfm - fm - floor.crossing_energy;
            println!("{name}, step {step}: L_FM {fm:.4}, L_CFM {cfm:.4}, gap {gap:.4} of {scatter:.4}");
            report.holds(gap.abs() < scatter, || format!("{name}, step {step}: {gap} beyond {scatter}"));
        }
    }
    report.finish();
}

/// What is measured is the model that would be saved, at the held-out points.
#[test]
fn the_exact_loss_is_that_of_the_saved_model() {
    let mut report = Report::new();
    let data = Dataset::open("moons:1000").unwrap_or_else(|error| panic!("{error}"));
    for (ema, time_frequencies, exact_rows) in [(0.0, 0, 100), (0.9, 2, 1000)] {
        let options = TrainOptions {
            hidden: vec![20, 12],
            batch: 64,
            steps: 20,
            ema,
            time_frequencies,
            exact_every: 20,
            exact_rows,
            ..TrainOptions::default()
        };
        let (trainer, losses) = measured(&data, options.clone());
        let model = trainer.model().unwrap_or_else(|error| panic!("{error}"));
        let draw = windfield::train::BatchOptions {
            path: options.path.clone(),
            coupling: options.coupling,
            batch: exact_rows,
            seed: options.seed,
            standardize: true,
            step: u32::MAX,
        };
        let batch = windfield::train::Batch::draw(device(), &data, None, &draw)
            .unwrap_or_else(|error| panic!("{error}"));
        let parameters =
            model.weights.iter().flat_map(|(weight, bias)| [wide(weight), wide(bias)]).collect::<Vec<_>>();
        let inputs = 3 + 2 * time_frequencies;
        let mlp = reference::mlp::Mlp::new(
            &[inputs, 20, 12, 2],
            reference::activation::Activation::Silu,
            parameters,
        );
        let v =
            mlp.forward(&reference::draw::features(&wide(&batch.xt), &wide(&batch.t), 2, time_frequencies));
        let mut values = data.values().to_vec();
        data.standardization().apply(&mut values);
        let schedule: Vec<[f64; 4]> = batch.t.iter().map(|&t| options.path.schedule(f64::from(t))).collect();
        let (_, u) = marginal(&wide(&batch.xt), &schedule, &wide(&values), 2);
        let fm = reference::loss::loss(&v, &u, exact_rows);
        let cfm = reference::loss::loss(&v, &wide(&batch.ut), exact_rows);
        report.equal("one measurement", &[losses.len()], &[1]);
        report.near("L_FM", &[losses[0].1.fm as f32], &[fm], 1e-5 * fm);
        report.near("L_CFM", &[losses[0].1.cfm as f32], &[cfm], 1e-5 * cfm);
        let floor = reference::loss::loss(&u, &wide(&batch.ut), exact_rows);
        let got = trainer.floor().expect("it is measured").crossing_energy;
        report.near("C", &[got as f32], &[floor], 1e-5 * floor);
    }
    report.finish();
}

/// Measuring changes no bit of the run, and a resumed run measures the same.
#[test]
fn measuring_changes_nothing() {
    let mut report = Report::new();
    let data = Dataset::open("moons:1000").unwrap_or_else(|error| panic!("{error}"));
    let options = |steps, exact_every| TrainOptions {
        hidden: vec![24, 24],
        batch: 100,
        steps,
        schedule: windfield::train::Schedule::Constant,
        ema: 0.9,
        exact_every,
        exact_rows: 777,
        ..TrainOptions::default()
    };
    let bits = |trainer: &Trainer| {
        let model = trainer.model().unwrap_or_else(|error| panic!("{error}"));
        model
            .weights
            .iter()
            .flat_map(|(weight, bias)| [weight.clone(), bias.clone()].concat())
            .collect::<Vec<f32>>()
    };
    let (plain, nothing) = measured(&data, options(40, 0));
    let (whole, losses) = measured(&data, options(40, 7));
    report.holds(nothing.is_empty() && plain.floor().is_none(), || "measured unasked".into());
    report.same_bits("the weights", &bits(&plain), &bits(&whole));
    let steps: Vec<u64> = losses.iter().map(|loss| loss.0).collect();
    report.equal("measured after", &steps, &[7, 14, 21, 28, 35, 40]);
    let (part, _) = measured(&data, options(17, 7));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("checkpoint.safetensors");
    part.checkpoint().and_then(|checkpoint| checkpoint.save(&file)).unwrap_or_else(|error| panic!("{error}"));
    let checkpoint = Checkpoint::load(&file).unwrap_or_else(|error| panic!("{error}"));
    let mut rest =
        Trainer::resume(device(), &data, None, &checkpoint, 40).unwrap_or_else(|error| panic!("{error}"));
    let mut after = vec![];
    let outcome = rest.run(|progress| {
        after.extend(progress.exact.map(|exact| (progress.step, exact)));
        ControlFlow::Continue(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    report.same_bits("the weights after a resumption", &bits(&rest), &bits(&whole));
    report.equal("the measurements after a resumption", &after, &losses[2..]);
    report.holds(rest.floor() == whole.floor(), || "another floor".into());
    report.finish();
}

/// V(x, t) against float64, in data units and in the network's, by both sets of kernels; 0 of a single point; and its mean
/// at t = 0 is the variance of the data.
#[test]
fn the_velocitys_variance_is_the_twins() {
    let mut report = Report::new();
    for dim in [1, 2, 20] {
        let values = random(31, 700 * dim);
        let data = dataset(values.iter().map(|x| 3.0 * x + 1.0).collect(), dim);
        let scale = data.standardization();
        let (mean, std) = (scale.mean.clone(), scale.std.clone());
        let to_network = |x: &[f32]| -> Vec<f64> {
            x.iter().enumerate().map(|(i, x)| (f64::from(*x) - mean[i % dim]) / std[i % dim]).collect()
        };
        for path in Path::examples() {
            let laid = Marginal::new(device(), &data, Some(&scale), &path).unwrap().in_network_units();
            for t in [0.1, 0.5, 0.9] {
                let points = on_paths_to(&scale, &path, &data, t, 20, 32);
                let points = to_network(&points);
                let x: Vec<f32> = points.iter().map(|x| *x as f32).collect();
                let name = format!("{} at t = {t}, dimension {dim}", path.family().name);
                let Ok(got) = laid.variance(&x, t) else {
                    report.holds(false, || format!("{name}: refused"));
                    continue;
                };
                let schedule = path.schedule(t);
                let want = marginal_variance(&wide(&x), schedule, &to_network(data.values()), dim);
                // What is off is the difference of two means over (c − x1), c being what x1 would be if data were normal:
                // both have the same weights, whose error is relative, and each is a sum of a few hundred terms.
                let [a, b, da, db] = schedule;
                let factor = da - a * db / b;
                let (_, means) = marginal(&wide(&x), &[schedule; 20], &to_network(data.values()), dim);
                let off = |i: usize| -> f64 {
                    let away = (i * dim..(i + 1) * dim).map(|at| {
                        let x = f64::from(x[at]);
                        (a / (a * a + b * b) * x - (means[at] - db / b * x) / factor).powi(2)
                    });
                    64.0 * UNIT * (factor * factor * away.sum::<f64>() + want[i]) + 1e-4 * want[i]
                };
                let values: Vec<f32> = got.variances.iter().map(|v| *v as f32).collect();
                report.close(&name, &values, &want, off);
                let field = laid.field(&x, t).unwrap();
                report.equal(&format!("{name}: density"), &got.log_densities, &field.log_densities);
            }
        }
        // Without a path between them, x says nothing of x1.
        let plain = Marginal::new(device(), &data, None, &Path::default()).unwrap();
        let whole: f64 = std.iter().map(|std| std * std).sum();
        let got = plain.variance(&vec![0.5; dim], 0.0).unwrap().variances[0];
        report.holds((got / whole - 1.0).abs() < 1e-3, || {
            format!("{got} of {whole} at t = 0, dimension {dim}")
        });
        // Units of the data: those of a path that is laid in them, and of one that is not.
        let scaled = Marginal::new(device(), &data, Some(&scale), &Path::default()).unwrap();
        let got = scaled.variance(&vec![0.5; dim], 0.0).unwrap().variances[0];
        report.holds((got / whole - 1.0).abs() < 1e-3, || format!("{got} of {whole} at t = 0, standardised"));
        let one = dataset(vec![2.5; dim], dim);
        let one = marginals(device(), &one, &Path::default());
        let got = one.variance(&random(33, 10 * dim), 0.6).unwrap().variances;
        report.holds(got.iter().all(|v| *v < 1e-4), || format!("one point: {got:?}"));
        report.holds(one.variance(&[], 0.5).is_err() && one.variance(&vec![0.0; dim], 1.5).is_err(), || {
            "nothing, or a time beyond 1, was taken".to_owned()
        });
    }
    report.finish();
}

#[test]
fn what_has_no_marginal_is_refused_in_words() {
    let mut report = Report::new();
    let data = dataset(random(40, 60), 3);
    let marginal = marginals(device(), &data, &Path::default());
    let mut refused = |name: &str, outcome: windfield::Result<Field>, word: &str| {
        let message = outcome.map_or_else(|error| error.to_string(), |_| "it was taken".into());
        report.holds(message.contains(word) && message.lines().count() == 1, || format!("{name}: {message}"));
    };
    refused("empty", marginal.field(&[], 0.5), "whole points");
    refused("not whole", marginal.field(&[1.0; 4], 0.5), "whole points");
    refused("not finite", marginal.field(&[1.0, f32::NAN, 0.0], 0.5), "NaN");
    refused("before", marginal.field(&[1.0; 3], -0.1), "[0, 1]");
    refused("after", marginal.field(&[1.0; 3], 1.0 + 1e-9), "[0, 1]");
    refused("no time", marginal.field(&[1.0; 3], f64::NAN), "[0, 1]");
    refused("one time missing", marginal.field_at(&[1.0; 6], &[0.5]), "one time for each");
    refused("out of reach", marginal.field(&[1e25, 0.0, 0.0], 0.5), "far");
    for name in ["cosine", "poly", "vp", "ve"] {
        let path = Path::named(name).unwrap_or_else(|error| panic!("{error}"));
        let marginal = marginals(device(), &data, &path);
        refused(name, marginal.field(&[1.0; 3], 1.0), "b(t) is 0");
        refused(name, marginal.field(&[1.0; 3], 1.0), "such as 0.9999");
        let before = marginal.field(&[1.0; 3], 0.9999);
        assert!(before.is_ok(), "{name}: {before:?}");
    }
    report.finish();
}

/// With noise around the path, the mean velocity at a point is that of the Gaussian path with √(b² + σ²): what it leaves
/// of the pairs' velocities has no projection on it, nor on the point.
#[test]
fn noise_around_the_path_widens_it() {
    let mut report = Report::new();
    let data = Dataset::open("moons:300").unwrap_or_else(|error| panic!("{error}"));
    let clean = windfield::flow::Path::default();
    let noisy = clean.clone().with_noise(0.4).unwrap_or_else(|error| panic!("{error}"));
    let rows = 20_000;
    let options = windfield::train::BatchOptions {
        path: noisy.clone(),
        coupling: windfield::flow::Coupling::Independent,
        batch: rows,
        seed: 7,
        standardize: false,
        step: 3,
    };
    let batch = windfield::train::Batch::draw(device(), &data, None, &options)
        .unwrap_or_else(|error| panic!("{error}"));
    let times: Vec<f64> = batch.t.iter().map(|&t| f64::from(t)).collect();
    // How many standard errors the mean of (u − v)·v is from zero, and that of (u − v)·x.
    let projections = |path: &windfield::flow::Path| {
        let marginal = windfield::flow::Marginal::new(device(), &data, None, path)
            .unwrap_or_else(|error| panic!("{error}"));
        let exact = marginal.field_at(&batch.xt, &times).unwrap_or_else(|error| panic!("{error}")).velocities;
        [&exact, &batch.xt].map(|along| {
            // Near the end the field without the noise is as steep as 1/b.
            let terms: Vec<f64> = (0..rows)
                .filter(|row| batch.t[*row] < 0.8)
                .map(|row| {
                    (2 * row..2 * row + 2)
                        .map(|i| f64::from(batch.ut[i] - exact[i]) * f64::from(along[i]))
                        .sum()
                })
                .collect();
            let mean = terms.iter().sum::<f64>() / terms.len() as f64;
            let variance = terms.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / terms.len() as f64;
            mean / (variance / terms.len() as f64).sqrt()
        })
    };
    let right = projections(&noisy);
    report.holds(right.iter().all(|z| z.abs() < 4.5), || format!("{right:?} standard errors from zero"));
    let wrong = projections(&clean);
    report.holds(wrong.iter().any(|z| z.abs() > 20.0), || format!("without the noise {wrong:?} as well"));
    report.finish();
}

/// Data, and points, that are larger than what a kernel can see at once.
#[test]
fn what_a_device_sees_at_once_does_not_matter() {
    for (dim, rows, queries) in [(2, 100_000, 40), (2, 300, 40_000), (20, 10_000, 5000)] {
        let data = dataset(random(1, rows * dim), dim);
        let points = random(2, queries * dim);
        for standardization in [None, Some(data.standardization())] {
            let of = |device: &Device| {
                let marginal = Marginal::new(device, &data, standardization.as_ref(), &Path::default());
                field(&marginal.unwrap_or_else(|error| panic!("{error}")), &points, 0.7)
            };
            assert!(of(cramped_device()) == of(device()), "dimension {dim}, {rows} rows, {queries} points");
        }
    }
}
