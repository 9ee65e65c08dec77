//! Steps, samples, likelihoods and solved couplings a second.
//!
//! What is done before the clock starts: kernels are compiled, buffers filled, and the length of submissions has found
//! its place. What is compared is measured in turn.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::{Bench, Shape, Spread};
use crate::data::Dataset;
use crate::flow::{Assigner, Divergence, Path, Solver};
use crate::gpu::{Device, Habits};
use crate::model::Model;
use crate::sample::{Kernels, SampleOptions, Sampler, Start};
use crate::train::{Schedule, TrainOptions, Trainer};
use crate::{Error, Result};

/// Rows of the data set that training draws from.
pub(super) const DATA_ROWS: usize = 4096;
/// Steps of the solver.
const EULER_STEPS: u32 = 100;
/// Assignment problems that are solved side by side: on a software driver, and on a GPU.
const PROBLEMS: [usize; 2] = [8, 128];

/// A way to lay the work of a training step out.
#[derive(Debug)]
pub struct TrainingKernels {
    /// Its name.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    habits: fn(Habits) -> Habits,
}

/// All of them; the first one is the program's own choice.
pub static TRAINING_KERNELS: &[TrainingKernels] = &[
    TrainingKernels { name: "auto", help: "what is chosen where nothing is said", habits: |habits| habits },
    TrainingKernels {
        name: "textures",
        help: "matrices in textures",
        habits: |habits| Habits { textures: true, ..habits },
    },
    TrainingKernels {
        name: "buffers",
        help: "matrices in buffers",
        habits: |habits| Habits { textures: false, ..habits },
    },
];

/// The kernels of the integrators with their names; the first ones are the program's own choice.
pub static SAMPLING_KERNELS: &[(&str, Kernels)] =
    &[("auto", Kernels::Auto), ("fused", Kernels::Fused), ("layered", Kernels::Layered)];

/// How fast a network trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The network and the batch.
    pub shape: Shape,
    /// The kernels asked for, of [`TRAINING_KERNELS`].
    pub kernels: String,
    /// Whole steps: random numbers, rows of the data, points and velocities on the path, forward pass, loss, backward
    /// pass, Adam.
    pub steps_per_s: Spread,
    /// What it keeps in the device's memory.
    pub device_bytes: u64,
}

/// How fast samples are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// The network and the particles.
    pub shape: Shape,
    /// The kernels asked for, of [`SAMPLING_KERNELS`].
    pub kernels: String,
    /// From noise to points that the host has read, in 100 Euler steps.
    pub samples_per_s: Spread,
    /// What it keeps in the device's memory.
    pub device_bytes: u64,
}

/// How fast likelihoods are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Likelihood {
    /// The network and the points.
    pub shape: Shape,
    /// The kernels asked for, of [`SAMPLING_KERNELS`].
    pub kernels: String,
    /// From points to log p with the exact divergence, in 100 Euler steps.
    pub likelihoods_per_s: Spread,
    /// What it keeps in the device's memory.
    pub device_bytes: u64,
}

/// How fast the pairs of a batch are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coupling {
    /// n, the points of each side.
    pub points: usize,
    /// d.
    pub dim: usize,
    /// Problems that are solved side by side, as training does it.
    pub side_by_side: usize,
    /// Exact assignments of standard normal points.
    pub solves_per_s: Spread,
}

impl Bench {
    /// Trains networks of a shape with each of the kernels in turn.
    ///
    /// It is plain Adam (no clipping, no average) on a Gaussian data set of 4096 rows on the device.
    ///
    /// # Errors
    /// [`Error::Config`] for kernels that do not exist or do not fit; [`Error::Interrupted`]; whatever the device refuses.
    pub fn training(&self, shape: &Shape, kernels: &[&str]) -> Result<Vec<Training>> {
        let data = Dataset::from_rows("normal", self.normal(DATA_ROWS * shape.dim), shape.dim)?;
        let (mut trainers, bytes) =
            self.counted(kernels, |name| trainer(&self.device, &data, shape, name, self.seed))?;
        let spreads = self.in_turn(&mut trainers, |bench, trainer, seconds| bench.train(trainer, seconds))?;
        let rows = kernels.iter().zip(spreads).zip(bytes);
        let row = |((name, steps_per_s), device_bytes): ((&&str, _), _)| {
            let kernels = (*name).to_owned();
            Training { shape: *shape, kernels, steps_per_s, device_bytes }
        };
        Ok(rows.map(row).collect())
    }

