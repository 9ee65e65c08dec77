//! What a velocity says besides where particles go: likelihoods by the change of variables (eq. 4), scores and
//! denoised points, the same model along another path, and stochastic flows.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "sizes of tests are small"
)]

mod common;
mod reference;

use std::collections::BTreeMap;

use common::models::{affine, carry, engines, flow, named, network, sampler, with};
use common::{Report, random, wide};
use reference::adaptive::{Tolerance as Exactness, adaptive};
use reference::conversions::{self, Gaussian};
use reference::divergence::{augmented, divergence, log_density, log_normal};
use reference::integrator::{Transform, solve, transformed, uniform};
use reference::path::{Coefficients, cosine, ot, poly, ve, vp};
use windfield::data::Standardization;
use windfield::flow::{Diffusion, Divergence, Evaluation, Path, ProbeDistribution, Quantity};
use windfield::model::Model;
use windfield::sample::{Kernels, LogDensity, SampleOptions, Start, Tolerance};

const FINE: Exactness = Exactness { atol: 1e-10, rtol: 1e-10 };

fn backwards(solver: &str, steps: u32, kernels: Kernels) -> SampleOptions {
    SampleOptions {
        t0: 1.0,
        t1: 0.0,
        divergence: Some(Divergence::Exact),
        tolerance: Tolerance { relative: 1e-5, absolute: 1e-5, ..Tolerance::default() },
        ..with(named(solver), steps, kernels)
    }
}

fn hutchinson(probes: u32, distribution: ProbeDistribution) -> Divergence {
    Divergence::Hutchinson { probes, distribution }
}

