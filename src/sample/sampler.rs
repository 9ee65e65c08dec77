//! Sampling a model: chunks of particles from noise (or given points) along the flow.

use bytemuck::Zeroable;

use super::adaptive::{self, Tolerance};
use super::fused::{self, Fused, Load};
use super::layered::{self, Layered};
use super::layout::{Noise, Tableau};
use super::likelihood::LogDensity;
use super::timetable::Timetable;
use crate::data::Dataset;
use crate::flow::{Diffusion, Divergence, Evaluation, Grid, Method, Path, Quantity, SOLVERS, Solver};
use crate::gpu::{Binding, Buffer, Device, Dispatch, Purpose, Variant};
use crate::model::{
    Architecture, Kernels, Layout, Model, Parameters, TILE_ROWS, Table, largest_rows, to_u32,
};
use crate::{Error, Result};

const LANES: u32 = 64;
/// Floats of the trajectories that an adaptive solver keeps on the device.
const TRAJECTORY_FLOATS: usize = 1 << 24;

/// How to integrate.
#[derive(Clone, Debug)]
pub struct SampleOptions {
    /// The solver.
    pub solver: &'static Solver,
    /// Its steps; of an adaptive one the times of a trajectory.
    pub steps: u32,
    /// How they are spread. Given times say how many there are, where they begin and where they end.
    pub grid: Grid,
    /// Of an adaptive solver.
    pub tolerance: Tolerance,
    /// Where to begin; 0 is noise.
    pub t0: f32,
    /// Where to end; 1 is data. Smaller than `t0`: backwards in time.
    pub t1: f32,
    /// Of the noise, of random probes, and of a stochastic flow.
    pub seed: u64,
    /// Whether the divergence is integrated along (eq. 4), and how it is found.
    pub divergence: Option<Divergence>,
    /// Another path, through whose schedule the model is followed.
    pub through: Option<Path>,
    /// Of a stochastic flow.
    pub diffusion: Option<Diffusion>,
    /// Which kernels.
    pub kernels: Kernels,
}

impl Default for SampleOptions {
    /// 50 steps of the midpoint method from 0 to 1.
    fn default() -> Self {
        Self {
            solver: &SOLVERS[1],
            steps: 50,
            grid: Grid::Uniform,
            tolerance: Tolerance::default(),
            t0: 0.0,
            t1: 1.0,
            seed: 0,
            divergence: None,
            through: None,
            diffusion: None,
            kernels: Kernels::Auto,
        }
    }
}

impl SampleOptions {
    /// Checks every setting by itself, and that they fit each other.
    ///
    /// # Errors
    /// [`Error::Config`] naming the flag.
    pub fn validate(&self) -> Result<()> {
        if self.steps == 0 || self.steps > 1 << 24 {
            return Err(Error::config(
                format!("--steps {} is out of range", self.steps),
                "it takes 1 to 2^24",
            ));
        }
        let in_range = |t: f32| (0.0..=1.0).contains(&t);
        if !in_range(self.t0) || !in_range(self.t1) || self.t0.to_bits() == self.t1.to_bits() {
            return Err(Error::config(
                format!("--t0 {} and --t1 {} are no interval of [0, 1]", self.t0, self.t1),
                "0 is noise, 1 is data",
            ));
        }
        self.tolerance.validate()?;
        if let Some(divergence) = self.divergence {
            divergence.validate()?;
        }
        let name = self.solver.name;
        let stochastic = self.solver.method == Method::Stochastic;
        if stochastic != self.diffusion.is_some() {
            return Err(if stochastic {
                Error::config(format!("--solver {name} needs a --diffusion"), "1 - t is a good one")
            } else {
                Error::config(
                    format!("--diffusion does not go with --solver {name}, which adds no noise"),
                    "use --solver euler-maruyama",
                )
            });
        }
        if stochastic && self.t1 < self.t0 {
            return Err(Error::config(
                "a stochastic flow does not run backwards",
                "give a --t1 beyond --t0, or a solver without noise",
            ));
        }
        if stochastic && self.divergence.is_some() {
            return Err(Error::config(
                "a stochastic flow gives no density of its end points",
                "use a solver without noise",
            ));
        }
        if self.solver.is_adaptive() && self.through.is_some() {
            return Err(Error::config(
                format!("another path's schedule does not go with --solver {name}"),
                "use a solver with fixed steps",
            ));
        }
        if let Some(diffusion) = &self.diffusion {
            for i in 0..self.steps.min(10_000) {
                let t = self.timetable(&Path::default()).time(i);
                let g = diffusion.at(t);
                if !(g.is_finite() && g >= 0.0) {
                    return Err(Error::config(
                        format!("the diffusion is {g} at t = {t}"),
                        "it is a number that is not negative at every time",
                    ));
                }
            }
        }
        Ok(())
    }

