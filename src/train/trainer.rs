//! The training loop: one step is a list of dispatches, and hundreds of steps are one submission. The device owns
//! weights, moments, random numbers and the step counter; the host only hands over work and reads the history.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::batch::{DeviceData, DrawSources};
use super::checkpoint::Checkpoint;
use super::coupling::CouplingReport;
use super::exact::{self, Exact, ExactLoss, Floor};
use super::footprint::Footprint;
use super::fused::{FusedGradient, Tile as FusedTile};
use super::gradients::{Pass, Recipe};
use super::layout::{Record, Schedule as DeviceSchedule, State};
use super::options::{Schedule, TrainOptions};
use super::wave::Waves;
use crate::data::{Conditions, Dataset, ImageShape, Label, Preparation, Standardization};
use crate::gpu::{
    Binding, Buffer, BufferCopy, Device, Dispatch, Habits, List, Matrices, Purpose, Submission, Variant, Work,
};
use crate::model::{
    Architecture, Keeps, Kernels, LayerWeights, Layout, Model, Network, Parameters, TILE_ROWS, largest_rows,
    to_u32,
};
use crate::{Error, Result};

/// Records that the device keeps of past steps. A submission makes at most half as many steps.
const RING: u32 = 4096;
/// Submissions handed over before the first of them is waited for: the device never runs dry.
const IN_FLIGHT: usize = 2;
/// Passes that a batch may be cut into: each is a set of dispatches of its own.
const PASSES: usize = 4096;
/// Rows that one partial sum of the loss covers.
pub(crate) const LOSS_LANES: u32 = 64;
const LANES: u32 = 64;
/// The most slices of a gradient in a texture whose sum is written out.
const FEW_SLICES: usize = 16;
/// Groups of four parameters that one invocation of `gradient_reduce` goes over.
const QUADS_PER_LANE: usize = 8;

/// A model in training.
///
/// # Examples
/// ```
/// use std::ops::ControlFlow;
/// use windfield::data::Dataset;
/// use windfield::gpu::{Device, DeviceOptions};
/// use windfield::train::{TrainOptions, Trainer};
///
/// let device = Device::open(&DeviceOptions::default())?;
/// let data = Dataset::open("checkerboard")?;
/// let options = TrainOptions { steps: 100, hidden: vec![16, 16], ..TrainOptions::default() };
/// let mut trainer = Trainer::new(&device, &data, None, options)?;
/// trainer.run(|progress| {
///     println!("step {}", progress.step);
///     ControlFlow::Continue(())
/// })?;
/// let model = trainer.model()?;
/// assert_eq!(model.steps, 100);
/// # Ok::<(), windfield::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer {
    device: Device,
    options: TrainOptions,
    architecture: Architecture,
    facts: DataFacts,
    layout: Layout,
    buffers: Buffers,
    plan: Vec<Dispatch>,
    footprint: Footprint,
    kernels: Kernels,
    waves: Waves,
    /// Steps handed over.
    step: u64,
    pace: Pace,
    landings: Vec<Buffer>,
    exact: Option<Exact>,
    exact_landings: Vec<Buffer>,
}

/// What a run remembers of its data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DataFacts {
    pub data: String,
    pub fingerprint: String,
    pub source: Option<String>,
    pub source_fingerprint: Option<String>,
    pub standardization: Option<Standardization>,
    pub columns: Vec<String>,
    pub image: Option<ImageShape>,
    /// What the model is conditional on.
    pub conditions: Option<ConditionFacts>,
    pub preparation: Option<Preparation>,
    /// The model whose pairs these are, where they are.
    pub parent: Option<Parent>,
}

/// What a run remembers of its labels.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct ConditionFacts {
    pub labels: Vec<Label>,
    /// What they were asked for with.
    pub requests: Vec<String>,
    pub dropout: f32,
}

/// The model that a run of rectified flow begins with.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Parent {
    /// Its file.
    pub model: String,
    /// What its own source was, if no Gaussian.
    pub source: Option<String>,
}

/// The state of a run on the device. All but `state` and `ring` are laid out by [`Layout`].
#[derive(Debug)]
struct Buffers {
    parameters: Parameters,
    average: Option<List>,
    /// Both in one texture, or each in a buffer: WebGPU lets a kernel have four textures.
    moments: Vec<List>,
    state: Buffer,
    ring: Buffer,
}

/// How many steps a submission makes.
#[derive(Debug)]
struct Pace {
    target: Duration,
    steps: u64,
    /// Into how many submissions a single step is cut, where one is too long.
    parts: usize,
    last_done: Option<Instant>,
}

impl Pace {
    fn new(device: &Device, plan: &[Dispatch]) -> Self {
        let flops: u64 = plan.iter().map(Dispatch::flops).sum();
        let parts = usize::try_from(flops.div_ceil(device.habits().dispatch_flops)).unwrap_or(usize::MAX);
        Self {
            target: Duration::from_millis(device.habits().submission_ms),
            steps: 1,
            parts: parts.clamp(1, plan.len()),
            last_done: None,
        }
    }

