//! Pairs that no training has drawn, and the loss of a model over them.

use super::flows::slices;
use super::points::TestPoints;
use super::{TIMES, times};
use crate::data::Dataset;
use crate::flow::{Coupling, Path};
use crate::gpu::Device;
use crate::model::{Kernels, Model, to_u32};
use crate::sample::{SampleOptions, Sampler};
use crate::train::{Batch, BatchOptions, TrainOptions};
use crate::{Error, Result};

/// The step of the first batch of [`HeldOut`]: no run gets there, and no evaluation.
const FIRST_STEP: u32 = 1 << 30;
/// What the seed of a run is mixed with for points that are neither trained on nor tested with.
const VALIDATION: u64 = 0x7a11;

/// Pairs of a coupling, in the network's coordinates.
#[derive(Debug)]
pub(super) struct Pairs {
    /// `[n, d]`
    pub x0: Vec<f32>,
    /// `[n, d]`
    pub x1: Vec<f32>,
}

impl Pairs {
    /// The first `count` pairs of the batches from `options.step` on.
    pub fn draw(
        device: &Device,
        (data, source): (&Dataset, Option<&Dataset>),
        options: &BatchOptions,
        count: usize,
        stop: fn() -> bool,
    ) -> Result<Self> {
        let (mut x0, mut x1) = (vec![], vec![]);
        for number in 0..count.div_ceil(options.batch) {
            if stop() {
                return Err(Error::Interrupted);
            }
            let step = options.step.saturating_add(to_u32(number));
            let drawn = Batch::draw(device, data, source, &BatchOptions { step, ..options.clone() })?;
            x0.extend(drawn.x0);
            x1.extend(drawn.x1);
        }
        x0.truncate(count * data.dim());
        x1.truncate(count * data.dim());
        Ok(Self { x0, x1 })
    }
}

/// A data set as the network sees it: standardised, and then rounded to float32.
pub(super) fn seen(model: &Model, data: &Dataset) -> Result<Dataset> {
    let mut values = data.values().to_vec();
    if let Some(standardization) = &model.standardization {
        standardization.apply(&mut values);
    }
    Dataset::from_rows(data.name(), values, data.dim())
}

/// Pairs by which the weights of a run are compared with each other: the same ones, at the same times and with the same
/// noise around the path, so that two losses differ by the weights alone.
#[derive(Debug)]
pub struct HeldOut {
    pairs: Pairs,
    path: Path,
    dim: usize,
}

impl HeldOut {
    /// Pairs of about `rows` points that are not in the data, where these are a built-in density; of a file, of rows of it.
    /// `model` is any of the run: its coordinates are those of all.
    ///
    /// # Errors
    /// [`Error::Input`] for fewer rows than that; [`Error::Interrupted`] if `stop` says so; as of [`Batch::draw`].
    pub fn draw(
        device: &Device,
        model: &Model,
        (data, source): (&Dataset, Option<&Dataset>),
        options: &TrainOptions,
        rows: usize,
        stop: fn() -> bool,
    ) -> Result<Self> {
        let seed = options.seed ^ VALIDATION;
        let points = |set: &Dataset| -> Result<Dataset> {
            let values = TestPoints::of(set).sets(1, rows, seed, 0)?.pop().unwrap_or_default();
            seen(model, &Dataset::from_rows(set.name(), values, set.dim())?)
        };
        let (data, source) = (points(data)?, source.map(points).transpose()?);
        let count = (rows / TIMES).max(1) * TIMES;
        let batch = if options.coupling == Coupling::Independent { count } else { options.batch };
        let drawn = BatchOptions {
            path: options.path.clone(),
            coupling: options.coupling,
            batch,
            seed,
            standardize: false,
            step: FIRST_STEP,
        };
        let pairs = Pairs::draw(device, (&data, source.as_ref()), &drawn, count, stop)?;
        Ok(Self { pairs, path: options.path.clone(), dim: data.dim() })
    }

    /// `L_CFM` of a model over them (eq. 8).
    ///
    /// # Errors
    /// As of [`Sampler::velocity`].
    pub fn loss(&self, device: &Device, model: &Model) -> Result<f64> {
        let options = SampleOptions { kernels: Kernels::Layered, ..SampleOptions::default() };
        let mut sampler = Sampler::new(device, model, None, options)?;
        let Pairs { x0, x1 } = &self.pairs;
        let times = times(self.path.t_max());
        let slices = slices(&self.path, (x0, x1), &times, self.dim, &mut sampler, None)?;
        Ok(slices.iter().map(|slice| slice.cfm).sum::<f64>() / slices.len() as f64)
    }
}