    /// With what a grid of given times says put into `steps`, `t0` and `t1`.
    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    #[must_use]
    pub fn resolved(mut self) -> Self {
        if let Grid::Times(times) = &self.grid {
            self.steps = to_u32(times.len().saturating_sub(1));
            if let (Some(first), Some(last)) = (times.first(), times.last()) {
                (self.t0, self.t1) = (*first as f32, *last as f32);
            }
        }
        self
    }

    /// The steps, for a model of that path.
    pub(crate) fn timetable(&self, path: &Path) -> Timetable {
        Timetable {
            solver: self.solver,
            grid: self.grid.clone(),
            steps: self.steps,
            t0: self.t0.into(),
            t1: self.t1.into(),
            path: path.clone(),
            through: self.through.clone(),
            diffusion: self.diffusion.clone(),
        }
    }
}

/// Which particles are carried.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// Samples `first .. first + rows` of the seed.
    Samples {
        /// The number of the first one.
        first: u64,
        /// How many.
        rows: usize,
    },
    /// Given points [n, d], the first of which has that number among all: random probes go by it.
    Points {
        /// The number of the first one.
        first: u64,
        /// In the network's coordinates.
        values: &'a [f32],
    },
}

/// Where particles have come to, and what they met on their way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// Where they began, where the divergence was integrated: [rows, d].
    pub start: Vec<f32>,
    /// Where they are at t1: [rows, d].
    pub points: Vec<f32>,
    /// All states, if asked for: [rows, steps + 1, d].
    pub trajectory: Vec<f32>,
    /// ∫ div v dt from t0 to t1: `[rows]`, or `[rows, probes]` of Hutchinson's estimate.
    pub divergence: Vec<f32>,
    /// Accepted steps of each particle.
    pub accepted: Vec<u32>,
    /// Rejected steps of each particle; none where the steps are fixed.
    pub rejected: Vec<u32>,
    /// Evaluations of the velocity for each particle (NFE).
    pub evaluations: Vec<u32>,
}

/// A model on the device, ready to carry particles. Points are in the network's coordinates; see
/// [`Sampler::to_data_units`].
///
/// # Examples
/// ```
/// # use windfield::{data::Dataset, train::{TrainOptions, Trainer}};
/// use windfield::flow::Solver;
/// use windfield::gpu::{Device, DeviceOptions};
/// use windfield::model::Model;
/// use windfield::sample::{SampleOptions, Sampler};
///
/// let device = Device::open(&DeviceOptions::default())?;
/// # let file = std::env::temp_dir().join(format!("windfield-sampler-{}.safetensors", std::process::id()));
/// # let options = TrainOptions { steps: 0, hidden: vec![8], ..TrainOptions::default() };
/// # Trainer::new(&device, &Dataset::open("moons:100")?, None, options)?.model()?.save(&file)?;
/// let model = Model::load(&file)?;
/// let options = SampleOptions { solver: Solver::named("rk4")?, steps: 10, ..SampleOptions::default() };
/// let mut sampler = Sampler::new(&device, &model, None, options)?;
/// let mut points = sampler.sample(0, 1000)?; // [1000, d]
/// sampler.to_data_units(&mut points);
/// assert_eq!(points.len(), 1000 * model.architecture.dim);
/// # std::fs::remove_file(file).unwrap();
/// # Ok::<(), windfield::Error>(())
/// ```
#[derive(Debug)]
pub struct Sampler {
    device: Device,
    model: Model,
    options: SampleOptions,
    /// The steps that the options make of the model's path.
    timetable: Timetable,
    layout: Layout,
    parameters: Parameters,
    load: Load,
    /// Particles of a chunk.
    rows: usize,
    points: Buffer,
    source: Option<Table>,
    engine: Engine,
    /// The times at which the engine gives states, where it has to be told beforehand.
    outputs: Vec<f32>,
    stop: fn() -> bool,
}