    /// Learns from a submission of `steps` steps that is just done.
    fn learn(&mut self, submission: &Submission, steps: u64, plan: usize) {
        let now = Instant::now();
        // A submission begins when it is handed over, or when the one before it ends.
        let busy = self
            .last_done
            .map_or(submission.elapsed(), |last| now.duration_since(last).min(submission.elapsed()));
        self.last_done = Some(now);
        let each = busy.as_secs_f64() / steps.max(1) as f64;
        let target = self.target.as_secs_f64();
        if each > target {
            self.steps = 1;
            self.parts = usize::try_from(to_count(each / target)).unwrap_or(plan).clamp(1, plan);
        } else {
            self.parts = 1;
            // Grows at most fourfold at a time: the first submissions also pay for the driver's compiler.
            self.steps =
                to_count(target / each.max(1e-9)).clamp(1, (self.steps * 4).min(u64::from(RING / 2)));
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive count")]
fn to_count(value: f64) -> u64 {
    value.ceil() as u64
}

/// What has happened since the last report.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Steps done so far.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// The steps since the last report, in order: (step, record).
    pub records: &'a [(u64, Record)],
    /// The exact loss after the last of them, where it was measured: under the weights that [`Trainer::model`] would
    /// give then (the average, where averaging is on).
    pub exact: Option<ExactLoss>,
    /// The wall-clock time since the run began.
    pub elapsed: Duration,
}

/// Steps handed over, and the measurement after them.
struct Flight {
    submission: Submission,
    first: u64,
    steps: u64,
    exact: Option<Submission>,
}

/// How a call of [`Trainer::run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// The observer broke off.
    Interrupted,
}

impl Trainer {
    /// Prepares a run with fresh weights. The data set goes to the device once and stays there.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of its range, [`Error::Limit`] or [`Error::OutOfMemory`] if the data or
    /// the network do not fit the device.
    pub fn new(
        device: &Device,
        data: &Dataset,
        source: Option<&Dataset>,
        options: TrainOptions,
    ) -> Result<Self> {
        let architecture = architecture(data, &options);
        architecture.validate()?;
        // Before the host's memory is asked for as much.
        device.fits(
            4 * Layout::new(&architecture).len as u64,
            Purpose { what: "the network's weights", flag: "--hidden" },
        )?;
        let weights = architecture.initialize(options.seed);
        Self::with_weights(device, data, source, options, &weights)
    }

    /// Prepares a run that begins with the weights of a model.
    ///
    /// # Errors
    /// As [`Trainer::new`], and [`Error::Config`] if the model's shape is not the one that the options ask for.
    pub fn from_model(
        device: &Device,
        data: &Dataset,
        source: Option<&Dataset>,
        options: TrainOptions,
        model: &Model,
    ) -> Result<Self> {
        same_network(model, data, &options)?;
        Self::with_weights(device, data, source, options, &model.weights)
    }

    fn with_weights(
        device: &Device,
        data: &Dataset,
        source: Option<&Dataset>,
        options: TrainOptions,
        weights: &[LayerWeights],
    ) -> Result<Self> {
        let packed = Layout::new(&architecture(data, &options)).pack(weights);
        Self::build(
            device,
            data,
            source,
            options,
            &Start { packed: &packed, checkpoint: None, standardization: None, parent: None, frozen: false },
        )
    }

    /// Prepares a round of rectified flow (Liu et al. 2022): the weights of `model` go on to learn the pairs (x0, x1) that
    /// its flow has made ([`Pairs`](crate::sample::Pairs)), in data units, row by row. Data are standardised as the model
    /// does it. `name` is what the new model remembers of it. The options' coupling is
    /// [`Coupling::Reflow`](crate::flow::Coupling::Reflow).
    ///
    /// # Errors
    /// As [`Trainer::from_model`], and [`Error::Config`] if the pairs are not as many on both sides, or the coupling is
    /// another one.
    pub fn reflow(
        device: &Device,
        (x0, x1): (&Dataset, &Dataset),
        options: TrainOptions,
        (name, model): (&str, &Model),
    ) -> Result<Self> {
        if !options.coupling.is_paired() {
            return Err(Error::config(
                format!("pairs of a model do not go with --coupling {}", options.coupling.entry().name),
                "use --coupling reflow",
            ));
        }
        same_network(model, x1, &options)?;
        let options = TrainOptions { standardize: model.standardization.is_some(), ..options };
        let packed = Layout::new(&model.architecture).pack(&model.weights);
        Self::build(
            device,
            x1,
            Some(x0),
            options,
            &Start {
                packed: &packed,
                checkpoint: None,
                standardization: model.standardization.as_ref(),
                parent: Some((name, model)),
                frozen: false,
            },
        )
    }

    /// Goes on from a checkpoint. `steps` in the options may be raised; the rest is the run's own.
    ///
    /// # Errors
    /// As [`Trainer::new`], and [`Error::Config`] if the data are not those of the checkpoint.
    pub fn resume(
        device: &Device,
        data: &Dataset,
        source: Option<&Dataset>,
        checkpoint: &Checkpoint,
        steps: u64,
    ) -> Result<Self> {
        checkpoint.fits(data, source)?;
        let options = TrainOptions { steps, ..checkpoint.options.clone() };
        Self::build(
            device,
            data,
            source,
            options,
            &Start {
                packed: &checkpoint.parameters,
                checkpoint: Some(checkpoint),
                standardization: checkpoint.facts.standardization.as_ref(),
                parent: None,
                frozen: false,
            },
        )
    }

