//! The batch of a training step: x0, x1, t, and from them x_t and u_t.
//!
//!   x_t = b(t)·x0 + a(t)·x1       (eq. 11 with μ_t = a·x1, σ_t = b)
//!   u_t = b'(t)·x0 + a'(t)·x1     (Lagrangian form: the time derivative of eq. 11)
//!
//! (with noise around the path, x_t has σ·ε more: Tong et al. 2023, eq. 12 and 14)
//!
//! and the network's input
//!   [x_t, t, sin 2πkt (k = 1..K), cos 2πkt (k = 1..K)].
//!
//! Source: Lipman et al., "Flow matching for generative modeling", ICLR 2023, eq. 11 and theorem 3.

use std::f64::consts::TAU;

use super::path::Coefficients;
use super::philox::{self, PATH, PICK, SOURCE};

/// What a batch is drawn from.
#[derive(Clone, Copy)]
pub struct Draw<'a> {
    pub seed: u64,
    /// The number of the training step, counted from 0.
    pub step: u32,
    /// B
    pub batch: usize,
    /// D
    pub dim: usize,
    // data: [N, D]
    pub data: &'a [f64],
    /// What replaces the Gaussian, if anything does.
    // source: [M, D]
    pub source: Option<&'a [f64]>,
    pub path: &'a dyn Fn(f64) -> Coefficients,
    /// Times are uniform on [0, t_max), rounded as the device rounds them.
    pub t_max: f32,
    /// σ of the noise around the path: x_t = b·x0 + a·x1 + σ·ε.
    pub noise: f64,
}

/// A batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    // x0: [B, D]
    pub x0: Vec<f64>,
    // x1: [B, D]
    pub x1: Vec<f64>,
    // t: [B]
    pub t: Vec<f64>,
    /// The row of the data that is x1.
    // index: [B]
    pub index: Vec<u32>,
    // xt: [B, D]
    pub xt: Vec<f64>,
    // ut: [B, D]
    pub ut: Vec<f64>,
}

/// Draws the batch of a step.
pub fn draw(from: &Draw) -> Batch {
    let Draw { seed, step, batch, dim, data, source, path, t_max, noise } = *from;
    let row_of = |points: &[f64], row: u32| points[row as usize * dim..][..dim].to_vec();
    let rows_in = |points: &[f64]| (points.len() / dim) as u32;

    let mut out = Batch { x0: vec![], x1: vec![], t: vec![], index: vec![], xt: vec![], ut: vec![] };
    for i in 0..batch as u32 {
        let w = philox::words(seed, i, 0, step, PICK);
        let index = philox::pick(w[0], w[1], rows_in(data));
        let t = f64::from(t_max * philox::uniform(w[2]) as f32);
        let x1 = row_of(data, index);
        let x0 = match source {
            None => philox::normal_row(seed, i, step, SOURCE, dim),
            Some(source) => {
                let w = philox::words(seed, i, 0, step, SOURCE);
                row_of(source, philox::pick(w[0], w[1], rows_in(source)))
            }
        };
        let Coefficients { a, b, da, db } = path(t);
        let epsilon = philox::normal_row(seed, i, step, PATH, dim);
        for d in 0..dim {
            out.xt.push(b * x0[d] + a * x1[d] + noise * epsilon[d]);
            out.ut.push(db * x0[d] + da * x1[d]);
        }
        out.x0.extend(x0);
        out.x1.extend(x1);
        out.t.push(t);
        out.index.push(index);
    }
    out
}