/// What the integrators are bound to.
#[derive(Clone, Copy)]
pub(crate) struct Particles<'a> {
    pub device: &'a Device,
    pub architecture: &'a Architecture,
    pub layout: &'a Layout,
    pub solver: &'static Solver,
    pub divergence: Option<Divergence>,
    pub parameters: &'a Parameters,
    /// x and the accumulators of the divergence: [rows, columns]
    pub points: &'a Buffer,
    pub rows: usize,
    /// Times at which an adaptive solver gives the states.
    pub outputs: Option<&'a [f32]>,
}

#[derive(Debug)]
enum Engine {
    Fused(Box<Fused>),
    Layered(Box<Layered>),
}

impl Sampler {
    /// Puts a model on the device. `source` replaces the Gaussian at t = 0.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of its range, [`Error::Limit`] or [`Error::OutOfMemory`] if the model does
    /// not fit the device.
    pub fn new(
        device: &Device,
        model: &Model,
        source: Option<&Dataset>,
        options: SampleOptions,
    ) -> Result<Self> {
        options.validate()?;
        if model.is_conditional() {
            return Err(Error::config(
                "a conditional model is followed under a condition",
                "take what Model::under, guided or unconditional gives",
            ));
        }
        let dim = model.architecture.dim;
        if let Some(source) = source.filter(|source| source.dim() != dim) {
            return Err(Error::config(
                format!("the source `{}` has {} columns and the model {dim}", source.name(), source.dim()),
                "both ends of a flow have the same dimension",
            ));
        }
        if source.is_some() && options.divergence.is_some() {
            return Err(Error::config(
                "a flow from a data set has no density to begin with",
                "densities need a model that was trained from Gaussian noise",
            ));
        }
        let options = options.resolved();
        let timetable = options.timetable(&model.path);
        if let Some((t, share)) = timetable.overshoot() {
            return Err(Error::config(
                format!(
                    "the diffusion is too large for the step at t = {t:.6}, which would overshoot (h·g²/b² is \
                     {share:.3}, and may be 2)"
                ),
                "take more steps, or a diffusion that falls with the path's b(t), such as 1 - t",
            ));
        }
        let layout = Layout::new(&model.architecture);
        let device = &options.kernels.lay_out(device, &layout)?;
        let parameters = Parameters::upload(device, &layout, &model.packed())?;
        let load = Load::new(&model.architecture, options.divergence);
        let tiles = tiles_for(device, &layout, &options, load);
        if options.kernels == Kernels::Shared && tiles.is_none() {
            return Err(Error::config(
                "--kernels shared is for layers of 17 to 64 inputs and outputs at the widest, in fixed steps and \
                 without a divergence",
                "use --kernels auto",
            ));
        }
        if options.kernels == Kernels::Fused && tiles.is_none() {
            return Err(Error::config(
                "the network is too wide or too deep for the fused integrator on this device, or its divergence has \
                 too many directions",
                "use --kernels auto, or layered",
            ));
        }
        let habits = device.habits();
        let tile = TILE_ROWS as usize;
        let by_memory =
            usize::try_from(device.largest_binding() / (16 * load.quads() as u64)).unwrap_or(usize::MAX);
        let flops = model.architecture.flops().max(1) * (1 + load.directions.min(layered::TANGENTS)) as u64;
        let by_time = usize::try_from(habits.dispatch_flops / flops).unwrap_or(usize::MAX);
        let mut rows = habits.particles.min(by_memory).min(by_time).max(tile);
        if tiles.is_none() {
            let within = layered::rows_within(largest_rows(device, &layout), by_memory, options.solver, load);
            rows = rows.min(within).max(tile);
        }
        let points = device.buffer(
            4 * (rows * load.state()) as u64,
            Purpose { what: "a chunk of particles", flag: "the dimension" },
        )?;
        let particles = Particles {
            device,
            architecture: &model.architecture,
            layout: &layout,
            solver: options.solver,
            divergence: options.divergence,
            parameters: &parameters,
            points: &points,
            rows,
            outputs: None,
        };
        let engine = Engine::new(&particles, tiles)?;
        let source = source
            .map(|source| {
                Table::upload(device, source, model.standardization.as_ref(), "the rows of --source")
            })
            .transpose()?;
        Ok(Self {
            device: device.clone(),
            model: model.clone(),
            options,
            timetable,
            layout,
            parameters,
            load,
            rows,
            points,
            source,
            engine,
            outputs: vec![],
            stop: || false,
        })
    }

