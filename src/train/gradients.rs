//! A batch's way to its loss and its gradient: the kernels of a training step up to the optimiser, and the gradients of
//! both losses (eq. 7, 8) over the same batch.

use super::batch::{Batch, BatchOptions, DeviceData, DrawSources, DrawTargets, draw};
use super::layout::State;
use super::trainer::{LOSS_LANES, Optimiser, SquaredBy, chunk_rows, loss_variant, slices};
use super::wave::Waves;
use crate::data::Dataset;
use crate::flow::{Coupling, Path};
use crate::gpu::{Binding, Buffer, Device, Dispatch, List, Purpose, Work, widened};
use crate::model::{Architecture, Keeps, Layout, Model, Network, PAD, Parameters, TILE_ROWS, to_u32};
use crate::{Error, Result};

/// What the batches of a run are drawn from, and what they are for.
#[derive(Clone, Copy)]
pub(super) struct Recipe<'a> {
    pub device: &'a Device,
    pub architecture: &'a Architecture,
    pub path: &'a Path,
    pub seed: u64,
    pub batch: usize,
    pub from: &'a DrawSources<'a>,
}

/// From a batch to its loss and the gradient, in parts of as many rows as the network holds.
pub(super) struct Pass<'a> {
    recipe: Recipe<'a>,
    network: &'a Network,
    /// u_t(x | x1) of a part's rows. [rows padded, d padded]
    velocity: Buffer,
    /// Of the loss, one for every so many rows of the batch.
    pub sums: Buffer,
}

impl<'a> Pass<'a> {
    /// Reserves what batches need on their way.
    pub fn new(recipe: Recipe<'a>, network: &'a Network) -> Result<Self> {
        let Recipe { device, architecture, batch, .. } = recipe;
        let out = architecture.dim.next_multiple_of(PAD);
        let velocity = device.buffer(
            4 * (network.rows * out) as u64,
            Purpose { what: "the target velocities", flag: "--batch" },
        )?;
        let bytes = 4 * batch.div_ceil(LOSS_LANES as usize) as u64;
        let sums = device.buffer(bytes, Purpose { what: "the loss", flag: "--batch" })?;
        Ok(Self { recipe, network, velocity, sums })
    }

    /// Partial sums of the loss.
    pub fn partials(&self) -> usize {
        self.recipe.batch.div_ceil(LOSS_LANES as usize)
    }

    /// The dispatches for the batch of the step that `state` is at: draw, forward, loss, and backward where there is a
    /// gradient to fill. `targets` [rows of the batch padded, d padded] are learned instead of
    /// the velocities that are drawn.
    pub fn dispatches(
        &self,
        parameters: &Parameters,
        state: &Buffer,
        targets: Option<&Buffer>,
        optimiser: Option<&Optimiser>,
    ) -> Result<Vec<Dispatch>> {
        let Recipe { device, architecture, path, seed, batch, from } = self.recipe;
        let network = self.network;
        let out = architecture.dim.next_multiple_of(PAD);
        let loss = loss_variant(out, parameters.weights.is_some());
        let rows = network.rows.min(batch);
        let mut dispatches = Vec::new();
        let mut first = 0;
        while first < batch {
            let count = rows.min(batch - first);
            let chunk = device.uniform(&from.data.chunk(seed, batch, first, count))?;
            let drawn = DrawTargets { features: network.features(), velocity: &self.velocity, export: None };
            dispatches.push(draw(device, architecture, path, from, (&chunk, count), state, &drawn)?);
            dispatches.extend(network.forward(parameters, count)?);
            let end = (first + count).next_multiple_of(TILE_ROWS as usize);
            let bindings = [
                Binding::whole(0, &chunk),
                Binding::whole(1, network.output()),
                match targets {
                    Some(all) => Binding::part(2, all, 4 * (first * out) as u64..4 * (end * out) as u64),
                    None => Binding::whole(2, &self.velocity),
                },
                Binding::matrix(3, network.output_delta()),
                Binding::whole(4, &self.sums),
            ];
            let work = Work::new(4 * count * architecture.dim, 3 * count * out);
            let groups = [to_u32(count).div_ceil(LOSS_LANES), 1, 1];
            dispatches.push(device.dispatch(&loss, &bindings, groups)?.with_work(work));
            if let Some(Optimiser { gradient, slices, .. }) = optimiser {
                let squares = optimiser.and_then(Optimiser::squares_of_layers);
                dispatches.extend(network.backward(
                    parameters,
                    gradient,
                    count,
                    *slices,
                    squares,
                    first > 0,
                )?);
            }
            first += count;
        }
        Ok(dispatches)
    }
}

/// A loss and its gradient with respect to the parameters, as they lie on the device: padding is zero.
#[derive(Clone, Debug)]
pub(crate) struct Descent {
    pub loss: f64,
    pub gradient: Vec<f32>,
}

