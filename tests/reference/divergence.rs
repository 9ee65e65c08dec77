//! The divergence of the network's velocity, and log-densities by the flow (eq. 4).
//!
//! J = dv/dx by forward mode: a tangent through the layers, the features of the time at rest.
//!   exact       div v = Σ_i e_iᵀ·J·e_i
//!   Hutchinson  div v ≈ 1/k·Σ_j ε_jᵀ·J·ε_j,   E[ε·εᵀ] = I
//!   log p_1(x(1)) = log N(x(0); 0, s²·I) − ∫₀¹ div v(x(t), t) dt
//! The integral is carried along as one more coordinate, ℓ' = div v.
//!
//! Source: Chen et al., "Neural ordinary differential equations", 2018; Hutchinson 1990; Grathwohl et
//! al., "FFJORD", 2019.

use std::f64::consts::TAU;

use super::draw::features;
use super::mlp::Mlp;
use super::philox::{self, PROBE};

/// How the random directions of Hutchinson's estimate are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// ±1: + where the top bit of the word is 0.
    Rademacher,
    /// Standard normals.
    Gaussian,
}

/// Probe number `probe` of a row: block j of its counter holds columns 4j..4j+3.
// out: [D]
pub fn probe(kind: Probe, seed: u64, row: u32, probe: u32, dim: usize) -> Vec<f64> {
    (0..dim)
        .map(|column| {
            let words = philox::words(seed, row, (column / 4) as u32, probe, PROBE);
            match kind {
                Probe::Rademacher if words[column % 4] >> 31 == 0 => 1.0,
                Probe::Rademacher => -1.0,
                Probe::Gaussian => philox::normals(words)[column % 4],
            }
        })
        .collect()
}

/// J·ε at points of one time.
// x: [B, D], epsilon: [B, D]
// out: [B, D]
pub fn jacobian_product(mlp: &Mlp, x: &[f64], t: f64, frequencies: usize, epsilon: &[f64]) -> Vec<f64> {
    let dim = mlp.widths[mlp.layers()];
    let times = vec![t; x.len() / dim];
    let mut tangent = vec![];
    for epsilon in epsilon.chunks(dim) {
        tangent.extend(epsilon);
        tangent.resize(tangent.len() + mlp.widths[0] - dim, 0.0); // the time does not move
    }
    mlp.tangent(&features(x, &times, dim, frequencies), &tangent)
}

/// div v.
// x: [B, D]
// out: [B]
pub fn divergence(mlp: &Mlp, x: &[f64], t: f64, frequencies: usize) -> Vec<f64> {
    let dim = mlp.widths[mlp.layers()];
    let rows = x.len() / dim;
    let mut out = vec![0.0; rows];
    for i in 0..dim {
        let unit: Vec<f64> = (0..rows * dim).map(|j| f64::from(j % dim == i)).collect();
        let product = jacobian_product(mlp, x, t, frequencies, &unit);
        for row in 0..rows {
            out[row] += product[row * dim + i];
        }
    }
    out
}

/// Hutchinson's estimate of div v: the terms εᵀ·J·ε, whose mean it is.
// x: [B, D], probes: [k] of [B, D]
// out: [k] of [B]
pub fn hutchinson_terms(
    mlp: &Mlp,
    x: &[f64],
    t: f64,
    frequencies: usize,
    probes: &[Vec<f64>],
) -> Vec<Vec<f64>> {
    let dim = mlp.widths[mlp.layers()];
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    (probes.iter())
        .map(|epsilon| {
            let product = jacobian_product(mlp, x, t, frequencies, epsilon);
            epsilon
                .chunks(dim)
                .zip(product.chunks(dim))
                .map(|(epsilon, product)| dot(epsilon, product))
                .collect()
        })
        .collect()
}

/// Their mean.
// out: [B]
pub fn hutchinson(mlp: &Mlp, x: &[f64], t: f64, frequencies: usize, probes: &[Vec<f64>]) -> Vec<f64> {
    let terms = hutchinson_terms(mlp, x, t, frequencies, probes);
    (0..terms[0].len())
        .map(|row| terms.iter().map(|term| term[row]).sum::<f64>() / probes.len() as f64)
        .collect()
}

/// The field of a point together with its ℓ.
// v: ([D], t) -> [D]; divergence: ([D], t) -> number
// out: ([D + 1], t) -> [D + 1]
pub fn augmented(
    v: impl Fn(&[f64], f64) -> Vec<f64>,
    divergence: impl Fn(&[f64], f64) -> f64,
) -> impl Fn(&[f64], f64) -> Vec<f64> {
    move |state, t| {
        let x = &state[..state.len() - 1];
        let mut slope = v(x, t);
        slope.push(divergence(x, t));
        slope
    }
}

/// log N(x; 0, s²·I).
// x: [D]
pub fn log_normal(x: &[f64], std: f64) -> f64 {
    let squares: f64 = x.iter().map(|x| (x / std).powi(2)).sum();
    -0.5 * squares - x.len() as f64 * (0.5 * TAU.ln() + std.ln())
}