    /// How many particles are carried at once. Any number may be asked for; memory follows this one.
    #[must_use]
    pub fn chunk_rows(&self) -> usize {
        self.rows
    }

    /// How many of them when their trajectories are asked for.
    #[must_use]
    pub fn trajectory_rows(&self) -> usize {
        if self.options.solver.is_adaptive() { self.trajectory_chunk() } else { self.rows }
    }

    /// How many of them make trajectories of 64 MiB, if as many can be carried: what callers that want all of a large number
    /// ask for at once.
    #[must_use]
    pub fn trajectory_chunk(&self) -> usize {
        let floats = (self.options.steps as usize + 1) * self.load.dim;
        self.rows.min((TRAJECTORY_FLOATS / floats).max(1))
    }

    /// The standard deviation of the noise at t = 0: 1, but for paths that begin wider.
    #[must_use]
    pub fn source_std(&self) -> f32 {
        self.options.through.as_ref().unwrap_or(&self.model.path).source_std()
    }

    /// Asks `stop` between dispatches, some ten times a second, whether to break off with [`Error::Interrupted`].
    pub fn stop_when(&mut self, stop: fn() -> bool) {
        self.stop = stop;
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The settings.
    #[must_use]
    pub fn options(&self) -> &SampleOptions {
        &self.options
    }

    /// When the states of a trajectory are, from t0 to t1: `[steps + 1]`.
    #[must_use]
    pub fn times(&self) -> Vec<f64> {
        (0..=self.options.steps).map(|i| self.timetable.time(i)).collect()
    }

    /// Whether the fused integrator is at work.
    #[must_use]
    pub fn is_fused(&self) -> bool {
        matches!(self.engine, Engine::Fused(_))
    }

    /// The kernels at work: what `auto` came to.
    #[must_use]
    pub fn kernels(&self) -> Kernels {
        match &self.engine {
            Engine::Fused(fused) if fused.is_shared() => Kernels::Shared,
            Engine::Fused(_) => Kernels::Fused,
            Engine::Layered(_) => Kernels::of_layers(&self.device, &self.layout),
        }
    }

    /// Carries particles from t0 to t1; `trajectory` asks for all states on the way.
    ///
    /// A sample depends on the seed and its number alone, not on the chunk that it is asked for with.
    ///
    /// # Errors
    /// [`Error::Config`] for more rows than a chunk has, or if an adaptive solver gives a particle up;
    /// [`Error::Device`] or [`Error::DeviceLost`].
    pub fn flow(&mut self, start: Start<'_>, trajectory: bool) -> Result<Flow> {
        let (first, rows) = match start {
            Start::Samples { first, rows } => (first, rows),
            Start::Points { first, values } => (first, self.rows_of(values)?),
        };
        fits(rows, if trajectory { self.trajectory_rows() } else { self.rows })?;
        if trajectory && self.options.solver.is_adaptive() && self.outputs.is_empty() {
            self.expect_outputs()?;
        }
        let address = self.address(first, rows)?;
        match start {
            Start::Samples { .. } => self.draw(address, rows)?,
            Start::Points { values, .. } => self.place(values)?,
        }
        let mut flow = Flow::default();
        if self.options.divergence.is_some() {
            flow.start = self.read(rows)?.0;
        }
        if self.options.solver.is_adaptive() {
            self.adapt(rows, address, trajectory, &mut flow)?;
        } else if trajectory {
            flow.trajectory = self.walk(rows, address)?;
        } else {
            self.advance(rows, address, (0, self.options.steps))?;
        }
        (flow.points, flow.divergence) = self.read(rows)?;
        if flow.accepted.is_empty() {
            flow.accepted = vec![self.options.steps; rows];
            flow.rejected = vec![0; rows];
            flow.evaluations = vec![self.options.steps * to_u32(self.options.solver.stages()); rows];
        }
        Ok(flow)
    }

    /// The dispatches of the first steps of so many particles, in order, and how many steps these are: what a profile
    /// looks at. The particles are samples of the seed.
    ///
    /// # Errors
    /// [`Error::Config`] for an adaptive solver, whose steps are not known beforehand, or more particles than
    /// [`Sampler::chunk_rows`]; [`Error::Device`].
    pub fn plan(&mut self, rows: usize) -> Result<(Vec<Dispatch>, u32)> {
        fits(rows, self.rows)?;
        if self.options.solver.is_adaptive() {
            return Err(Error::config(
                format!("the steps of {} are not known beforehand", self.options.solver.name),
                "use a solver with fixed steps",
            ));
        }
        let address = self.address(0, rows)?;
        self.draw(address, rows)?;
        match &mut self.engine {
            Engine::Fused(fused) => {
                fused.plan(rows, &self.timetable).map(|(dispatch, steps)| (vec![dispatch], steps))
            }
            Engine::Layered(layered) => layered.plan(rows, &self.timetable).map(|plan| (plan, 1)),
        }
    }

    /// Samples `first .. first + rows` at t1, [rows, d].
    ///
    /// # Errors
    /// As [`Sampler::flow`].
    pub fn sample(&mut self, first: u64, rows: usize) -> Result<Vec<f32>> {
        Ok(self.flow(Start::Samples { first, rows }, false)?.points)
    }

    /// Carries given points, [n, d], from t0 to t1. `n` is at most [`Sampler::chunk_rows`].
    ///
    /// # Errors
    /// As [`Sampler::flow`].
    pub fn carry(&mut self, points: &[f32]) -> Result<Vec<f32>> {
        Ok(self.flow(Start::Points { first: 0, values: points }, false)?.points)
    }

    /// The states of samples `first .. first + rows` after every step, [rows, steps + 1, d].
    ///
    /// # Errors
    /// As [`Sampler::flow`].
    pub fn sample_trajectory(&mut self, first: u64, rows: usize) -> Result<Vec<f32>> {
        Ok(self.flow(Start::Samples { first, rows }, true)?.trajectory)
    }

    /// The states of given points after every step, [n, steps + 1, d].
    ///
    /// # Errors
    /// As [`Sampler::flow`].
    pub fn carry_trajectory(&mut self, points: &[f32]) -> Result<Vec<f32>> {
        Ok(self.flow(Start::Points { first: 0, values: points }, true)?.trajectory)
    }

    /// The noise, or the source's points, from which samples `first .. first + rows` start: [rows, d].
    ///
    /// # Errors
    /// As [`Sampler::flow`].
    pub fn noise(&mut self, first: u64, rows: usize) -> Result<Vec<f32>> {
        fits(rows, self.rows)?;
        let address = self.address(first, rows)?;
        self.draw(address, rows)?;
        Ok(self.read(rows)?.0)
    }

    /// The log-densities of where a flow that began or ended at t = 0 has its other end, in nats: of the data that
    /// noise was carried to, or of the data that were carried back to noise (eq. 4). In the units of the data, or,
    /// `raw`, of the network's coordinates.
    ///
    /// # Errors
    /// [`Error::Config`] if the divergence was not integrated, or neither end is at t = 0.
    pub fn log_density(&self, flow: &Flow, raw: bool) -> Result<LogDensity> {
        let Some(divergence) = self.options.divergence else {
            return Err(Error::config("no divergence was integrated", "set `SampleOptions::divergence`"));
        };
        let (noise, sign) = match (self.options.t0, self.options.t1) {
            (0.0, _) => (&flow.start, -1.0),
            (_, 0.0) => (&flow.points, 1.0),
            (t0, t1) => {
                return Err(Error::config(
                    format!("the density is known at t = 0, and the flow goes from {t0} to {t1}"),
                    "begin or end at t = 0",
                ));
            }
        };
        let dim = self.load.dim;
        let mut density =
            LogDensity::new(noise, dim, self.source_std().into(), &flow.divergence, divergence, sign);
        if let Some(standardization) = self.model.standardization.as_ref().filter(|_| !raw) {
            let shift = standardization.log_volume();
            for value in &mut density.values {
                *value -= shift;
            }
        }
        Ok(density)
    }

    /// The velocity v(x, t) at given points, [n, d]; any number of them.
    ///
    /// # Errors
    /// [`Error::Limit`] or [`Error::OutOfMemory`] if the model does not fit the device; [`Error::Device`].
    pub fn velocity(&mut self, points: &[f32], t: f32) -> Result<Vec<f32>> {
        self.quantity(points, t, Quantity::Velocity)
    }

    /// What the velocity stands for at given points [n, d] of the model's path: its score, the denoised points, their
    /// noise. In the network's coordinates.
    ///
    /// # Errors
    /// As [`Sampler::velocity`], and [`Error::Config`] where the quantity is not finite.
    pub fn quantity(&mut self, points: &[f32], t: f32, quantity: Quantity) -> Result<Vec<f32>> {
        let evaluation = quantity.at(&self.model.path, t.into())?;
        let plain = self.options.divergence.is_none() && !self.options.solver.is_adaptive();
        if !plain || self.is_fused() {
            let options = SampleOptions { kernels: Kernels::Layered, ..SampleOptions::default() };
            return Self::new(&self.device, &self.model, None, options)?.evaluate(points, &evaluation);
        }
        self.evaluate(points, &evaluation)
    }

    fn evaluate(&mut self, points: &[f32], evaluation: &Evaluation) -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(points.len());
        for chunk in points.chunks(self.rows * self.load.dim) {
            let rows = self.rows_of(chunk)?;
            self.place(chunk)?;
            if let Engine::Layered(layered) = &mut self.engine {
                values.extend(layered.evaluate(rows, evaluation)?);
            }
        }
        Ok(values)
    }