/// The gradients of both losses (eq. 7, 8) over batches of one size, by the kernels of a training step.
#[derive(Debug)]
pub(crate) struct Gradients {
    device: Device,
    architecture: Architecture,
    path: Path,
    seed: u64,
    batch: usize,
    data: Dataset,
    /// The step whose batch is drawn.
    state: Buffer,
    /// What is learned instead of what is drawn. [batch padded, d padded]
    targets: Buffer,
    /// [slices, parameters]; the first slice is the sum.
    gradient: List,
    parameters: usize,
    sums: Buffer,
    conditional: Vec<Dispatch>,
    given: Vec<Dispatch>,
}

impl Gradients {
    /// Lays out the plans for batches of a seed. `data` are in the network's coordinates.
    ///
    /// # Errors
    /// [`Error::Limit`] or [`Error::OutOfMemory`] if the batch does not fit the device.
    pub fn new(device: &Device, model: &Model, data: &Dataset, seed: u64, batch: usize) -> Result<Self> {
        let (architecture, path) = (&model.architecture, &model.path);
        let layout = Layout::new(architecture);
        let rows = chunk_rows(device, architecture, &layout, batch)?;
        let network = Network::new(device, layout.clone(), architecture.activation, rows, Keeps::Training)?;
        let optimiser = Optimiser::new(device, &layout, slices(device, &layout, rows), SquaredBy::Reduction)?;
        let on_device = DeviceData::upload(device, data, None, None)?;
        let parameters = Parameters::upload(device, &layout, &model.packed())?;
        let purpose = Purpose { what: "the target velocities", flag: "--batch" };
        let out = architecture.dim.next_multiple_of(PAD);
        let targets =
            device.buffer(4 * (batch.next_multiple_of(TILE_ROWS as usize) * out) as u64, purpose)?;
        let state = device.upload(&[State::default()], purpose)?;
        let waves = Waves::None;
        let from = DrawSources { data: &on_device, waves: &waves };
        let recipe = Recipe { device, architecture, path, seed, batch, from: &from };
        let pass = Pass::new(recipe, &network)?;
        let plan = |targets: Option<&Buffer>| -> Result<Vec<Dispatch>> {
            let mut plan = pass.dispatches(&parameters, &state, targets, Some(&optimiser))?;
            plan.push(optimiser.reduce(device, &layout)?);
            Ok(plan)
        };
        let (conditional, given) = (plan(None)?, plan(Some(&targets))?);
        let sums = pass.sums.clone();
        Ok(Self {
            device: device.clone(),
            architecture: architecture.clone(),
            path: path.clone(),
            seed,
            batch,
            data: data.clone(),
            state,
            targets,
            gradient: optimiser.gradient,
            parameters: layout.len,
            sums,
            conditional,
            given,
        })
    }

    /// The very batch that the gradients at that step are taken over.
    ///
    /// # Errors
    /// As [`Batch::draw`].
    pub fn batch(&self, step: u32) -> Result<Batch> {
        let options = BatchOptions {
            path: self.path.clone(),
            coupling: Coupling::Independent,
            batch: self.batch,
            seed: self.seed,
            standardize: false,
            step,
        };
        Batch::draw(&self.device, &self.data, None, &options)
    }

    /// Of `L_CFM` (eq. 8), as in training.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`].
    pub fn conditional(&self, step: u32) -> Result<Descent> {
        self.run(step, &self.conditional)
    }

    /// Of the mean square distance to given velocities [batch, d]: of `L_FM` (eq. 7) where these are u_t(x).
    ///
    /// # Errors
    /// As [`conditional`](Self::conditional); [`Error::Config`] if there are not as many as rows of the batch.
    pub fn of(&self, step: u32, velocities: &[f32]) -> Result<Descent> {
        let dim = self.architecture.dim;
        if velocities.len() != self.batch * dim {
            return Err(Error::config(
                format!("{} numbers for the velocities of {} points", velocities.len(), self.batch),
                format!("give {dim} for each point"),
            ));
        }
        self.device.write(&self.targets, &widened(velocities, dim, dim.next_multiple_of(PAD)))?;
        self.run(step, &self.given)
    }

    fn run(&self, step: u32, plan: &[Dispatch]) -> Result<Descent> {
        self.device.write(&self.state, &[State { step, ..State::default() }])?;
        let flops: u64 = plan.iter().map(Dispatch::flops).sum();
        let parts =
            usize::try_from(flops.div_ceil(self.device.habits().dispatch_flops)).unwrap_or(usize::MAX);
        for part in plan.chunks(plan.len().div_ceil(parts.clamp(1, plan.len()))) {
            let submission = self.device.submit(part, &[])?;
            self.device.wait(Some(&submission))?;
        }
        let sums: Vec<f32> = self.device.read(&self.sums, 0..self.partial_bytes())?;
        let gradient = self.gradient.read(&self.device, self.parameters)?;
        let total: f64 = sums.iter().map(|&sum| f64::from(sum)).sum();
        Ok(Descent { loss: total / self.batch as f64, gradient })
    }

    /// Bytes of the partial sums of the loss.
    fn partial_bytes(&self) -> u64 {
        4 * self.batch.div_ceil(LOSS_LANES as usize) as u64
    }
}
