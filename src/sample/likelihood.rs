//! Log-densities by the change of variables (eq. 4).

use std::f64::consts::TAU;

use crate::flow::Divergence;

/// Log-densities in nats, one for each particle.
#[derive(Clone, Debug, PartialEq)]
pub struct LogDensity {
    /// log p(x): `[rows]`.
    pub values: Vec<f64>,
    /// The standard error of each, where random probes estimate the divergence: `[rows]`. One probe has none.
    pub standard_error: Option<Vec<f64>>,
}

impl LogDensity {
    /// log N(x(0); 0, std²·I), with `sign` times the integrated divergence.
    ///
    /// In double precision: only the integral itself comes from the device.
    pub(crate) fn new(
        noise: &[f32],
        dim: usize,
        std: f64,
        integrals: &[f32],
        divergence: Divergence,
        sign: f64,
    ) -> Self {
        let probes = divergence.accumulators();
        let mean = |probes: &[f32]| probes.iter().map(|x| f64::from(*x)).sum::<f64>() / probes.len() as f64;
        let values = (noise.chunks_exact(dim).zip(integrals.chunks_exact(probes)))
            .map(|(x, integrals)| {
                let square: f64 = x.iter().map(|x| (f64::from(*x) / std).powi(2)).sum();
                -0.5 * square - dim as f64 * (0.5 * TAU.ln() + std.ln()) + sign * mean(integrals)
            })
            .collect();
        let standard_error = (probes > 1).then(|| {
            integrals
                .chunks_exact(probes)
                .map(|integrals| {
                    let middle = mean(integrals);
                    let square: f64 = integrals.iter().map(|x| (f64::from(*x) - middle).powi(2)).sum();
                    (square / (probes * (probes - 1)) as f64).sqrt()
                })
                .collect()
        });
        Self { values, standard_error }
    }

    /// The same in bits for each of `dim` coordinates, −log2 p / d, of which less is better.
    #[must_use]
    pub fn bits_per_dim(&self, dim: usize) -> Vec<f64> {
        self.values.iter().map(|value| -value / (std::f64::consts::LN_2 * dim as f64)).collect()
    }
}