    /// From the network's coordinates to data units, in place.
    pub fn to_data_units(&self, points: &mut [f32]) {
        if let Some(standardization) = &self.model.standardization {
            standardization.undo(points);
        }
    }

    /// From data units to the network's coordinates, in place.
    pub fn to_network_units(&self, points: &mut [f32]) {
        if let Some(standardization) = &self.model.standardization {
            standardization.apply(points);
        }
    }

    /// Velocities from the network's coordinates to data units a unit of time, in place.
    pub fn velocities_to_data_units(&self, velocities: &mut [f32]) {
        if let Some(standardization) = &self.model.standardization {
            standardization.undo_scale(velocities);
        }
    }

    /// Builds the engine anew for one that gives states at the times of the grid.
    fn expect_outputs(&mut self) -> Result<()> {
        let timetable = &self.timetable;
        #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
        let mut times: Vec<f32> = (0..=self.options.steps).map(|i| timetable.time(i) as f32).collect();
        // What the controller compares its times with, to the bit. The first one is where all begin.
        if let Some(last) = times.last_mut() {
            *last = self.options.t1;
        }
        let particles = Particles {
            device: &self.device,
            architecture: &self.model.architecture,
            layout: &self.layout,
            solver: self.options.solver,
            divergence: self.options.divergence,
            parameters: &self.parameters,
            points: &self.points,
            rows: self.trajectory_rows(),
            outputs: Some(&times),
        };
        let tiles = tiles_for(&self.device, &self.layout, &self.options, self.load);
        self.engine = Engine::new(&particles, tiles)?;
        // From now on all flows go by the smaller chunk.
        self.rows = self.trajectory_rows();
        self.outputs = times;
        Ok(())
    }

