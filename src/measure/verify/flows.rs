//! Flows along a velocity field, and the densities they carry (eq. 1–4).

use std::f64::consts::TAU;

use super::statistics::{largest, mean, slope};
use super::{Outcome, Verifier};
use crate::Result;
use crate::flow::{Divergence, Method, ProbeDistribution, SOLVERS, Solver};
use crate::model::{Activation, Architecture, Model};
use crate::sample::{SampleOptions, Sampler, Start, Tolerance};

/// The dimension of the linear flows.
const DIM: usize = 3;
/// That of (x, t, 1), in which they are linear.
const WIDE: usize = DIM + 2;

type Matrix = [[f64; WIDE]; WIDE];

/// v(x, t) = A·x + e·t + c: what a network without hidden layers computes, and one of the few flows in closed form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear {
    pub a: [[f32; DIM]; DIM],
    pub e: [f32; DIM],
    pub c: [f32; DIM],
}

/// Turns, stretches and shears; its entries are exact in float32.
pub(super) const TURNING: Linear = Linear {
    a: [[0.25, -1.5, 0.5], [1.25, -0.5, 0.25], [0.0, 0.75, 0.5]],
    e: [0.5, -1.0, 0.25],
    c: [-0.75, 0.5, 1.0],
};

impl Linear {
    /// The field as a network.
    fn model(&self) -> Model {
        let weight =
            (self.a.iter().zip(self.e)).flat_map(|(row, e)| row.iter().copied().chain([e])).collect();
        network(DIM, weight, self.c.to_vec())
    }

    /// φ_1(x0) = E·x0 + m, from the exponential of the flow of (x, t, 1): E and m.
    fn flow(&self, sign: f64) -> ([[f64; DIM]; DIM], [f64; DIM]) {
        let mut generator = [[0.0; WIDE]; WIDE];
        for (row, (a, (e, c))) in generator.iter_mut().zip(self.a.iter().zip(self.e.iter().zip(self.c))) {
            for (to, from) in row.iter_mut().zip(a) {
                *to = sign * f64::from(*from);
            }
            row[DIM] = sign * f64::from(*e);
            row[DIM + 1] = sign * f64::from(c);
        }
        generator[DIM][DIM + 1] = sign;
        let exponential = exponential(&generator);
        let matrix = std::array::from_fn(|i| std::array::from_fn(|j| exponential[i][j]));
        (matrix, std::array::from_fn(|i| exponential[i][DIM + 1]))
    }

    /// φ_1(x0).
    fn end(&self, x0: [f64; DIM]) -> [f64; DIM] {
        let (matrix, shift) = self.flow(1.0);
        std::array::from_fn(|i| shift[i] + (0..DIM).map(|j| matrix[i][j] * x0[j]).sum::<f64>())
    }

    /// Mean and covariance of p_1.
    fn moments(&self) -> ([f64; DIM], [[f64; DIM]; DIM]) {
        let (matrix, shift) = self.flow(1.0);
        let product = |i: usize, j: usize| (0..DIM).map(|k| matrix[i][k] * matrix[j][k]).sum();
        (shift, std::array::from_fn(|i| std::array::from_fn(|j| product(i, j))))
    }

    /// log p_1(x): that of the Gaussian of those moments, as log N(x0) − tr A (Jacobi's formula).
    fn log_density(&self, x: [f64; DIM]) -> f64 {
        let (_, shift) = self.flow(1.0);
        let (inverse, _) = self.flow(-1.0);
        let coordinate = |i: usize| (0..DIM).map(|j| inverse[i][j] * (x[j] - shift[j])).sum::<f64>();
        let square: f64 = (0..DIM).map(|i| coordinate(i).powi(2)).sum();
        let trace: f64 = (0..DIM).map(|i| f64::from(self.a[i][i])).sum();
        -0.5 * square - 0.5 * DIM as f64 * TAU.ln() - trace
    }
}

/// e^M by its series, after as many halvings as make M small, and squaring back.
fn exponential(matrix: &Matrix) -> Matrix {
    const HALVINGS: i32 = 10;
    let product = |x: &Matrix, y: &Matrix| -> Matrix {
        std::array::from_fn(|i| std::array::from_fn(|j| (0..WIDE).map(|k| x[i][k] * y[k][j]).sum()))
    };
    let small = matrix.map(|row| row.map(|x| x * 0.5f64.powi(HALVINGS)));
    let identity: Matrix = std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))));
    let (mut sum, mut term) = (identity, identity);
    for order in 1..=12 {
        term = product(&term, &small).map(|row| row.map(|x| x / f64::from(order)));
        for (sum, term) in sum.iter_mut().flatten().zip(term.iter().flatten()) {
            *sum += term;
        }
    }
    for _ in 0..HALVINGS {
        sum = product(&sum, &sum);
    }
    sum
}

