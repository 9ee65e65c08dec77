//! Pairs of a trained flow: where a particle begins and where it ends (Liu et al. 2022, "Flow straight and fast:
//! learning to generate and transfer data with rectified flow").

use std::ops::ControlFlow;

use super::sampler::{SampleOptions, Sampler, Start};
use crate::data::Dataset;
use crate::gpu::Device;
use crate::model::Model;
use crate::{Error, Result};

/// Points x0 of a model's source and the points x1 = φ_1(x0) that its flow carries them to, row by row, in data units.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// [n, d]
    pub x0: Dataset,
    /// [n, d]
    pub x1: Dataset,
}

impl Pairs {
    /// Makes so many pairs, by the solver and the steps of [`SampleOptions::default`]: those of samples 0, 1, … of the
    /// seed. `source` is what replaced the Gaussian where the model was trained. `watch` is told how many are made, and
    /// may break off.
    ///
    /// # Errors
    /// [`Error::Config`] if model and source do not fit each other; [`Error::Interrupted`] if `watch` breaks off;
    /// [`Error::Limit`] or [`Error::OutOfMemory`] if the model does not fit the device; [`Error::NonFinite`] if a pair is
    /// not finite.
    pub fn of_model(
        device: &Device,
        model: &Model,
        source: Option<&Dataset>,
        pairs: usize,
        seed: u64,
        mut watch: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Self> {
        if pairs == 0 {
            return Err(Error::config("--reflow-pairs 0 is out of range", "it takes a number of at least 1"));
        }
        let options = SampleOptions { seed, ..SampleOptions::default() };
        let mut sampler = Sampler::new(device, model, source, options)?;
        let (mut x0, mut x1) = (vec![], vec![]);
        let mut made = 0;
        while made < pairs {
            let rows = sampler.chunk_rows().min(pairs - made);
            let first = made as u64;
            let mut begin = sampler.noise(first, rows)?;
            let mut end = sampler.flow(Start::Points { first, values: &begin }, false)?.points;
            sampler.to_data_units(&mut begin);
            sampler.to_data_units(&mut end);
            if begin.iter().chain(&end).any(|x| !x.is_finite()) {
                return Err(Error::NonFinite {
                    what: "a pair of the model's flow",
                    step: model.steps,
                    remedy: "give another --from-model",
                });
            }
            x0.extend(begin);
            x1.extend(end);
            made += rows;
            if watch(made).is_break() {
                return Err(Error::Interrupted);
            }
        }
        let dim = model.architecture.dim;
        Ok(Self { x0: Dataset::from_rows("x0", x0, dim)?, x1: Dataset::from_rows("x1", x1, dim)? })
    }
}