    /// The key of a chunk's random numbers, and the address of its first row.
    fn address(&self, first: u64, rows: usize) -> Result<([u32; 2], u32)> {
        let end = first.checked_add(rows as u64).and_then(|end| u32::try_from(end).ok());
        let first_row = end
            .map(|end| end - to_u32(rows))
            .ok_or_else(|| Error::config("more than 2^32 − 1 samples of one seed", "use several seeds"))?;
        #[allow(clippy::cast_possible_truncation, reason = "the two words of the seed")]
        let seed = [self.options.seed as u32, (self.options.seed >> 32) as u32];
        Ok((seed, first_row))
    }

    fn draw(&mut self, (seed, first_row): ([u32; 2], u32), rows: usize) -> Result<()> {
        let source_rows = to_u32(self.source.as_ref().map_or(0, |source| source.rows));
        let deviation = self.source_std();
        let constants =
            Noise { seed, first_row, rows: to_u32(rows), source_rows, deviation, ..Noise::zeroed() };
        let variant = noise_variant(self.load.dim, self.load.extra, self.source.is_some());
        let groups = self.device.groups((rows * self.load.quads()) as u64, LANES);
        let draw = |constants: &Noise, source: Option<&Buffer>| -> Result<()> {
            let uniform = self.device.uniform(constants)?;
            let mut bindings = vec![Binding::whole(0, &uniform), Binding::whole(1, &self.points)];
            bindings.extend(source.map(|source| Binding::whole(2, source)));
            self.device.submit([&self.device.dispatch(&variant, &bindings, groups)?], &[])?;
            Ok(())
        };
        let Some(source) = &self.source else { return draw(&constants, None) };
        for (block, first, rows) in source.blocks() {
            let here = Noise { block_first: to_u32(first), block_rows: to_u32(rows), ..constants };
            draw(&here, Some(block))?;
        }
        Ok(())
    }