/// A network without hidden layers: W [d, d + 1] over (x, t), and b.
fn network(dim: usize, weight: Vec<f32>, bias: Vec<f32>) -> Model {
    let architecture = Architecture {
        dim,
        hidden: vec![],
        activation: Activation::default(),
        time_frequencies: 0,
        condition_features: 0,
    };
    Model::new(architecture, vec![(weight, bias)])
}

fn wide(point: &[f32]) -> [f64; DIM] {
    std::array::from_fn(|i| point[i].into())
}

fn fixed(name: &str, steps: u32) -> Result<SampleOptions> {
    Ok(SampleOptions { solver: Solver::named(name)?, steps, ..SampleOptions::default() })
}

fn adaptive(tolerance: f32) -> Result<SampleOptions> {
    let tolerance = Tolerance { relative: tolerance, absolute: tolerance, ..Tolerance::default() };
    Ok(SampleOptions { tolerance, ..fixed("dopri5", 1)? })
}

/// At steps as large as float32 asks for, the slope of the error is not yet quite the order.
pub(super) const ORDER: f64 = 0.3;

/// Samples of the linear flow.
const SAMPLES: usize = 1 << 16;
/// The largest of nine normals is beyond it once in a thousand times.
const LARGEST_OF_NINE: f64 = 3.9;

/// Where particles go, how they are spread there, and how accurately.
pub(super) fn push_forward(verifier: &Verifier) -> Result<Vec<Outcome>> {
    let mut outcomes = moments(verifier, &TURNING, &TURNING)?;
    for solver in SOLVERS {
        verifier.go_on()?;
        match solver.method {
            Method::RungeKutta | Method::Multistep => {
                let what = format!("order of `{}` on x' = −x", solver.name);
                let order = order(verifier, solver)?;
                outcomes.push(Outcome::within(what, order, solver.order.into(), ORDER));
            }
            Method::Adaptive { .. } => {
                let what = format!("`{}` on x' = −x at a tolerance of 1e-6, relative error", solver.name);
                let error = decay_error(verifier, &SampleOptions { solver, ..adaptive(1e-6)? })?;
                outcomes.push(Outcome::within(what, error.abs(), 0.0, 1e-5));
            }
            // Its noise has no order on one path.
            Method::Stochastic => {}
        }
    }
    Ok(outcomes)
}

/// φ_1 and the moments of φ_1(x0) of a flow on the device, against those in closed form.
pub(super) fn moments(verifier: &Verifier, on_device: &Linear, closed: &Linear) -> Result<Vec<Outcome>> {
    let options = SampleOptions { seed: verifier.seed, ..fixed("rk4", 64)? };
    let mut sampler = Sampler::new(&verifier.device, &on_device.model(), None, options)?;
    sampler.stop_when(verifier.stop);
    let (mut noise, mut points) = (vec![], vec![]);
    while points.len() < SAMPLES * DIM {
        let first = points.len() / DIM;
        let rows = sampler.chunk_rows().min(SAMPLES - first);
        noise.extend(sampler.noise(first as u64, rows)?);
        points.extend(sampler.sample(first as u64, rows)?);
    }
    let (matrix, shift) = closed.flow(1.0);
    let end = |x0: [f64; DIM], i: usize| shift[i] + (0..DIM).map(|j| matrix[i][j] * x0[j]).sum::<f64>();
    let off = noise.chunks_exact(DIM).zip(points.chunks_exact(DIM)).flat_map(|(x0, x)| {
        let x0 = wide(x0);
        (0..DIM).map(move |i| (x0, i)).zip(x).map(|((x0, i), x)| (f64::from(*x), x0, i)).collect::<Vec<_>>()
    });
    let error = largest(off.map(|(x, x0, i)| (x - end(x0, i)).abs()));
    let (mean, covariance) = closed.moments();
    let n = SAMPLES as f64;
    let average = |of: &dyn Fn([f64; DIM]) -> f64| -> f64 {
        points.chunks_exact(DIM).map(|point| of(wide(point))).sum::<f64>() / n
    };
    let mut deviations = vec![];
    for i in 0..DIM {
        let off = average(&|x| x[i] - mean[i]);
        deviations.push(off.abs() / (covariance[i][i] / n).sqrt());
        for j in 0..=i {
            let off = average(&|x| (x[i] - mean[i]) * (x[j] - mean[j])) - covariance[i][j];
            let variance = covariance[i][i] * covariance[j][j] + covariance[i][j].powi(2);
            deviations.push(off.abs() / (variance / n).sqrt());
        }
    }
    Ok(vec![
        Outcome::within("φ_1(x0) of a linear flow against the matrix exponential", error, 0.0, 1e-4),
        Outcome::within(
            "mean and covariance of its samples, largest of 9 in standard errors",
            largest(deviations),
            0.0,
            LARGEST_OF_NINE,
        ),
    ])
}

