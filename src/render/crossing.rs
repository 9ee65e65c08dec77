//! Where conditional paths cross: the variance of the conditional velocity at a place and a time, exactly, of a data set.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers become pixels here: counts are small, and conversions saturate where they matter"
)]

use super::view::View;
use crate::data::Dataset;
use crate::flow::{Marginal, Path};
use crate::gpu::Device;
use crate::model::Model;
use crate::report::plot::{Canvas, Colormap, Panel, Rgb, Scale, Theme, bilinear, thinned};
use crate::{Error, Result};

/// Points of the grid of variances, a side.
const GRID: usize = 96;
/// Points of the paths over which the energy is averaged, at each of so many times.
const DRAWS: usize = 1024;
/// Times of the energy: the midpoints of as many parts of it.
const TIMES: usize = 24;
/// Times that are looked at before the first picture.
const LOOKS: usize = 6;
/// Of the largest density of a picture: what is less likely is not shown in full.
const LIKELY: f64 = 0.02;

/// The conditional variance of the velocity of a data set over a window, in the network's coordinates, as the loss.
#[derive(Debug)]
pub struct Crossing {
    view: View,
    marginal: Marginal,
    path: Path,
    /// The data in the network's coordinates, `[n, d]`, as many as are needed to draw from.
    data: Vec<f32>,
    /// Points of the grid in the network's coordinates.
    points: Vec<f32>,
    seed: u64,
    /// What colour a variance has.
    scale: Scale,
}

/// V(x, t) on a grid of the window, and how likely its points are.
#[derive(Debug)]
struct Picture {
    /// `[GRID, GRID]`, the lower row first.
    variances: Vec<f32>,
    /// p_t next to its largest value, likewise.
    likely: Vec<f32>,
}

impl Crossing {
    /// Of data whose path is laid as a model's is: its own, to the data as they are standardised for it. Looks at the times
    /// that will be shown, so that a colour stands for one variance at all of them. `stop` is asked now and then whether
    /// to break off.
    ///
    /// # Errors
    /// [`Error::Config`] if the data do not have the model's columns, or more than the window; [`Error::Interrupted`]; as of
    /// [`Marginal::variance`].
    pub fn new(
        device: &Device,
        data: &Dataset,
        model: &Model,
        view: View,
        times: &[f64],
        stop: fn() -> bool,
    ) -> Result<Self> {
        let (standardization, path) = (model.standardization.as_ref(), &model.path);
        if data.dim() != model.architecture.dim {
            return Err(Error::config(
                format!(
                    "`{}` has {} columns and the model {}",
                    data.name(),
                    data.dim(),
                    model.architecture.dim
                ),
                "give the data that the model was trained on with --data",
            ));
        }
        let dim = data.dim();
        if view.columns.len() != dim {
            return Err(Error::config(
                format!("the crossing of paths in {dim} columns has no picture: it has two axes"),
                "give data of one or two columns",
            ));
        }
        let mut marginal = Marginal::new(device, data, standardization, path)?.in_network_units();
        marginal.stop_when(stop);
        let mut drawn = data.spread(DRAWS * 16).into_values();
        if let Some(units) = standardization {
            units.apply(&mut drawn);
        }
        let mut made = Self {
            marginal,
            path: path.clone(),
            data: drawn,
            points: view.grid(model, GRID),
            view,
            seed: model.seed,
            scale: Scale::linear(0.0, 1.0),
        };
        let mut seen = vec![];
        let looks = if made.view.has_time() { 1 } else { LOOKS.min(times.len()) };
        for at in thinned(times.len(), looks) {
            let picture = made.picture(times[at])?;
            seen.extend(
                picture
                    .variances
                    .iter()
                    .zip(&picture.likely)
                    .filter(|(_, l)| **l >= LIKELY as f32)
                    .map(|(v, _)| *v),
            );
        }
        seen.sort_by(f32::total_cmp);
        let at = |share: f64| seen.get((seen.len().saturating_sub(1) as f64 * share).round() as usize);
        let top = at(0.995).map_or(1.0, |top| f64::from(*top));
        made.scale = Scale::linear(0.0, if top > 1e-6 { top } else { 1.0 });
        Ok(made)
    }

    /// What is shown.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The colours, their scale, and what they are called, for a colour bar.
    #[must_use]
    pub fn legend(&self, theme: &Theme) -> (Colormap, Scale, &'static str) {
        let map = Colormap::new(colorous::MAGMA);
        let map = if theme.is_dark() { map.part(0.12, 1.0) } else { map.part(0.97, 0.1) };
        (map, self.scale, "V(x, t), variance of the velocity")
    }