    fn rows_of(&self, points: &[f32]) -> Result<usize> {
        let dim = self.load.dim;
        if points.is_empty() || !points.len().is_multiple_of(dim) {
            return Err(Error::config(
                format!("{} numbers are no whole points of dimension {dim}", points.len()),
                "give [n, d] with n at least 1",
            ));
        }
        Ok(points.len() / dim)
    }

    /// Puts points where the particles are, with accumulators of zero.
    fn place(&mut self, points: &[f32]) -> Result<()> {
        if self.load.extra == 0 {
            return self.device.write(&self.points, points);
        }
        let zeros = vec![0.0; self.load.extra];
        let states: Vec<f32> = points
            .chunks_exact(self.load.dim)
            .flat_map(|point| point.iter().chain(&zeros))
            .copied()
            .collect();
        self.device.write(&self.points, &states)
    }

    fn advance(&mut self, rows: usize, address: ([u32; 2], u32), steps: (u32, u32)) -> Result<()> {
        let timetable = &self.timetable;
        match &mut self.engine {
            Engine::Fused(fused) => fused.advance(rows, address, timetable, steps, self.stop),
            Engine::Layered(layered) => layered.advance(rows, address, timetable, steps, self.stop),
        }
    }

    /// All states on the way, in steps that are known beforehand.
    fn walk(&mut self, rows: usize, address: ([u32; 2], u32)) -> Result<Vec<f32>> {
        let dim = self.load.dim;
        let states = self.options.steps as usize + 1;
        let mut trajectory = vec![0.0; rows * states * dim];
        for state in 0..states {
            if state > 0 {
                self.advance(rows, address, (to_u32(state) - 1, to_u32(state)))?;
            }
            let (points, _) = self.read(rows)?;
            for (row, point) in points.chunks_exact(dim).enumerate() {
                let at = (row * states + state) * dim;
                trajectory[at..at + dim].copy_from_slice(point);
            }
        }
        Ok(trajectory)
    }