/// The mean relative error of x(1) on x' = −x. Roundings average out over many points.
fn decay_error(verifier: &Verifier, options: &SampleOptions) -> Result<f64> {
    let model = network(1, vec![-1.0, 0.0], vec![0.0]);
    let points: Vec<f32> = (0..2048u16).map(|i| 1.0 + f32::from(i) / 2048.0).collect();
    let carried = Sampler::new(&verifier.device, &model, None, options.clone())?.carry(&points)?;
    let ratio = |(x, x0): (&f32, &f32)| f64::from(*x) / f64::from(*x0);
    let mean = carried.iter().zip(&points).map(ratio).sum::<f64>() / points.len() as f64;
    Ok(mean * 1f64.exp() - 1.0)
}

/// The slope of the error's logarithm over the step's.
pub(super) fn order(verifier: &Verifier, solver: &'static Solver) -> Result<f64> {
    // The smallest error is a hundred times what float32 makes of the coefficients.
    let steps: &[u32] = match solver.order {
        1 => &[16, 32, 64, 128],
        2 => &[8, 16, 32, 64],
        _ => &[2, 3, 4, 6],
    };
    let mut line = vec![];
    for &steps in steps {
        let error = decay_error(verifier, &SampleOptions { solver, steps, ..SampleOptions::default() })?;
        line.push((-f64::from(steps).ln(), error.abs().ln()));
    }
    Ok(slope(&line).value)
}

/// Points whose densities are held against the closed form.
const POINTS: usize = 1024;
/// Of Hutchinson's estimate.
const PROBES: u32 = 64;

/// log p of the linear flow.
pub(super) fn likelihood(verifier: &Verifier) -> Result<Vec<Outcome>> {
    densities(verifier, &TURNING, &TURNING)
}

/// log p of a flow on the device against that in closed form: exact divergences, and Hutchinson's within its own
/// standard error.
#[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
pub(super) fn densities(verifier: &Verifier, on_device: &Linear, closed: &Linear) -> Result<Vec<Outcome>> {
    let model = on_device.model();
    let mut forward = Sampler::new(
        &verifier.device,
        &model,
        None,
        SampleOptions { seed: verifier.seed, ..fixed("rk4", 1)? },
    )?;
    // Where the noise is carried to in closed form: points as likely as the density makes them.
    let points: Vec<f32> = (forward.noise(0, POINTS)?.chunks_exact(DIM))
        .flat_map(|x0| closed.end(wide(x0)).map(|x| x as f32))
        .collect();
    let exact: Vec<f64> = points.chunks_exact(DIM).map(|x| closed.log_density(wide(x))).collect();
    let density = |options: SampleOptions, divergence: Divergence| {
        // Probes that are not the noise of the points.
        let seed = verifier.seed.wrapping_add(1);
        let options = SampleOptions { t0: 1.0, t1: 0.0, divergence: Some(divergence), seed, ..options };
        let mut sampler = Sampler::new(&verifier.device, &model, None, options)?;
        let flow = sampler.flow(Start::Points { first: 0, values: &points }, false)?;
        sampler.log_density(&flow, true)
    };
    let mut outcomes = vec![];
    for (name, options) in [("`rk4`", fixed("rk4", 64)?), ("`dopri5`", adaptive(1e-6)?)] {
        verifier.go_on()?;
        let got = density(options, Divergence::Exact)?.values;
        let error = largest(got.iter().zip(&exact).map(|(got, want)| (got - want).abs()));
        let what = format!("log p of a linear flow, {name}, exact divergence, largest error");
        outcomes.push(Outcome::within(what, error, 0.0, 1e-4));
    }
    let distribution = ProbeDistribution::Rademacher;
    let got = density(fixed("rk4", 64)?, Divergence::Hutchinson { probes: PROBES, distribution })?;
    let errors = got.standard_error.unwrap_or_default();
    let off: Vec<(f64, f64)> = got
        .values
        .iter()
        .zip(&exact)
        .zip(&errors)
        .map(|((got, want), error)| ((got - want) / error, 1.0))
        .collect();
    outcomes.push(Outcome::interval(
        "Hutchinson's error in its own standard errors, mean",
        mean(off.iter().copied()),
        0.0,
        0.2,
    ));
    // Student's t with ν degrees of freedom has the variance ν/(ν − 2).
    let freedom = f64::from(PROBES - 1);
    outcomes.push(Outcome::interval(
        "Hutchinson's error in its own standard errors, mean square",
        mean(off.iter().map(|(off, weight)| (off * off, *weight))),
        freedom / (freedom - 2.0),
        0.3,
    ));
    Ok(outcomes)
}