    /// C(t) = E V(x_t, t), the crossing energy at a time, and its standard error: over points of the conditional paths.
    ///
    /// # Errors
    /// As of [`Marginal::variance`].
    pub fn energy_at(&self, t: f64) -> Result<(f64, f64)> {
        let dim = self.marginal.dim();
        let [a, b, ..] = self.path.schedule(t);
        let rows = self.data.len() / dim;
        let mut random = Normals::new(self.seed ^ t.to_bits());
        let points: Vec<f32> = (0..DRAWS)
            .flat_map(|i| {
                // Rows one after the other, from end to end of the data.
                let row = (i * rows / DRAWS) * dim;
                let at: Vec<f32> = (0..dim)
                    .map(|k| (a * f64::from(self.data[row + k]) + b * random.next()) as f32)
                    .collect();
                at
            })
            .collect();
        let found = self.marginal.variance(&points, t)?.variances;
        let n = found.len() as f64;
        let mean = found.iter().sum::<f64>() / n;
        let spread = found.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Ok((mean, (spread / n).sqrt()))
    }

    /// C = ∫ C(t) dt, the crossing energy: the loss that no model falls below, and its standard error.
    ///
    /// # Errors
    /// As of [`Marginal::variance`].
    pub fn energy(&self) -> Result<(f64, f64)> {
        let (mut mean, mut square) = (0.0, 0.0);
        for part in 0..TIMES {
            let (at, error) = self.energy_at((part as f64 + 0.5) / TIMES as f64)?;
            mean += at / TIMES as f64;
            square += (error / TIMES as f64).powi(2);
        }
        Ok((mean, square.sqrt()))
    }

    /// The times at which the path has a density.
    fn held(&self, t: f64) -> f64 {
        let most = self.path.t_max().min(1.0 - 1e-3);
        t.clamp(1e-3, most)
    }

    fn picture(&self, t: f64) -> Result<Picture> {
        let mut variances = vec![0.0f32; GRID * GRID];
        let mut logs = vec![0.0; GRID * GRID];
        if self.view.has_time() {
            for column in 0..GRID {
                let here: Vec<f32> = self.points.chunks_exact(GRID).map(|row| row[column]).collect();
                let time = self.held(column as f64 / (GRID - 1) as f64);
                let spread = self.marginal.variance(&here, time)?;
                for row in 0..GRID {
                    let v = spread.variances[row] as f32;
                    (variances[row * GRID + column], logs[row * GRID + column]) =
                        (v, spread.log_densities[row]);
                }
            }
        } else {
            let spread = self.marginal.variance(&self.points, self.held(t))?;
            let narrow = spread.variances.iter().map(|v| *v as f32);
            variances = narrow.collect();
            logs = spread.log_densities;
        }
        let mut likely = vec![0.0f32; logs.len()];
        // Of all places at one time: of the whole picture, or of each column of it.
        let columns = if self.view.has_time() { GRID } else { 1 };
        for column in 0..columns {
            let here = || (column..logs.len()).step_by(columns);
            let top = here().map(|i| logs[i]).fold(f64::MIN, f64::max);
            for i in here() {
                let share = (logs[i] - top).exp() as f32;
                likely[i] = share;
            }
        }
        Ok(Picture { variances, likely })
    }

    /// Paints V at a time into a panel; places to which hardly any path comes fade into the paper.
    ///
    /// # Errors
    /// As of [`Marginal::variance`].
    pub fn paint(&self, canvas: &mut Canvas, theme: &Theme, panel: &Panel, t: f64) -> Result<()> {
        let picture = self.picture(t)?;
        let (map, scale, _) = self.legend(theme);
        let table = map.table::<1024>();
        let (width, height) = canvas.pixels_of(panel.rect);
        let last = (GRID - 1) as f64;
        canvas.pixels(panel.rect, |column, row| {
            let x = (column as f64 + 0.5) / width as f64 * last;
            let y = (1.0 - (row as f64 + 0.5) / height as f64) * last;
            let value = |table: &[f32]| bilinear(table, GRID, GRID, x, y);
            let colour =
                table[(scale.unit(value(&picture.variances).into()).clamp(0.0, 1.0) * 1023.0) as usize];
            // The root keeps tails visible.
            let shown = (f64::from(value(&picture.likely)) / LIKELY).sqrt().min(1.0);
            Some(shade(theme.background, colour, shown))
        });
        Ok(())
    }
}

fn shade(background: Rgb, colour: Rgb, shown: f64) -> Rgb {
    background.mix(colour, shown as f32)
}

/// Normal numbers of a counter: SplitMix64 and Box and Muller's method, the same on every platform.
#[derive(Debug)]
struct Normals {
    state: u64,
    spare: Option<f64>,
}

impl Normals {
    fn new(seed: u64) -> Self {
        Self { state: seed, spare: None }
    }

    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        let angle = std::f64::consts::TAU * self.uniform();
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }
}