    fn adapt(
        &mut self,
        rows: usize,
        (seed, first_row): ([u32; 2], u32),
        trajectory: bool,
        flow: &mut Flow,
    ) -> Result<()> {
        let SampleOptions { solver, tolerance, t0, t1, .. } = &self.options;
        let base = Tableau { seed, first_row, ..Tableau::new(solver) };
        let tableau = adaptive::tableau(&base, tolerance, (*t0, *t1), self.outputs.len());
        let particles = match &mut self.engine {
            Engine::Fused(fused) => fused.adapt(rows, &tableau, self.stop)?,
            Engine::Layered(layered) => layered.adapt(rows, &tableau, self.stop)?,
        };
        // The last stage of a step is the first one of the next.
        let each = to_u32(solver.stages()) - 1;
        flow.accepted = particles.iter().map(|particle| particle.accepted).collect();
        flow.rejected = particles.iter().map(|particle| particle.rejected).collect();
        flow.evaluations = particles
            .iter()
            .map(|particle| 1u32.saturating_add(each.saturating_mul(particle.accepted + particle.rejected)))
            .collect();
        if trajectory {
            flow.trajectory = match &self.engine {
                Engine::Fused(fused) => fused.trajectory(rows)?,
                Engine::Layered(layered) => layered.trajectory(rows)?,
            };
        }
        Ok(())
    }

    /// x [rows, d], and the accumulators [rows, …].
    fn read(&self, rows: usize) -> Result<(Vec<f32>, Vec<f32>)> {
        let Load { dim, extra, .. } = self.load;
        let states: Vec<f32> = self.device.read(&self.points, 0..4 * (rows * (dim + extra)) as u64)?;
        if extra == 0 {
            return Ok((states, vec![]));
        }
        let part = |from: usize, to: usize| {
            states.chunks_exact(dim + extra).flat_map(|state| &state[from..to]).copied().collect()
        };
        Ok((part(0, dim), part(dim, dim + extra)))
    }
}

/// Whether a chunk has room for so many particles.
fn fits(rows: usize, most: usize) -> Result<()> {
    if rows == 0 || rows > most {
        return Err(Error::config(format!("{rows} particles at once"), format!("a chunk has 1 to {most}")));
    }
    Ok(())
}

impl Engine {
    fn new(particles: &Particles<'_>, tiles: Option<fused::Tiles>) -> Result<Self> {
        Ok(match tiles {
            Some(tiles) => Self::Fused(Box::new(Fused::new(particles, tiles)?)),
            None => Self::Layered(Box::new(Layered::new(particles)?)),
        })
    }
}

/// The cut of the fused integrator, if it is to do the work.
fn tiles_for(device: &Device, layout: &Layout, options: &SampleOptions, load: Load) -> Option<fused::Tiles> {
    let tiles = || fused::tiles(device.habits(), device.limits(), layout, options.solver, load);
    match options.kernels {
        Kernels::Auto if fused::widest(layout) > device.habits().fused_width => None,
        Kernels::Auto | Kernels::Fused => tiles(),
        Kernels::Shared => tiles().filter(fused::Tiles::is_shared),
        _ => None,
    }
}

/// The variant of `noise` for a dimension.
pub(crate) fn noise_variant(dim: usize, extra: usize, source: bool) -> Variant {
    Variant::new("noise")
        .with("DIM", to_u32(dim))
        .with("EXTRA", to_u32(extra))
        .with("LANES", LANES)
        .flag("SOURCE", source)
}