/// Points along a side of the box over which a density is integrated.
const SIDE: u16 = 128;
/// Half a side of it, in standard deviations of the data.
const HALF: f64 = 4.5;

/// The integral of the trained model's density.
pub(super) fn mass(verifier: &Verifier) -> Result<Vec<Outcome>> {
    integral(verifier, &verifier.trained()?.model, false)
}

/// The density of a model in two dimensions, summed over a box around the data, in the units of the data, or in the
/// network's while the box stays as it is.
///
/// A sum over a grid is exact up to what the density's spectrum has beyond the grid's frequency. What it would be at
/// twice the spacing, on the four coarser grids that the grid is made of, bounds that: the error falls faster than any
/// power of the spacing.
#[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
pub(super) fn integral(verifier: &Verifier, model: &Model, raw: bool) -> Result<Vec<Outcome>> {
    let one = [0.0, 0.0].into_iter().zip([1.0, 1.0]);
    let scale: Vec<(f64, f64)> = match &model.standardization {
        Some(scale) => scale.mean.iter().copied().zip(scale.std.iter().copied()).collect(),
        None => one.collect(),
    };
    let step = |axis: usize| 2.0 * HALF * scale[axis].1 / f64::from(SIDE);
    let at = |(axis, i): (usize, u16)| {
        (scale[axis].0 - HALF * scale[axis].1 + (f64::from(i) + 0.5) * step(axis)) as f32
    };
    let cells = (0..SIDE).flat_map(|j| (0..SIDE).flat_map(move |i| [(0, i), (1, j)]));
    let mut points: Vec<f32> = cells.map(at).collect();
    let divergence = Some(Divergence::Exact);
    let options = SampleOptions { t0: 1.0, t1: 0.0, divergence, ..adaptive(1e-5)? };
    let mut sampler = Sampler::new(&verifier.device, model, None, options)?;
    sampler.stop_when(verifier.stop);
    sampler.to_network_units(&mut points);
    let mut density = vec![];
    for chunk in points.chunks(2 * sampler.chunk_rows().min(4096)) {
        verifier.go_on()?;
        let first = density.len() as u64;
        let flow = sampler.flow(Start::Points { first, values: chunk }, false)?;
        density.extend(sampler.log_density(&flow, raw)?.values.into_iter().map(f64::exp));
    }
    let cell = step(0) * step(1);
    let total = cell * density.iter().sum::<f64>();
    let side = usize::from(SIDE);
    let coarse = (0..4).map(|corner| {
        let on = |index: usize| (index / side % 2) * 2 + index % side % 2 == corner;
        let sum: f64 = density.iter().enumerate().filter(|(index, _)| on(*index)).map(|(_, p)| p).sum();
        (4.0 * cell * sum - total).abs()
    });
    let edge = density.iter().enumerate().filter(|(index, _)| {
        let (i, j) = (index % side, index / side);
        i == 0 || j == 0 || i == side - 1 || j == side - 1
    });
    let area = cell * (side * side) as f64;
    let outside = largest(edge.map(|(_, p)| p * area));
    Ok(vec![
        Outcome::within(
            "∫ p_1 of a trained model over 9 × 9 deviations of the data, less 1",
            total - 1.0,
            0.0,
            2e-3,
        ),
        Outcome::within("what twice the spacing makes of that sum", largest(coarse), 0.0, 1e-3),
        Outcome::within("largest density at the edge, times the area", outside, 0.0, 1e-4),
    ])
}
