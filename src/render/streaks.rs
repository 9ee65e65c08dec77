//! Streaks along the lines of a field of two dimensions: line integral convolution on the device (shaders/lic.wgsl).

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Binding, Buffer, Device, Purpose, Variant};
use crate::sample::{Noise, noise_variant};
use crate::{Error, Result};

const LANES: u32 = 64;
/// Steps each way.
const REACH: u32 = 24;
/// The length of a step in texels.
const STEP: f32 = 1.0;
/// Waves of a filter that travels, over its whole length.
const WAVES: f32 = 2.0;
/// Floating-point operations of a step, roughly.
const STEP_FLOPS: u64 = 100;
/// Normal numbers of one row of the kernel that makes the noise.
const NOISE_COLUMNS: usize = 4;

/// `Lic` of shaders/lic.wgsl.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Lic {
    /// Width and height of the picture in texels.
    pub size: [f32; 2],
    /// Texels a unit of x and of y, in which velocities are given.
    pub scale: [f32; 2],
    /// Of the picture.
    pub width: u32,
    /// Of the picture.
    pub height: u32,
    /// Of the grid of velocities.
    pub columns: u32,
    /// Of the grid of velocities.
    pub rows: u32,
    /// Of the picture, of one dispatch.
    pub first_row: u32,
    /// One beyond.
    pub last_row: u32,
    /// Steps each way.
    pub reach: u32,
    /// The length of a step in texels.
    pub step: f32,
}

/// The weights of the convolution, `[2·reach + 1]`: a Hann window, whose ends do not stand out. With a phase in turns,
/// waves under it travel one wave down the flow a turn.
#[must_use]
pub fn window(reach: u32, phase: Option<f32>) -> Vec<f32> {
    let length = (reach + 1) as f32;
    (0..=2 * reach)
        .map(|k| {
            let place = (k as f32 - reach as f32) / length;
            let hann = 0.5 + 0.5 * (std::f32::consts::PI * place).cos();
            // A place is lit by what is upstream of it: what the wave's crest reads moves against it.
            let wave = |phase: f32| 0.5 + 0.5 * (std::f32::consts::TAU * (0.5 * WAVES * place + phase)).cos();
            hann * phase.map_or(1.0, wave)
        })
        .collect()
}

/// The variant of `lic`.
#[must_use]
pub(crate) fn lic_variant() -> Variant {
    Variant::new("lic").with("LANES", LANES)
}

/// Draws streaks of one size over one noise.
#[derive(Debug)]
pub struct Streaks {
    device: Device,
    /// Columns and rows of the picture.
    size: [usize; 2],
    /// Columns and rows of the grid.
    grid: [usize; 2],
    noise: Buffer,
    velocities: Buffer,
    weights: Buffer,
    out: Buffer,
}

impl Streaks {
    /// For pictures of `size` texels (columns, rows), from velocities on a grid of `grid` (columns, rows) points, at least
    /// two of each, which spans them from edge to edge. The noise is that of the seed: normal numbers, one a texel.
    ///
    /// # Errors
    /// [`Error::Config`] for a size without a texel or a grid without an interval; [`Error::Limit`],
    /// [`Error::OutOfMemory`] or [`Error::Device`].
    pub fn new(device: &Device, size: [usize; 2], grid: [usize; 2], seed: u64) -> Result<Self> {
        if size.contains(&0) || grid.iter().any(|&points| points < 2) {
            return Err(Error::config(
                format!(
                    "streaks of {} × {} texels over {} × {} velocities",
                    size[0], size[1], grid[0], grid[1]
                ),
                "take a texel and two velocities a side at least",
            ));
        }
        let purpose = Purpose { what: "the streaks of a field", flag: "--size" };
        let bytes =
            |per: u64, count: [usize; 2]| per.saturating_mul(count[0] as u64).saturating_mul(count[1] as u64);
        let buffer = |bytes| device.buffer(bytes, purpose);
        let texels = bytes(4, size);
        device.fits(texels.saturating_add(16), purpose)?;
        let noise = buffer(texels.next_multiple_of(4 * NOISE_COLUMNS as u64))?;
        #[allow(clippy::cast_possible_truncation, reason = "the two words of the seed")]
        let seed = [seed as u32, (seed >> 32) as u32];
        let rows = (size[0] * size[1]).div_ceil(NOISE_COLUMNS);
        let constants = Noise { seed, rows: word(rows), deviation: 1.0, ..Noise::zeroed() };
        let uniform = device.uniform(&constants)?;
        let bindings = [Binding::whole(0, &uniform), Binding::whole(1, &noise)];
        let variant = noise_variant(NOISE_COLUMNS, 0, false);
        let draw = device.dispatch(&variant, &bindings, device.groups(rows as u64, LANES))?;
        device.submit([&draw], &[])?;
        Ok(Self {
            device: device.clone(),
            size,
            grid,
            noise,
            velocities: buffer(bytes(8, grid))?,
            weights: buffer(4 * u64::from(2 * REACH + 1))?,
            out: buffer(texels)?,
        })
    }

    /// The streaks `[rows, columns]` of velocities `[rows of the grid, its columns, 2]`, the lower row of both first, on a
    /// window of `span` units of x and y. They are of mean 0 and of a deviation of about 1, 0 where nothing moves. With a phase
    /// in turns, from picture to picture, they travel down the flow.
    ///
    /// # Errors
    /// [`Error::Config`] if there are not as many velocities as the grid has points; [`Error::Device`].
    pub fn draw(&self, velocities: &[f32], span: [f64; 2], phase: Option<f32>) -> Result<Vec<f32>> {
        let [columns, rows] = self.grid;
        if velocities.len() != 2 * columns * rows {
            return Err(Error::config(
                format!("{} numbers are no velocities on {columns} × {rows} points", velocities.len()),
                "give two for each point of the grid",
            ));
        }
        // Where a velocity is not finite, nothing moves.
        let held: Vec<f32> = velocities.iter().map(|v| if v.is_finite() { *v } else { 0.0 }).collect();
        self.device.write(&self.velocities, &held)?;
        self.device.write(&self.weights, &window(REACH, phase))?;
        let [width, height] = self.size;
        #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
        let scale = [(width as f64 / span[0]) as f32, (height as f64 / span[1]) as f32];
        let whole = Lic {
            size: [width as f32, height as f32],
            scale,
            width: word(width),
            height: word(height),
            columns: word(columns),
            rows: word(rows),
            first_row: 0,
            last_row: 0,
            reach: REACH,
            step: STEP,
        };
        let row_flops = 2 * u64::from(REACH) * STEP_FLOPS * width as u64;
        let most = (self.device.habits().dispatch_flops / row_flops).max(1);
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(height);
        let mut first = 0;
        while first < height {
            let last = (first + most).min(height);
            let uniform =
                self.device.uniform(&Lic { first_row: word(first), last_row: word(last), ..whole })?;
            let bindings = [
                Binding::whole(0, &uniform),
                Binding::whole(1, &self.velocities),
                Binding::whole(2, &self.noise),
                Binding::whole(3, &self.weights),
                Binding::whole(4, &self.out),
            ];
            let groups = self.device.groups(((last - first) * width) as u64, LANES);
            let submission =
                self.device.submit([&self.device.dispatch(&lic_variant(), &bindings, groups)?], &[])?;
            self.device.wait(Some(&submission))?;
            first = last;
        }
        self.device.read(&self.out, 0..4 * (width * height) as u64)
    }
}

/// Sizes on the device are `u32`. Whatever does not fit was refused by a limit before it comes here.
fn word(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
