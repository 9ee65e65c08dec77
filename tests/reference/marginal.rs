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
        let (logs, top, sum) = exponents(x, [a, b], x1, dim);
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

/// The same where the path is laid from N(0, I) to (x1 − mean)/std, column by column: points, data, density and velocity
/// are in the units of the data.
// x: [M, D], schedule: [M], x1: [N, D], mean: [D], std: [D]
// out: [M], [M, D]
pub fn marginal_standardized(
    x: &[f64],
    schedule: &[[f64; 4]],
    x1: &[f64],
    mean: &[f64],
    std: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let dim = mean.len();
    let there =
        |x: &[f64]| x.iter().enumerate().map(|(i, x)| (x - mean[i % dim]) / std[i % dim]).collect::<Vec<_>>();
    let (density, velocity) = marginal(&there(x), schedule, &there(x1), dim);
    let volume: f64 = std.iter().map(|std| std.ln()).sum();
    (
        density.iter().map(|log| log - volume).collect(),
        velocity.iter().enumerate().map(|(i, v)| v * std[i % dim]).collect(),
    )
}

/// The exponents of the weights of the rows x1 at a point, the largest, and the sum of exp(exponent − largest).
fn exponents(x: &[f64], [a, b]: [f64; 2], x1: &[f64], dim: usize) -> (Vec<f64>, f64, f64) {
    let logs: Vec<f64> = x1
        .chunks_exact(dim)
        .map(|x1| -(0..dim).map(|k| (x[k] - a * x1[k]).powi(2)).sum::<f64>() / (2.0 * b * b))
        .collect();
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = logs.iter().map(|l| (l - top).exp()).sum();
    (logs, top, sum)
}

/// V(x, t) = E[‖u_t(x | x1) − u_t(x)‖² | x].
// x: [M, D], x1: [N, D]
// out: [M]
pub fn marginal_variance(x: &[f64], [a, b, da, db]: [f64; 4], x1: &[f64], dim: usize) -> Vec<f64> {
    let (_, means) = marginal(x, &vec![[a, b, da, db]; x.len() / dim], x1, dim);
    (x.chunks_exact(dim).zip(means.chunks_exact(dim)))
        .map(|(x, mean)| {
            let (logs, top, sum) = exponents(x, [a, b], x1, dim);
            let away = |x1: &[f64]| -> f64 {
                (0..dim).map(|k| (db / b * (x[k] - a * x1[k]) + da * x1[k] - mean[k]).powi(2)).sum()
            };
            x1.chunks_exact(dim).zip(&logs).map(|(x1, l)| (l - top).exp() / sum * away(x1)).sum()
        })
        .collect()
}

/// What the kernels know of queries: of each coordinate c and g, of each query a and log2(e)/(2b²), of each column 1/std.
#[derive(Clone, Debug)]
pub struct Queries {
    /// [M, D]
    pub centres: Vec<f64>,
    /// [M, D]
    pub offsets: Vec<f64>,
    /// [M]
    pub entries: Vec<[f64; 2]>,
    /// [D]
    pub columns: Vec<f64>,
}

impl Queries {
    /// Coordinate k of (x − mean)/std − a·(x1 − mean)/std, for query q.
    pub fn residual(&self, q: usize, k: usize, x1: f64) -> f64 {
        let at = q * self.columns.len() + k;
        self.entries[q][0] * self.columns[k] * (self.centres[at] - x1) + self.offsets[at]
    }
}