/// log p of given points, by carrying them back to noise.
fn likelihood(
    device: &windfield::gpu::Device,
    model: &Model,
    options: &SampleOptions,
    x: &[f32],
) -> LogDensity {
    let mut sampler = sampler(device, model, options);
    let start = Start::Points { first: 0, values: x };
    sampler
        .flow(start, false)
        .and_then(|flow| sampler.log_density(&flow, false))
        .unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

fn narrowed(values: &[f64]) -> Vec<f32> {
    common::narrow(values)
}

type Schedule = Box<dyn Fn(f64) -> Coefficients>;

/// The paths, and the twins'.
fn paths() -> Vec<(Path, Schedule)> {
    let path = |name: &str| Path::named(name).unwrap_or_else(|error| panic!("{error}"));
    let parameters = |path: &Path| -> Vec<f64> { path.parameters().map(|(_, value)| value.into()).collect() };
    let (straight, diffusion, exploding) = (path("ot"), path("vp"), path("ve"));
    let (a, b, c) = (parameters(&straight), parameters(&diffusion), parameters(&exploding));
    vec![
        (straight, Box::new(ot(a[0]))),
        (diffusion, Box::new(vp(b[0], b[1]))),
        (exploding, Box::new(ve(c[0], c[1]))),
        (path("cosine"), Box::new(cosine())),
        (path("poly:3"), Box::new(poly(3))),
    ]
}

#[test]
fn densities_of_an_affine_flow_are_gaussian() {
    let mut report = Report::new();
    // v = A·x + bias: A turns one pair of coordinates while it stretches it, and shrinks the third.
    let (p, q, r): (f32, f32, f32) = (0.4, 1.3, -0.7);
    let bias = [0.0, 0.0, 0.5];
    let model = affine(&[p, -q, 0.0, q, p, 0.0, 0.0, 0.0, r], &[0.0; 3], &bias);
    let x = random(3, 60 * 3);
    let (p, r) = (f64::from(p), f64::from(r));
    let shift = 0.5 * r.exp_m1() / r;
    let want: Vec<f64> = wide(&x)
        .chunks(3)
        .map(|x| {
            // A rotation leaves the density as it is.
            let x0 = [x[0] * (-p).exp(), x[1] * (-p).exp(), (x[2] - shift) * (-r).exp()];
            log_normal(&x0, 1.0) - 2.0 * p - r
        })
        .collect();
    for (name, device, kernels) in engines() {
        for (solver, steps, allowed) in
            [("rk4", 20, 2e-5), ("dopri5", 1, 4e-4), ("heun", 200, 2e-4), ("ab2", 300, 2e-4)]
        {
            let exact = backwards(solver, steps, kernels);
            let got = likelihood(&device, &model, &exact, &x);
            let name = format!("{name} {solver}");
            report.near(&name, &narrowed(&got.values), &want, allowed);
            report.holds(got.standard_error.is_none(), || format!("{name}: nothing is random"));
            // The trace of A along signs is exact but for what turns: εᵀ·A·ε = tr A, since q cancels.
            let signs = SampleOptions {
                divergence: Some(hutchinson(4, ProbeDistribution::Rademacher)),
                ..exact.clone()
            };
            let got = likelihood(&device, &model, &signs, &x);
            report.near(&format!("{name} signs"), &narrowed(&got.values), &want, allowed);
            let largest = got.standard_error.iter().flatten().fold(0.0, |a: f64, b| a.max(*b));
            report.holds(got.standard_error.is_some() && largest < 1e-5, || {
                format!("{name}: a standard error of {largest}")
            });
        }
    }
    report.finish();
}

#[test]
fn densities_of_networks_are_the_references() {
    let mut report = Report::new();
    for (dim, hidden, frequencies) in [(1usize, &[12][..], 1), (3, &[17, 24][..], 0), (9, &[20][..], 1)] {
        let (mut model, mlp) = network(dim, hidden, frequencies);
        let rows = 25;
        let x = random(5, rows * dim);
        let velocity = |x: &[f64], t: f64| mlp.velocity(x, t, frequencies);
        let field = augmented(velocity, |x, t| divergence(&mlp, x, t, frequencies)[0]);
        let back = |x: &[f64]| adaptive(&field, x, (1.0, 0.0), FINE, 100_000).y;
        for path in ["ot", "ve"] {
            model.path = Path::named(path).unwrap_or_else(|error| panic!("{error}"));
            // Where a path begins wide, so does its noise.
            let std = f64::from(model.path.source_std());
            assert_eq!(std > 2.0, path == "ve");
            let want: Vec<f64> = wide(&x).chunks(dim).map(|x| log_density(back, x, std)).collect();
            for (name, device, kernels) in engines() {
                // The layered engine takes eight directions at once: nine are two groups.
                for (solver, steps) in [("rk4", 40), ("dopri5", 1)] {
                    let options = backwards(solver, steps, kernels);
                    let got = likelihood(&device, &model, &options, &x);
                    let name = format!("{name} {solver} {:?} {path}", mlp.widths);
                    // A trace is within 2·10⁻⁶·d, the square of x(0) as exact as it is large.
                    let solvers = if solver == "rk4" { 2e-5 } else { 3e-4 };
                    report.near(&name, &narrowed(&got.values), &want, solvers * dim as f64);
                    let bits = got.bits_per_dim(dim);
                    let wanted: Vec<f64> =
                        got.values.iter().map(|nats| -nats / (dim as f64 * 2f64.ln())).collect();
                    report.near(&format!("{name} in bits"), &narrowed(&bits), &wanted, 1e-5);
                }
            }
        }
    }
    report.finish();
}

#[test]
fn standardisation_scales_the_density() {
    let mut report = Report::new();
    let (plain, _) = network(2, &[16], 0);
    let mut standardized = plain.clone();
    let std = [2.0f64, 0.25];
    standardized.standardization = Some(Standardization { mean: vec![10.0, -1.0], std: std.to_vec() });
    let x = random(7, 30 * 2);
    let shift: f64 = std.iter().map(|std| std.ln()).sum();
    for (_, device, kernels) in &engines()[..2] {
        let options = backwards("rk4", 10, *kernels);
        let want: Vec<f64> =
            likelihood(device, &plain, &options, &x).values.iter().map(|value| value - shift).collect();
        // Points are in the network's coordinates; densities in the units of the data, unless asked otherwise.
        let mut sampler = sampler(device, &standardized, &options);
        let flow = sampler
            .flow(Start::Points { first: 0, values: &x }, false)
            .unwrap_or_else(|error| panic!("{error}"));
        for raw in [false, true] {
            let got = sampler.log_density(&flow, raw).unwrap_or_else(|error| panic!("{error}"));
            let want: Vec<f64> = want.iter().map(|value| value + if raw { shift } else { 0.0 }).collect();
            report.near(&format!("raw {raw}"), &narrowed(&got.values), &want, 1e-6);
        }
    }
    report.finish();
}

#[test]
fn hutchinson_is_the_divergence_within_its_standard_error() {
    let mut report = Report::new();
    let (dim, rows, probes) = (5usize, 60usize, 64u32);
    let (model, _) = network(dim, &[32], 1);
    let x = random(9, rows * dim);
    for (name, device, kernels) in engines() {
        let exact = likelihood(&device, &model, &backwards("rk4", 12, kernels), &x);
        for distribution in [ProbeDistribution::Rademacher, ProbeDistribution::Gaussian] {
            // The fused engine has no room for so many.
            let kernels = if kernels == Kernels::Fused { Kernels::Auto } else { kernels };
            let options = SampleOptions {
                divergence: Some(hutchinson(probes, distribution)),
                ..backwards("rk4", 12, kernels)
            };
            let mut estimated = sampler(&device, &model, &options);
            let flow = estimated
                .flow(Start::Points { first: 0, values: &x }, false)
                .unwrap_or_else(|error| panic!("{error}"));
            let got = estimated.log_density(&flow, false).unwrap_or_else(|error| panic!("{error}"));
            let name = format!("{name}, {distribution:?}");
            let Some(errors) = &got.standard_error else { panic!("{name}: no standard error") };
            // The integrals of the probes, whose mean and spread they are.
            report.equal(&format!("{name}: probes"), &[flow.divergence.len()], &[rows * probes as usize]);
            let spread: Vec<f64> = wide(&flow.divergence)
                .chunks(probes as usize)
                .map(|terms| {
                    let mean = terms.iter().sum::<f64>() / terms.len() as f64;
                    let squares: f64 = terms.iter().map(|term| (term - mean).powi(2)).sum();
                    (squares / (terms.len() * (terms.len() - 1)) as f64).sqrt()
                })
                .collect();
            report.near(&format!("{name}: standard errors"), &narrowed(errors), &spread, 1e-6);
            let z: Vec<f64> =
                (0..rows).map(|row| (got.values[row] - exact.values[row]) / errors[row]).collect();
            // 60 of them, with an error that is itself estimated: a z of 4.5 has a probability of 1 in 1000 or so.
            report.holds(z.iter().all(|z| z.abs() < 4.5), || format!("{name}: {z:?}"));
            // And the errors are not too large either: the mean square of z is 1 within 4·√(2/60).
            let square = z.iter().map(|z| z * z).sum::<f64>() / rows as f64;
            report.holds((square - 1.0).abs() < 4.0 * (2.0 / rows as f64).sqrt(), || {
                format!("{name}: mean z² is {square}")
            });
        }
    }
    report.finish();
}

/// One pass forwards gives samples with their densities; carried back they have the same.
#[test]
fn densities_of_samples_are_their_likelihoods() {
    let mut report = Report::new();
    let (mut model, _) = network(3, &[17, 24], 1);
    model.path = Path::named("ve").unwrap_or_else(|error| panic!("{error}"));
    for (name, device, kernels) in engines() {
        for (solver, steps, allowed) in [("rk4", 40, 2e-5), ("dopri5", 1, 1e-4)] {
            let back = backwards(solver, steps, kernels);
            let there = SampleOptions { t0: 0.0, t1: 1.0, ..back.clone() };
            let mut sampler = sampler(&device, &model, &there);
            let flow = sampler
                .flow(Start::Samples { first: 3, rows: 50 }, false)
                .unwrap_or_else(|error| panic!("{error}"));
            let densities = sampler.log_density(&flow, false).unwrap_or_else(|error| panic!("{error}"));
            let noise = sampler.noise(3, 50).unwrap_or_else(|error| panic!("{error}"));
            report.same_bits(&format!("{name}: where they began"), &flow.start, &noise);
            let again = likelihood(&device, &model, &back, &flow.points);
            // Wide as the noise is, velocities and their errors are as well.
            let name = format!("{name} {solver}");
            report.close(&name, &narrowed(&densities.values), &again.values, |i| {
                allowed * again.values[i].abs().max(1.0)
            });
        }
    }
    // In the middle there is no density to begin with.
    let middle = SampleOptions { t0: 0.5, ..backwards("rk4", 4, Kernels::Auto) };
    let middle = SampleOptions { t1: 1.0, ..middle };
    let mut sampler = sampler(common::device(), &model, &middle);
    let start = Start::Points { first: 0, values: &[0.0; 3] };
    let result = sampler.flow(start, false).and_then(|flow| sampler.log_density(&flow, false));
    report.holds(result.is_err(), || format!("{result:?}"));
    report.finish();
}

#[test]
fn quantities_are_the_references() {
    let mut report = Report::new();
    let (dim, rows) = (3, 400);
    let (mut model, mlp) = network(dim, &[17, 24], 1);
    let x = random(11, rows * dim);
    for (path, twin) in paths() {
        model.path = path;
        for (engine, device, kernels) in engines() {
            let mut sampler = sampler(&device, &model, &with(named("midpoint"), 3, kernels));
            for t in [0.1f32, 0.5, 0.95] {
                let v = mlp.velocity(&wide(&x), t.into(), 1);
                let at = twin(t.into());
                let x = wide(&x);
                for (quantity, want) in [
                    (Quantity::Velocity, v.clone()),
                    (Quantity::Score, conversions::score(&x, &v, at)),
                    (Quantity::Denoised, conversions::denoised(&x, &v, at)),
                    (Quantity::Noise, conversions::noise(&x, &v, at)),
                ] {
                    let got = sampler
                        .quantity(&narrowed(&x), t, quantity)
                        .unwrap_or_else(|error| panic!("{error}"));
                    let name = format!("{engine}: {quantity:?} at {t} of {}", model.path.name());
                    // α·x + β·v with factors that round once: relative to the terms, not to their difference.
                    let zero = vec![0.0; x.len()];
                    let terms = |x: &[f64], v: &[f64]| match quantity {
                        Quantity::Velocity => v.to_vec(),
                        Quantity::Score => conversions::score(x, v, at),
                        Quantity::Denoised => conversions::denoised(x, v, at),
                        Quantity::Noise => conversions::noise(x, v, at),
                    };
                    let (of_x, of_v) = (terms(&x, &zero), terms(&zero, &v));
                    let factor = terms(&[0.0], &[1.0])[0].abs();
                    report.close(&name, &got, &want, |i| {
                        3e-7 * (of_x[i].abs() + of_v[i].abs()) + 2e-6 * factor
                    });
                }
            }
        }
    }
    // Where the noise has gone there is no score.
    let mut sampler = sampler(common::device(), &model, &with(named("euler"), 1, Kernels::Auto));
    let result = sampler.quantity(&[0.0; 3], 1.0, Quantity::Score);
    report.holds(result.is_err(), || format!("{result:?}"));
    report.finish();
}

/// For Gaussian data the velocity along every path is known, and so is where its flow goes: here in float64, from the
/// very beginning, where a path may have a ratio a/b that the model's path does not have.
#[test]
fn schedules_lead_from_noise_to_the_data() {
    let data = Gaussian { mean: 0.4, std: 0.5 };
    let mut report = Report::new();
    for (from, model) in paths() {
        for (to, other) in paths() {
            let end = 0.9;
            let field = transformed(
                |x, t| vec![data.velocity(x[0], model(t))],
                |s| {
                    let Evaluation { t, scale, alpha, beta } = Evaluation::through(&from, &to, s);
                    Transform { alpha, beta, scale, time: t }
                },
            );
            // Before its beginning the model's velocity is that of its beginning.
            let ratio = |at: Coefficients| at.a / at.b;
            let allowed = if ratio(other(0.0)) < ratio(model(0.0)) { 4e-3 } else { 1e-6 };
            for z in [-1.5, 0.0, 1.0] {
                let x = other(0.0).b * z;
                let got = adaptive(&field, &[x], (0.0, end), FINE, 100_000);
                let want = data.flow(x, other(0.0), other(end));
                let name = format!("{} through {}, from {z}", from.name(), to.name());
                report.near(&name, &narrowed(&got.y), &[want], allowed);
            }
        }
    }
    report.finish();
}

#[test]
fn a_model_follows_the_schedule_of_another_path() {
    let mut report = Report::new();
    let (dim, rows) = (3, 50);
    let (mut model, mlp) = network(dim, &[17, 24], 1);
    let velocity = |x: &[f64], t: f64| mlp.velocity(x, t, 1);
    let mut compared = 0;
    for (path, twin) in paths() {
        model.path = path;
        for (through, other) in paths() {
            // From and to times that both have.
            let (s0, s1) = (0.25, 0.75);
            let ends = [s0, s1].map(|s| conversions::reschedule(&*twin, &*other, s));
            let name = format!("{} through {}", model.path.name(), through.name());
            // A ratio that the model's path does not have is another matter (see above).
            if ends[0].t < 1e-6 || ends[1].t > 1.0 - 1e-6 {
                continue;
            }
            compared += 1;
            let extent = ends[0].c.max(ends[1].c);
            for (i, (engine, device, kernels)) in engines().into_iter().enumerate() {
                let name = format!("{engine}: {name}");
                let options = SampleOptions {
                    t0: s0 as f32,
                    t1: s1 as f32,
                    through: Some(through.clone()),
                    ..with(named("rk4"), 8, kernels)
                };
                let x: Vec<f32> = random(13, rows * dim).iter().map(|x| x * ends[0].c as f32).collect();
                let got = carry(&device, &model, &options, &x);
                let field = transformed(velocity, |s| conversions::transform(&*twin, &*other, s));
                let want = solve("rk4", &field, &wide(&x), &uniform((s0, s1), 8)).pop().expect("states");
                report.near(
                    &name,
                    &got,
                    &want,
                    4e-6 * extent * (1.0 + want.iter().fold(0.0, |a: f64, b| a.max(b.abs()))),
                );
                // In ever finer steps the flow ends in the points of the model's own, at another scale.
                if i < 2 {
                    let options = SampleOptions { steps: 100, ..options };
                    let got = carry(&device, &model, &options, &x);
                    let own: Vec<f64> = x.iter().map(|x| f64::from(*x) / ends[0].c).collect();
                    let want: Vec<f64> = own
                        .chunks(dim)
                        .flat_map(|x| adaptive(velocity, x, (ends[0].t, ends[1].t), FINE, 100_000).y)
                        .map(|x| ends[1].c * x)
                        .collect();
                    let scale = want.iter().fold(1.0, |a: f64, b| a.max(b.abs()));
                    report.near(&format!("{name}, the end"), &got, &want, 5e-5 * scale);
                }
            }
        }
    }
    report.holds(compared > 15, || format!("{compared} pairs of paths"));
    report.finish();
}

/// The noise of a path starts as that path does, whatever the model was trained on.
#[test]
fn another_path_begins_with_its_own_noise() {
    let mut report = Report::new();
    let (mut model, _) = network(2, &[16], 0);
    model.path = Path::named("ot").unwrap_or_else(|error| panic!("{error}"));
    let wide_path = Path::named("ve").unwrap_or_else(|error| panic!("{error}"));
    let std = wide_path.source_std();
    for (name, device, kernels) in engines() {
        let plain = with(named("rk4"), 4, kernels);
        let through = SampleOptions { through: Some(wide_path.clone()), ..plain.clone() };
        let noise = |options: &SampleOptions| {
            sampler(&device, &model, options).noise(0, 30).unwrap_or_else(|error| panic!("{error}"))
        };
        let want: Vec<f64> = noise(&plain).iter().map(|x| f64::from(std) * f64::from(*x)).collect();
        report.close(name, &noise(&through), &want, |i| 1e-6 * want[i].abs());
    }
    report.finish();
}

/// Step by step as the reference, with the very same noise.
#[test]
fn stochastic_flows_are_the_references() {
    let mut report = Report::new();
    let (dim, rows) = (3, 60);
    let (mut model, mlp) = network(dim, &[17, 24], 1);
    let seed = 0x7_0000_0003;
    let g = |t: f64| 1.2 - t;
    for (path, twin) in paths() {
        model.path = path;
        // The drift is as large as b is small, and as the noise of `ve` is wide.
        if model.path.name().starts_with("ve") {
            continue;
        }
        let times = uniform((f64::from(0.1f32), f64::from(0.8f32)), 10);
        for (engine, device, kernels) in engines() {
            let options = SampleOptions {
                seed,
                t0: 0.1,
                t1: 0.8,
                diffusion: Some(Diffusion::new(g)),
                ..with(named("euler-maruyama"), 10, kernels)
            };
            let mut sampler = sampler(&device, &model, &options);
            let x = random(17, rows * dim);
            let start = Start::Points { first: 900, values: &x };
            let got = sampler.flow(start, false).unwrap_or_else(|error| panic!("{error}")).points;
            let velocity = |x: &[f64], t: f64| mlp.velocity(x, t, 1);
            let want =
                conversions::stochastic(velocity, &*twin, g, &wide(&x), dim, &times, (seed, 900)).pop();
            let want = want.expect("states");
            let scale = want.iter().fold(1.0, |a: f64, b| a.max(b.abs()));
            report.near(&format!("{engine} {}", model.path.name()), &got, &want, 1e-5 * scale);
        }
    }
    report.finish();
}

type Strength = fn(f64) -> f64;

/// The path a = t, b = √(1 − t²) leaves N(0, 1) noise and data of N(m, 1) at the variance 1 all the way, by the
/// velocity m: a network without weights. Whatever the diffusion, the marginals are N(t·m, 1).
#[test]
fn stochastic_flows_keep_the_marginals() {
    let mut report = Report::new();
    let mean = [1.5f32, -0.5];
    let mut model = affine(&[0.0; 4], &[0.0; 2], &mean);
    model.path =
        Path::custom("t", "sqrt(1 - t^2)", &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"));
    let (rows, steps, end) = (12_000usize, 40u32, 0.9f32);
    let data = Gaussian { mean: 1.5, std: 1.0 };
    let coefficients = |t: f64| {
        let [a, b, da, db] = model.path.schedule(t);
        Coefficients { a, b, da, db }
    };
    assert!((data.velocity(0.3, coefficients(0.4)) - 1.5).abs() < 1e-12, "the velocity is m");
    for (diffusion, g) in [("1", (|_| 1.0) as Strength), ("2·(1 − t)", |t| 2.0 * (1.0 - t)), ("0", |_| 0.0)]
    {
        for (engine, device, kernels) in &engines()[..2] {
            let options = SampleOptions {
                t1: end,
                seed: 31,
                diffusion: Some(Diffusion::new(g)),
                ..with(named("euler-maruyama"), steps, *kernels)
            };
            let mut sampler = sampler(device, &model, &options);
            let got = sampler.sample(0, rows).unwrap_or_else(|error| panic!("{error}"));
            let name = format!("{engine}, g = {diffusion}");
            let n = rows as f64;
            for (column, m) in mean.iter().enumerate() {
                // What steps of that length make of it, exactly: the drift is linear.
                let h = f64::from(end) / f64::from(steps);
                let (mut center, mut variance) = (0.0, 1.0);
                for i in 0..steps {
                    let t = f64::from(i) * h;
                    let half = g(t).powi(2) / 2.0;
                    // m − g²/2·(x − t·m)
                    center += h * (f64::from(*m) - half * (center - t * f64::from(*m)));
                    variance = (1.0 - h * half).powi(2) * variance + 2.0 * half * h;
                }
                // Which is the marginal but for the length of the steps.
                report.holds(
                    (variance - 1.0).abs() < 0.05 && (center - f64::from(end * m)).abs() < 0.02,
                    || format!("{name}: {center}, {variance}"),
                );
                let values: Vec<f64> = got.iter().skip(column).step_by(2).map(|x| f64::from(*x)).collect();
                let average = values.iter().sum::<f64>() / n;
                let spread = values.iter().map(|x| (x - center).powi(2)).sum::<f64>() / n;
                let fourth = values.iter().map(|x| (x - center).powi(4)).sum::<f64>() / n;
                // Four standard errors of each.
                report.near(
                    &format!("{name}: mean"),
                    &[average as f32],
                    &[center],
                    4.0 * (variance / n).sqrt(),
                );
                report.near(
                    &format!("{name}: variance"),
                    &[spread as f32],
                    &[variance],
                    4.0 * variance * (2.0 / n).sqrt(),
                );
                report.near(
                    &format!("{name}: fourth moment"),
                    &[fourth as f32],
                    &[3.0 * variance.powi(2)],
                    4.0 * variance.powi(2) * (96.0 / n).sqrt(),
                );
            }
            // Neighbours, and the two coordinates, know nothing of each other.
            let centered: Vec<f64> =
                got.iter().enumerate().map(|(i, x)| f64::from(*x) - f64::from(end * mean[i % 2])).collect();
            for stride in [1, 2] {
                let pairs = centered.iter().zip(&centered[stride..]).map(|(a, b)| a * b).sum::<f64>();
                let covariance = pairs / (centered.len() - stride) as f64;
                report.near(
                    &format!("{name}: covariance"),
                    &[covariance as f32],
                    &[0.0],
                    4.5 / (2.0 * n).sqrt(),
                );
            }
        }
    }
    report.finish();
}

/// No noise at all is Euler's method, to the bit up to how a product with 0 is added.
#[test]
fn without_diffusion_a_stochastic_flow_is_euler_s() {
    let mut report = Report::new();
    let (model, _) = network(3, &[17, 24], 1);
    let x = random(19, 40 * 3);
    for (name, device, kernels) in engines() {
        let euler = SampleOptions { t1: 0.9, ..with(named("euler"), 12, kernels) };
        let silent = SampleOptions {
            diffusion: Some(Diffusion::new(|_| 0.0)),
            solver: named("euler-maruyama"),
            ..euler.clone()
        };
        let (want, got) = (flow(&device, &model, &euler, &x), flow(&device, &model, &silent, &x));
        report.near(name, &got.points, &wide(&want.points), 1e-6);
        report.equal(&format!("{name}: evaluations"), &got.evaluations, &[12u32; 40]);
    }
    report.finish();
}