    #[allow(clippy::too_many_lines, reason = "all that a run is made of, in order")]
    fn build(
        device: &Device,
        data: &Dataset,
        source: Option<&Dataset>,
        options: TrainOptions,
        start: &Start<'_>,
    ) -> Result<Self> {
        options.validate()?;
        if options.exact_every > 0 {
            exact::defined(&options, source)?;
            if data.conditions().is_some() {
                return Err(Error::config(
                    "--exact-every does not go with --label: the exact field is that of all data, whatever their labels",
                    "leave one of them out",
                ));
            }
        }
        let architecture = architecture(data, &options);
        architecture.validate()?;
        let layout = Layout::new(&architecture);
        if options.kernels == Kernels::Shared {
            return Err(Error::config("--kernels shared is for sampling", "use --kernels auto, or fused"));
        }
        let device = &options.kernels.lay_out(device, &layout)?;
        let tile = if start.frozen { None } else { fused_tile(device, &architecture, &layout, &options)? };
        let kernels = if tile.is_some() { Kernels::Fused } else { Kernels::of_layers(device, &layout) };
        let standardization = match (start.standardization, start.checkpoint) {
            (Some(known), _) => Some(known.clone()),
            (None, Some(_)) => None,
            (None, None) => options.standardize.then(|| data.standardization()),
        };
        let saved =
            start.checkpoint.map(|checkpoint| &checkpoint.facts).filter(|facts| facts.parent.is_some());
        // Of pairs, columns, shape and preparation are what their model says.
        let (columns, image, preparation, parent) = match (start.parent, saved) {
            (Some((name, model)), _) => {
                let parent = Parent { model: name.to_owned(), source: model.source.clone() };
                (model.columns.clone(), model.image, model.preparation.clone(), Some(parent))
            }
            (None, Some(facts)) => {
                (facts.columns.clone(), facts.image, facts.preparation.clone(), facts.parent.clone())
            }
            (None, None) => (data.columns().to_vec(), data.image(), data.preparation(), None),
        };
        let facts = DataFacts {
            data: data.name().to_owned(),
            fingerprint: data.fingerprint(),
            source: source.map(|source| source.name().to_owned()),
            source_fingerprint: source.map(Dataset::fingerprint),
            standardization,
            columns,
            image,
            conditions: data.conditions().map(|conditions| ConditionFacts {
                labels: conditions.labels(),
                requests: conditions.requests(),
                dropout: conditions.dropout,
            }),
            preparation,
            parent,
        };
        let weights = Purpose { what: "the network's weights", flag: "--hidden" };
        device.fits(4 * layout.len as u64, weights)?;
        let device_data = DeviceData::upload(device, data, source, facts.standardization.as_ref())?
            .paired_by(options.coupling)?;
        let parameters = Parameters::upload(device, &layout, start.packed)?;
        let textures = parameters.weights.is_some();
        let saved = start.checkpoint;
        let average = match saved {
            Some(checkpoint) => checkpoint.average.as_ref(),
            None => Some(&start.packed).filter(|_| options.ema > 0.0 && !start.frozen).copied(),
        };
        let moments = match saved {
            Some(checkpoint) => [&checkpoint.moment1[..], &checkpoint.moment2[..]].concat(),
            None => vec![0.0; 2 * layout.len],
        };
        let moments = moments
            .chunks_exact(if textures { 2 * layout.len } else { layout.len })
            .map(|moments| List::upload(device, moments, textures, weights))
            .collect::<Result<_>>()?;
        let buffers = Buffers {
            parameters,
            // Where it is measured, a network has it as its weights.
            average: average
                .map(|average| List::upload(device, average, textures && options.exact_every == 0, weights))
                .transpose()?,
            moments,
            state: device
                .upload(&[saved.map_or_else(State::default, |checkpoint| checkpoint.state)], weights)?,
            ring: device.buffer(u64::from(RING) * size_of::<Record>() as u64, weights)?,
        };
        let step = saved.map_or(0, |checkpoint| u64::from(checkpoint.state.step));
        if step > options.steps {
            return Err(Error::config(
                format!("the checkpoint is at step {step}, beyond --steps {}", options.steps),
                "ask for more steps in all",
            ));
        }
        let most = usize::try_from(options.steps - step).unwrap_or(usize::MAX);
        let (seed, batch) = (options.seed, options.batch);
        let waves =
            Waves::new(device, options.coupling, &device_data, architecture.dim, (seed, batch), most)?;
        let from = DrawSources { data: &device_data, waves: &waves };
        let recipe =
            Recipe { device, architecture: &architecture, path: &options.path, seed, batch, from: &from };
        let plan = plan(recipe, &layout, &options, &buffers, start.frozen, tile)?;
        let footprint = footprint(device, &architecture, &layout, batch, &buffers, start.frozen, tile)?;
        let footprint = Footprint { data: device_data.bytes(), gathered: waves.bytes(), ..footprint };
        let exact = if options.exact_every > 0 && !start.frozen {
            let average = buffers.average.as_ref().and_then(List::buffer);
            let saved = average.unwrap_or(&buffers.parameters.buffer);
            let scale = facts.standardization.as_ref();
            Some(Exact::new(device, data, scale, &device_data, &options, &architecture, saved)?)
        } else {
            None
        };
        let exact_landings = exact
            .iter()
            .flat_map(|exact| (0..IN_FLIGHT).map(|_| device.landing(exact.bytes())))
            .collect::<Result<_>>()?;
        let pace = Pace::new(device, &plan);
        let landing = u64::from(RING / 2) * size_of::<Record>() as u64;
        let landings = (0..IN_FLIGHT).map(|_| device.landing(landing)).collect::<Result<_>>()?;
        Ok(Self {
            device: device.clone(),
            options,
            architecture,
            facts,
            layout,
            buffers,
            plan,
            footprint,
            kernels,
            waves,
            step,
            pace,
            landings,
            exact,
            exact_landings,
        })
    }

    /// The run's settings.
    #[must_use]
    pub fn options(&self) -> &TrainOptions {
        &self.options
    }

    /// The network's shape.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Steps done.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The dispatches of one step, in order.
    #[must_use]
    pub fn plan(&self) -> &[Dispatch] {
        &self.plan
    }

    /// What it keeps in the device's memory, by formula.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// The kernels at work: what `auto` came to.
    #[must_use]
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// What has become of the coupling's problems, where it solves any.
    #[must_use]
    pub fn coupling(&self) -> Option<CouplingReport> {
        self.waves.coupler().map(|coupler| coupler.report)
    }

