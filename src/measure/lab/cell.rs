//! One combination: a model is trained, and measured.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path as FilePath;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::FORMAT;
use super::plan::{CellId, Plan, Validation, path_label};
use crate::data::Dataset;
use crate::flow::{Coupling, Solver};
use crate::gpu::Device;
use crate::measure::evaluate::{self, Evaluation, HeldOut, evaluate};
use crate::model::Model;
use crate::sample::{Pairs, SampleOptions, Sampler};
use crate::train::{Checkpoint, Outcome, TrainOptions, Trainer};
use crate::{Error, Result};

/// Particles whose trajectories are kept, for the figure.
const TRAJECTORIES: usize = 96;
/// Steps of the midpoint method that they are followed in.
const TRAJECTORY_STEPS: u32 = 32;
/// What is measured of pairs of source and data.
const OF_PAIRS: [&str; 4] = ["crossing energy", "L_CFM", "L_FM", "transport"];
/// The share of the last steps whose mean is the loss.
const LAST: f64 = 0.1;

/// What a cell is at.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is being done.
    pub what: &'static str,
    /// How much of the cell is done, 0 to 1: its training, mostly.
    pub share: f64,
    /// Steps made a second, while it is trained.
    pub steps_per_second: Option<f64>,
}

/// What was measured of a model of one path, one coupling and one seed. Names, definitions and units of the measures are
/// those of [`MEASURES`](evaluate::MEASURES).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The version of the file.
    pub format: u32,
    /// The name of the task.
    pub task: String,
    /// The name of the path.
    pub path: String,
    /// The name of the coupling.
    pub coupling: String,
    /// The seed.
    pub seed: u64,
    /// The device that did it.
    pub adapter: String,
    /// Seconds for all of it.
    pub seconds: f64,
    /// Seconds of its training, by the call that finished it.
    pub training_seconds: f64,
    /// The mean loss over the last tenth of the steps; none where none were made.
    pub loss: Option<f64>,
    /// By their names; `transport` is E ∫ ‖u_t(x | x1)‖² dt of the pairs, on a straight path E ‖X1 − X0‖².
    pub measures: BTreeMap<String, f64>,
    /// What two test sets of the same size are apart.
    pub floors: BTreeMap<String, f64>,
    /// Over the time.
    pub crossing: Vec<Crossing>,
    /// Over the number of Euler steps.
    pub quality: Vec<Quality>,
    /// Of dopri5.
    pub evaluations: Vec<Evaluations>,
    /// In data units, where there are two dimensions.
    pub trajectories: Option<Trajectories>,
}

/// How much the conditional paths cross at a time, in the network's coordinates, squared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crossing {
    /// The time.
    pub t: f64,
    /// E ‖u_t(x | x1) − u_t(x)‖², where the exact field is known.
    pub exact: Option<f64>,
    /// E ‖v(x, t) − u_t(x | x1)‖² of the model, which is never below it but by chance.
    pub cfm: f64,
}

/// W₂ of samples in a number of Euler steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Steps, and evaluations of the velocity.
    pub steps: u32,
    /// W₂ from test points.
    pub wasserstein2: Option<f64>,
    /// The energy distance.
    pub energy: f64,
}

/// Evaluations of the velocity that dopri5 needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluations {
    /// Of a step, absolute and relative.
    pub tolerance: f32,
    /// Over the samples.
    pub mean: f64,
    /// Of the samples.
    pub most: f64,
}

/// Paths of particles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trajectories {
    /// How many steps each has.
    pub steps: usize,
    /// `[n, steps + 1, 2]`.
    pub points: Vec<f32>,
}

/// What a cell reads and leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files<'a> {
    /// The model of independent pairs, from which `reflow` goes on.
    pub parent: &'a FilePath,
    /// Of the training.
    pub checkpoint: &'a FilePath,
    /// The weights with the lowest loss so far, where a plan wants them.
    pub best: &'a FilePath,
}

