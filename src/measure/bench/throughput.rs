//! Steps, samples, likelihoods and solved couplings a second.
//!
//! What is done before the clock starts: kernels are compiled, buffers filled, and the length of submissions has found
//! its place. What is compared is measured in turn.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Bench, Shape, Spread};
use crate::data::{Dataset, Stream};
use crate::flow::{self, Divergence, Solver};
use crate::model::{Kernels, Model};
use crate::sample::{SampleOptions, Sampler, Start};
use crate::train::{CouplingReport, PairSolver, Schedule, TrainOptions, Trainer};
use crate::{Error, Result};

/// Rows of the data set that training draws from.
const DATA_ROWS: usize = 4096;
/// Steps of the solver.
const EULER_STEPS: u32 = 100;
/// Problems of a coupling that are solved side by side: on a software driver, and on a GPU.
const PROBLEMS: [usize; 2] = [8, 128];
/// Points of all of them, about: larger ones are solved one by one.
const POINTS: usize = 1 << 18;

/// How fast a network trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The network and the batch.
    pub shape: Shape,
    /// The kernels asked for, of [`KERNELS`](crate::model::KERNELS).
    pub asked: String,
    /// The kernels at work.
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
    /// The kernels asked for, of [`KERNELS`](crate::model::KERNELS).
    pub asked: String,
    /// The kernels at work.
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
    /// The kernels asked for, of [`KERNELS`](crate::model::KERNELS).
    pub asked: String,
    /// The kernels at work.
    pub kernels: String,
    /// From points to log p with the exact divergence, in 100 Euler steps.
    pub likelihoods_per_s: Spread,
    /// What it keeps in the device's memory.
    pub device_bytes: u64,
}

/// How fast the pairs of a batch are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coupling {
    /// Of [`COUPLINGS`](crate::flow::COUPLINGS).
    pub name: String,
    /// n, the points of each side.
    pub points: usize,
    /// d.
    pub dim: usize,
    /// Problems that are solved side by side, as training does it.
    pub side_by_side: usize,
    /// Problems of standard normal points.
    pub solves_per_s: Spread,
    /// Pairs of points that a problem looks at, some of them often.
    #[serde(default)]
    pub pairs: f64,
    /// Operations of a pair, about.
    #[serde(default)]
    pub pair_flops: u64,
}

impl Coupling {
    /// Operations a second.
    #[must_use]
    pub fn flops(&self) -> f64 {
        self.solves_per_s.median * self.pairs * self.pair_flops as f64
    }
}

impl Bench {
    /// Trains networks of a shape with each of the kernels in turn.
    ///
    /// It is plain Adam (no clipping, no average) on a Gaussian data set of 4096 rows on the device. Kernels that do not
    /// fit are left out, as long as others do.
    ///
    /// # Errors
    /// [`Error::Config`] where none of the kernels fits; [`Error::Interrupted`]; whatever the device refuses.
    pub fn training(&self, shape: &Shape, kernels: &[Kernels]) -> Result<Vec<Training>> {
        let data = self.data(shape.dim)?;
        let (mut trainers, counted) = self.counted(kernels, |kernels| {
            let trainer = self.trainer(&data, shape, kernels)?;
            Ok((trainer.kernels(), trainer))
        })?;
        let spreads = self.in_turn(&mut trainers, Self::train)?;
        let row = |(Counted { asked, kernels, device_bytes }, steps_per_s)| Training {
            shape: *shape,
            asked,
            kernels,
            steps_per_s,
            device_bytes,
        };
        Ok(counted.into_iter().zip(spreads).map(row).collect())
    }

