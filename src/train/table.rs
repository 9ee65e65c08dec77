//! A data set on the device, in the network's coordinates: in one buffer, or in several where it is larger than what a
//! kernel can see at once.

use super::wave::Gather;
use crate::data::{Dataset, Standardization};
use crate::gpu::{Buffer, Device, Purpose};
use crate::{Error, Result};

/// Numbers that are brought to the network's coordinates, and to the device, at once.
const PIECE: usize = 1 << 22;
/// Numbers of a block, at most: their places are `u32` on the device, and so are those of their bytes.
const MOST: u64 = 1 << 30;

/// Rows on the device.
#[derive(Debug)]
pub(crate) struct Table {
    /// [`block_rows`](Self::block_rows) rows each, the last one the rest. [rows, d]
    pub blocks: Vec<Buffer>,
    /// N.
    pub rows: usize,
    /// Of a block.
    pub block_rows: usize,
}

impl Table {
    fn upload(
        device: &Device,
        set: &Dataset,
        standardization: Option<&Standardization>,
        flag: &str,
    ) -> Result<Self> {
        let dim = set.dim();
        let purpose = Purpose { what: "a row of the data set", flag: "the number of the data's columns" };
        device.fits(4 * dim as u64, purpose)?;
        let room = (device.largest_binding() / 4).min(MOST) / dim as u64;
        let block_rows = usize::try_from(room).unwrap_or(usize::MAX).clamp(1, set.rows());
        let purpose = Purpose { what: "the data set", flag };
        // Room for all of it first: what does not fit shows before anything is copied.
        let blocks = (set.values().chunks(block_rows * dim))
            .map(|values| device.buffer(4 * values.len() as u64, purpose))
            .collect::<Result<Vec<_>>>()?;
        let piece = (PIECE / dim).max(1) * dim;
        let mut scratch = Vec::new();
        for (block, values) in blocks.iter().zip(set.values().chunks(block_rows * dim)) {
            for (index, values) in values.chunks(piece).enumerate() {
                let at = 4 * (index * piece) as u64;
                match standardization {
                    Some(standardization) => {
                        scratch.clear();
                        scratch.extend_from_slice(values);
                        standardization.apply(&mut scratch);
                        device.write_at(block, at, &scratch)?;
                    }
                    None => device.write_at(block, at, values)?,
                }
            }
        }
        Ok(Self { blocks, rows: set.rows(), block_rows })
    }
}

/// The data set, and the one that replaces the Gaussian if there is one.
#[derive(Debug)]
pub(crate) struct DeviceData {
    pub data: Table,
    pub source: Option<Table>,
}

impl DeviceData {
    pub fn upload(
        device: &Device,
        data: &Dataset,
        source: Option<&Dataset>,
        standardization: Option<&Standardization>,
    ) -> Result<Self> {
        if let Some(source) = source.filter(|source| source.dim() != data.dim()) {
            return Err(Error::config(
                format!(
                    "the source `{}` has {} columns and the data `{}` {}",
                    source.name(),
                    source.dim(),
                    data.name(),
                    data.dim()
                ),
                "both ends of a flow have the same dimension",
            ));
        }
        let table = |set: &Dataset, flag: &str| Table::upload(device, set, standardization, flag);
        Ok(Self {
            data: table(data, "the rows of --data")?,
            source: source.map(|set| table(set, "the rows of --source")).transpose()?,
        })
    }

    /// Both data sets.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.data).chain(&self.source)
    }

    /// What stands for the data and the source in a kernel that draws from them: the rows that were gathered, or all.
    pub fn rows<'a>(&'a self, gather: Option<&'a Gather>) -> (&'a Buffer, Option<&'a Buffer>) {
        match gather {
            Some(gather) => (&gather.data, gather.source.as_ref()),
            None => (&self.data.blocks[0], self.source.as_ref().map(|table| &table.blocks[0])),
        }
    }

    /// Whether a kernel can see all of it: nothing has to be gathered.
    pub fn is_whole(&self) -> bool {
        self.tables().all(|table| table.blocks.len() == 1)
    }
}
