//! Measures of models whose flow is known in closed form, distances of samples against float64, and what is no sample.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "sizes of tests are small")]
#![allow(clippy::float_cmp, reason = "what is compared by == is exact")]

mod common;
mod reference;

use std::ops::ControlFlow;

use common::models::{affine, named, with};
use common::{device, random, wide};
use reference::pairs;
use windfield::Error;
use windfield::data::{Dataset, Standardization};
use windfield::flow::{Assignment, Coupling};
use windfield::measure::evaluate::{
    CONFIDENCE, Evaluation, HeldOut, Interval, MEASURES, Options, energy_distance, evaluate, kinetics,
    median_distance, mmd, normalized_path_energy, sliced_wasserstein2, wasserstein2,
};
use windfield::model::Model;
use windfield::sample::{Kernels, SampleOptions, Sampler};
use windfield::train::TrainOptions;

const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

/// Little of everything.
fn small() -> Options {
    Options {
        rows: Some(200),
        seeds: 3,
        steps: vec![1, 4],
        pairs: 64,
        exact_rows: 0,
        sample: SampleOptions { steps: 20, ..SampleOptions::default() },
        ..Options::default()
    }
}

fn found(model: &Model, data: &Dataset, source: Option<&Dataset>, options: &Options) -> Evaluation {
    evaluate(device(), model, data, source, options, |_| GO_ON).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(model: &Model, data: &Dataset, options: &Options) -> String {
    match evaluate(device(), model, data, None, options, |_| GO_ON) {
        Ok(_) => panic!("{options:?} is accepted"),
        Err(error) => error.to_string(),
    }
}

fn mean(evaluation: &Evaluation, name: &str) -> f64 {
    evaluation.measure(name).unwrap_or_else(|| panic!("no {name}")).value.mean
}

/// Off by no more than so many standard errors of a mean over the repetitions, and by a bias.
#[track_caller]
fn holds(interval: &Interval, wanted: f64, bias: f64) {
    // Three intervals at 95 % are a chance of less than 1e-3 from four degrees of freedom on.
    let allowed = 3.0 * interval.half_width.unwrap_or(f64::NAN) + bias;
    assert!((interval.mean - wanted).abs() <= allowed, "{} for {wanted}: within {allowed}", interval.mean);
}

/// Standard normals moved by m.
fn gaussian(seed: u64, rows: usize, m: &[f32]) -> Dataset {
    let values = random(seed, rows * m.len()).iter().zip(m.iter().cycle()).map(|(z, m)| z + m).collect();
    Dataset::from_rows("a Gaussian", values, m.len()).unwrap_or_else(|error| panic!("{error}"))
}

/// Gaussian to Gaussian: the flow of the exact field is known, and so is every term of the identity.
#[test]
fn the_exact_flow_of_a_gaussian_is_that_of_the_closed_forms() {
    let m = [3.0, -2.0];
    let (d, square) = (2.0, 13.0);
    let data = gaussian(1, 40_000, &m);
    // The model is the optimal transport: it moves everything by m.
    let model = affine(&[0.0; 4], &[0.0; 2], &m);
    let options =
        Options { rows: Some(400), seeds: 5, pairs: 128, exact_rows: 256, steps: vec![1], ..small() };
    let evaluation = found(&model, &data, None, &options);
    let pi = std::f64::consts::PI;

    // 40 000 points are no Gaussian: next to a point, at the end, the paths do not cross any more. It moves C by less than
    // a hundredth.
    let measure = |name| evaluation.measure(name).unwrap_or_else(|| panic!("no {name}"));
    holds(&measure("crossing energy").value, d * pi / 2.0, 0.03);
    let [exact, of_model] = &evaluation.identity[..] else { panic!("{:?}", evaluation.identity) };
    assert_eq!((exact.flow, of_model.flow), ("exact", "model"));
    holds(&exact.transport, square + 2.0 * d, 0.01);
    holds(&exact.displacement, square, 0.05);
    holds(&exact.straightness, d * (2.0 - pi / 2.0), 0.05);
    holds(&exact.crossing, d * pi / 2.0, 0.03);
    holds(&exact.residual, 0.0, 0.08);
    for (t, at) in evaluation.crossing.iter().map(|at| (at.t, at)) {
        // The field of the closed form is off by (x − t·m)·(2t − 1)/w, w = t² + (1 − t)², from the model: in the mean
        // squared d·(2t − 1)²/w. And C(t) = d/w.
        let w = t * t + (1.0 - t) * (1.0 - t);
        let (crossing, fm) = (at.crossing.as_ref().unwrap(), at.fm.as_ref().unwrap());
        // Pairs are 640; the deviation of a square of two normals is its mean.
        let five = 5.0 / 640f64.sqrt();
        assert!((crossing.mean - d / w).abs() < (five + 0.02) * d / w + 0.1, "C({t}) = {}", crossing.mean);
        let wanted = d * (2.0 * t - 1.0).powi(2) / w;
        assert!((fm.mean - wanted).abs() < (five + 0.02) * wanted + 0.1, "L_FM({t}) = {}", fm.mean);
    }
    // L_CFM of the model is E‖x1 − x0 − m‖² = 2d, which is what the identity leaves for V.
    holds(&measure("L_CFM").value, 2.0 * d, 0.01);
    holds(&of_model.displacement, square, 1e-4);
    holds(&of_model.straightness, 0.0, 1e-4);
    holds(&of_model.residual, 0.0, 0.05);
    assert!((mean(&evaluation, "path energy") - square).abs() < 1e-4);
    assert!((mean(&evaluation, "curvature") - 1.0).abs() < 1e-5);
    // W₂² of the two finite samples is ‖m‖² and what they differ by beside.
    assert!(mean(&evaluation, "NPE") < 0.1);
    let floor = evaluation.measure("NPE").and_then(|npe| npe.floor.as_ref()).map(|floor| floor.mean).unwrap();
    assert!(floor > 0.0 && floor < 0.1, "W₂ of other test points is another one, but not far: {floor}");
    holds(&measure("W2").value, measure("W2").floor.as_ref().unwrap().mean, 0.05);
    // One Euler step of a constant velocity is all there is.
    let one = &evaluation.quality[0];
    assert!((one.sliced.mean - mean(&evaluation, "sliced W2")).abs() < 1e-4);
    // log N(x; m, I) of draws from it
    holds(&measure("log p").value, -d / 2.0 * (1.0 + (2.0 * pi).ln()), 0.02);
    let bits = -mean(&evaluation, "log p") / (d * 2f64.ln());
    assert!((mean(&evaluation, "bits/dim") - bits).abs() < 1e-9);
    // Nothing moves otherwise than straight: six evaluations a step, and as few steps as the controller allows.
    for evaluations in &evaluation.evaluations {
        assert!(evaluations.mean.mean >= 7.0 && evaluations.mean.mean < 60.0, "{evaluations:?}");
        assert!(evaluations.most.mean >= evaluations.mean.mean);
    }
    assert!(evaluation.notes.is_empty(), "{:?}", evaluation.notes);
}

/// W₂² of few points scatters; NPE may be of more of them, particles and test points alike.
#[test]
fn transport_is_taken_from_as_many_points_as_wanted() {
    let (m, square) = ([3.0, -2.0], 13.0);
    let data = Dataset::open("gaussian:1000").unwrap();
    // From N(−m, I) to N(0, I): the optimal transport.
    let source = gaussian(12, 20_000, &[-m[0], -m[1]]);
    let model = affine(&[0.0; 4], &[0.0; 2], &m);
    let options = Options { seeds: 4, steps: vec![], tolerances: vec![], likelihood: false, ..small() };
    let of = |transport_rows: Option<usize>| {
        let options = Options { transport_rows, ..options.clone() };
        let evaluation = found(&model, &data, Some(&source), &options);
        let npe = evaluation.measure("NPE").unwrap().clone();
        (npe.value.mean, npe.floor.unwrap().mean, mean(&evaluation, "path energy"))
    };
    let (few, more) = (of(None), of(Some(3000)));
    assert!((few.2 - square).abs() < 1e-4 && (more.2 - square).abs() < 1e-4);
    // The deviation of W₂² is 2‖m‖·√(2/n), of which a mean of |·| has 0.8: 0.045 of 13 for 200 points, a quarter for 3000.
    assert!(few.0 > 0.015 && few.0 < 0.12 && few.1 > 0.015, "{few:?}");
    assert!(more.0 < 0.025 && more.1 < 0.025, "{more:?}");
    // As many as of everything else are the same ones.
    assert_eq!(of(Some(200)), few);
    let error = refused(&model, &data, &Options { transport_rows: Some(0), ..small() });
    assert!(error.contains("--transport-rows 0"), "{error}");
    let rows = Dataset::from_rows("rows", random(8, 2 * 500), 2).unwrap();
    let error = refused(&model, &rows, &Options { transport_rows: Some(251), ..small() });
    assert!(error.contains("251"), "{error}");
}

/// Two losses over held-out pairs differ by the weights alone.
#[test]
fn held_out_pairs_stay_the_same() {
    let data = Dataset::open("gaussian:1000").unwrap();
    let models = [0.0, 0.5].map(|shift| affine(&[0.0; 4], &[0.0; 2], &[shift, 0.0]));
    let options = TrainOptions { batch: 64, standardize: false, ..TrainOptions::default() };
    let of = |coupling: Coupling| {
        let options = TrainOptions { coupling, ..options.clone() };
        let draw = || HeldOut::draw(device(), &models[0], (&data, None), &options, 3200, || false).unwrap();
        let held = draw();
        let losses = [&models[0], &models[1]].map(|model| held.loss(device(), model).unwrap());
        assert_eq!(draw().loss(device(), &models[0]).unwrap(), losses[0]);
        losses
    };
    // E‖x1 − x0‖² = 2d, and what a constant velocity adds to it; 3200 pairs scatter by 4·√2/√3200.
    let [still, moving] = of(Coupling::Independent);
    assert!((still - 4.0).abs() < 0.5 && (moving - still - 0.25).abs() < 0.1, "{still} {moving}");
    let [paired, moving] = of(Coupling::MinibatchOt { ot_batch: 0 });
    assert!(paired < 0.5 && (moving - paired - 0.25).abs() < 0.1, "{paired} {moving}");
    let stopped = HeldOut::draw(device(), &models[0], (&data, None), &options, 3200, || true);
    assert!(matches!(stopped, Err(Error::Interrupted)));
}

/// dx/dt = a·x, whose every measure is an integral of exponentials.
#[test]
fn trajectories_have_the_energies_of_the_closed_forms() {
    let (a, d) = (0.8f32, 3);
    let model = affine(&[a, 0.0, 0.0, 0.0, a, 0.0, 0.0, 0.0, a], &[0.0; 3], &[0.0; 3]);
    let points = random(3, 5000 * d);
    let square: f64 = wide(&points).iter().map(|x| x * x).sum::<f64>() / 5000.0;
    let a = f64::from(a);
    for (name, steps, off) in [("rk4", 200, 2e-5), ("midpoint", 200, 5e-5), ("euler", 400, 5e-3)] {
        for kernels in [Kernels::Fused, Kernels::Layered] {
            let options = with(named(name), steps, kernels);
            let mut sampler = Sampler::new(device(), &model, None, options).unwrap();
            let found = kinetics(&mut sampler, &points).unwrap();
            let energy = square * a * ((2.0 * a).exp() - 1.0) / 2.0;
            let displacement = square * (a.exp() - 1.0).powi(2);
            assert!((found.path_energy / energy - 1.0).abs() < off, "{name}: {} {energy}", found.path_energy);
            assert!((found.displacement / displacement - 1.0).abs() < off, "{name}: {}", found.displacement);
            let straightness = energy - displacement;
            assert!(
                (found.straightness / straightness - 1.0).abs() < 20.0 * off,
                "{name}: {}",
                found.straightness
            );
            // Every particle goes along a ray.
            assert!((found.curvature - 1.0).abs() < 1e-4, "{name}: {}", found.curvature);
            assert_eq!(found.ends.len(), points.len());
        }
    }
    // A quarter of a turn: length π/2·r over √2·r.
    let turn = std::f32::consts::FRAC_PI_2;
    let model = affine(&[0.0, -turn, turn, 0.0], &[0.0; 2], &[0.0; 2]);
    let mut sampler = Sampler::new(device(), &model, None, with(named("rk4"), 100, Kernels::Auto)).unwrap();
    let found = kinetics(&mut sampler, &random(4, 200)).unwrap();
    let wanted = std::f64::consts::FRAC_PI_2 / 2f64.sqrt();
    assert!((found.curvature - wanted).abs() < 1e-3, "{}", found.curvature);
    // What stays where it is is straight, and what is not finite is refused.
    let still = affine(&[0.0], &[0.0], &[0.0]);
    let mut sampler = Sampler::new(device(), &still, None, SampleOptions::default()).unwrap();
    let found = kinetics(&mut sampler, &[1.0, 2.0]).unwrap();
    assert!(found.path_energy == 0.0 && found.straightness == 0.0 && found.curvature == 1.0);
    let options = with(named("euler"), 200, Kernels::Auto);
    let mut sampler = Sampler::new(device(), &affine(&[1e6], &[0.0], &[0.0]), None, options).unwrap();
    let error = kinetics(&mut sampler, &[1.0]).unwrap_err().to_string();
    assert!(error.contains("sample 0 of the model"), "{error}");
}

#[test]
fn distances_of_shifted_samples_are_the_shift() {
    for (n, dim) in [(1, 1), (1, 3), (2, 2), (50, 1), (300, 2), (128, 5), (40, 64)] {
        let a = random(5, n * dim);
        let shift: Vec<f32> = (0..dim).map(|k| 1.5 - k as f32 * 0.25).collect();
        let b: Vec<f32> = a.iter().zip(shift.iter().cycle()).map(|(x, s)| x + s).collect();
        // In another order
        let b: Vec<f32> = b.chunks_exact(dim).rev().flatten().copied().collect();
        let norm = wide(&shift).iter().map(|s| s * s).sum::<f64>().sqrt();
        let w2 = wasserstein2(device(), &a, &b, dim).unwrap();
        assert!((w2 - norm).abs() < 1e-5 * norm, "{n} points of dimension {dim}: {w2} {norm}");
        let sliced = sliced_wasserstein2(&a, &b, dim, 400, 0).unwrap();
        if dim == 1 {
            assert!((sliced - w2).abs() < 1e-5, "{sliced}");
        } else {
            // E (θ·s)² = ‖s‖²/d; the deviation of 400 such squares, five of it.
            let wanted = norm * norm / dim as f64;
            assert!((sliced * sliced / wanted - 1.0).abs() < 5.0 * (2.0f64 / 400.0).sqrt(), "{sliced}");
        }
        assert!(sliced <= w2 * (1.0 + 1e-6));
        for (name, value) in [
            ("W2", wasserstein2(device(), &a, &a, dim).unwrap()),
            ("sliced", sliced_wasserstein2(&a, &a, dim, 8, 0).unwrap()),
            ("energy", energy_distance(device(), &a, &a, dim).unwrap()),
            ("MMD", mmd(device(), &a, &a, dim, None).unwrap()),
        ] {
            assert!(value.abs() < 1e-6, "{name} of a sample and itself: {value}");
        }
    }
}

#[test]
fn energy_distance_and_mmd_are_the_twins() {
    for (n, m, dim) in [(1, 1, 1), (3, 200, 2), (400, 300, 2), (700, 64, 3), (130, 129, 65)] {
        let (a, b) = (random(6, n * dim), random(7, m * dim));
        let b: Vec<f32> = b.iter().map(|x| 1.2 * x + 0.5).collect();
        let (far, near) = (wide(&a), wide(&b));
        // Distances are means of some √(2d), each within 30 units.
        let allowed = 100.0 * 2f64.powi(-24) * (2.0 * dim as f64).sqrt();
        let energy = energy_distance(device(), &a, &b, dim).unwrap();
        let wanted = pairs::energy_distance(&far, &near, dim);
        assert!((energy - wanted).abs() < allowed, "{n}, {m}, {dim}: {energy} {wanted}");
        for sigma in [None, Some(0.3), Some(10.0)] {
            let found = mmd(device(), &a, &b, dim, sigma).unwrap();
            let sigma = sigma.unwrap_or_else(|| median_distance(&a, &b, dim).unwrap());
            let wanted = pairs::mmd(&far, &near, dim, sigma);
            // Its square is a difference of means of up to 1.
            assert!((found * found - wanted * wanted).abs() < 200.0 * 2f64.powi(-24), "{found} {wanted}");
        }
    }
    // By hand: the distances 1, 2, 3, 1, 2, 1
    assert!((median_distance(&[0.0, 1.0], &[2.0, 3.0], 1).unwrap() - 2.0).abs() < 1e-12);
}

#[test]
fn degenerate_samples_get_an_answer_or_one_line() {
    let equal = vec![2.0f32; 2 * 100];
    let other = vec![5.0f32; 2 * 100];
    assert!(wasserstein2(device(), &equal, &equal, 2).unwrap() == 0.0);
    let w2 = wasserstein2(device(), &equal, &other, 2).unwrap();
    assert!((w2 - 18f64.sqrt()).abs() < 1e-5, "{w2}");
    let energy = energy_distance(device(), &equal, &other, 2).unwrap();
    assert!((energy - 2.0 * 18f64.sqrt()).abs() < 1e-5, "{energy}");
    assert!((median_distance(&equal, &equal, 2).unwrap() - 1.0).abs() < 1e-12);
    assert!(mmd(device(), &equal, &equal, 2, None).unwrap() == 0.0);
    let nan = [0.0, f32::NAN];
    let fine = [0.0, 1.0];
    for error in [
        wasserstein2(device(), &nan, &fine, 1).unwrap_err(),
        sliced_wasserstein2(&nan, &fine, 1, 4, 0).unwrap_err(),
        sliced_wasserstein2(&fine, &fine[..1], 1, 4, 0).unwrap_err(),
        sliced_wasserstein2(&fine, &fine, 1, 0, 0).unwrap_err(),
        energy_distance(device(), &nan, &fine, 1).unwrap_err(),
        energy_distance(device(), &[], &fine, 1).unwrap_err(),
        energy_distance(device(), &fine, &fine, 0).unwrap_err(),
        energy_distance(device(), &[0.0, 1.0, 2.0], &fine, 2).unwrap_err(),
        energy_distance(device(), &[0.0, 3e38], &[-3e38, 0.0], 2).unwrap_err(),
        mmd(device(), &fine, &fine, 1, Some(0.0)).unwrap_err(),
        mmd(device(), &fine, &fine, 1, Some(f64::NAN)).unwrap_err(),
        median_distance(&nan, &fine, 1).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Config { .. }) && error.to_string().lines().count() == 1, "{error:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let model = affine(&[0.3, 0.0, 0.1, -0.2], &[0.1, 0.0], &[0.0, 0.5]);
    let data = Dataset::open("moons:3000").unwrap();
    let options = Options { exact_rows: 32, ..small() };
    let first = found(&model, &data, None, &options);
    assert!(first.fresh && first.confidence == CONFIDENCE);
    assert_eq!(first.measures.len(), MEASURES.len());
    assert_eq!(first, found(&model, &data, None, &options));
    let other = found(&model, &data, None, &Options { seed: 1, ..options });
    for (a, b) in first.measures.iter().zip(&other.measures) {
        assert_ne!(a.value.values, b.value.values, "{} does not depend on the seed", a.name);
        let values = &a.value.values;
        assert!(values.windows(2).all(|pair| pair[0] != pair[1]), "{}: {values:?}", a.name);
    }
    // The entropy of the density is known.
    let ideal = first.measure("log p").unwrap().ideal.unwrap();
    assert!((ideal + 1.680).abs() < 1e-3);
    assert!(mean(&first, "log p") < ideal);
}

#[test]
fn rows_of_a_file_are_split() {
    let model = affine(&[0.0; 4], &[0.0; 2], &[0.0; 2]);
    let data = Dataset::from_rows("rows", random(8, 2 * 301), 2).unwrap();
    let options = Options { rows: None, ..small() };
    let evaluation = found(&model, &data, None, &options);
    assert!(
        evaluation.rows == 150 && !evaluation.fresh && evaluation.measure("log p").unwrap().ideal.is_none()
    );
    let error = refused(&model, &data, &Options { rows: Some(151), ..small() });
    assert!(error.contains("give -n 150 or less"), "{error}");
    let one = Dataset::from_rows("one row", vec![0.0, 0.0], 2).unwrap();
    let error = refused(&model, &one, &options);
    assert!(error.contains("give more rows"), "{error}");
    // All rows equal: one point. Nothing but the model is apart from it.
    let equal = Dataset::from_rows("equal rows", [1.0, 2.0].repeat(20), 2).unwrap();
    let evaluation = found(&model, &equal, None, &Options { exact_rows: 8, ..options.clone() });
    let floor = |name| evaluation.measure(name).unwrap().floor.as_ref().unwrap().mean;
    assert!(["W2", "sliced W2", "energy distance", "MMD"].iter().all(|name| floor(name) == 0.0));
    // To one point nothing crosses, and its flow is straight.
    assert!(mean(&evaluation, "crossing energy") < 1e-6);
    assert!(evaluation.identity[0].straightness.mean < 1e-6, "{:?}", evaluation.identity[0]);
    let three = Dataset::from_rows("three columns", vec![0.0; 30], 3).unwrap();
    let error = refused(&model, &three, &options);
    assert!(error.contains("3 values and the model's points 2"), "{error}");
}

#[test]
fn what_is_in_data_units_is() {
    // A model that is perfect in standardised coordinates: it does nothing, and the data are normal there.
    let mut model = affine(&[0.0; 4], &[0.0; 2], &[0.0; 2]);
    let scale = Standardization { mean: vec![10.0, -3.0], std: vec![4.0, 0.5] };
    let plain = random(9, 2 * 4000);
    let mut values = plain.clone();
    scale.undo(&mut values);
    model.standardization = Some(scale);
    let data = Dataset::from_rows("scaled", values, 2).unwrap();
    let evaluation = found(&model, &data, None, &Options { seeds: 5, ..small() });
    let measure = |name| evaluation.measure(name).unwrap();
    for name in ["W2", "sliced W2", "energy distance", "MMD"] {
        let floor = measure(name).floor.as_ref().unwrap();
        holds(&measure(name).value, floor.mean, 3.0 * floor.half_width.unwrap());
    }
    // At a scale of 4, not of 1
    assert!(measure("W2").value.mean > 0.4, "{}", measure("W2").value.mean);
    assert!(measure("path energy").value.mean == 0.0);
    let log = -(1.0 + std::f64::consts::TAU.ln()) - 2f64.ln();
    holds(&measure("log p").value, log, 0.0);
}

#[test]
fn couplings_and_sources_are_those_of_the_model() {
    let model = affine(&[0.0; 4], &[0.0; 2], &[4.0, 0.0]);
    let (data, source) = (gaussian(10, 4000, &[4.0, 0.0]), gaussian(11, 4000, &[0.0, 0.0]));
    let evaluation = found(&model, &data, Some(&source), &Options { exact_rows: 16, ..small() });
    assert!(evaluation.measure("log p").is_none() && evaluation.measure("crossing energy").is_none());
    assert!(evaluation.notes.len() == 2, "{:?}", evaluation.notes);
    holds(&evaluation.measure("L_CFM").unwrap().value, 4.0, 0.0);
    // Paired within batches of 64 points, paths cross less, and the model is all but the exact field.
    let options = Options { coupling: Coupling::MinibatchOt { ot_batch: 0 }, batch: 64, ..small() };
    let coupled = found(&model, &data, None, &options);
    assert!(mean(&coupled, "L_CFM") < 1.0, "{}", mean(&coupled, "L_CFM"));
    let identity = &coupled.identity[0];
    assert!(coupled.identity.len() == 1 && identity.flow == "model");
    holds(&identity.residual, 0.0, 0.1);
    // Wider sets go without W₂.
    let few = Options { rows: Some(4097), seeds: 1, steps: vec![1], tolerances: vec![], ..small() };
    let wide =
        found(&model, &Dataset::open("gaussian").unwrap(), None, &Options { likelihood: false, ..few });
    assert!(wide.measure("W2").is_none() && wide.measure("NPE").is_none() && wide.measure("log p").is_none());
    assert!(wide.quality[0].wasserstein2.is_none() && wide.notes.len() == 1);
    assert!(wide.measure("sliced W2").unwrap().value.half_width.is_none());
}

#[test]
fn settings_out_of_range_are_one_line() {
    let model = affine(&[0.0; 4], &[0.0; 2], &[0.0; 2]);
    let data = Dataset::open("moons:100").unwrap();
    let sample = SampleOptions::default();
    for (options, wanted) in [
        (Options { rows: Some(0), ..small() }, "-n 0"),
        (Options { rows: Some(1 << 20), ..small() }, "-n 1048576"),
        (Options { seeds: 0, ..small() }, "--seeds 0"),
        (Options { pairs: 0, ..small() }, "--pairs 0"),
        (Options { batch: 0, ..small() }, "--batch 0"),
        (Options { exact_rows: usize::MAX, ..small() }, "--exact-rows"),
        (Options { tolerances: vec![0.0], ..small() }, "--tolerances 0"),
        (Options { steps: vec![0], ..small() }, "--euler-steps 0"),
        (Options { coupling: "reflow".parse().unwrap(), ..small() }, "--coupling reflow"),
        (Options { sample: SampleOptions { t1: 0.5, ..sample.clone() }, ..small() }, "from 0 to 0.5"),
        (
            Options { coupling: Coupling::MinibatchOt { ot_batch: 100 }, batch: 64, ..small() },
            "--ot-batch 100",
        ),
    ] {
        let error = refused(&model, &data, &options);
        assert!(error.contains(wanted) && error.lines().count() == 1, "{error}");
    }
    // Whoever watches can break off.
    let mut told = 0;
    let error = evaluate(device(), &model, &data, None, &small(), |now| {
        told += 1;
        assert!(now.done < now.of);
        if now.done == 3 { ControlFlow::Break(()) } else { GO_ON }
    });
    assert!(matches!(error, Err(Error::Interrupted)) && told == 4);
    let stopped = Options { stop: || true, ..small() };
    assert!(matches!(evaluate(device(), &model, &data, None, &stopped, |_| GO_ON), Err(Error::Interrupted)));
}

#[test]
fn the_normalized_path_energy_is_0_for_transport() {
    assert!(normalized_path_energy(9.0, 3.0).abs() < 1e-15);
    assert!((normalized_path_energy(13.5, 3.0) - 0.5).abs() < 1e-15);
    assert!((normalized_path_energy(4.5, 3.0) - 0.5).abs() < 1e-15);
    let assignment = Assignment::solve(device(), &[0.0, 1.0], &[1.0, 2.0], 1).unwrap();
    assert!(
        (assignment.cost / 2.0 - wasserstein2(device(), &[0.0, 1.0], &[1.0, 2.0], 1).unwrap().powi(2)).abs()
            < 1e-9
    );
}