    /// Draws samples of a network of that shape with each of the kernels in turn.
    ///
    /// Particles are carried in equal chunks of what the device takes at once.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn sampling(&self, shape: &Shape, kernels: &[&str]) -> Result<Vec<Sampling>> {
        let (mut samplers, bytes) = self.counted(kernels, |name| self.euler_sampler(shape, name))?;
        let spreads = self.in_turn(&mut samplers, |bench, sampler, seconds| {
            let rows = chunk(shape.rows, sampler.chunk_rows());
            bench.repeat(seconds, rows as f64, || sampler.sample(0, rows).map(drop))
        })?;
        let rows = kernels.iter().zip(spreads).zip(bytes);
        let row = |((name, samples_per_s), device_bytes): ((&&str, _), _)| {
            let kernels = (*name).to_owned();
            Sampling { shape: *shape, kernels, samples_per_s, device_bytes }
        };
        Ok(rows.map(row).collect())
    }

    /// Finds log p of points under a network of that shape with each of the kernels in turn.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn likelihood(&self, shape: &Shape, kernels: &[&str]) -> Result<Vec<Likelihood>> {
        let (mut samplers, bytes) = self.counted(kernels, |name| self.likelihood_sampler(shape, name))?;
        let largest = samplers.iter().map(|sampler| chunk(shape.rows, sampler.chunk_rows())).max();
        let points = self.normal(largest.unwrap_or(0) * shape.dim);
        let spreads = self.in_turn(&mut samplers, |bench, sampler, seconds| {
            let rows = chunk(shape.rows, sampler.chunk_rows());
            let start = Start::Points { first: 0, values: &points[..rows * shape.dim] };
            bench.repeat(seconds, rows as f64, || {
                let flow = sampler.flow(start, false)?;
                sampler.log_density(&flow, true).map(drop)
            })
        })?;
        let rows = kernels.iter().zip(spreads).zip(bytes);
        let row = |((name, likelihoods_per_s), device_bytes): ((&&str, _), _)| {
            let kernels = (*name).to_owned();
            Likelihood { shape: *shape, kernels, likelihoods_per_s, device_bytes }
        };
        Ok(rows.map(row).collect())
    }

    /// Solves the assignment problems of `minibatch-ot` for batches of so many points.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn coupling(&self, points: usize, dim: usize) -> Result<Coupling> {
        let wanted = PROBLEMS[usize::from(!self.device.habits().software)];
        let mut assigner = Assigner::new(&self.device, points, dim, wanted, "the number of points")?;
        let side_by_side = assigner.problems;
        let ends = self.normal(2 * side_by_side * points * dim);
        let (x0, x1) = ends.split_at(ends.len() / 2);
        self.device.write(&assigner.x0, x0)?;
        self.device.write(&assigner.x1, x1)?;
        let spreads = self.in_turn(std::slice::from_mut(&mut assigner), |bench, assigner, seconds| {
            bench.repeat(seconds, side_by_side as f64, || assigner.solve(side_by_side, self.stop).map(drop))
        })?;
        let solves_per_s = spreads.into_iter().next().unwrap_or_else(|| Spread::of(vec![]));
        Ok(Coupling { points, dim, side_by_side, solves_per_s })
    }

    /// Measures each contender once a round, after a measurement of each that does not count.
    fn in_turn<T>(
        &self,
        contenders: &mut [T],
        mut measure: impl FnMut(&Self, &mut T, Duration) -> Result<f64>,
    ) -> Result<Vec<Spread>> {
        for contender in contenders.iter_mut() {
            measure(self, contender, Duration::ZERO)?;
        }
        let mut rates = vec![Vec::with_capacity(self.rounds); contenders.len()];
        for _ in 0..self.rounds {
            for (contender, rates) in contenders.iter_mut().zip(&mut rates) {
                rates.push(measure(self, contender, self.time)?);
            }
        }
        Ok(rates.into_iter().map(Spread::of).collect())
    }

    /// Units a second of something that makes so many at once, again and again until the time is over.
    fn repeat(&self, time: Duration, units: f64, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
        let begun = Instant::now();
        let mut done = 0.0;
        loop {
            self.go_on()?;
            work()?;
            done += units;
            let taken = begun.elapsed();
            if taken >= time {
                return Ok(done / taken.as_secs_f64());
            }
        }
    }

    /// Steps a second, counted from the end of a submission to the end of another. With no time at all, it goes on until
    /// submissions have found their length.
    fn train(&self, trainer: &mut Trainer, time: Duration) -> Result<f64> {
        let mut begun: Option<(u64, Instant)> = None;
        let mut rate = 0.0;
        let mut lengths = [u64::MAX; 3];
        trainer.run(|progress| {
            if self.go_on().is_err() {
                return ControlFlow::Break(());
            }
            let length = progress.records.len() as u64;
            lengths = [lengths[1], lengths[2], length];
            let (first, at) = *begun.get_or_insert_with(|| (progress.step, Instant::now()));
            let taken = at.elapsed();
            if progress.step > first {
                rate = (progress.step - first) as f64 / taken.as_secs_f64();
            }
            // Two submissions are on their way at any time: a new length shows in the third one.
            let settled = !time.is_zero() || length <= lengths[0].saturating_add(lengths[0] / 2);
            if settled && progress.step > first && taken >= time {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        self.go_on()?;
        Ok(rate)
    }

    /// Builds something with each of the kernels; with the device's memory that each takes.
    fn counted<T>(
        &self,
        kernels: &[&str],
        mut build: impl FnMut(&str) -> Result<T>,
    ) -> Result<(Vec<T>, Vec<u64>)> {
        let mut built = Vec::with_capacity(kernels.len());
        for name in kernels {
            let before = self.device.memory().now;
            let contender = build(name)?;
            built.push((contender, self.device.memory().now.saturating_sub(before)));
        }
        Ok(built.into_iter().unzip())
    }

    /// A network of that shape, ready for 100 Euler steps from noise to data.
    pub(super) fn euler_sampler(&self, shape: &Shape, kernels: &str) -> Result<Sampler> {
        self.sampler(shape, kernels, SampleOptions::default())
    }

    /// The same from data to noise, with the exact divergence.
    pub(super) fn likelihood_sampler(&self, shape: &Shape, kernels: &str) -> Result<Sampler> {
        let divergence = Some(Divergence::Exact);
        self.sampler(shape, kernels, SampleOptions { t0: 1.0, t1: 0.0, divergence, ..SampleOptions::default() })
    }

    fn sampler(&self, shape: &Shape, kernels: &str, options: SampleOptions) -> Result<Sampler> {
        let found = SAMPLING_KERNELS.iter().find(|(name, _)| *name == kernels);
        let (_, kernels) = found
            .ok_or_else(|| unknown(kernels, SAMPLING_KERNELS.iter().map(|(name, _)| *name), "integrator"))?;
        let options = SampleOptions {
            kernels: *kernels,
            solver: Solver::named("euler")?,
            steps: EULER_STEPS,
            seed: self.seed,
            ..options
        };
        let mut sampler = Sampler::new(&self.device, &model(shape, self.seed), None, options)?;
        sampler.stop_when(self.stop);
        Ok(sampler)
    }

    /// Standard normal numbers.
    pub(super) fn normal(&self, count: usize) -> Vec<f32> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(self.seed);
        (0..count).map(|_| normal(&mut rng)).collect()
    }
}

/// By Box and Muller's formula, one of its two.
fn normal(rng: &mut impl Rng) -> f32 {
    let mut uniform = || (f64::from(rng.next_u32()) + 0.5) * 2f64.powi(-32);
    let (radius, turn) = ((-2.0 * uniform().ln()).sqrt(), uniform());
    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    let value = (radius * (std::f64::consts::TAU * turn).cos()) as f32;
    value
}

/// A training run without an end.
pub(super) fn trainer(
    device: &Device,
    data: &Dataset,
    shape: &Shape,
    kernels: &str,
    seed: u64,
) -> Result<Trainer> {
    let found = TRAINING_KERNELS.iter().find(|entry| entry.name == kernels);
    let entry = found
        .ok_or_else(|| unknown(kernels, TRAINING_KERNELS.iter().map(|entry| entry.name), "training step"))?;
    let device = device.with_habits((entry.habits)(*device.habits()));
    let options = TrainOptions {
        hidden: vec![shape.width; shape.layers],
        batch: shape.rows,
        steps: u32::MAX.into(),
        lr: 1e-3,
        schedule: Schedule::Constant,
        warmup: 0,
        clip: 0.0,
        ema: 0.0,
        seed,
        standardize: false,
        ..TrainOptions::default()
    };
    Trainer::new(&device, data, None, options)
}

fn unknown(name: &str, names: impl Iterator<Item = &'static str>, of: &str) -> Error {
    let names: Vec<&str> = names.collect();
    Error::config(
        format!("no kernels of the {of} are called `{}`", name.escape_debug()),
        format!("there are {}", names.join(", ")),
    )
}

/// Particles of a chunk, where so many go in chunks of at most so many.
pub(super) fn chunk(particles: usize, most: usize) -> usize {
    particles.div_ceil(particles.div_ceil(most))
}

/// A network that has learned nothing: its speed is that of any other.
fn model(shape: &Shape, seed: u64) -> Model {
    let architecture = shape.architecture();
    Model {
        weights: architecture.initialize(seed),
        architecture,
        path: Path::default(),
        standardization: None,
        source: None,
        seed,
        steps: 0,
        columns: vec![],
        image: None,
    }
}
