//! What is made for many steps at once, ahead of them: since a batch depends on the seed and its step alone, the rows that
//! the steps to come pick are known. Where the data set is larger than what a kernel can see at once, these rows are
//! gathered, block by block, and a step reads them in order; where a coupling rearranges them, it does so too.

use super::batch::DeviceData;
use super::coupling::Coupler;
use super::layout::{Block, Wave};
use crate::Result;
use crate::flow::Coupling;
use crate::gpu::{Binding, Buffer, Device, Dispatch, Purpose, Variant, Work};
use crate::model::{Table, to_u32};

const LANES: u32 = 64;
/// Columns that an invocation of `gather` copies.
const SPAN: usize = 64;
/// Invocations of a dispatch of it, about: on software drivers and on GPUs.
const INVOCATIONS: (usize, usize) = (1 << 19, 1 << 22);

/// The variant of `gather`.
pub(crate) fn gather_variant(dim: usize, source: bool) -> Variant {
    Variant::new("gather")
        .with("DIM", to_u32(dim))
        .with("SPAN", to_u32(SPAN))
        .with("LANES", LANES)
        .flag("SOURCE", source)
}

/// The rows that the steps of a wave pick.
#[derive(Debug)]
pub(crate) struct Gather {
    device: Device,
    dim: usize,
    /// Of the data. [rows of the wave, d]
    pub data: Buffer,
    /// Of the source, where there is one. [rows of the wave, d]
    pub source: Option<Buffer>,
    /// One for each block of both.
    dispatches: Vec<Dispatch>,
}

impl Gather {
    /// Reserves memory for waves of up to `steps` steps, which `wave` will tell; none where the data are whole.
    pub fn new(
        device: &Device,
        data: &DeviceData,
        dim: usize,
        (seed, batch): (u64, usize),
        steps: usize,
        wave: &Buffer,
    ) -> Result<Option<Self>> {
        if data.is_whole() {
            return Ok(None);
        }
        let purpose = Purpose { what: "the rows of the data set that a batch picks", flag: "--batch" };
        let chunk = device.uniform(&data.chunk(seed, batch, 0, batch))?;
        let mut dispatches = vec![];
        let mut gather = |table: &Table, source: bool| -> Result<Buffer> {
            let gathered = device.buffer(4 * (steps * batch * dim) as u64, purpose)?;
            for (block, first, rows) in table.blocks() {
                let within = Block { first_row: to_u32(first), rows: to_u32(rows), ..Block::default() };
                let within = device.uniform(&within)?;
                let bindings = [
                    Binding::whole(0, &chunk),
                    Binding::whole(1, wave),
                    Binding::whole(2, &within),
                    Binding::whole(3, block),
                    Binding::whole(4, &gathered),
                ];
                dispatches.push(device.dispatch(
                    &gather_variant(dim, source && !data.paired),
                    &bindings,
                    [1, 1, 1],
                )?);
            }
            Ok(gathered)
        };
        let rows = gather(&data.data, false)?;
        let source = data.source.as_ref().map(|table| gather(table, true)).transpose()?;
        Ok(Some(Self { device: device.clone(), dim, data: rows, source, dispatches }))
    }

    /// Gathers the `rows` rows of the wave that was written.
    pub fn fill(&self, rows: usize) -> Result<()> {
        let groups = self.device.groups(invocations(rows, self.dim) as u64, LANES);
        for dispatch in &self.dispatches {
            let work = Work::new(0, 2 * rows * self.dim);
            self.device.submit([&dispatch.clone().with_groups(groups).with_work(work)], &[])?;
        }
        Ok(())
    }
}

/// Invocations of `gather` for so many rows.
fn invocations(rows: usize, dim: usize) -> usize {
    rows * dim.div_ceil(SPAN)
}