    /// The loss that no field can fall below, where the exact loss is measured.
    #[must_use]
    pub fn floor(&self) -> Option<Floor> {
        self.exact.as_ref().map(|exact| exact.floor)
    }

    /// Caps the steps of a submission. The result does not depend on it.
    pub fn limit_submission(&mut self, steps: u64) {
        self.pace.target = Duration::ZERO;
        self.pace.steps = steps.clamp(1, u64::from(RING / 2));
    }

    /// Trains up to the options' number of steps. `observe` is called after every submission, some ten times a
    /// second, without records while pairs are sought; if it breaks, the run stops after what is already on its way.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if the loss or the gradient stops being a number, with the weights as they were before;
    /// [`Error::Device`] or [`Error::DeviceLost`].
    pub fn run(&mut self, observe: impl FnMut(&Progress<'_>) -> ControlFlow<()>) -> Result<Outcome> {
        self.run_until(self.options.steps, observe)
    }

    /// [`run`](Self::run), but to `step` at most: whoever looks at the model there finds it as it is in a run that was
    /// not stopped, and the run goes on as if it had not been.
    ///
    /// # Errors
    /// As of [`run`](Self::run).
    pub fn run_until(
        &mut self,
        step: u64,
        mut observe: impl FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Outcome> {
        let end = step.min(self.options.steps);
        let begun = Instant::now();
        let fixed = self.pace.target.is_zero();
        let mut flights: VecDeque<Flight> = VecDeque::new();
        let mut outcome = Outcome::Finished;
        let (mut turn, mut reported, total) = (0, self.step, self.options.steps);
        loop {
            while outcome == Outcome::Finished && flights.len() < IN_FLIGHT && self.step < end {
                // Pairs of many points take minutes: whoever watches sees that it goes on, and can break off.
                let watch = RefCell::new(|| {
                    let elapsed = begun.elapsed();
                    let news = Progress { step: reported, steps: total, records: &[], exact: None, elapsed };
                    observe(&news).is_break()
                });
                let covered = match self.until_uncovered(|| (watch.borrow_mut())()) {
                    Err(Error::Interrupted) => {
                        outcome = Outcome::Interrupted;
                        break;
                    }
                    covered => covered?,
                };
                let steps = self.pace.steps.min(end - self.step).min(self.until_exact()).min(covered);
                let submission = self.submit(steps, turn % IN_FLIGHT)?;
                let first = self.step;
                self.step += steps;
                let exact = match &self.exact {
                    Some(exact) if self.is_measured() => {
                        Some(exact.submit(&self.device, &self.exact_landings[turn % IN_FLIGHT])?)
                    }
                    _ => None,
                };
                flights.push_back(Flight { submission, first, steps, exact });
                turn += 1;
            }
            let Some(Flight { submission, first, steps, exact }) = flights.pop_front() else { break };
            self.device.wait(Some(&submission))?;
            if !fixed {
                self.pace.learn(&submission, steps, self.plan.len());
            }
            let place = (turn - flights.len() - 1) % IN_FLIGHT;
            let landing = &self.landings[place];
            let records: Vec<Record> = self.device.fetch(landing, 0..steps * size_of::<Record>() as u64)?;
            let records: Vec<(u64, Record)> = (first..).zip(records).collect();
            if let Some(good) = records.iter().position(|(_, record)| record.halted != 0) {
                let (step, record) = records[good];
                let what = if record.loss.is_finite() { "the gradient" } else { "the loss" };
                self.device.wait(None)?;
                // The history up to there tells what went wrong; whether to go on is no question any more.
                let records = &records[..good];
                let _ = observe(&Progress {
                    step,
                    steps: self.options.steps,
                    records,
                    exact: None,
                    elapsed: begun.elapsed(),
                });
                return Err(non_finite(what, step));
            }
            let exact = match (&self.exact, exact) {
                (Some(exact), Some(submission)) => {
                    self.device.wait(Some(&submission))?;
                    // The next steps began no earlier.
                    self.pace.last_done = Some(Instant::now());
                    let loss = exact.fetch(&self.device, &self.exact_landings[place])?;
                    if !(loss.fm.is_finite() && loss.cfm.is_finite()) {
                        return Err(non_finite("the exact loss", first + steps));
                    }
                    Some(loss)
                }
                _ => None,
            };
            let progress = Progress {
                step: first + steps,
                steps: self.options.steps,
                records: &records,
                exact,
                elapsed: begun.elapsed(),
            };
            reported = progress.step;
            if observe(&progress).is_break() {
                outcome = Outcome::Interrupted;
            }
        }
        if outcome == Outcome::Interrupted && self.step >= end {
            outcome = Outcome::Finished;
        }
        Ok(outcome)
    }

    /// Steps up to the next measurement of the exact loss, or to the end.
    fn until_exact(&self) -> u64 {
        let left = self.options.steps - self.step;
        match self.options.exact_every {
            0 => left,
            every => left.min(every - self.step % every),
        }
    }

    /// Steps up to the one whose pairs are not known yet.
    fn until_uncovered(&mut self, stop: impl Fn() -> bool) -> Result<u64> {
        let known = self.waves.covers(self.step);
        let end = self.waves.cover(self.step, self.options.steps, stop)?;
        if !known {
            // The next steps began no earlier.
            self.pace.last_done = Some(Instant::now());
        }
        Ok(end - self.step)
    }

    /// Whether the exact loss is measured where the run is now.
    fn is_measured(&self) -> bool {
        let every = self.options.exact_every;
        every > 0 && (self.step.is_multiple_of(every) || self.step == self.options.steps)
    }

    /// Hands over `steps` steps and the copy of their records to a landing.
    fn submit(&self, steps: u64, landing: usize) -> Result<Submission> {
        let record = size_of::<Record>() as u64;
        let ring = u64::from(RING);
        let begin = self.step % ring;
        let before_wrap = steps.min(ring - begin);
        let landing = &self.landings[landing];
        let mut copies = vec![BufferCopy {
            from: &self.buffers.ring,
            range: begin * record..(begin + before_wrap) * record,
            to: landing,
            at: 0,
        }];
        if before_wrap < steps {
            let range = 0..(steps - before_wrap) * record;
            copies.push(BufferCopy {
                from: &self.buffers.ring,
                range,
                to: landing,
                at: before_wrap * record,
            });
        }
        if self.pace.parts > 1 {
            // One step is too long for one submission: it is cut between dispatches.
            for _ in 0..steps {
                for part in self.plan.chunks(self.plan.len().div_ceil(self.pace.parts)) {
                    let submission = self.device.submit(part, &[])?;
                    self.device.wait(Some(&submission))?;
                }
            }
            return self.device.submit([], &copies);
        }
        let repeated = (0..steps).flat_map(|_| self.plan.iter());
        self.device.submit(repeated, &copies)
    }

    /// The model as it is now: the averaged weights where averaging is on.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`].
    pub fn model(&self) -> Result<Model> {
        let weights = match &self.buffers.average {
            Some(average) => self.sound(average.read(&self.device, self.layout.len)?)?,
            None => self.parameters()?,
        };
        Ok(Model {
            architecture: self.architecture.clone(),
            weights: self.layout.unpack(&weights),
            path: self.options.path.clone(),
            standardization: self.facts.standardization.clone(),
            source: match &self.facts.parent {
                Some(parent) => parent.source.clone(),
                None => self.facts.source.clone(),
            },
            coupling: self.options.coupling,
            parent: self.facts.parent.as_ref().map(|parent| parent.model.clone()),
            seed: self.options.seed,
            steps: self.step,
            columns: self.facts.columns.clone(),
            image: self.facts.image,
            conditions: self.facts.conditions.as_ref().map_or_else(Vec::new, |facts| facts.labels.clone()),
            label_dropout: self.facts.conditions.as_ref().map_or(0.0, |facts| facts.dropout),
            preparation: self.facts.preparation.clone(),
        })
    }

    /// Everything that exact resumption needs.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`].
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let state: Vec<State> = self.device.read(&self.buffers.state, 0..size_of::<State>() as u64)?;
        let len = self.layout.len;
        let read = |list: &List, len| self.sound(list.read(&self.device, len)?);
        let each = 2 * len / self.buffers.moments.len();
        let moments: Vec<Vec<f32>> =
            self.buffers.moments.iter().map(|list| read(list, each)).collect::<Result<_>>()?;
        let mut moment1 = moments.concat();
        let moment2 = moment1.split_off(len);
        Ok(Checkpoint {
            options: self.options.clone(),
            architecture: self.architecture.clone(),
            facts: self.facts.clone(),
            state: state[0],
            parameters: self.parameters()?,
            average: self.buffers.average.as_ref().map(|average| read(average, len)).transpose()?,
            moment1,
            moment2,
        })
    }

    fn parameters(&self) -> Result<Vec<f32>> {
        self.sound(self.device.read(&self.buffers.parameters.buffer, 0..4 * self.layout.len as u64)?)
    }

    /// Parameters or moments. The last update is followed by no loss that would have shown a fault: looked at here.
    fn sound(&self, values: Vec<f32>) -> Result<Vec<f32>> {
        if values.iter().all(|value| value.is_finite()) {
            return Ok(values);
        }
        Err(non_finite("a weight", self.step.saturating_sub(1).max(1)))
    }
}

/// At the first step the rate is not to blame.
pub(crate) fn non_finite(what: &'static str, step: u64) -> Error {
    let remedy = if step == 0 {
        "bring the data to moderate values: scale them, or leave out --no-standardize"
    } else {
        "lower --lr, or set --clip and --warmup"
    };
    Error::NonFinite { what, step, remedy }
}

/// Where a run begins.
struct Start<'a> {
    packed: &'a Vec<f32>,
    checkpoint: Option<&'a Checkpoint>,
    /// The one that is known beforehand; otherwise it is that of the data, if the options want one.
    standardization: Option<&'a Standardization>,
    /// The model whose pairs are learned, and its file.
    parent: Option<(&'a str, &'a Model)>,
    /// The loss alone: nothing is learned.
    frozen: bool,
}

/// The mean conditional flow-matching loss (eq. 8) of a model over fresh batches, and its standard error.
///
/// # Errors
/// As [`Trainer::new`]; [`Error::NonFinite`] if the model's output is not finite.
pub fn mean_loss(
    device: &Device,
    model: &Model,
    data: &Dataset,
    source: Option<&Dataset>,
    batch: usize,
    batches: u32,
    seed: u64,
) -> Result<(f64, f64)> {
    let options = TrainOptions {
        path: model.path.clone(),
        hidden: model.architecture.hidden.clone(),
        activation: model.architecture.activation,
        time_frequencies: model.architecture.time_frequencies,
        batch,
        steps: batches.into(),
        seed,
        // The model's own, below; it may differ from the data's.
        standardize: false,
        ..TrainOptions::default()
    };
    let packed = model.packed();
    let standardization = model.standardization.as_ref();
    let start = Start { packed: &packed, checkpoint: None, standardization, parent: None, frozen: true };
    let mut trainer = Trainer::build(device, data, source, options, &start)?;
    let mut losses: Vec<f64> = Vec::new();
    trainer.run(|progress| {
        losses.extend(progress.records.iter().map(|(_, record)| f64::from(record.loss)));
        ControlFlow::Continue(())
    })?;
    let count = losses.len().max(1) as f64;
    let mean = losses.iter().sum::<f64>() / count;
    let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    Ok((mean, (variance / count).sqrt()))
}

fn architecture(data: &Dataset, options: &TrainOptions) -> Architecture {
    Architecture {
        dim: data.dim(),
        hidden: options.hidden.clone(),
        activation: options.activation,
        time_frequencies: options.time_frequencies,
        condition_features: data.conditions().map_or(0, Conditions::features),
    }
}

/// Whether a model is of the shape that the options ask for.
fn same_network(model: &Model, data: &Dataset, options: &TrainOptions) -> Result<()> {
    let wanted = architecture(data, options);
    let labels = data.conditions().map_or_else(Vec::new, Conditions::labels);
    if !same_labels(&model.conditions, &labels) {
        return Err(Error::config(
            "the model to begin with is not conditional on the same labels and classes",
            "give the --label that it was trained with",
        ));
    }
    if model.architecture != wanted {
        return Err(Error::config(
            format!(
                "the model to begin with is {}, the run asks for {}",
                describe(&model.architecture),
                describe(&wanted)
            ),
            "give the same --hidden, --activation and --time-frequencies, and data of the same dimension",
        ));
    }
    let table = |preparation: Option<Preparation>| preparation.filter(|known| known.columns().is_some());
    if let (Some(model), Some(data)) = (table(model.preparation.clone()), table(data.preparation()))
        && model != data
    {
        return Err(Error::config(
            "the model to begin with is of another table: its columns or their categories differ",
            "open the data as the model's were, by `Dataset::open_as`, or begin without --init",
        ));
    }
    Ok(())
}

/// Whether features of both mean the same; mean and deviation of a number may have changed with the data.
fn same_labels(model: &[Label], data: &[Label]) -> bool {
    let same = |(a, b): (&Label, &Label)| a.name == b.name && a.classes() == b.classes();
    model.len() == data.len() && model.iter().zip(data).all(same)
}

fn describe(architecture: &Architecture) -> String {
    format!(
        "{} → {:?} → {} with {} and {} time frequencies",
        architecture.features(),
        architecture.hidden,
        architecture.dim,
        architecture.activation.name(),
        architecture.time_frequencies
    )
}

/// How the batch is cut: rows of a part, and slices of a weight gradient within it.
pub(crate) fn chunk_rows(
    device: &Device,
    architecture: &Architecture,
    layout: &Layout,
    batch: usize,
) -> Result<usize> {
    let habits = device.habits();
    let by_memory = largest_rows(device, layout);
    if by_memory == 0 {
        let widest = layout.layers.iter().map(|layer| layer.width_in.max(layer.width_out)).max().unwrap_or(0);
        device.fits(
            4 * u64::from(TILE_ROWS) * widest as u64,
            Purpose { what: "the activations of one tile of rows", flag: "--hidden" },
        )?;
    }
    // A layer's share of the work is at most all of it.
    let by_time = usize::try_from(habits.dispatch_flops / architecture.flops().max(1)).unwrap_or(usize::MAX);
    let by_loop = habits.loop_iterations as usize;
    let rows = by_memory.min(by_time.max(TILE_ROWS as usize)).min(by_loop);
    // Parts of equal size, each a multiple of what one partial sum of the loss covers, so that sums never straddle.
    let rows = (rows / LOSS_LANES as usize).max(1) * LOSS_LANES as usize;
    if batch.div_ceil(rows) > PASSES {
        return Err(Error::Limit {
            what: format!("a batch in passes of {rows} rows"),
            asked: batch.div_ceil(rows) as u64,
            unit: "passes",
            limit_name: "the number of passes",
            limit: PASSES as u64,
            device: device.info().name.clone(),
            flag: "--batch".to_owned(),
        });
    }
    Ok(rows.min(batch))
}

/// The dispatches of one step.
fn plan(
    recipe: Recipe<'_>,
    layout: &Layout,
    options: &TrainOptions,
    buffers: &Buffers,
    frozen: bool,
    tile: Option<FusedTile>,
) -> Result<Vec<Dispatch>> {
    let Recipe { device, architecture, batch, .. } = recipe;
    let (mut plan, sums, optimiser) = if let Some(tile) = tile {
        let fused = FusedGradient::new(&recipe, layout, &buffers.parameters, &buffers.state, tile)?;
        (fused.dispatches, (fused.sums, fused.partials), Some(fused.optimiser))
    } else {
        let rows = chunk_rows(device, architecture, layout, batch)?;
        let network = Network::new(device, layout.clone(), options.activation, rows, Keeps::Training)?;
        let optimiser = if frozen {
            None
        } else {
            let slices = slices(device, layout, rows);
            let squared =
                network.squares().filter(|_| slices == 1).map_or(SquaredBy::Reduction, SquaredBy::Layers);
            Some(Optimiser::new(device, layout, slices, squared)?)
        };
        let pass = Pass::new(recipe, &network)?;
        let mut plan = pass.dispatches(&buffers.parameters, &buffers.state, None, optimiser.as_ref())?;
        if let Some(optimiser) = optimiser.as_ref().filter(|it| it.squared == SquaredBy::Reduction) {
            plan.push(optimiser.reduce(device, layout)?);
        }
        (plan, (pass.sums.clone(), pass.partials()), optimiser)
    };

    let square_partials = optimiser.as_ref().map_or(0, |optimiser| optimiser.square_partials);
    let squares = match &optimiser {
        Some(optimiser) => optimiser.squares.clone(),
        None => device.buffer(4, Purpose { what: "the gradient's norm", flag: "--hidden" })?,
    };
    let schedule = device.uniform(&DeviceSchedule {
        learning_rate: options.lr,
        warmup: u32::try_from(options.warmup).unwrap_or(u32::MAX),
        steps: u32::try_from(options.steps).unwrap_or(u32::MAX),
        cosine: u32::from(options.schedule == Schedule::Cosine),
        beta1: 0.9,
        one_minus_beta1: 0.1,
        beta2: 0.999,
        one_minus_beta2: 0.001,
        epsilon: 1e-8,
        weight_decay: options.weight_decay,
        clip: options.clip,
        average_decay: options.ema,
        batch: to_u32(batch),
        loss_partials: to_u32(sums.1),
        square_partials: to_u32(square_partials),
        ring: RING,
    })?;
    let squaring = optimiser.as_ref().filter(|optimiser| optimiser.squared == SquaredBy::Step);
    let bindings = [
        Binding::whole(0, &schedule),
        Binding::whole(1, &sums.0),
        match squaring {
            Some(optimiser) => Binding::list(2, &optimiser.gradient),
            None => Binding::whole(2, &squares),
        },
        Binding::whole(3, &buffers.state),
        Binding::whole(4, &buffers.ring),
    ];
    let slices = squaring.map(|optimiser| optimiser.slices);
    let read = sums.1 + square_partials + slices.unwrap_or(0) * layout.len;
    let added = read + if slices.is_some() { layout.len } else { 0 };
    let step = step_variant(layout, slices);
    plan.push(device.dispatch(&step, &bindings, [1, 1, 1])?.with_work(Work::new(added, read)));
    if let Some(optimiser) = &optimiser {
        plan.push(optimiser.update(device, layout, &schedule, buffers)?);
    }
    Ok(plan)
}

/// What a step's buffers take.
fn footprint(
    device: &Device,
    architecture: &Architecture,
    layout: &Layout,
    batch: usize,
    buffers: &Buffers,
    frozen: bool,
    tile: Option<FusedTile>,
) -> Result<Footprint> {
    let (average, texture) = (buffers.average.is_some(), buffers.parameters.weights.is_some());
    let with = |slices, folded| Footprint::of_weights(layout, average, texture, (slices, folded));
    if let Some(tile) = tile {
        return Ok(with(tile.slices(device.habits(), batch), tile.unrolled));
    }
    let rows = chunk_rows(device, architecture, layout, batch)?;
    let slices = if frozen { 0 } else { slices(device, layout, rows) };
    Ok(with(slices, texture && slices == 1).with_rows(layout, rows, texture))
}

/// Slices of a weight gradient over so many rows.
pub(super) fn slices(device: &Device, layout: &Layout, rows: usize) -> usize {
    let habits = device.habits();
    let slices = (rows / habits.slice_rows as usize).clamp(1, habits.slices as usize);
    // Slices are for speed: no more of them than fit.
    let room = usize::try_from(device.largest_binding() / (4 * layout.len as u64)).unwrap_or(usize::MAX);
    slices.min(room.max(1))
}

/// How a step's gradient is fused, where the options want that and the network is narrow enough.
fn fused_tile(
    device: &Device,
    architecture: &Architecture,
    layout: &Layout,
    options: &TrainOptions,
) -> Result<Option<FusedTile>> {
    // Where no texture holds the network's matrices, none holds those of a fused step.
    let matrices = match Kernels::of_layers(device, layout) {
        Kernels::Textures => Matrices::Textures,
        _ => Matrices::Buffers,
    };
    let habits = &Habits { matrices, ..*device.habits() };
    let forced = options.kernels == Kernels::Fused;
    if !forced && options.kernels != Kernels::Auto {
        return Ok(None);
    }
    let tile = FusedTile::of(habits, device.limits(), architecture, layout, options.batch);
    let flops = 3 * architecture.flops().saturating_mul(options.batch as u64);
    let tile = tile.filter(|tile| {
        let gradient = tile.slices(habits, options.batch) as u64 * 4 * layout.len as u64;
        flops <= habits.dispatch_flops
            && gradient <= device.largest_binding()
            && tile.iterations(habits, options.batch, layout) <= u64::from(habits.loop_iterations)
    });
    if forced && tile.is_none() {
        return Err(Error::config(
            format!("--kernels fused does not fit this network and batch on {}", device.info().name),
            "use --kernels auto, or lower --hidden or --batch",
        ));
    }
    // Many features, or outputs, make lanes own more than they have room for as well.
    let narrow = layout.layers.iter().all(|layer| layer.width_in <= habits.step_width);
    // Where lanes read each other's registers, whatever is not written out for them is slower than layer by layer.
    let takes = |tile: &FusedTile| tile.unrolled || habits.subgroup.is_none();
    Ok(tile.filter(|tile| forced || (narrow && options.batch <= habits.step_batch && takes(tile))))
}

/// The gradient and the kernels that use it up.
pub(super) struct Optimiser {
    /// [slices, parameters]
    pub gradient: List,
    pub slices: usize,
    /// Partial sums of its square.
    pub squares: Buffer,
    square_partials: usize,
    pub squared: SquaredBy,
}

/// By whom the gradient is squared, for its norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SquaredBy {
    /// By `gradient_reduce`, which adds its slices up.
    Reduction,
    /// By the kernels of the layers that make it, in so many sums.
    Layers(usize),
    /// By `step`: the gradient of a narrow network, in a texture.
    Step,
}

