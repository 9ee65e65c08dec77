//! A data set on the device, in the network's coordinates: in one buffer, or in several where it is larger than what a
//! kernel can see at once.

use crate::Result;
use crate::data::{Dataset, Standardization};
use crate::gpu::{Buffer, Device, Purpose};

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
    /// Brings a data set there, in pieces: no second copy of it is made.
    ///
    /// # Errors
    /// [`Error::Limit`](crate::Error::Limit) if not even a row can be bound,
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if the device has no room for all of it.
    pub fn upload(
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

    /// The blocks, with the number of the first row and of all rows of each.
    pub fn blocks(&self) -> impl Iterator<Item = (&Buffer, usize, usize)> {
        self.blocks.iter().enumerate().map(|(index, block)| {
            let first = index * self.block_rows;
            (block, first, self.block_rows.min(self.rows - first))
        })
    }
}