/// Trains and measures.
pub(super) fn run(
    device: &Device,
    plan: &Plan,
    id: &CellId,
    files: Files<'_>,
    stop: fn() -> bool,
    mut progress: impl FnMut(Progress),
) -> Result<(Cell, Model)> {
    let begun = Instant::now();
    let (data, source) = id.task.open(if plan.fresh { id.seed } else { 0 })?;
    let options = TrainOptions {
        path: id.path.clone(),
        coupling: id.coupling,
        seed: id.seed,
        exact_every: 0,
        ..plan.train.clone()
    };
    let told = |share: f64, steps_per_second: Option<f64>| {
        progress(Progress { what: "training", share: 0.8 * share, steps_per_second });
    };
    let (mut model, loss) = if let Coupling::Reflow { pairs, .. } = id.coupling {
        reflow(device, source.as_ref(), &options, pairs, (files, stop), told)?
    } else {
        let begin = || Trainer::new(device, &data, source.as_ref(), options.clone());
        let wanted = (options.steps, plan.validation);
        train(device, (&data, source.as_ref()), wanted, begin, (files, stop), told)?
    };
    model.source = source.as_ref().map(|source| source.name().to_owned());
    let training = begun.elapsed();
    let euler = Solver::named("euler")?;
    let wanted = evaluate::Options {
        rows: Some(plan.rows),
        transport_rows: plan.transport_rows,
        seeds: 1,
        seed: id.seed,
        sample: SampleOptions { solver: euler, steps: plan.solver_steps, ..SampleOptions::default() },
        steps: plan.quality_steps.clone(),
        // The pairs that a flow made are not rows of the data: what is measured of pairs is left out, below.
        coupling: if id.coupling.is_paired() { Coupling::Independent } else { id.coupling },
        batch: options.batch,
        likelihood: false,
        stop,
        ..evaluate::Options::default()
    };
    let found = evaluate(device, &model, &data, source.as_ref(), &wanted, |news| {
        let share = 0.8 + 0.2 * news.done as f64 / news.of.max(1) as f64;
        progress(Progress { what: news.what, share, steps_per_second: None });
        ControlFlow::Continue(())
    })?;
    let trajectories = trajectories(device, &model, source.as_ref(), id.seed)?;
    let mut cell = Cell::of(device, id, (begun.elapsed(), training), loss, &found, trajectories);
    if id.coupling.is_paired() {
        cell.crossing.clear();
        for name in OF_PAIRS {
            cell.measures.remove(name);
        }
    }
    Ok((cell, model))
}

/// A round of rectified flow from the model of independent pairs.
fn reflow(
    device: &Device,
    source: Option<&Dataset>,
    options: &TrainOptions,
    count: usize,
    (files, stop): (Files<'_>, fn() -> bool),
    progress: impl FnMut(f64, Option<f64>),
) -> Result<(Model, Option<f64>)> {
    let parent = files.parent;
    let model = Model::load(parent)?;
    let watch = |_| if stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let pairs = Pairs::of_model(device, &model, source, count, options.seed, watch)?;
    let name = parent.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let begin = || Trainer::reflow(device, (&pairs.x0, &pairs.x1), options.clone(), (name.as_str(), &model));
    // Its pairs are all there are: none are held out.
    train(device, (&pairs.x1, Some(&pairs.x0)), (options.steps, None), begin, (files, stop), progress)
}

/// The weights with the lowest loss so far.
struct Best<'a> {
    held_out: HeldOut,
    every: u64,
    file: &'a FilePath,
    /// Of the model in the file, where there is one.
    loss: Option<f64>,
}

impl<'a> Best<'a> {
    /// Of a run that begins, or goes on with what it has left in `file`.
    fn new(
        device: &Device,
        trainer: &Trainer,
        from: (&Dataset, Option<&Dataset>),
        Validation { every, rows }: Validation,
        file: &'a FilePath,
        stop: fn() -> bool,
    ) -> Result<Self> {
        let held_out = HeldOut::draw(device, &trainer.model()?, from, trainer.options(), rows, stop)?;
        let left = trainer.step() > 0 && file.exists();
        let loss = left.then(|| held_out.loss(device, &Model::load(file)?)).transpose()?;
        Ok(Self { held_out, every, file, loss })
    }

    /// The step of the next look.
    fn next(&self, step: u64) -> u64 {
        (step / self.every + 1) * self.every
    }

    fn look(&mut self, device: &Device, model: &Model) -> Result<()> {
        let loss = self.held_out.loss(device, model)?;
        if self.loss.is_none_or(|least| loss < least) {
            model.save(self.file)?;
            self.loss = Some(loss);
        }
        Ok(())
    }
}