impl Optimiser {
    /// Reserves room for so many slices.
    pub fn new(device: &Device, layout: &Layout, slices: usize, squared: SquaredBy) -> Result<Self> {
        let (square_partials, folded) = match squared {
            SquaredBy::Reduction => (square_partials(layout), false),
            SquaredBy::Layers(partials) => {
                (partials, Kernels::of_layers(device, layout) == Kernels::Textures)
            }
            SquaredBy::Step => (0, true),
        };
        let purpose = Purpose { what: "the gradient", flag: "--hidden" };
        Ok(Self {
            gradient: List::new(device, slices * layout.len, folded, purpose)?,
            slices,
            squares: device.buffer(4 * square_partials.max(1) as u64, purpose)?,
            square_partials,
            squared,
        })
    }

    /// The partial sums, if the layers' kernels leave them.
    pub fn squares_of_layers(&self) -> Option<&Buffer> {
        matches!(self.squared, SquaredBy::Layers(_)).then_some(&self.squares)
    }

    /// Adds the slices up: the gradient is the first of them from then on.
    pub fn reduce(&self, device: &Device, layout: &Layout) -> Result<Dispatch> {
        let bindings = [Binding::list(0, &self.gradient), Binding::whole(1, &self.squares)];
        // The slices are added up, and the sum is squared and added once more; a single one stays where it is.
        let written = usize::from(self.slices > 1);
        let work = Work::new((self.slices + 1) * layout.len, (self.slices + written) * layout.len);
        let groups = device.groups((layout.len / 4).div_ceil(QUADS_PER_LANE) as u64, LANES);
        Ok(device.dispatch(&reduce_variant(layout, self.slices), &bindings, groups)?.with_work(work))
    }

