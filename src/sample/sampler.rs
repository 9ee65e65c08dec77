//! Sampling a model: chunks of particles from noise (or given points) along the flow.

use bytemuck::Zeroable;

use super::fused::{self, Fused};
use super::layered::Layered;
use super::layout::Noise;
use crate::data::Dataset;
use crate::flow::{SOLVERS, Solver};
use crate::gpu::{Binding, Buffer, Device, Purpose, Variant};
use crate::model::{Architecture, Layout, Model, Parameters, TILE_ROWS, largest_rows, to_u32};
use crate::{Error, Result};

const LANES: u32 = 64;

/// Which kernels carry the particles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// The fused ones where the network is narrow enough.
    #[default]
    Auto,
    /// Many steps in one dispatch.
    Fused,
    /// Layer by layer.
    Layered,
}

/// How to integrate.
#[derive(Clone, Debug)]
pub struct SampleOptions {
    /// The solver.
    pub solver: &'static Solver,
    /// Its steps, of equal length.
    pub steps: u32,
    /// Where to begin; 0 is noise.
    pub t0: f32,
    /// Where to end; 1 is data. Smaller than `t0`: backwards in time.
    pub t1: f32,
    /// Of the noise.
    pub seed: u64,
    /// Which kernels.
    pub kernels: Kernels,
}

impl Default for SampleOptions {
    /// 50 steps of the midpoint method from 0 to 1.
    fn default() -> Self {
        Self { solver: &SOLVERS[1], steps: 50, t0: 0.0, t1: 1.0, seed: 0, kernels: Kernels::Auto }
    }
}

impl SampleOptions {
    /// Checks every setting by itself.
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
        Ok(())
    }
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
    /// Particles of a chunk.
    rows: usize,
    points: Buffer,
    source: Option<(Buffer, usize)>,
    engine: Engine,
    stop: fn() -> bool,
}

