//! The exact loss (eq. 7) beside the conditional one (eq. 8): how far the network is from the best field that there
//! is.
//!
//! For every v, `L_CFM(v) = L_FM(v) + C` with the crossing energy `C = E ‖u_t(x | x1) − u_t(x)‖²`, which depends on the
//! data, the path and the coupling alone. All three are measured over one batch that no step trains on. Its exact
//! velocities are computed once, since neither data nor path change; after that a measurement is a forward pass.

use super::batch::{DeviceData, DrawSources, DrawTargets, Exported, draw};
use super::layout::{Chunk, State};
use super::options::TrainOptions;
use super::trainer::{LOSS_LANES, chunk_rows, loss_variant};
use super::wave::Waves;
use crate::data::{Dataset, Standardization};
use crate::flow::{Coupling, Marginal};
use crate::gpu::{
    Binding, Buffer, BufferCopy, Device, Dispatch, Habits, Matrices, Matrix, Purpose, Submission, widened,
};
use crate::model::{Architecture, Keeps, Layout, Network, PAD, Parameters, TILE_ROWS, to_u32};
use crate::{Error, Result};

/// The step whose batch is held out: no run gets there.
const HELD_OUT: u32 = u32::MAX;

/// The loss that no field can fall below, C (the crossing energy), over the held-out batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// E ‖u_t(x | x1) − u_t(x)‖².
    pub crossing_energy: f64,
    /// Its standard error.
    pub error: f64,
    /// Rows of the batch.
    pub rows: usize,
}

/// Both losses over the held-out batch, under the weights that a model would be saved with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExactLoss {
    /// `L_FM` = E ‖v − u_t(x)‖² (eq. 7): the distance from the best field.
    pub fm: f64,
    /// `L_CFM` = E ‖v − u_t(x | x1)‖² (eq. 8).
    pub cfm: f64,
}

/// The held-out batch on the device, and what measures on it.
#[derive(Debug)]
pub(crate) struct Exact {
    pub floor: Floor,
    rows: usize,
    /// Features of the batch. [rows padded, width]
    features: Buffer,
    parts: Vec<Part>,
    network: Network,
    /// [2, sums]: of `L_FM`, of `L_CFM`
    partials: Buffer,
}

/// Rows that go through the network at once.
#[derive(Debug)]
struct Part {
    /// Bytes of the features.
    features: std::ops::Range<u64>,
    dispatches: Vec<Dispatch>,
}

impl Exact {
    /// Draws the batch, computes its exact velocities, and lays out the measurement.
    ///
    /// # Errors
    /// [`Error::Config`] where the marginal field is not that of the data alone; as of [`Marginal`].
    pub fn new(
        device: &Device,
        data: &Dataset,
        standardization: Option<&Standardization>,
        on_device: &DeviceData,
        options: &TrainOptions,
        architecture: &Architecture,
        parameters: &Buffer,
    ) -> Result<Self> {
        // The averaged weights are in no texture.
        let matrices = match device.habits().matrices {
            Matrices::Textures => Matrices::Buffers,
            others => others,
        };
        let device = &device.with_habits(Habits { matrices, ..*device.habits() });
        let (rows, dim) = (options.exact_rows, architecture.dim);
        let layout = Layout::new(architecture);
        let part_rows = chunk_rows(device, architecture, &layout, rows)?;
        let network =
            Network::new(device, layout.clone(), architecture.activation, part_rows, Keeps::Nothing)?;
        let (width, out) = (layout.layers[0].width_in, dim.next_multiple_of(PAD));
        let padded = rows.next_multiple_of(TILE_ROWS as usize);
        let purpose = Purpose { what: "the held-out batch", flag: "--exact-rows" };
        let reserve = |width: usize| device.buffer(4 * (padded * width) as u64, purpose);
        let (features, conditional) = (reserve(width)?, reserve(out)?);
        let exported = reserve(Exported::width(dim))?;
        let state = device.upload(&[State { step: HELD_OUT, ..State::default() }], purpose)?;
        let chunk = device.uniform(&on_device.chunk(options.seed, rows, 0, rows))?;
        let targets = DrawTargets {
            features: &Matrix::Buffer(features.clone()),
            velocity: &conditional,
            export: Some(&exported),
        };
        let path = &options.path;
        // The marginal field is that of independent pairs: `defined`.
        let mut waves = Waves::new(device, Coupling::Independent, on_device, dim, (options.seed, rows), 1)?;
        waves.cover(HELD_OUT.into(), u64::from(HELD_OUT) + 1, || false)?;
        let from = DrawSources { data: on_device, waves: &waves };
        device.submit([&draw(device, architecture, path, &from, (&chunk, rows), &state, &targets)?], &[])?;
        let read = |buffer: &Buffer, width: usize| -> Result<Vec<f32>> {
            let values: Vec<f32> = device.read(buffer, 0..4 * (rows * width) as u64)?;
            Ok(values.chunks_exact(width).flat_map(|row| &row[..dim]).copied().collect())
        };
        let (points, velocities) = (read(&features, width)?, read(&conditional, out)?);
        let exported = Exported::read(device, &exported, rows, dim)?;
        let times: Vec<f64> = exported.t.iter().map(|&t| f64::from(t)).collect();
        // Of the data as the network sees them: standardised, and then rounded to float32.
        let marginal = match standardization {
            None => Marginal::new(device, data, None, path)?,
            Some(standardization) => {
                let mut seen = data.values().to_vec();
                standardization.apply(&mut seen);
                Marginal::new(device, &Dataset::from_rows(data.name(), seen, dim)?, None, path)?
            }
        };
        let exact = marginal.field_at(&points, &times)?.velocities;
        drop(marginal);
        let mut wide = widened(&exact, dim, out);
        wide.resize(padded * out, 0.0);
        let targets = [device.upload(&wide, purpose)?, conditional];
        // The loss kernel's gradient, which nobody looks at.
        let delta = device.buffer(4 * (network.rows * out) as u64, purpose)?;
        let sums = rows.div_ceil(LOSS_LANES as usize);
        let partials = device.buffer(4 * 2 * sums as u64, purpose)?;
        let parameters = Parameters { buffer: parameters.clone(), weights: None };
        let mut parts = vec![];
        for first in (0..rows).step_by(part_rows) {
            let count = part_rows.min(rows - first);
            let end = (first + count).next_multiple_of(TILE_ROWS as usize);
            let mut dispatches = network.forward(&parameters, count)?;
            for (which, target) in targets.iter().enumerate() {
                let chunk = device.uniform(&Chunk {
                    rows: to_u32(count),
                    batch: to_u32(rows),
                    first_partial: to_u32(which * sums + first / LOSS_LANES as usize),
                    ..Chunk::default()
                })?;
                let bindings = [
                    Binding::whole(0, &chunk),
                    Binding::whole(1, network.output()),
                    Binding::part(2, target, 4 * (first * out) as u64..4 * (end * out) as u64),
                    Binding::whole(3, &delta),
                    Binding::whole(4, &partials),
                ];
                let groups = [to_u32(count).div_ceil(LOSS_LANES), 1, 1];
                dispatches.push(device.dispatch(&loss_variant(out, false), &bindings, groups)?);
            }
            let features = 4 * (first * width) as u64..4 * (end * width) as u64;
            parts.push(Part { features, dispatches });
        }
        let floor = floor(&velocities, &exact, dim);
        Ok(Self { floor, rows, features, parts, network, partials })
    }

