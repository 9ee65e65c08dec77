//! The velocity field that a model has learned: streaks along its lines, or arrows, coloured by speed.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers become pixels here: counts are small, and conversions saturate where they matter"
)]

use super::streaks::Streaks;
use super::view::View;
use crate::Result;
use crate::gpu::Device;
use crate::model::Model;
use crate::report::plot::{
    Canvas, Colormap, Field, FieldPanel, FieldStyle, Panel, Rgb, Scale, Theme, arrow_colours, arrows,
    bilinear, lit, speed_scale, thinned,
};
use crate::sample::{Kernels, SampleOptions, Sampler};

/// Points of the grid of velocities, a side.
const GRID: usize = 128;
/// Times at which speeds are looked at before the first picture.
const LOOKS: u32 = 5;
/// A texel of the streaks, in points: they are to be seen at the size of the picture.
const TEXEL: f32 = 0.6;
/// Streaks beyond so many deviations are as light or dark as can be.
const DEVIATIONS: f32 = 2.0;
/// Particles that are drawn on the field, at most.
const PARTICLES: usize = 3000;

/// The velocity field of a model over a window.
#[derive(Debug)]
pub struct Velocity {
    device: Device,
    view: View,
    sampler: Sampler,
    style: FieldStyle,
    seed: u64,
    /// What colour a speed has, at all times.
    speeds: Scale,
    /// For panels of one size.
    streaks: Option<([usize; 2], Streaks)>,
    /// Of the first picture: streaks are that much stronger than those of white noise.
    deviation: Option<f32>,
}

impl Velocity {
    /// Looks at the field at the times that will be shown, so that a colour stands for one speed at all of them.
    ///
    /// # Errors
    /// As of [`Sampler::new`] and [`Sampler::velocity`].
    pub fn new(
        device: &Device,
        model: &Model,
        view: View,
        style: FieldStyle,
        times: &[f64],
        seed: u64,
    ) -> Result<Self> {
        let options = SampleOptions { kernels: Kernels::Layered, ..SampleOptions::default() };
        let mut sampler = Sampler::new(device, model, None, options)?;
        let mut seen = vec![];
        let looks = if view.has_time() { 1 } else { (LOOKS as usize).min(times.len()) };
        for at in thinned(times.len(), looks) {
            // The last one is among them.
            let t = times[times.len() - 1 - at];
            seen.push((t, view.velocities(&mut sampler, GRID, t)?));
        }
        let panels: Vec<FieldPanel<'_>> =
            seen.iter().map(|(t, velocity)| FieldPanel { t: *t, velocity, points: &[] }).collect();
        let speeds = speed_scale(&panels);
        Ok(Self {
            device: device.clone(),
            view,
            sampler,
            style,
            seed,
            speeds,
            streaks: None,
            deviation: None,
        })
    }

    /// The colours of the speeds, their scale, and what they are called, for a colour bar.
    #[must_use]
    pub fn legend(&self, theme: &Theme) -> (Colormap, Scale, &'static str) {
        let map = if self.style == FieldStyle::Arrows { arrow_colours(theme) } else { theme.speed };
        (map, self.speeds, "speed, data units a unit of time")
    }

    /// What is shown.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Paints the field at a time into a panel, with particles `[n, 2]` that are there then. The streaks travel down the
    /// flow with the phase, one wave a turn; without one they stand.
    ///
    /// # Errors
    /// As of [`Sampler::velocity`] and [`Streaks::draw`].
    pub fn paint(
        &mut self,
        canvas: &mut Canvas,
        theme: &Theme,
        panel: &Panel,
        t: f64,
        phase: Option<f32>,
        particles: &[f32],
    ) -> Result<()> {
        let velocity = self.view.velocities(&mut self.sampler, GRID, t)?;
        if self.style == FieldStyle::Arrows {
            let field = FieldPanel { t, velocity: &velocity, points: particles };
            arrows(canvas, theme, panel, &field, GRID, &self.view.limits, self.speeds);
            return Ok(());
        }
        self.texture(canvas, theme, panel, &velocity, phase)?;
        let radius = 0.8;
        canvas.clipped(panel.rect, |layer| {
            for i in thinned(particles.len() / 2, PARTICLES) {
                let (x, y) = (f64::from(particles[2 * i]), f64::from(particles[2 * i + 1]));
                if self.view.limits.contains(x, y) {
                    let (x, y) = panel.place(x, y);
                    layer.disc(x, y, radius + 0.35, Rgb(0x10, 0x10, 0x18), 0.55);
                    layer.disc(x, y, radius, Rgb::WHITE, 1.0);
                }
            }
        });
        Ok(())
    }

    fn texture(
        &mut self,
        canvas: &mut Canvas,
        theme: &Theme,
        panel: &Panel,
        velocity: &[f32],
        phase: Option<f32>,
    ) -> Result<()> {
        let (width, height) = canvas.pixels_of(panel.rect);
        let texels =
            |pixels: usize| ((pixels as f32 / (TEXEL * canvas.scale()).max(1.0)).round() as usize).max(2);
        let size = [texels(width), texels(height)];
        let streaks = match self.streaks.take() {
            Some((made, streaks)) if made == size => streaks,
            _ => Streaks::new(&self.device, size, [GRID, GRID], self.seed)?,
        };
        let limits = &self.view.limits;
        let span = [limits.x.hi() - limits.x.lo(), limits.y.hi() - limits.y.lo()];
        let light = streaks.draw(velocity, span, phase)?;
        self.streaks = Some((size, streaks));
        let deviation = *self.deviation.get_or_insert_with(|| {
            let squares: f64 = light.iter().map(|light| f64::from(*light).powi(2)).sum();
            ((squares / light.len() as f64).sqrt() as f32).max(1e-3)
        });
        let table = theme.speed.table::<1024>();
        let field = Field::new(velocity, GRID);
        let [columns, rows] = size;
        canvas.pixels(panel.rect, |column, row| {
            let (x, y) = ((column as f64 + 0.5) / width as f64, 1.0 - (row as f64 + 0.5) / height as f64);
            let speed = self.speeds.unit(field.at(x, y).length()).clamp(0.0, 1.0);
            let base = table[(speed * 1023.0) as usize];
            let light = bilinear(&light, columns, rows, x * columns as f64 - 0.5, y * rows as f64 - 0.5);
            Some(lit(base, (light / (DEVIATIONS * deviation)).clamp(-1.0, 1.0)))
        });
        Ok(())
    }
}