/// The weights' logarithms to the base 2.
// x1: [N, D]
// out: [N, M]
pub fn marginal_logits(queries: &Queries, x1: &[f64]) -> Vec<f64> {
    let mut logits = vec![];
    for x1 in x1.chunks_exact(queries.columns.len()) {
        for (q, entry) in queries.entries.iter().enumerate() {
            let squares = x1.iter().enumerate().map(|(k, &x1)| queries.residual(q, k, x1).powi(2));
            logits.push(-entry[1] * squares.sum::<f64>());
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

/// The weighted sums of c − x1, or of another power of it.
// x1: [N, D], weights: [N, M]
// out: [M, D]
pub fn marginal_moments(queries: &Queries, x1: &[f64], weights: &[f64], power: i32) -> Vec<f64> {
    let dim = queries.columns.len();
    let mut moments = vec![0.0; queries.centres.len()];
    for (x1, weights) in x1.chunks_exact(dim).zip(weights.chunks_exact(queries.entries.len())) {
        for (i, moment) in moments.iter_mut().enumerate() {
            *moment += weights[i / dim] * (queries.centres[i] - x1[i % dim]).powi(power);
        }
    }
    moments
}

/// Adds two slices of one query: (top, sum) and any weighted sums of each.
pub fn marginal_merge(a: (f64, f64, &[f64]), b: (f64, f64, &[f64])) -> (f64, f64, Vec<f64>) {
    let top = a.0.max(b.0);
    let (keep, take) = ((a.0 - top).exp2(), (b.0 - top).exp2());
    (top, keep * a.1 + take * b.1, a.2.iter().zip(b.2).map(|(a, b)| keep * a + take * b).collect())
}

#[test]
fn two_points_disagree_by_hand() {
    // Half way between −2 and 2 both are as likely: u is −2 or 2 there, whatever x0 was.
    let got = marginal_variance(&[0.0], [0.5, 0.5, 1.0, -1.0], &[-2.0, 2.0], 1);
    assert!((got[0] - (2.0 + 1.0 * 2.0f64).powi(2)).abs() < 1e-12, "{got:?}");
    assert_eq!(marginal_variance(&[0.3, 0.1], [0.5, 0.5, 1.0, -1.0], &[1.0, 2.0], 2), [0.0]);
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
fn units_change_nothing() {
    let schedule = [[0.7, 0.3, 1.0, -1.0], [0.2, 0.8, 1.0, -1.0]];
    let (x, x1) = ([0.3, -0.1, 1.0, 0.7], [0.5, 0.1, -0.2, 0.4, 0.9, 0.8]);
    let (mean, std) = ([3.0, -50.0], [0.25, 8.0]);
    let here =
        |x: &[f64]| x.iter().enumerate().map(|(i, x)| mean[i % 2] + std[i % 2] * x).collect::<Vec<_>>();
    let (density, velocity) = marginal(&x, &schedule, &x1, 2);
    let (there, moved) = marginal_standardized(&here(&x), &schedule, &here(&x1), &mean, &std);
    for q in 0..2 {
        // A volume of 2.
        assert!((there[q] + 2f64.ln() - density[q]).abs() < 1e-12);
        for k in 0..2 {
            assert!((moved[2 * q + k] - std[k] * velocity[2 * q + k]).abs() < 1e-12);
        }
    }
}

#[test]
fn the_parts_make_up_the_whole() {
    let (x, x1) = ([0.3, -0.1, 1.0, 0.7], [0.5, 0.1, -0.2, 0.4, 0.9, 0.8, 0.1, 0.0]);
    let schedule = [[0.7, 0.3, 1.0, -1.0], [0.2, 0.8, 1.0, -1.0]];
    let (mean, std) = ([0.4, -0.2], [0.5, 3.0]);
    // Whatever c is.
    let centres = vec![0.2, 0.0, -0.6, 5.0];
    let there = |x: f64, k: usize| (x - mean[k]) / std[k];
    let queries = Queries {
        offsets: (0..4).map(|i| there(x[i], i % 2) - schedule[i / 2][0] * there(centres[i], i % 2)).collect(),
        entries: schedule.map(|[a, b, ..]| [a, std::f64::consts::LOG2_E / (2.0 * b * b)]).to_vec(),
        columns: std.map(f64::recip).to_vec(),
        centres,
    };
    let parts = x1.chunks(4).map(|x1| {
        let (weights, top, sum) = marginal_weights(&marginal_logits(&queries, x1), 2);
        (top, sum, marginal_moments(&queries, x1, &weights, 1))
    });
    let parts: Vec<_> = parts.collect();
    let (density, velocity) = marginal_standardized(&x, &schedule, &x1, &mean, &std);
    for q in 0..2 {
        let of = |part: usize| {
            let (top, sum, moments) = &parts[part];
            (top[q], sum[q], &moments[2 * q..2 * q + 2])
        };
        let (top, sum, moments) = marginal_merge(of(0), of(1));
        let [a, b, da, db] = schedule[q];
        let log = top * std::f64::consts::LN_2 + sum.ln() - 4f64.ln() - 2.0 * (b * (2.0 * PI).sqrt()).ln();
        assert!((log - (std[0] * std[1]).ln() - density[q]).abs() < 1e-13);
        for k in 0..2 {
            let (at, away) = (2 * q + k, moments[k] / sum);
            let (r, m) = (a * away / std[k] + queries.offsets[at], there(queries.centres[at] - away, k));
            assert!((std[k] * (db / b * r + da * m) - velocity[at]).abs() < 1e-13);
        }
    }
}
