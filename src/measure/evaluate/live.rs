//! Measures that are cheap enough to be taken while a model is trained.

use super::distances::wasserstein2_many;
use super::flows::{Kinetics, kinetics};
use super::points::TestPoints;
use super::{EXACT_ROWS, begin, carry};
use crate::data::Dataset;
use crate::flow::Solver;
use crate::gpu::Device;
use crate::model::Model;
use crate::sample::{SampleOptions, Sampler};
use crate::{Error, Result};

/// Particles and test points, at most.
const ROWS: usize = 512;
/// Steps of the midpoint method that particles are followed in.
const STEPS: u32 = 25;
/// What the seed of a run is mixed with: particles and test points are those of no evaluation.
const SEED: u64 = 0x11fe;

/// A measure of a model in training.
#[derive(Debug)]
pub struct LiveMeasure {
    /// Its column in the history.
    pub column: &'static str,
    /// What it is.
    pub definition: &'static str,
    value: fn(&Look) -> f64,
}

/// All of them, in the order of the columns.
pub static LIVE: [LiveMeasure; 5] = [
    LiveMeasure {
        column: "straightness",
        definition: "S = E ∫ ‖(z_1 − z_0) − v(z_t, t)‖² dt; 0 is straight",
        value: |look| look.kinetics.straightness,
    },
    LiveMeasure {
        column: "curvature",
        definition: "E [length of the trajectory/‖z_1 − z_0‖]; 1 is straight",
        value: |look| look.kinetics.curvature,
    },
    LiveMeasure {
        column: "path_energy",
        definition: "PE = E ∫ ‖v(z_t, t)‖² dt along the flow",
        value: |look| look.kinetics.path_energy,
    },
    LiveMeasure { column: "w2", definition: "W₂ of samples and test points", value: |look| look.many },
    LiveMeasure {
        column: "w2_1_step",
        definition: "W₂ of samples of one Euler step and test points",
        value: |look| look.one,
    },
];

/// The values of [`LIVE`].
pub type LiveValues = [f64; LIVE.len()];

/// What a look at a model finds.
struct Look {
    kinetics: Kinetics,
    /// W₂ of many steps.
    many: f64,
    /// W₂ of one.
    one: f64,
}

/// Particles and test points that stay the same throughout a run: what changes between two looks is the model.
#[derive(Debug)]
pub struct Live {
    device: Device,
    seed: u64,
    /// Rows of the source, in data units; none where the flow begins with noise.
    source: Option<Vec<f32>>,
    /// In data units.
    test: Vec<f32>,
    floor: f64,
}

impl Live {
    /// Up to 512 test points: fresh ones of a built-in density, rows of anything else.
    ///
    /// # Errors
    /// [`Error::Input`] for less than two rows; as of [`wasserstein2`](super::wasserstein2).
    pub fn new(device: &Device, data: &Dataset, source: Option<&Dataset>, seed: u64) -> Result<Self> {
        let rows = super::test_rows(data, source, None)?.min(ROWS).min(EXACT_ROWS);
        let seed = seed ^ SEED;
        let mut sets = TestPoints::of(data).sets(2, rows, seed, 0)?;
        let (other, test) = (sets.pop().unwrap_or_default(), sets.pop().unwrap_or_default());
        let source = match source {
            Some(source) => TestPoints::of(source).sets(1, rows, seed ^ 0x50, 0)?.pop(),
            None => None,
        };
        let floor = wasserstein2_many(device, &other, &test, rows, data.dim())?;
        Ok(Self { device: device.clone(), seed, source, test, floor: floor[0] })
    }

    /// W₂ of two test sets.
    #[must_use]
    pub fn floor(&self) -> f64 {
        self.floor
    }

    /// Measures a model: without a condition, where it was trained on labels.
    ///
    /// # Errors
    /// [`Error::Config`] for a model that cannot do without a condition, or whose flow diverges; as of [`Sampler`].
    pub fn look(&self, model: &Model) -> Result<LiveValues> {
        let model = model.unconditional()?;
        let dim = model.architecture.dim;
        let rows = self.test.len() / dim;
        let sampler = |solver: &str, steps: u32| -> Result<Sampler> {
            let solver = Solver::named(solver)?;
            let options = SampleOptions { solver, steps, seed: self.seed, ..SampleOptions::default() };
            Sampler::new(&self.device, &model, None, options)
        };
        let mut many = sampler("midpoint", STEPS)?;
        let points = match &self.source {
            Some(rows) => {
                let mut rows = rows.clone();
                many.to_network_units(&mut rows);
                rows
            }
            None => begin(&mut many, rows, 0)?,
        };
        let mut kinetics = kinetics(&mut many, &points)?;
        let mut ends = std::mem::take(&mut kinetics.ends);
        ends.extend(carry(&mut sampler("euler", 1)?, &points, |_| ())?);
        many.to_data_units(&mut ends);
        super::finite(&ends, dim, 0)?;
        let found = wasserstein2_many(&self.device, &ends, &self.test.repeat(2), rows, dim)?;
        let [many, one] = found[..] else {
            return Err(Error::Device { what: "distances".to_owned(), reason: "none came back".to_owned() });
        };
        let look = Look { kinetics, many, one };
        Ok(LIVE.each_ref().map(|measure| (measure.value)(&look)))
    }
}
