//! Matrices that kernels multiply: in buffers, or in textures where the device reads those faster.

use std::sync::Arc;

use super::device::{Buffer, Device, Purpose};
use super::memory::Share;
use crate::{Error, Result};

/// A row-major matrix of `f32`, its width a multiple of four, that kernels read by groups of four. The kernels that
/// take one have a variant `TEXTURES` for the second form.
#[derive(Clone, Debug)]
pub enum Matrix {
    /// One row after the other.
    Buffer(Buffer),
    /// A texel holds four neighbours of a row: x = column / 4, y = row. Mesa's software rasterizer reads a texel
    /// five times as fast as the same four numbers of a buffer, and twenty times on processors without AVX-512.
    Texture(Texture),
}

/// A two-dimensional texture of four `f32` a texel.
#[derive(Clone, Debug)]
pub struct Texture {
    pub(crate) raw: wgpu::Texture,
    pub(crate) view: wgpu::TextureView,
    pub(super) share: Arc<Share>,
}

impl Matrix {
    /// Reserves a matrix of zeros, in a texture if `texture`.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn new(
        device: &Device,
        rows: usize,
        width: usize,
        texture: bool,
        purpose: Purpose<'_>,
    ) -> Result<Self> {
        if texture {
            device.texture(rows, width, purpose).map(Self::Texture)
        } else {
            device.buffer(4 * rows as u64 * width as u64, purpose).map(Self::Buffer)
        }
    }

    /// Overwrites the first rows with `values`, whole rows of `width` numbers, the matrix's own width.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`].
    pub fn write(&self, device: &Device, values: &[f32], width: usize) -> Result<()> {
        match self {
            Self::Buffer(buffer) => device.write(buffer, values),
            Self::Texture(texture) => device.write_texture(texture, 0, values, width),
        }
    }

    /// Reads the first `rows` rows of `width` numbers, the matrix's own width.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Device`] or [`Error::DeviceLost`].
    pub fn read(&self, device: &Device, rows: usize, width: usize) -> Result<Vec<f32>> {
        match self {
            Self::Buffer(buffer) => device.read(buffer, 0..4 * (rows * width) as u64),
            Self::Texture(texture) => device.read_texture(texture, rows, width),
        }
    }
}

/// Groups of four in a row of a texture that holds a list. Mirrored by shaders/shared/folded.wgsl.
const FOLDED: usize = 1024;

/// A list of `f32`, a multiple of four of them, that kernels go over by groups of four: in a buffer, or folded into the
/// rows of a texture, for the reason that [`Matrix`] has.
#[derive(Clone, Debug)]
pub struct List {
    /// The list itself, as kernels bind it.
    pub matrix: Matrix,
}

impl List {
    /// Reserves a list of zeros, in a texture if `texture`.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn new(device: &Device, len: usize, texture: bool, purpose: Purpose<'_>) -> Result<Self> {
        let matrix = if texture {
            let (rows, width) = Self::extent(len);
            device.texture(rows, width, purpose).map(Matrix::Texture)?
        } else {
            device.buffer(4 * len as u64, purpose).map(Matrix::Buffer)?
        };
        Ok(Self { matrix })
    }

    /// Reserves one of these values.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn upload(device: &Device, values: &[f32], texture: bool, purpose: Purpose<'_>) -> Result<Self> {
        let list = Self::new(device, values.len(), texture, purpose)?;
        match &list.matrix {
            Matrix::Buffer(buffer) => device.write(buffer, values)?,
            Matrix::Texture(texture) => {
                let (rows, width) = Self::extent(values.len());
                let mut filled = values.to_vec();
                filled.resize(rows * width, 0.0);
                device.write_texture(texture, 0, &filled, width)?;
            }
        }
        Ok(list)
    }

    /// Reads its first `len` numbers.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Device`] or [`Error::DeviceLost`].
    pub fn read(&self, device: &Device, len: usize) -> Result<Vec<f32>> {
        let (rows, width) = Self::extent(len);
        match &self.matrix {
            Matrix::Buffer(buffer) => device.read(buffer, 0..4 * len as u64),
            Matrix::Texture(texture) => {
                let mut values = device.read_texture(texture, rows, width)?;
                values.truncate(len);
                Ok(values)
            }
        }
    }

    /// The buffer, where it lies in one.
    #[must_use]
    pub fn buffer(&self) -> Option<&Buffer> {
        match &self.matrix {
            Matrix::Buffer(buffer) => Some(buffer),
            Matrix::Texture(_) => None,
        }
    }

    /// The numbers that a list of so many takes.
    #[must_use]
    pub fn numbers(len: usize, texture: bool) -> usize {
        let (rows, width) = Self::extent(len);
        if texture && len > 0 { rows * pitch(width) } else { len }
    }

    /// Rows of a texture, and how many numbers wide.
    pub(crate) fn extent(len: usize) -> (usize, usize) {
        let quads = len / 4;
        (quads.div_ceil(FOLDED), 4 * quads.min(FOLDED))
    }
}

/// Rows of so many columns, each followed by zeros up to `width`.
pub(crate) fn widened(values: &[f32], columns: usize, width: usize) -> Vec<f32> {
    let zeros = std::iter::repeat_n(0.0, width - columns);
    values.chunks_exact(columns).flat_map(|row| row.iter().copied().chain(zeros.clone())).collect()
}

/// Whether a matrix of this size fits a texture of a device with these limits.
pub(crate) fn fits_texture(limits: &wgpu::Limits, rows: usize, width: usize) -> bool {
    let largest = limits.max_texture_dimension_2d as usize;
    rows <= largest && width / 4 <= largest
}

/// The columns that a texture reserves for a matrix of `width` columns: rows whose beginnings lie a multiple of 256 bytes
/// apart share few sets of a processor's cache, and the rows of a tile drive each other out of them.
pub(crate) fn pitch(width: usize) -> usize {
    if width.is_multiple_of(64) { width + 16 } else { width }
}

/// The extent of a matrix as a texture.
pub(crate) fn extent(rows: usize, width: usize, purpose: Purpose<'_>) -> Result<wgpu::Extent3d> {
    match (u32::try_from(width / 4), u32::try_from(rows)) {
        (Ok(width), Ok(height)) => Ok(wgpu::Extent3d { width, height, depth_or_array_layers: 1 }),
        _ => Err(Error::config(
            format!("{} of {rows} × {width} numbers", purpose.what),
            format!("lower {}", purpose.flag),
        )),
    }
}