/// Steps of a wave, where no coupling says so.
fn gathered_steps(device: &Device, dim: usize, batch: usize, most: usize) -> usize {
    let work = if device.habits().software { INVOCATIONS.0 } else { INVOCATIONS.1 };
    let bytes = usize::try_from(device.largest_binding()).unwrap_or(usize::MAX);
    most.min(work / invocations(batch, dim)).min(bytes / (4 * batch * dim)).max(1)
}

/// What is made ahead of the steps.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it in a run")]
pub(crate) enum Waves {
    /// Nothing: a step picks its rows by itself.
    None,
    /// The rows alone.
    Gathered {
        gather: Gather,
        wave: Buffer,
        batch: usize,
        /// Steps of a wave.
        steps: u64,
        /// Those that are on the device.
        covered: std::ops::Range<u64>,
    },
    /// The pairs, and their rows where that is needed.
    Coupled(Coupler),
}

impl Waves {
    /// Reserves memory for waves of up to `most` steps.
    pub fn new(
        device: &Device,
        coupling: Coupling,
        data: &DeviceData,
        dim: usize,
        (seed, batch): (u64, usize),
        most: usize,
    ) -> Result<Self> {
        if let Some(coupler) = Coupler::new(device, coupling, data, dim, seed, batch, most)? {
            return Ok(Self::Coupled(coupler));
        }
        let wave = device.uniform(&Wave::default())?;
        let steps = gathered_steps(device, dim, batch, most);
        Ok(match Gather::new(device, data, dim, (seed, batch), steps, &wave)? {
            Some(gather) => Self::Gathered { gather, wave, batch, steps: steps as u64, covered: 0..0 },
            None => Self::None,
        })
    }

    /// Whether what `step` needs is on the device.
    pub fn covers(&self, step: u64) -> bool {
        match self {
            Self::None => true,
            Self::Gathered { covered, .. } => covered.contains(&step),
            Self::Coupled(coupler) => coupler.covers(step),
        }
    }

    /// Sees to it that what `step` needs is on the device, and says up to which step, at most `end`, it is. Whatever was
    /// submitted before keeps what it was given. `stop` is asked meanwhile, where that takes long.
    pub fn cover(&mut self, step: u64, end: u64, stop: impl Fn() -> bool) -> Result<u64> {
        if let Self::Coupled(coupler) = self {
            return coupler.cover(step, end, stop);
        }
        let Self::Gathered { gather, wave, batch, steps, covered } = self else { return Ok(end) };
        if !covered.contains(&step) {
            let next = step..(step + *steps).min(end);
            let rows = usize::try_from(next.end - next.start).unwrap_or(usize::MAX) * *batch;
            let first_step = u32::try_from(step).unwrap_or(u32::MAX);
            // Until the device is through with it, the steps before this wave read the old one.
            gather.device.write(wave, &[Wave { first_step, steps: 1, rows: to_u32(rows), padding: 0 }])?;
            gather.fill(rows)?;
            gather.device.wait(None)?;
            *covered = next;
        }
        Ok(covered.end)
    }

    /// The rows, where they are gathered.
    pub fn gather(&self) -> Option<&Gather> {
        match self {
            Self::None => None,
            Self::Gathered { gather, .. } => Some(gather),
            Self::Coupled(coupler) => coupler.gather.as_ref(),
        }
    }

    /// Of the rows that are gathered.
    pub fn bytes(&self) -> u64 {
        self.gather()
            .map_or(0, |gather| gather.data.bytes() + gather.source.as_ref().map_or(0, Buffer::bytes))
    }

    /// Which steps they are made for, where there is anything.
    pub fn wave(&self) -> Option<&Buffer> {
        match self {
            Self::None => None,
            Self::Gathered { wave, .. } => Some(wave),
            Self::Coupled(coupler) => Some(&coupler.wave),
        }
    }

    /// What rearranges the pairs, if anything does.
    pub fn coupler(&self) -> Option<&Coupler> {
        match self {
            Self::Coupled(coupler) => Some(coupler),
            _ => None,
        }
    }
}
