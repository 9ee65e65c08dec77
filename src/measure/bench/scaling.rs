//! Cost against size: batch, width, depth, dimension, particles.

use serde::{Deserialize, Serialize};

use super::throughput::chunk;
use super::{Bench, Shape, Spread};
use crate::Result;
use crate::model::Kernels;

/// A size that grows while all others stay.
#[derive(Debug)]
pub struct Size {
    /// Its name.
    pub name: &'static str,
    /// What is timed.
    pub of: &'static str,
    /// Its values, ascending.
    pub values: &'static [usize],
    /// The power of the size with which time grows in the end, and the one with which memory does.
    pub slopes: (f64, f64),
    shape: fn(usize) -> Shape,
    particles: bool,
}

/// Steps of the solver where particles grow.
const STEPS: u32 = 10;

/// All of them. What does not grow is 2:3x64:256.
pub static SIZES: &[Size] = &[
    Size {
        name: "batch",
        of: "training step",
        values: &[16, 64, 256, 1024, 4096, 16_384],
        slopes: (1.0, 1.0),
        shape: |rows| Shape { dim: 2, layers: 3, width: 64, rows },
        particles: false,
    },
    Size {
        name: "width",
        of: "training step",
        values: &[16, 32, 64, 128, 256, 512],
        slopes: (2.0, 2.0),
        shape: |width| Shape { dim: 2, layers: 3, width, rows: 256 },
        particles: false,
    },
    Size {
        name: "depth",
        of: "training step",
        values: &[1, 2, 4, 8, 16],
        slopes: (1.0, 1.0),
        shape: |layers| Shape { dim: 2, layers, width: 64, rows: 256 },
        particles: false,
    },
    Size {
        name: "dimension",
        of: "training step",
        values: &[2, 8, 32, 128, 512],
        slopes: (1.0, 1.0),
        shape: |dim| Shape { dim, layers: 3, width: 64, rows: 256 },
        particles: false,
    },
    Size {
        name: "particles",
        of: "ten Euler steps",
        values: &[256, 1024, 4096, 16_384, 65_536],
        slopes: (1.0, 0.0),
        shape: |rows| Shape { dim: 2, layers: 3, width: 64, rows },
        particles: true,
    },
];

/// How a cost grows with a size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// The size.
    pub size: String,
    /// What is timed: "training step", or "ten Euler steps" of all particles.
    pub of: String,
    /// In the order of the size.
    pub points: Vec<ScalingPoint>,
}

/// What one value of a size costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingPoint {
    /// The size.
    pub value: usize,
    /// The whole shape.
    pub shape: Shape,
    /// What it takes.
    pub seconds: Spread,
    /// What it keeps in the device's memory.
    pub device_bytes: u64,
    /// The same by formula ([`crate::train::Footprint`]), of training.
    #[serde(default)]
    pub formula_bytes: Option<u64>,
}

impl Bench {
    /// What a size costs at one of its values.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn scaling(&self, size: &Size, value: usize, kernels: Kernels) -> Result<ScalingPoint> {
        let shape = (size.shape)(value);
        let (rate, device_bytes, formula_bytes) = if size.particles {
            let before = self.device.memory().now;
            let mut sampler = self.euler_sampler_of(&shape, kernels, STEPS)?;
            let bytes = self.device.memory().now.saturating_sub(before);
            let rate = self.in_turn(std::slice::from_mut(&mut sampler), |bench, sampler, time| {
                let rows = chunk(shape.rows, sampler.chunk_rows());
                bench.repeat(time, 1.0, || {
                    let mut first = 0;
                    while first < shape.rows {
                        let count = rows.min(shape.rows - first);
                        sampler.sample(first as u64, count)?;
                        first += count;
                    }
                    Ok(())
                })
            })?;
            (rate.into_iter().next(), bytes, None)
        } else {
            let row = self.training(&shape, &[kernels])?.into_iter().next();
            let bytes = row.as_ref().map_or(0, |row| row.device_bytes);
            let formula = self.trainer(&self.data(shape.dim)?, &shape, kernels)?.footprint().total();
            (row.map(|row| row.steps_per_s), bytes, Some(formula))
        };
        let rate = rate.unwrap_or_else(|| Spread::of(vec![]));
        Ok(ScalingPoint { value, shape, seconds: rate.inverse(), device_bytes, formula_bytes })
    }
}
