//! The marginal density and velocity field of a data set (eq. 5, 6), and the sums of which the kernels make them.
//!
//!   p_t(x) = 1/N · Σ_i N(x | a·x1_i, b²·I)
//!   u_t(x) = Σ_i w_i · (b'/b · (x − a·x1_i) + a'·x1_i),     w_i = N(x | a·x1_i, b²·I) / Σ_j N(x | a·x1_j, b²·I)

use std::f64::consts::PI;

/// log p_t and u_t at points with a schedule (a, b, a', b') each.
// x: [M, D], schedule: [M], x1: [N, D]
// out: [M], [M, D]
pub fn marginal(x: &[f64], schedule: &[[f64; 4]], x1: &[f64], dim: usize) -> (Vec<f64>, Vec<f64>) {
    let n = (x1.len() / dim) as f64;
    let (mut density, mut velocity) = (vec![], vec![]);
    for (x, &[a, b, da, db]) in x.chunks_exact(dim).zip(schedule) {
        let logs: Vec<f64> = x1
            .chunks_exact(dim)
            .map(|x1| -(0..dim).map(|k| (x[k] - a * x1[k]).powi(2)).sum::<f64>() / (2.0 * b * b))
            .collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|l| (l - top).exp()).sum();
        density.push(top + sum.ln() - n.ln() - dim as f64 * (b * (2.0 * PI).sqrt()).ln());
        for k in 0..dim {
            let mut u = 0.0;
            for (i, l) in logs.iter().enumerate() {
                let (w, x1) = ((l - top).exp() / sum, x1[i * dim + k]);
                u += w * (db / b * (x[k] - a * x1) + da * x1);
            }
            velocity.push(u);
        }
    }
    (density, velocity)
}

/// What the kernels know of a query's time: s, s − a and log2(e)/(2b²).
pub type Entry = [f64; 4];

/// x − a·x1 of a coordinate.
pub fn residual(x: f64, x1: f64, [near, rest, ..]: Entry) -> f64 {
    x - (near - rest) * x1
}

/// The weights' logarithms to the base 2.
// x: [M, D], entries: [M], x1: [N, D]
// out: [N, M]
pub fn marginal_logits(x: &[f64], entries: &[Entry], x1: &[f64], dim: usize) -> Vec<f64> {
    let mut logits = vec![];
    for x1 in x1.chunks_exact(dim) {
        for (x, &entry) in x.chunks_exact(dim).zip(entries) {
            logits.push(-entry[2] * (0..dim).map(|k| residual(x[k], x1[k], entry).powi(2)).sum::<f64>());
        }
    }
    logits
}

/// The weights next to the largest one, its logarithm, and their sum.
// logits: [N, M]
// out: [N, M], [M], [M]
pub fn marginal_weights(logits: &[f64], queries: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut top = vec![f64::NEG_INFINITY; queries];
    for row in logits.chunks_exact(queries) {
        for q in 0..queries {
            top[q] = top[q].max(row[q]);
        }
    }
    let (mut weights, mut sum) = (vec![], vec![0.0; queries]);
    for row in logits.chunks_exact(queries) {
        for q in 0..queries {
            let w = (row[q] - top[q]).exp2();
            weights.push(w);
            sum[q] += w;
        }
    }
    (weights, top, sum)
}

/// The weighted sums of x1 and of x − a·x1.
// x: [M, D], entries: [M], x1: [N, D], weights: [N, M]
// out: [M, D], [M, D]
pub fn marginal_moments(
    x: &[f64],
    entries: &[Entry],
    x1: &[f64],
    weights: &[f64],
    dim: usize,
) -> (Vec<f64>, Vec<f64>) {
    let (mut mean, mut rest) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for (x1, weights) in x1.chunks_exact(dim).zip(weights.chunks_exact(entries.len())) {
        for (q, (&w, &entry)) in weights.iter().zip(entries).enumerate() {
            for k in 0..dim {
                mean[q * dim + k] += w * x1[k];
                rest[q * dim + k] += w * residual(x[q * dim + k], x1[k], entry);
            }
        }
    }
    (mean, rest)
}

/// Adds two slices of one query: (top, sum) and any weighted sums of each.
pub fn marginal_merge(a: (f64, f64, &[f64]), b: (f64, f64, &[f64])) -> (f64, f64, Vec<f64>) {
    let top = a.0.max(b.0);
    let (keep, take) = ((a.0 - top).exp2(), (b.0 - top).exp2());
    (top, keep * a.1 + take * b.1, a.2.iter().zip(b.2).map(|(a, b)| keep * a + take * b).collect())
}

#[test]
fn one_point_is_a_gaussian_that_moves() {
    // t = 1/2 of `ot` without σ_min: a = b = 1/2
    let (density, velocity) = marginal(&[1.0, 0.5], &[[0.5, 0.5, 1.0, -1.0]], &[2.0, 3.0], 2);
    assert!((density[0] - (-2.0 - (2.0 * PI * 0.25).ln())).abs() < 1e-14);
    // −(0, −1)/0.5 + (2, 3)
    assert_eq!(velocity, [2.0, 5.0]);
}

#[test]
fn halfway_between_two_points_nothing_decides() {
    let (density, velocity) = marginal(&[0.0], &[[0.5, 0.5, 1.0, -1.0]], &[-2.0, 2.0], 1);
    assert_eq!(velocity, [0.0]);
    assert!((density[0] - (-2.0 - (0.5 * (2.0 * PI).sqrt()).ln())).abs() < 1e-14);
}

#[test]
fn the_parts_make_up_the_whole() {
    let (x, x1) = ([0.3, -0.1, 1.0, 0.7], [0.5, 0.1, -0.2, 0.4, 0.9, 0.8, 0.1, 0.0]);
    let schedule = [[0.7, 0.3, 1.0, -1.0], [0.2, 0.8, 1.0, -1.0]];
    let entry = |[a, b, ..]: [f64; 4]| [1.0, 1.0 - a, std::f64::consts::LOG2_E / (2.0 * b * b), 0.0];
    let entries = schedule.map(entry);
    let parts = x1.chunks(4).map(|x1| {
        let (weights, top, sum) = marginal_weights(&marginal_logits(&x, &entries, x1, 2), 2);
        (top, sum, marginal_moments(&x, &entries, x1, &weights, 2))
    });
    let parts: Vec<_> = parts.collect();
    let (density, velocity) = marginal(&x, &schedule, &x1, 2);
    for q in 0..2 {
        let of = |part: usize| {
            let (top, sum, (mean, rest)) = &parts[part];
            (top[q], sum[q], [&mean[2 * q..2 * q + 2], &rest[2 * q..2 * q + 2]].concat())
        };
        let (a, b) = (of(0), of(1));
        let (top, sum, moments) = marginal_merge((a.0, a.1, &a.2), (b.0, b.1, &b.2));
        let [_, b, da, db] = schedule[q];
        let log = top * std::f64::consts::LN_2 + sum.ln() - 4f64.ln() - 2.0 * (b * (2.0 * PI).sqrt()).ln();
        assert!((log - density[q]).abs() < 1e-13);
        for k in 0..2 {
            let u = (db / b * moments[2 + k] + da * moments[k]) / sum;
            assert!((u - velocity[2 * q + k]).abs() < 1e-13);
        }
    }
}