/// What the integrators are bound to.
#[derive(Clone, Copy)]
pub(crate) struct Particles<'a> {
    pub device: &'a Device,
    pub architecture: &'a Architecture,
    pub layout: &'a Layout,
    pub solver: &'static Solver,
    pub parameters: &'a Parameters,
    /// x [rows, d]
    pub points: &'a Buffer,
    pub rows: usize,
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
        let dim = model.architecture.dim;
        if let Some(source) = source.filter(|source| source.dim() != dim) {
            return Err(Error::config(
                format!("the source `{}` has {} columns and the model {dim}", source.name(), source.dim()),
                "both ends of a flow have the same dimension",
            ));
        }
        let layout = Layout::new(&model.architecture);
        let parameters = Parameters::upload(device, &layout, &model.packed())?;
        let tiles = match options.kernels {
            Kernels::Layered => None,
            Kernels::Auto if fused::widest(&layout) > device.habits().fused_width => None,
            Kernels::Auto | Kernels::Fused => {
                fused::tiles(device.habits(), device.limits(), &layout, options.solver.stages())
            }
        };
        if options.kernels == Kernels::Fused && tiles.is_none() {
            return Err(Error::config(
                "the network is too wide or too deep for the fused integrator on this device",
                "use --kernels auto or --kernels layered",
            ));
        }
        let habits = device.habits();
        let by_memory = usize::try_from(device.largest_binding() / (4 * dim as u64)).unwrap_or(usize::MAX);
        let by_time =
            usize::try_from(habits.dispatch_flops / model.architecture.flops().max(1)).unwrap_or(usize::MAX);
        let mut rows = habits.particles.min(by_memory).min(by_time).max(TILE_ROWS as usize);
        if tiles.is_none() {
            // The stages' velocities share a buffer, each in whole tiles of rows.
            let tile = TILE_ROWS as usize;
            rows = rows.min(largest_rows(device, &layout) / options.solver.stages() / tile * tile).max(tile);
        }
        let points = device.buffer(
            4 * (rows * dim) as u64,
            Purpose { what: "a chunk of particles", flag: "the dimension" },
        )?;
        let particles = Particles {
            device,
            architecture: &model.architecture,
            layout: &layout,
            solver: options.solver,
            parameters: &parameters,
            points: &points,
            rows,
        };
        let engine = match tiles {
            Some(tiles) => Engine::Fused(Box::new(Fused::new(&particles, tiles)?)),
            None => Engine::Layered(Box::new(Layered::new(&particles)?)),
        };
        let source = source
            .map(|source| {
                let mut values = source.values().to_vec();
                if let Some(standardization) = &model.standardization {
                    standardization.apply(&mut values);
                }
                let purpose = Purpose { what: "the source data set", flag: "the rows of --source" };
                device.upload(&values, purpose).map(|buffer| (buffer, source.rows()))
            })
            .transpose()?;
        Ok(Self {
            device: device.clone(),
            model: model.clone(),
            options,
            rows,
            points,
            source,
            engine,
            stop: || false,
        })
    }

    /// How many particles are carried at once. Any number may be asked for; memory follows this one.
    #[must_use]
    pub fn chunk_rows(&self) -> usize {
        self.rows
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

    /// Whether the fused integrator is at work.
    #[must_use]
    pub fn is_fused(&self) -> bool {
        matches!(self.engine, Engine::Fused(_))
    }

    /// Samples `first .. first + rows` at t1, [rows, d]. A sample depends on the seed and its number alone, not on the
    /// chunk that it is asked for with. `rows` is at most [`Sampler::chunk_rows`].
    ///
    /// # Errors
    /// [`Error::Config`] for more rows than a chunk has, [`Error::Device`] or [`Error::DeviceLost`].
    pub fn sample(&mut self, first: u64, rows: usize) -> Result<Vec<f32>> {
        self.begin(first, rows)?;
        self.advance(rows, 0, self.options.steps)?;
        self.read(rows)
    }

    /// Carries given points, [n, d], from t0 to t1. `n` is at most [`Sampler::chunk_rows`].
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn carry(&mut self, points: &[f32]) -> Result<Vec<f32>> {
        let rows = self.place(points)?;
        self.advance(rows, 0, self.options.steps)?;
        self.read(rows)
    }

    /// The states of samples `first .. first + rows` after every step, [rows, steps + 1, d].
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn sample_trajectory(&mut self, first: u64, rows: usize) -> Result<Vec<f32>> {
        self.begin(first, rows)?;
        self.trajectory(rows)
    }

    /// The states of given points after every step, [n, steps + 1, d].
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn carry_trajectory(&mut self, points: &[f32]) -> Result<Vec<f32>> {
        let rows = self.place(points)?;
        self.trajectory(rows)
    }

    /// The noise, or the source's points, from which samples `first .. first + rows` start: [rows, d].
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn noise(&mut self, first: u64, rows: usize) -> Result<Vec<f32>> {
        self.begin(first, rows)?;
        self.read(rows)
    }

    /// The velocity v(x, t) at given points, [n, d]; any number of them.
    ///
    /// # Errors
    /// [`Error::Limit`] or [`Error::OutOfMemory`] if the model does not fit the device; [`Error::Device`].
    pub fn velocity(&mut self, points: &[f32], t: f32) -> Result<Vec<f32>> {
        if !matches!(self.engine, Engine::Layered(_)) {
            let options = SampleOptions { kernels: Kernels::Layered, ..self.options.clone() };
            return Self::new(&self.device, &self.model, None, options)?.velocity(points, t);
        }
        let mut velocities = Vec::with_capacity(points.len());
        for chunk in points.chunks(self.rows * self.model.architecture.dim) {
            let rows = self.place(chunk)?;
            if let Engine::Layered(layered) = &mut self.engine {
                velocities.extend(layered.velocity(rows, t)?);
            }
        }
        Ok(velocities)
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

    fn begin(&mut self, first: u64, rows: usize) -> Result<()> {
        self.fits(rows)?;
        let first_row = u32::try_from(first + rows as u64)
            .map(|end| end - to_u32(rows))
            .map_err(|_| Error::config("more than 2^32 − 1 samples of one seed", "use several seeds"))?;
        #[allow(clippy::cast_possible_truncation, reason = "the two words of the seed")]
        let seed = [self.options.seed as u32, (self.options.seed >> 32) as u32];
        let source_rows = to_u32(self.source.as_ref().map_or(0, |source| source.1));
        let constants = Noise { seed, first_row, rows: to_u32(rows), source_rows, ..Noise::zeroed() };
        let uniform = self.device.uniform(&constants)?;
        let mut bindings = vec![Binding::whole(0, &uniform), Binding::whole(1, &self.points)];
        if let Some((source, _)) = &self.source {
            bindings.push(Binding::whole(2, source));
        }
        let dim = self.model.architecture.dim;
        let variant = noise_variant(dim, self.source.is_some());
        let groups = self.device.groups((rows * dim.div_ceil(4)) as u64, LANES);
        let dispatch = self.device.dispatch(&variant, &bindings, groups)?;
        self.device.submit([&dispatch], &[])?;
        Ok(())
    }

    fn place(&mut self, points: &[f32]) -> Result<usize> {
        let dim = self.model.architecture.dim;
        if points.is_empty() || !points.len().is_multiple_of(dim) {
            return Err(Error::config(
                format!("{} numbers are no whole points of dimension {dim}", points.len()),
                "give [n, d] with n at least 1",
            ));
        }
        let rows = points.len() / dim;
        self.fits(rows)?;
        self.device.write(&self.points, points)?;
        Ok(rows)
    }

    fn fits(&self, rows: usize) -> Result<()> {
        if rows == 0 || rows > self.rows {
            return Err(Error::config(
                format!("{rows} particles at once"),
                format!("a chunk has 1 to {}", self.rows),
            ));
        }
        Ok(())
    }

    fn advance(&mut self, rows: usize, step: u32, end: u32) -> Result<()> {
        let t0 = self.options.t0;
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "the device computes in float32"
        )]
        let h = ((f64::from(self.options.t1) - f64::from(t0)) / f64::from(self.options.steps)) as f32;
        match &mut self.engine {
            Engine::Fused(fused) => fused.advance(rows, t0, h, step, end, self.stop),
            Engine::Layered(layered) => {
                for step in step..end {
                    if (self.stop)() {
                        return Err(Error::Interrupted);
                    }
                    layered.step(rows, t0 + step as f32 * h, h)?;
                }
                Ok(())
            }
        }
    }

    fn trajectory(&mut self, rows: usize) -> Result<Vec<f32>> {
        let dim = self.model.architecture.dim;
        let states = self.options.steps as usize + 1;
        let mut trajectory = vec![0.0; rows * states * dim];
        for state in 0..states {
            if state > 0 {
                self.advance(rows, to_u32(state) - 1, to_u32(state))?;
            }
            let points = self.read(rows)?;
            for (row, point) in points.chunks_exact(dim).enumerate() {
                let at = (row * states + state) * dim;
                trajectory[at..at + dim].copy_from_slice(point);
            }
        }
        Ok(trajectory)
    }

    fn read(&self, rows: usize) -> Result<Vec<f32>> {
        self.device.read(&self.points, 0..4 * (rows * self.model.architecture.dim) as u64)
    }
}

/// The variant of `noise` for a dimension.
pub(crate) fn noise_variant(dim: usize, source: bool) -> Variant {
    Variant::new("noise").with("DIM", to_u32(dim)).with("LANES", LANES).flag("SOURCE", source)
}
