//! Models whose flow is known, in closed form or by the reference, and the ways to carry particles along them.

use windfield::flow::{Method, SOLVERS, Solver};
use windfield::gpu::{Device, Habits};
use windfield::model::{Architecture, Model};
use windfield::sample::{Flow, Kernels, SampleOptions, Sampler, Start};

use super::{device, narrow, wide};
use crate::reference::activation::Activation;
use crate::reference::mlp::Mlp;

/// The two engines, laid out as for this device and as for a GPU.
pub fn engines() -> Vec<(&'static str, Device, Kernels)> {
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

/// The solver of that name.
pub fn named(name: &str) -> &'static Solver {
    Solver::named(name).unwrap_or_else(|error| panic!("{error}"))
}

/// Those whose steps are known beforehand, without noise.
pub fn fixed_steps() -> impl Iterator<Item = &'static Solver> {
    SOLVERS.iter().filter(|solver| matches!(solver.method, Method::RungeKutta | Method::Multistep))
}

pub fn model(architecture: Architecture, weights: Vec<(Vec<f32>, Vec<f32>)>) -> Model {
    Model::new(architecture, weights)
}

/// v(x, t) = A·x + t·slope + bias, exactly: a network without hidden layers is an affine map of [x, t].
// matrix: [dim, dim], slope: [dim], bias: [dim]
pub fn affine(matrix: &[f32], slope: &[f32], bias: &[f32]) -> Model {
    let dim = bias.len();
    let architecture = Architecture {
        dim,
        hidden: vec![],
        activation: "relu".parse().expect("relu"),
        time_frequencies: 0,
        condition_features: 0,
    };
    let rows = matrix.chunks(dim).zip(slope);
    let weight = rows.flat_map(|(row, slope)| row.iter().chain([slope])).copied().collect();
    model(architecture, vec![(weight, bias.to_vec())])
}

/// v(x, t) = −x.
pub fn decay(dim: usize) -> Model {
    let matrix: Vec<f32> = (0..dim * dim).map(|i| if i % (dim + 1) == 0 { -1.0 } else { 0.0 }).collect();
    affine(&matrix, &vec![0.0; dim], &vec![0.0; dim])
}

/// A random network, and the same for the reference.
pub fn network(dim: usize, hidden: &[usize], time_frequencies: usize) -> (Model, Mlp) {
    let activation = Activation::Silu;
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
        condition_features: 0,
    };
    let weights = mlp.parameters.chunks_exact(2).map(|pair| (narrow(&pair[0]), narrow(&pair[1]))).collect();
    (model(architecture, weights), mlp)
}

pub fn sampler(device: &Device, model: &Model, options: &SampleOptions) -> Sampler {
    Sampler::new(device, model, None, options.clone()).unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

/// Given points and what they meet on their way.
pub fn flow(device: &Device, model: &Model, options: &SampleOptions, x: &[f32]) -> Flow {
    sampler(device, model, options)
        .flow(Start::Points { first: 0, values: x }, false)
        .unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

pub fn carry(device: &Device, model: &Model, options: &SampleOptions, x: &[f32]) -> Vec<f32> {
    flow(device, model, options, x).points
}

pub fn with(solver: &'static Solver, steps: u32, kernels: Kernels) -> SampleOptions {
    SampleOptions { solver, steps, kernels, ..SampleOptions::default() }
}