/// The network's input.
// x: [B, D], t: [B]
// out: [B, D + 1 + 2K]
pub fn features(x: &[f64], t: &[f64], dim: usize, frequencies: usize) -> Vec<f64> {
    let mut out = Vec::new();
    for i in 0..t.len() {
        out.extend(&x[i * dim..(i + 1) * dim]);
        out.push(t[i]);
        out.extend((1..=frequencies).map(|k| (TAU * k as f64 * t[i]).sin()));
        out.extend((1..=frequencies).map(|k| (TAU * k as f64 * t[i]).cos()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::mismatches;
    use crate::reference::path::ot;

    const SIGMA_MIN: f64 = 1e-2;

    fn data(rows: usize, dim: usize) -> Vec<f64> {
        (0..rows * dim).map(|i| 10.0 + i as f64).collect()
    }

    #[test]
    fn the_field_is_that_of_equation_13() {
        let data = data(5, 3);
        let path = ot(SIGMA_MIN);
        let batch = draw(&Draw {
            seed: 3,
            step: 4,
            batch: 50,
            dim: 3,
            data: &data,
            source: None,
            path: &path,
            t_max: 1.0,
            noise: 0.0,
        });
        // u = (x1 − (1 − σ)·x) / (1 − (1 − σ)·t): the Eulerian form, from x_t and x1 alone.
        let eulerian: Vec<f64> = (0..50 * 3)
            .map(|j| {
                let t = batch.t[j / 3];
                (batch.x1[j] - (1.0 - SIGMA_MIN) * batch.xt[j]) / (1.0 - (1.0 - SIGMA_MIN) * t)
            })
            .collect();
        let failures = mismatches("ut", &batch.ut, &eulerian, 1e-11);
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn a_batch_is_made_of_rows_of_the_data_and_of_noise() {
        let data = data(7, 5);
        let path = ot(SIGMA_MIN);
        let from = Draw {
            seed: 9,
            step: 2,
            batch: 200,
            dim: 5,
            data: &data,
            source: None,
            path: &path,
            t_max: 1.0,
            noise: 0.0,
        };
        let batch = draw(&from);
        for (i, &index) in batch.index.iter().enumerate() {
            assert_eq!(batch.x1[i * 5..][..5], data[index as usize * 5..][..5]);
        }
        let mut seen = batch.index.clone();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(batch.x0, philox::normal_rows(9, 2, SOURCE, 200, 5));
        let mean_t = batch.t.iter().sum::<f64>() / 200.0;
        assert!((mean_t - 0.5).abs() < 4.0 / (12.0f64 * 200.0).sqrt(), "mean of t {mean_t}");
        for i in 0..200 {
            // Words 0 and 1 of the stream PICK are the row, word 2 is the time.
            let [w0, w1, w2, _] = philox::philox4x32([i, 0, 2, 0], [9, 0]);
            assert_eq!(batch.index[i as usize], philox::pick(w0, w1, 7));
            assert_eq!(batch.t[i as usize], philox::uniform(w2));
        }
        // A smaller batch is the beginning of a larger one; another step is another batch.
        let smaller = draw(&Draw { batch: 3, ..from });
        assert_eq!(smaller.xt, batch.xt[..15]);
        let next = draw(&Draw { step: 3, ..from });
        assert!(next.t != batch.t && next.index != batch.index && next.x0 != batch.x0);
    }

    #[test]
    fn a_source_replaces_the_noise_and_nothing_else() {
        let (data, source) = (data(7, 2), vec![-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
        let path = ot(SIGMA_MIN);
        let noise = Draw {
            seed: 9,
            step: 2,
            batch: 60,
            dim: 2,
            data: &data,
            source: None,
            path: &path,
            t_max: 1.0,
            noise: 0.0,
        };
        let (from_noise, from_source) = (draw(&noise), draw(&Draw { source: Some(&source), ..noise }));
        assert_eq!(from_source.t, from_noise.t);
        assert_eq!(from_source.x1, from_noise.x1);
        let mut counts = [0; 3];
        for (i, x0) in from_source.x0.chunks(2).enumerate() {
            let row = source.chunks(2).position(|row| row == x0).expect("x0 is a row of the source");
            // Words 0 and 1 of the stream SOURCE are the row.
            let [w0, w1, ..] = philox::philox4x32([i as u32, 0, 2, 1], [9, 0]);
            assert_eq!(row, philox::pick(w0, w1, 3) as usize);
            counts[row] += 1;
        }
        assert!(counts.iter().all(|&count| count > 5), "{counts:?}");
    }

    #[test]
    fn features_are_point_time_sines_cosines() {
        let got = features(&[1.0, 2.0, 3.0, 4.0], &[0.25, 0.5], 2, 2);
        let want = [
            [1.0, 2.0, 0.25, 1.0, 0.0, 0.0, -1.0], //
            [3.0, 4.0, 0.5, 0.0, 0.0, -1.0, 1.0],
        ]
        .concat();
        let failures = mismatches("features", &got, &want, 1e-15);
        assert!(failures.is_empty(), "{failures:#?}");
        assert_eq!(features(&[1.0, 2.0], &[0.25, 0.5], 1, 0), [1.0, 0.25, 2.0, 0.5]);
    }
}