    fn update(
        &self,
        device: &Device,
        layout: &Layout,
        schedule: &Buffer,
        buffers: &Buffers,
    ) -> Result<Dispatch> {
        let folded = |list: &List| list.buffer().is_none();
        let textures = buffers.parameters.weights.is_some();
        let average = buffers.average.as_ref().map(folded);
        let slices = folded(&self.gradient).then_some(self.slices);
        let variant = adamw_variant(layout, textures, slices, average);
        let atlas = device.uniform(&layout.atlas())?;
        let mut bindings = vec![
            Binding::whole(0, schedule),
            Binding::whole(1, &buffers.state),
            Binding::list_part(2, &self.gradient, 0..4 * layout.len as u64),
            Binding::whole(3, &buffers.parameters.buffer),
        ];
        bindings.extend((4..).zip(&buffers.moments).map(|(slot, list)| Binding::list(slot, list)));
        if let Some(average) = &buffers.average {
            bindings.push(Binding::list(6, average));
        }
        if let Some(weights) = &buffers.parameters.weights {
            bindings.push(Binding::whole(7, &atlas));
            bindings.push(Binding::texture(8, weights));
        }
        // The gradient is read, in slices where they were not added up; parameters, moments and the average are read and written, and the weights copied.
        let (average, copy) = (buffers.average.is_some(), buffers.parameters.weights.is_some());
        let arrays = 6 + slices.unwrap_or(1) + if average { 2 } else { 0 } + usize::from(copy);
        let work = Work::new((16 + if average { 3 } else { 0 }) * layout.len, arrays * layout.len);
        let groups = device.groups(layout.len as u64 / 4, LANES);
        Ok(device.dispatch(&variant, &bindings, groups)?.with_work(work))
    }
}

