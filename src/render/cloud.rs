//! Particles on their way, counted pixel by pixel on the device (shaders/splat.wgsl): in a plane, or in space.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers become pixels here: counts are small, and conversions saturate where they matter"
)]

use bytemuck::{Pod, Zeroable};
use glam::Mat4;
use glam::camera::rh::proj::opengl::orthographic;

use super::space::Space;
use super::view::View;
use crate::gpu::{Binding, Buffer, Device, Purpose, Variant};
use crate::report::plot::{Canvas, Colormap, Histogram2d, Limits, Panel, Scale, Theme};
use crate::sample::Sampler;
use crate::{Error, Result};

const LANES: u32 = 64;
/// Pixels a side of what is counted.
const MOST_SIDE: usize = 1024;
/// What a depth is counted in.
const DEPTHS: f32 = 255.0;
/// Particles of which the sum of depths fits 32 bits.
const MOST: usize = 1 << 24;
const NONE: u32 = u32::MAX;
/// Of all pictures that are counted side by side.
const MOST_BYTES: u64 = 2 << 30;
/// The width of a particle, in pixels that are counted.
const DOT: f32 = 0.7;
/// Particles under the bandwidth of a density.
const UNDER: f64 = 36.0;
/// The share of the pixels with particles whose colour is not the strongest.
const TOP: f64 = 0.995;
/// Particles of a pixel up to which their colour follows their number; beyond, its logarithm.
const LONELY: f64 = 1.0;
/// Particles of a pixel through which one sees what is behind.
const FAINT: f32 = 0.03;
/// How much of a colour the farthest particles lose.
const FOG: f32 = 0.65;

/// `Splat` of shaders/splat.wgsl.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Splat {
    /// From data units to clip space, column by column.
    pub matrix: [f32; 16],
    /// The columns for x, y, z, or `u32::MAX`.
    pub shown: [u32; 4],
    /// Of the picture, in pixels.
    pub columns: u32,
    /// Of the picture, in pixels.
    pub rows: u32,
    /// Of a particle.
    pub dim: u32,
    /// Of a trajectory.
    pub states: u32,
    /// Of particles.
    pub count: u32,
    /// Before the time that is shown.
    pub state: u32,
    /// From this state to the next.
    pub part: f32,
    /// The depth of the nearest particles.
    pub near: f32,
    /// From there to the farthest.
    pub range: f32,
    /// Zero.
    pub padding: [u32; 3],
}

/// The variant of `splat`.
#[must_use]
pub(crate) fn splat_variant() -> Variant {
    Variant::new("splat").with("LANES", LANES)
}

/// From where particles are looked at.
#[derive(Clone, Debug)]
pub enum Look {
    /// From above a plane.
    Plane(View),
    /// From a camera in orbit.
    Space(Space),
}

impl Look {
    /// What a square or a window of the picture is.
    #[must_use]
    pub fn limits(&self) -> Limits {
        match self {
            Self::Plane(view) => view.limits,
            Self::Space(_) => Limits::new((-1.0, 1.0), (-1.0, 1.0)),
        }
    }

    /// The particle's columns, where the picture has x, y and z.
    fn shown(&self) -> [u32; 4] {
        let columns: &[usize] = match self {
            Self::Plane(view) => &view.columns,
            Self::Space(space) => &space.columns,
        };
        let mut shown = [NONE; 4];
        for (axis, column) in shown.iter_mut().zip(columns) {
            *axis = u32::try_from(*column).unwrap_or(NONE);
        }
        shown
    }

    /// The camera at an angle in turns, and the depths of what is near and what is far.
    fn camera(&self, turn: f64) -> (Mat4, [f32; 2]) {
        match self {
            Self::Plane(view) => {
                let (x, y) = (view.limits.x, view.limits.y);
                let [left, right, low, high] = [x.lo(), x.hi(), y.lo(), y.hi()].map(|v| v as f32);
                (orthographic(left, right, low, high, -1.0, 1.0), [0.0, 2.0])
            }
            Self::Space(space) => (space.camera(turn), space.depths()),
        }
    }
}

/// All pictures of some particles, before they get their colours.
#[derive(Debug)]
pub struct Cloud {
    device: Device,
    look: Look,
    /// Of the whole, of each picture.
    turns: Vec<f64>,
    /// Columns and rows in pixels.
    size: [usize; 2],
    /// One a picture. [rows, columns, 2]
    pixels: Vec<Buffer>,
    n: usize,
    /// Whether a density is shown, not the particles.
    smooth: bool,
    /// What colour a number of particles in a pixel has, in all pictures.
    scale: Scale,
}