    /// Draws samples of a network of that shape with each of the kernels in turn.
    ///
    /// Particles are carried in equal chunks of what the device takes at once.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn sampling(&self, shape: &Shape, kernels: &[Kernels]) -> Result<Vec<Sampling>> {
        let (mut samplers, counted) = self.counted(kernels, |kernels| {
            let sampler = self.euler_sampler(shape, kernels)?;
            Ok((sampler.kernels(), sampler))
        })?;
        let spreads = self.in_turn(&mut samplers, |bench, sampler, seconds| {
            let rows = chunk(shape.rows, sampler.chunk_rows());
            bench.repeat(seconds, rows as f64, || sampler.sample(0, rows).map(drop))
        })?;
        let row = |(Counted { asked, kernels, device_bytes }, samples_per_s)| Sampling {
            shape: *shape,
            asked,
            kernels,
            samples_per_s,
            device_bytes,
        };
        Ok(counted.into_iter().zip(spreads).map(row).collect())
    }

    /// Finds log p of points under a network of that shape with each of the kernels in turn.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn likelihood(&self, shape: &Shape, kernels: &[Kernels]) -> Result<Vec<Likelihood>> {
        let (mut samplers, counted) = self.counted(kernels, |kernels| {
            let sampler = self.likelihood_sampler(shape, kernels)?;
            Ok((sampler.kernels(), sampler))
        })?;
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
        let row = |(Counted { asked, kernels, device_bytes }, likelihoods_per_s)| Likelihood {
            shape: *shape,
            asked,
            kernels,
            likelihoods_per_s,
            device_bytes,
        };
        Ok(counted.into_iter().zip(spreads).map(row).collect())
    }

    /// Finds the pairs of batches of so many points, as training under a coupling does it; none for one that solves
    /// nothing.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn coupling(&self, coupling: flow::Coupling, points: usize, dim: usize) -> Result<Option<Coupling>> {
        let wanted = PROBLEMS[usize::from(!self.device.habits().software)].min(POINTS / points.max(1)).max(1);
        let flag = "the number of points";
        let Some(mut solver) = PairSolver::new(&self.device, coupling, (points, dim), wanted, flag, 0)?
        else {
            return Ok(None);
        };
        let (side_by_side, pair_flops) = (solver.problems(), solver.pair_flops());
        let ends = self.normal(2 * side_by_side * points * dim);
        let (x0, x1) = ends.split_at(ends.len() / 2);
        for (buffer, values) in solver.points().into_iter().zip([x0, x1]) {
            self.device.write(buffer, values)?;
        }
        let mut report = CouplingReport::default();
        let spreads = self.in_turn(std::slice::from_mut(&mut solver), |bench, solver, seconds| {
            bench.repeat(seconds, side_by_side as f64, || {
                solver.solve(side_by_side, 0, 1, self.stop, &mut report)
            })
        })?;
        let solves_per_s = spreads.into_iter().next().unwrap_or_else(|| Spread::of(vec![]));
        let name = coupling.entry().name.to_owned();
        let pairs = report.pairs as f64 / report.problems as f64;
        Ok(Some(Coupling { name, points, dim, side_by_side, solves_per_s, pairs, pair_flops }))
    }

    /// Measures each contender once a round, after a measurement of each that does not count.
    pub(super) fn in_turn<T>(
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
    pub(super) fn repeat(
        &self,
        time: Duration,
        units: f64,
        mut work: impl FnMut() -> Result<()>,
    ) -> Result<f64> {
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

    /// Builds something with each of the kernels that fit, and counts the device's memory.
    fn counted<T>(
        &self,
        kernels: &[Kernels],
        mut build: impl FnMut(Kernels) -> Result<(Kernels, T)>,
    ) -> Result<(Vec<T>, Vec<Counted>)> {
        let mut built = Vec::with_capacity(kernels.len());
        let mut refusal = Error::config("no kernels at all measure nothing", "give some, such as auto");
        for asked in kernels {
            let before = self.device.memory().now;
            match build(*asked) {
                Ok((at_work, contender)) => {
                    let device_bytes = self.device.memory().now.saturating_sub(before);
                    let (asked, kernels) = (asked.name().to_owned(), at_work.name().to_owned());
                    built.push((contender, Counted { asked, kernels, device_bytes }));
                }
                Err(error @ Error::Config { .. }) => refusal = error,
                Err(error) => return Err(error),
            }
        }
        if built.is_empty() { Err(refusal) } else { Ok(built.into_iter().unzip()) }
    }

    /// Gaussian data to train on.
    pub(super) fn data(&self, dim: usize) -> Result<Dataset> {
        Dataset::from_rows("normal", self.normal(DATA_ROWS * dim), dim)
    }

    /// A training run without an end.
    pub(super) fn trainer(&self, data: &Dataset, shape: &Shape, kernels: Kernels) -> Result<Trainer> {
        let options = TrainOptions {
            hidden: vec![shape.width; shape.layers],
            batch: shape.rows,
            steps: u32::MAX.into(),
            lr: 1e-3,
            schedule: Schedule::Constant,
            warmup: 0,
            clip: 0.0,
            ema: 0.0,
            seed: self.seed,
            standardize: false,
            kernels,
            ..TrainOptions::default()
        };
        Trainer::new(&self.device, data, None, options)
    }

    /// A network of that shape, ready for 100 Euler steps from noise to data.
    pub(super) fn euler_sampler(&self, shape: &Shape, kernels: Kernels) -> Result<Sampler> {
        self.euler_sampler_of(shape, kernels, EULER_STEPS)
    }

    /// The same with so many steps.
    pub(super) fn euler_sampler_of(&self, shape: &Shape, kernels: Kernels, steps: u32) -> Result<Sampler> {
        self.sampler(shape, SampleOptions { steps, kernels, ..SampleOptions::default() })
    }

    /// The same from data to noise, with the exact divergence.
    pub(super) fn likelihood_sampler(&self, shape: &Shape, kernels: Kernels) -> Result<Sampler> {
        let divergence = Some(Divergence::Exact);
        let options = SampleOptions {
            t0: 1.0,
            t1: 0.0,
            divergence,
            kernels,
            steps: EULER_STEPS,
            ..SampleOptions::default()
        };
        self.sampler(shape, options)
    }

    fn sampler(&self, shape: &Shape, options: SampleOptions) -> Result<Sampler> {
        let solver = Solver::named("euler")?;
        let options = SampleOptions { solver, seed: self.seed, ..options };
        let mut sampler = Sampler::new(&self.device, &model(shape, self.seed), None, options)?;
        sampler.stop_when(self.stop);
        Ok(sampler)
    }

    /// Standard normal numbers.
    pub(super) fn normal(&self, count: usize) -> Vec<f32> {
        let mut stream = Stream::new("bench", self.seed);
        #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
        let values = (0..count).map(|_| stream.normal() as f32).collect();
        values
    }
}

/// What stands in a row beside its figure.
struct Counted {
    asked: String,
    kernels: String,
    device_bytes: u64,
}

/// Particles of a chunk, where so many go in chunks of at most so many.
pub(super) fn chunk(particles: usize, most: usize) -> usize {
    particles.div_ceil(particles.div_ceil(most))
}

/// A network that has learned nothing: its speed is that of any other.
fn model(shape: &Shape, seed: u64) -> Model {
    let architecture = shape.architecture();
    let weights = architecture.initialize(seed);
    Model::new(architecture, weights)
}