/// The variant of `loss` for a padded output width.
pub(crate) fn loss_variant(width_out: usize, textures: bool) -> Variant {
    Variant::new("loss")
        .with("WIDTH_OUT", to_u32(width_out))
        .with("LANES", LOSS_LANES)
        .flag("TEXTURES", textures)
}

/// The variant of `gradient_reduce` for a network.
pub(crate) fn reduce_variant(layout: &Layout, slices: usize) -> Variant {
    Variant::new("gradient_reduce")
        .with("SLICES", to_u32(slices))
        .with("QUADS", to_u32(layout.len / 4))
        .with("QUADS_PER_LANE", to_u32(QUADS_PER_LANE))
        .with("LANES", LANES)
}

/// Partial sums of the gradient's square.
fn square_partials(layout: &Layout) -> usize {
    (layout.len / 4).div_ceil(QUADS_PER_LANE).div_ceil(LANES as usize)
}

/// The variant of `step`; `slices`: of the gradient, where it is squared there.
pub(crate) fn step_variant(layout: &Layout, slices: Option<usize>) -> Variant {
    let variant = Variant::new("step").with("LANES", LANES);
    match slices {
        Some(slices) => folded_gradient(variant, layout, slices),
        None => variant,
    }
}

/// A variant that is told of the slices of a gradient in a texture.
fn folded_gradient(variant: Variant, layout: &Layout, slices: usize) -> Variant {
    variant
        .with("SLICES", to_u32(slices))
        .with("QUADS", to_u32(layout.len / 4))
        .flag("FOLDED_GRADIENT", true)
        .flag("FEW_SLICES", slices <= FEW_SLICES)
}

/// The variant of `adamw` for a network. `textures`: whether weights and moments lie in them; into how many slices the
/// gradient is cut, if it lies in one; whether the average does, where there is one.
pub(crate) fn adamw_variant(
    layout: &Layout,
    textures: bool,
    folded_slices: Option<usize>,
    average: Option<bool>,
) -> Variant {
    let variant = match folded_slices {
        Some(slices @ 2..) => folded_gradient(Variant::new("adamw"), layout, slices).flag("SLICED", true),
        _ => Variant::new("adamw")
            .with("QUADS", to_u32(layout.len / 4))
            .flag("FOLDED_GRADIENT", folded_slices.is_some()),
    };
    let variant = variant
        .with("LANES", LANES)
        .flag("AVERAGE", average.is_some())
        .flag("FOLDED_AVERAGE", average == Some(true))
        .flag("TEXTURES", textures);
    if textures { variant.with("LAYERS", to_u32(layout.layers.len())) } else { variant }
}
