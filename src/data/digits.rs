//! The bundled handwritten digits: `assets/digits.npy`.
//!
//! The file is an ordinary `.npy` array of 8-bit integers, [1797, 65]: a row is
//! the 64 pixels of an 8×8 image, row by row, each 0 (paper) to 16 (ink),
//! followed by the digit that it shows. Where it comes from, and under which
//! licence, is in `assets/digits.LICENSE.md`.

use super::array::Array;
use super::{Dataset, ImageShape, LabelColumn, LabelWish, npy};
use crate::error::Result;

/// What it is called on the command line.
pub(super) const NAME: &str = "digits";
/// How many there are.
pub(super) const ROWS: usize = 1797;

const FILE: &[u8] = include_bytes!("../../assets/digits.npy");
const SHAPE: ImageShape = ImageShape { height: 8, width: 8, channels: 1 };
const PIXELS: usize = 64;

/// The digits, as floats from 0 to 16, with their labels.
pub(super) fn load() -> Result<Dataset> {
    let Array { values, .. } = npy::read_from(NAME, FILE, FILE.len() as u64)?;
    let mut pixels = Vec::with_capacity(ROWS * PIXELS);
    let mut labels = Vec::with_capacity(ROWS);
    for row in values.chunks_exact(PIXELS + 1) {
        pixels.extend_from_slice(&row[..PIXELS]);
        labels.push(row[PIXELS]);
    }
    let columns = (0..PIXELS).map(|i| format!("pixel_{}_{}", i / 8, i % 8)).collect();
    let digit = LabelColumn::from_numbers("digit", &labels, Some(LabelWish::Class))?;
    Dataset::new(NAME.into(), pixels, columns, vec![digit], Some(SHAPE))
}