impl Cloud {
    /// The particles 0 … n − 1 of a sampler at each of the `times`, counted in `size` pixels, with the camera turned by so
    /// many `turns`. They come and go in chunks: what stays in memory are the pictures.
    ///
    /// # Errors
    /// As of [`Sampler::sample_trajectory`]; [`Error::Config`] for no particle or more than 2^24, or for pictures of more
    /// than 2 GiB; [`Error::Limit`] or [`Error::OutOfMemory`] for pictures that do not fit the device.
    #[allow(
        clippy::too_many_arguments,
        reason = "what is shown, of what, when, how large, and who asks to stop"
    )]
    pub fn new(
        sampler: &mut Sampler,
        device: &Device,
        look: Look,
        n: usize,
        (times, turns): (&[f64], &[f64]),
        size: [usize; 2],
        smooth: bool,
        mut shown: impl FnMut(usize) -> Result<()>,
    ) -> Result<Self> {
        if n == 0 || n > MOST {
            return Err(Error::config(
                format!("{n} particles in one picture"),
                format!("draw 1 to {MOST} with -n"),
            ));
        }
        let size = size.map(|side| side.clamp(1, MOST_SIDE));
        let bytes = 8 * (size[0] * size[1]) as u64;
        if bytes.saturating_mul(times.len() as u64) > MOST_BYTES {
            return Err(Error::config(
                format!(
                    "{} pictures of {} × {} pixels, to be counted at once",
                    times.len(),
                    size[0],
                    size[1]
                ),
                "choose a smaller --size, or fewer --fps or --seconds",
            ));
        }
        let purpose =
            Purpose { what: "the pictures of the particles", flag: "--size, or --fps or --seconds" };
        let pixels: Vec<Buffer> =
            times.iter().map(|_| device.buffer(bytes, purpose)).collect::<Result<_>>()?;
        let dim = sampler.model().architecture.dim;
        let states = sampler.times();
        let each = sampler.trajectory_chunk();
        let mut first = 0;
        while first < n {
            shown(first)?;
            let rows = each.min(n - first);
            let mut chunk = sampler.sample_trajectory(first as u64, rows)?;
            sampler.to_data_units(&mut chunk);
            let trajectories = device.upload(&chunk, Purpose { what: "trajectories", flag: "-n" })?;
            for ((&t, &turn), pixels) in times.iter().zip(turns).zip(&pixels) {
                let (state, part) = between(&states, t);
                let (matrix, [near, far]) = look.camera(turn);
                let constants = Splat {
                    matrix: matrix.to_cols_array(),
                    shown: look.shown(),
                    columns: size[0] as u32,
                    rows: size[1] as u32,
                    dim: dim as u32,
                    states: states.len() as u32,
                    count: rows as u32,
                    state: state as u32,
                    part: part as f32,
                    near,
                    range: far - near,
                    padding: [0; 3],
                };
                let uniform = device.uniform(&constants)?;
                let bindings = [
                    Binding::whole(0, &uniform),
                    Binding::whole(1, &trajectories),
                    Binding::whole(2, pixels),
                ];
                let dispatch =
                    device.dispatch(&splat_variant(), &bindings, device.groups(rows as u64, LANES))?;
                device.submit([&dispatch], &[])?;
            }
            device.wait(None)?;
            first += rows;
        }
        let mut cloud = Self {
            device: device.clone(),
            look,
            turns: turns.to_vec(),
            size,
            pixels,
            n,
            smooth,
            scale: Scale::linear(0.0, 1.0),
        };
        // The last picture says what a strong colour is: there the data are.
        let last = cloud.counts(times.len() - 1)?;
        // What is smoothed widely is less than a particle everywhere.
        let least = last.0.counts.iter().fold(0f32, |a, &b| a.max(b)).min(1.0) * 1e-3;
        let mut some: Vec<f32> = last.0.counts.iter().copied().filter(|&count| count > least).collect();
        some.sort_by(f32::total_cmp);
        let top = some.get((some.len() as f64 * TOP) as usize).map_or(1.0, |&top| f64::from(top));
        // Particles alone are to be seen however many lie together elsewhere.
        let knee = if smooth { top / 12.0 } else { (top / 12.0).min(LONELY) };
        cloud.scale = Scale::log1p(top, knee);
        Ok(cloud)
    }

    /// What is shown, and from where.
    #[must_use]
    pub fn look(&self) -> &Look {
        &self.look
    }

    /// The particles in the pixels of a picture, spread a little, and their mean depths, 0 to 1.
    fn counts(&self, picture: usize) -> Result<(Histogram2d, Vec<f32>)> {
        let [columns, rows] = self.size;
        let pixels: Vec<u32> = self.device.read(&self.pixels[picture], 0..8 * (columns * rows) as u64)?;
        let counts: Vec<f32> = pixels.chunks_exact(2).map(|pixel| pixel[0] as f32).collect();
        let inside = pixels.chunks_exact(2).map(|pixel| u64::from(pixel[0])).sum();
        let mut counted = Histogram2d { columns, rows, counts, inside, finite: self.n as u64 };
        let mut depths = vec![];
        if let Look::Space(_) = self.look {
            let sums = pixels.chunks_exact(2).map(|pixel| pixel[1] as f32 / DEPTHS).collect();
            let mut far = Histogram2d { columns, rows, counts: sums, inside, finite: self.n as u64 };
            far.smooth(DOT);
            depths = far.counts;
        }
        if self.smooth {
            counted.smooth_adaptively(counted.bandwidth(UNDER));
        } else {
            counted.smooth(DOT);
            for (depth, &count) in depths.iter_mut().zip(&counted.counts) {
                *depth = if count > 1e-6 { (*depth / count).clamp(0.0, 1.0) } else { 0.0 };
            }
        }
        Ok((counted, depths))
    }

    /// The colours, their scale, and what they are called, for a colour bar; of a density in a plane alone.
    #[must_use]
    pub fn legend(&self, theme: &Theme) -> Option<(Colormap, Scale, &'static str)> {
        let Look::Plane(view) = &self.look else { return None };
        let [columns, rows] = self.size;
        let empty = Histogram2d { columns, rows, counts: vec![], inside: 0, finite: self.n as u64 };
        let top = self.scale.hi() * empty.to_density(&view.limits);
        self.smooth.then(|| (theme.density, Scale::log1p(top, top / 12.0), "probability density"))
    }

    /// Paints a picture into a panel.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn paint(&self, canvas: &mut Canvas, theme: &Theme, panel: &Panel, picture: usize) -> Result<()> {
        let (counts, depths) = self.counts(picture)?;
        if let Look::Space(space) = &self.look {
            space.frame(canvas, theme, panel, self.turns[picture]);
        }
        let table = theme.density.table::<1024>();
        let (width, height) = canvas.pixels_of(panel.rect);
        let [columns, _] = self.size;
        canvas.pixels(panel.rect, |column, row| {
            let (x, y) = ((column as f64 + 0.5) / width as f64, 1.0 - (row as f64 + 0.5) / height as f64);
            let count = counts.at(x, y);
            if count < FAINT && !self.smooth {
                return None;
            }
            let tone = self.scale.unit(f64::from(count)).clamp(0.0, 1.0);
            let colour = table[(tone * 1023.0) as usize];
            if depths.is_empty() {
                return Some(colour);
            }
            let at = ((y * self.size[1] as f64) as usize).min(self.size[1] - 1) * columns
                + ((x * columns as f64) as usize).min(columns - 1);
            Some(colour.mix(theme.background, FOG * depths[at]))
        });
        Ok(())
    }
}

/// The state before a time, and how far it is from there to the next.
pub(super) fn between(times: &[f64], t: f64) -> (usize, f64) {
    let last = times.len().saturating_sub(1);
    let state = times.iter().rposition(|&time| time <= t).unwrap_or(0).min(last.saturating_sub(1));
    let (from, to) = (times[state], times[(state + 1).min(last)]);
    (state, if to > from { ((t - from) / (to - from)).clamp(0.0, 1.0) } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_between_two_states() {
        let times = [0.0, 0.25, 1.0];
        assert_eq!(between(&times, 0.0), (0, 0.0));
        assert_eq!(between(&times, 0.125), (0, 0.5));
        assert_eq!(between(&times, 0.25), (1, 0.0));
        assert_eq!(between(&times, 1.0), (1, 1.0));
        assert_eq!(between(&[0.0], 0.5), (0, 0.0));
    }
}