/// A model, and the mean loss of the last steps. Goes on from the checkpoint, if there is one, and leaves one when it is
/// stopped.
fn train(
    device: &Device,
    (data, source): (&Dataset, Option<&Dataset>),
    (steps, validation): (u64, Option<Validation>),
    begin: impl FnOnce() -> Result<Trainer>,
    (files, stop): (Files<'_>, fn() -> bool),
    mut progress: impl FnMut(f64, Option<f64>),
) -> Result<(Model, Option<f64>)> {
    let begun = Instant::now();
    let mut trainer = match Checkpoint::load(files.checkpoint) {
        Ok(saved) => Trainer::resume(device, data, source, &saved, steps)?,
        Err(Error::Io { source: error, .. }) if error.kind() == std::io::ErrorKind::NotFound => begin()?,
        Err(error) => return Err(error),
    };
    let best = |wanted| Best::new(device, &trainer, (data, source), wanted, files.best, stop);
    let mut best = validation.map(best).transpose()?;
    let first = trainer.step();
    let counted = ((1.0 - LAST) * steps as f64).floor();
    let (mut sum, mut count) = (0.0, 0u64);
    loop {
        let until = best.as_ref().map_or(steps, |best| best.next(trainer.step()));
        let outcome = trainer.run_until(until, |news| {
            for (step, record) in news.records {
                if *step as f64 >= counted {
                    sum += f64::from(record.loss);
                    count += 1;
                }
            }
            let made = news.step.saturating_sub(first) as f64;
            let speed = Some(made / begun.elapsed().as_secs_f64()).filter(|speed| speed.is_finite());
            progress(news.step as f64 / news.steps.max(1) as f64, speed);
            if stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(best) = best.as_mut().filter(|_| outcome == Outcome::Finished) {
            best.look(device, &trainer.model()?)?;
        }
        let done = trainer.step() >= steps;
        // Asked in the last steps before a look, it has stopped there anyway.
        let stopped = outcome == Outcome::Interrupted || (!done && stop());
        if done || stopped {
            // Of a finished training as well: it is measured next, which may be broken off, too.
            trainer.checkpoint()?.save(files.checkpoint)?;
        }
        if stopped {
            return Err(Error::Interrupted);
        }
        if done {
            break;
        }
    }
    let model = if best.is_some() { Model::load(files.best)? } else { trainer.model()? };
    Ok((model, (count > 0).then(|| sum / count as f64)))
}

/// For the figure.
fn trajectories(
    device: &Device,
    model: &Model,
    source: Option<&Dataset>,
    seed: u64,
) -> Result<Option<Trajectories>> {
    if model.architecture.dim != 2 {
        return Ok(None);
    }
    let options = SampleOptions { steps: TRAJECTORY_STEPS, seed, ..SampleOptions::default() };
    let mut sampler = Sampler::new(device, model, source, options)?;
    let mut points = sampler.sample_trajectory(0, TRAJECTORIES.min(sampler.trajectory_rows()))?;
    sampler.to_data_units(&mut points);
    Ok(Some(Trajectories { steps: TRAJECTORY_STEPS as usize, points }))
}

impl Cell {
    fn of(
        device: &Device,
        id: &CellId,
        (all, training): (Duration, Duration),
        loss: Option<f64>,
        found: &Evaluation,
        trajectories: Option<Trajectories>,
    ) -> Self {
        let mut measures: BTreeMap<String, f64> =
            found.measures.iter().map(|measured| (measured.name.to_owned(), measured.value.mean)).collect();
        let pairs = found.identity.iter().find(|identity| identity.flow == "model");
        measures.extend(pairs.map(|identity| ("transport".to_owned(), identity.transport.mean)));
        let counts = found.evaluations.iter();
        measures.extend(counts.map(|at| (format!("NFE {:e}", at.tolerance), at.mean.mean)));
        // What is not finite has no place in JSON.
        measures.retain(|_, value| value.is_finite());
        let floors = found.measures.iter().filter_map(|measured| {
            Some((measured.name.to_owned(), measured.floor.as_ref().map(|floor| floor.mean)?))
        });
        Self {
            format: FORMAT,
            task: id.task.name.clone(),
            path: path_label(&id.path),
            coupling: id.coupling.entry().name.to_owned(),
            seed: id.seed,
            adapter: device.describe(),
            seconds: all.as_secs_f64(),
            training_seconds: training.as_secs_f64(),
            loss,
            measures,
            floors: floors.collect(),
            crossing: found
                .crossing
                .iter()
                .map(|at| Crossing {
                    t: at.t,
                    exact: at.crossing.as_ref().map(|crossing| crossing.mean),
                    cfm: at.cfm.mean,
                })
                .collect(),
            quality: found
                .quality
                .iter()
                .map(|at| Quality {
                    steps: at.steps,
                    wasserstein2: at.wasserstein2.as_ref().map(|distance| distance.mean),
                    energy: at.energy.mean,
                })
                .collect(),
            evaluations: found
                .evaluations
                .iter()
                .map(|at| Evaluations { tolerance: at.tolerance, mean: at.mean.mean, most: at.most.mean })
                .collect(),
            trajectories,
        }
    }
}