    /// Bytes of what a measurement leaves.
    pub fn bytes(&self) -> u64 {
        4 * 2 * self.rows.div_ceil(LOSS_LANES as usize) as u64
    }

    /// Hands a measurement over, and the copy of its sums to `landing`.
    pub fn submit(&self, device: &Device, landing: &Buffer) -> Result<Submission> {
        let Matrix::Buffer(input) = self.network.features() else {
            return Err(Error::Device {
                what: "the held-out batch".to_owned(),
                reason: "its features are in a texture".to_owned(),
            });
        };
        for part in &self.parts {
            let copy = BufferCopy { from: &self.features, range: part.features.clone(), to: input, at: 0 };
            device.submit([], &[copy])?;
            device.submit(&part.dispatches, &[])?;
        }
        let copy = BufferCopy { from: &self.partials, range: 0..self.bytes(), to: landing, at: 0 };
        device.submit([], &[copy])
    }

    /// The losses of a measurement that is done.
    #[allow(clippy::cast_precision_loss, reason = "rows are far below 2^52")]
    pub fn fetch(&self, device: &Device, landing: &Buffer) -> Result<ExactLoss> {
        let sums: Vec<f32> = device.fetch(landing, 0..self.bytes())?;
        let (fm, cfm) = sums.split_at(sums.len() / 2);
        let mean = |sums: &[f32]| sums.iter().map(|&sum| f64::from(sum)).sum::<f64>() / self.rows as f64;
        Ok(ExactLoss { fm: mean(fm), cfm: mean(cfm) })
    }
}

/// Whether the marginal field is that of [`Marginal`].
pub(crate) fn defined(options: &TrainOptions, source: Option<&Dataset>) -> Result<()> {
    if let Some(source) = source.filter(|_| !options.coupling.is_paired()) {
        return Err(Error::config(
            format!(
                "--exact-every cannot be given with --source {}: the exact field is known from a Gaussian source alone",
                source.name()
            ),
            "leave one of them out",
        ));
    }
    match options.coupling {
        Coupling::Independent => Ok(()),
        coupling => Err(Error::config(
            format!(
                "--exact-every cannot be given with --coupling {}: the exact field is known for independent pairs alone",
                coupling.entry().name
            ),
            "leave one of them out",
        )),
    }
}

/// The mean of ‖u_t(x | x1) − u_t(x)‖² over the batch and its standard error.
#[allow(clippy::cast_precision_loss, reason = "rows are far below 2^52")]
fn floor(conditional: &[f32], exact: &[f32], dim: usize) -> Floor {
    let squares: Vec<f64> = conditional
        .chunks_exact(dim)
        .zip(exact.chunks_exact(dim))
        .map(|(u, v)| u.iter().zip(v).map(|(&u, &v)| (f64::from(u) - f64::from(v)).powi(2)).sum())
        .collect();
    let rows = squares.len();
    let mean = squares.iter().sum::<f64>() / rows as f64;
    let variance = squares.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (rows as f64 - 1.0).max(1.0);
    Floor { crossing_energy: mean, error: (variance / rows as f64).sqrt(), rows }
}