/// log p_1(x1), where `flow` carries an augmented state from t = 1 to t = 0 by any solver.
// x1: [D]
pub fn log_density(flow: impl Fn(&[f64]) -> Vec<f64>, x1: &[f64], std: f64) -> f64 {
    let state = flow(&[x1, &[0.0]].concat());
    let (x0, l) = state.split_at(x1.len());
    // ℓ went from 0 at t = 1 to −∫₀¹ div v dt at t = 0.
    log_normal(x0, std) + l[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::activation::{ACTIVATIONS, Activation};
    use crate::reference::adaptive::{Tolerance, adaptive};
    use crate::reference::integrator::{cosine, solve};
    use crate::reference::mismatches;

    const FINE: Tolerance = Tolerance { atol: 1e-10, rtol: 1e-10 };

    fn networks() -> Vec<(Mlp, usize)> {
        let mut out = vec![];
        for activation in ACTIVATIONS {
            for (dim, hidden, frequencies) in [(1, &[][..], 0), (2, &[7][..], 2), (5, &[6, 9, 4][..], 1)] {
                let widths = [&[dim + 1 + 2 * frequencies][..], hidden, &[dim]].concat();
                out.push((Mlp::random(&widths, activation, 8), frequencies));
            }
        }
        out
    }

    #[test]
    fn the_divergence_is_that_of_central_differences() {
        let (h, rows) = (1e-5, 4);
        let mut failures = vec![];
        for (mlp, frequencies) in networks() {
            let dim = mlp.widths[mlp.layers()];
            let x = philox::normal_rows(60, 0, 110, rows, dim);
            let epsilon = philox::normal_rows(61, 0, 110, rows, dim);
            let moved = |by: f64, direction: &[f64]| {
                let x: Vec<f64> = x.iter().zip(direction).map(|(x, d)| x + by * d).collect();
                mlp.velocity(&x, 0.3, frequencies)
            };
            let slope = |direction: &[f64]| -> Vec<f64> {
                let (high, low) = (moved(h, direction), moved(-h, direction));
                high.iter().zip(&low).map(|(high, low)| (high - low) / (2.0 * h)).collect()
            };
            let name = format!("{} {:?}", mlp.activation.name(), mlp.widths);
            let product = jacobian_product(&mlp, &x, 0.3, frequencies, &epsilon);
            failures.extend(mismatches(&format!("{name} J·ε"), &product, &slope(&epsilon), 1e-8));
            let mut trace = vec![0.0; rows];
            for i in 0..dim {
                let unit: Vec<f64> = (0..rows * dim).map(|j| f64::from(j % dim == i)).collect();
                let slopes = slope(&unit);
                (0..rows).for_each(|row| trace[row] += slopes[row * dim + i]);
            }
            failures.extend(mismatches(&name, &divergence(&mlp, &x, 0.3, frequencies), &trace, 1e-8));
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn probes_have_their_addresses_and_moments() {
        let row = probe(Probe::Rademacher, 7, 3, 5, 6);
        let first = philox::philox4x32([3, 0, 5, 3], [7, 0]);
        let second = philox::philox4x32([3, 1, 5, 3], [7, 0]);
        let signs: Vec<f64> = [&first[..], &second[..2]]
            .concat()
            .iter()
            .map(|word| if word & 0x8000_0000 == 0 { 1.0 } else { -1.0 })
            .collect();
        assert_eq!(row, signs);
        assert_eq!(probe(Probe::Gaussian, 7, 3, 5, 6), philox::normal_row(7, 3, 5, 3, 6));
        for kind in [Probe::Rademacher, Probe::Gaussian] {
            let rows = 20_000u32;
            let (mut first, mut second, mut cross) = (0.0, 0.0, 0.0);
            for row in 0..rows {
                let e = probe(kind, 1, row, row % 3, 2);
                first += e[0];
                second += e[1] * e[1];
                cross += e[0] * e[1];
            }
            let n = f64::from(rows);
            let spread = 4.0 / n.sqrt();
            assert!((first / n).abs() < spread && (cross / n).abs() < spread, "{kind:?}: {first}, {cross}");
            assert!((second / n - 1.0).abs() < 2f64.sqrt() * spread, "{kind:?}: {second}");
        }
    }

    #[test]
    fn hutchinson_is_the_divergence_within_its_standard_error() {
        let (rows, count) = (6, 4000u32);
        for kind in [Probe::Rademacher, Probe::Gaussian] {
            for (mlp, frequencies) in networks() {
                let dim = mlp.widths[mlp.layers()];
                let x = philox::normal_rows(62, 0, 110, rows, dim);
                let probes: Vec<Vec<f64>> = (0..count)
                    .map(|k| (0..rows as u32).flat_map(|row| probe(kind, 9, row, k, dim)).collect())
                    .collect();
                let exact = divergence(&mlp, &x, 0.6, frequencies);
                let terms = hutchinson_terms(&mlp, &x, 0.6, frequencies, &probes);
                let mean = hutchinson(&mlp, &x, 0.6, frequencies, &probes);
                let n = f64::from(count);
                for row in 0..rows {
                    let variance: f64 = terms.iter().map(|t| (t[row] - mean[row]).powi(2)).sum::<f64>() / n;
                    let error = (mean[row] - exact[row]).abs();
                    // 4.5 standard errors, over some 200 rows.
                    assert!(
                        error <= 4.5 * (variance / n).sqrt() + 1e-12,
                        "{kind:?} {:?} row {row}: {error:e}, variance {variance:e}",
                        mlp.widths
                    );
                    if dim == 1 && kind == Probe::Rademacher {
                        assert!(error < 1e-12, "in one dimension ε² = 1");
                    }
                }
            }
        }
    }

    #[test]
    fn a_linear_flow_changes_the_density_by_its_determinant() {
        // x' = A·x: p_1 is N(0, E·Eᵀ), E = exp(A), and log det E = tr A. Here A turns and stretches:
        // exp([[p, −q], [q, p]]) = eᵖ·R(q).
        let (p, q): (f64, f64) = (0.4, 1.3);
        let mlp = Mlp::new(&[3, 2], Activation::Relu, vec![vec![p, -q, 0.0, q, p, 0.0], vec![0.0; 2]]);
        let field = augmented(|x, t| mlp.velocity(x, t, 0), |x, t| divergence(&mlp, x, t, 0)[0]);
        let x1 = [0.7, -1.1];
        let want = log_normal(&[x1[0] * (-p).exp(), x1[1] * (-p).exp()], 1.0) - 2.0 * p;
        let mut got = vec![];
        for name in ["midpoint", "heun", "ab2", "rk4"] {
            got.push(log_density(
                |s| solve(name, &field, s, &cosine((1.0, 0.0), 4000)).pop().expect("states"),
                &x1,
                1.0,
            ));
        }
        got.push(log_density(|s| adaptive(&field, s, (1.0, 0.0), FINE, 10_000).y, &x1, 1.0));
        let failures = mismatches("log p", &got, &[want; 5], 1e-6);
        assert!(failures.is_empty(), "{failures:#?}");
        assert!((got[4] - want).abs() < 1e-9 && (got[3] - want).abs() < 1e-9);
    }

    #[test]
    fn the_flow_between_gaussians_has_the_gaussians_density() {
        // N(0, r²I) → N(m, s²I) along x_t = t·x1 + (1 − t)·x0.
        let (m, s, r) = ([1.0, -2.0, 0.5], 0.6, 1.5);
        let variance = |t: f64| t * t * s * s + (1.0 - t).powi(2) * r * r;
        let stretch = |t: f64| (t * s * s - (1.0 - t) * r * r) / variance(t);
        let v = |x: &[f64], t: f64| -> Vec<f64> {
            x.iter().zip(m).map(|(x, m)| m + stretch(t) * (x - t * m)).collect()
        };
        let field = augmented(v, |x, t| x.len() as f64 * stretch(t));
        for x1 in [[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [2.0, -1.0, 1.5]] {
            let from_mean: Vec<f64> = x1.iter().zip(m).map(|(x, m)| x - m).collect();
            let want = log_normal(&from_mean, s);
            let got = log_density(|x| adaptive(&field, x, (1.0, 0.0), FINE, 10_000).y, &x1, r);
            assert!((got - want).abs() < 1e-8, "{got}, expected {want}");
        }
        assert!((log_normal(&[0.0], 1.0) + 0.918_938_533_204_672_7).abs() < 1e-15);
    }

    #[test]
    fn densities_of_a_network_are_its_flow_s_jacobian() {
        // log |det dx0/dx1| by central differences of the flow, in 1 and 2 dimensions.
        let mut failures = vec![];
        for (widths, frequencies, x1) in
            [(&[4, 6, 1][..], 1, vec![0.4]), (&[3, 8, 8, 2][..], 0, vec![0.3, -0.8])]
        {
            let mlp = Mlp::random(widths, Activation::Silu, 13);
            let back = |x: &[f64]| {
                adaptive(
                    |x, t| mlp.velocity(x, t, frequencies),
                    x,
                    (1.0, 0.0),
                    Tolerance { atol: 1e-13, rtol: 1e-13 },
                    10_000,
                )
                .y
            };
            let h = 1e-4;
            let column = |i: usize| -> Vec<f64> {
                let moved = |by: f64| {
                    let mut x = x1.clone();
                    x[i] += by;
                    back(&x)
                };
                moved(h).iter().zip(moved(-h)).map(|(a, b)| (a - b) / (2.0 * h)).collect()
            };
            let determinant = match x1.len() {
                1 => column(0)[0],
                _ => column(0)[0] * column(1)[1] - column(0)[1] * column(1)[0],
            };
            let want = log_normal(&back(&x1), 1.0) + determinant.abs().ln();
            let field = augmented(
                |x, t| mlp.velocity(x, t, frequencies),
                |x, t| divergence(&mlp, x, t, frequencies)[0],
            );
            let got = log_density(|x| adaptive(&field, x, (1.0, 0.0), FINE, 10_000).y, &x1, 1.0);
            failures.extend(mismatches(&format!("{widths:?}"), &[got], &[want], 1e-7));
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
