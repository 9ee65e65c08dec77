//! Trajectories, coloured by how much they bend.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers become pixels here: counts are small, and conversions saturate where they matter"
)]

use super::trajectories;
use super::view::View;
use crate::measure::evaluate::curvature;
use crate::report::plot::{Canvas, Colormap, LineStyle, Panel, Scale, Theme};
use crate::sample::Sampler;
use crate::{Error, Result};

/// Steps of trajectories that are drawn one by one.
const MOST: usize = 5000;

/// The trajectories of some particles, and how much each bends.
#[derive(Clone, Debug)]
pub struct Bending {
    view: View,
    /// `[n, steps + 1, 2]` in data units.
    paths: Vec<f32>,
    /// Of the states.
    times: Vec<f64>,
    /// Length over the distance of the ends, in the network's coordinates. `[n]`
    curvatures: Vec<f64>,
    /// From the straightest to the most bent.
    order: Vec<usize>,
    /// What colour a length has, in percent beyond the distance.
    scale: Scale,
}

impl Bending {
    /// The trajectories of samples 0 … n − 1, with the sampler's solver and steps.
    ///
    /// # Errors
    /// As of [`Sampler::sample_trajectory`]; [`Error::Config`] for no particle, or more than a picture shows.
    pub fn new(sampler: &mut Sampler, view: View, n: usize) -> Result<Self> {
        if n == 0 || n > MOST {
            return Err(Error::config(
                format!("{n} trajectories in one picture"),
                format!("draw 1 to {MOST} with -n"),
            ));
        }
        let dim = sampler.model().architecture.dim;
        let times = sampler.times();
        let states = times.len();
        let mut all = trajectories(sampler, n)?;
        let curvatures: Vec<f64> = (all.chunks_exact(states * dim))
            .map(|path| {
                let path: Vec<f64> = path.iter().map(|x| f64::from(*x)).collect();
                curvature(&path, dim).unwrap_or(f64::INFINITY)
            })
            .collect();
        sampler.to_data_units(&mut all);
        let paths = (all.chunks_exact(dim).enumerate())
            .flat_map(|(i, state)| match view.columns[..] {
                [x, y] => [state[x], state[y]],
                [x] => [times[i % states] as f32, state[x]],
                _ => [0.0; 2],
            })
            .collect();
        Ok(Self::of(view, paths, times, curvatures))
    }

    fn of(view: View, paths: Vec<f32>, times: Vec<f64>, curvatures: Vec<f64>) -> Self {
        let mut order: Vec<usize> = (0..curvatures.len()).collect();
        order.sort_by(|&a, &b| curvatures[a].total_cmp(&curvatures[b]));
        let percent = |share: f64| {
            let at = ((order.len() - 1) as f64 * share).round() as usize;
            100.0 * (curvatures[order[at]] - 1.0)
        };
        let (middle, top) = (percent(0.5), percent(0.98).min(1e4));
        let scale = if middle > 0.0 && top > 6.0 * middle {
            Scale::log1p(top, middle)
        } else {
            Scale::linear(0.0, top.max(0.1))
        };
        Self { view, paths, times, curvatures, order, scale }
    }

    /// What is shown.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The mean of length over distance, as `windfield evaluate` has it, of those particles that did not come back to where
    /// they began.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let known: Vec<f64> = self.curvatures.iter().copied().filter(|c| c.is_finite()).collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    }

    /// The colours, their scale, and what they are called, for a colour bar.
    #[must_use]
    pub fn legend(&self, theme: &Theme) -> (Colormap, Scale, &'static str) {
        (theme.thin(theme.speed), self.scale, "longer than straight, %")
    }

    /// Where the particles are at a time: `[n, 2]`.
    #[must_use]
    pub fn places(&self, t: f64) -> Vec<f32> {
        self.paths
            .chunks_exact(2 * self.times.len())
            .filter_map(|path| until(path, &self.times, t).pop())
            .flat_map(|place| place.map(|x| x as f32))
            .collect()
    }

    /// Draws all trajectories up to a time into a panel, the most bent ones last, with the particles at their ends.
    pub fn paint(&self, canvas: &mut Canvas, theme: &Theme, panel: &Panel, t: f64) {
        let (map, ..) = self.legend(theme);
        let states = self.times.len();
        let crowd = (self.order.len().max(1) as f32).sqrt();
        let radius = (22.0 / crowd).clamp(0.7, 1.8);
        let alpha = (14.0 / crowd).clamp(0.35, 0.9);
        let width = (18.0 / crowd).clamp(0.5, 1.0);
        canvas.clipped(panel.rect, |layer| {
            for &i in &self.order {
                let path = &self.paths[2 * i * states..2 * (i + 1) * states];
                let colour = map.at(self.scale.unit(100.0 * (self.curvatures[i] - 1.0)));
                let line = until(path, &self.times, t);
                let mut places: Vec<(f32, f32)> = vec![];
                for [x, y] in line {
                    let at = panel.place(x, y);
                    // Steps much shorter than a pixel only cost time.
                    let near = places.last().is_some_and(|l| (l.0 - at.0).abs() + (l.1 - at.1).abs() < 0.08);
                    if near && places.len() > 1 {
                        places.pop();
                    }
                    places.push(at);
                }
                if let (Some(&first), Some(&last)) = (places.first(), places.last()) {
                    layer.disc(first.0, first.1, 0.6 * radius, theme.source, 0.8);
                    layer.polyline(&places, LineStyle::new(width, colour).alpha(alpha));
                    layer.disc(last.0, last.1, radius, colour, 1.0);
                }
            }
        });
    }
}

/// The states of a path `[steps + 1, 2]` up to a time, and where it is then, between two of them.
fn until(path: &[f32], times: &[f64], t: f64) -> Vec<[f64; 2]> {
    let mut line = vec![];
    for (state, point) in path.chunks_exact(2).enumerate() {
        let here = [f64::from(point[0]), f64::from(point[1])];
        if !here.iter().all(|x| x.is_finite()) {
            break;
        }
        if times[state] <= t {
            line.push(here);
            continue;
        }
        if let Some(&before) = line.last()
            && times[state - 1] < t
        {
            let share = (t - times[state - 1]) / (times[state] - times[state - 1]);
            line.push([0, 1].map(|k| before[k] + share * (here[k] - before[k])));
        }
        break;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_the_particle_is() {
        let (path, times) = ([0.0, 0.0, 1.0, 2.0, 3.0, 2.0], [0.0, 0.5, 1.0]);
        assert_eq!(until(&path, &times, 0.0), [[0.0, 0.0]]);
        assert_eq!(until(&path, &times, 0.25), [[0.0, 0.0], [0.5, 1.0]]);
        assert_eq!(until(&path, &times, 0.75), [[0.0, 0.0], [1.0, 2.0], [2.0, 2.0]]);
        assert_eq!(until(&path, &times, 1.0).len(), 3);
        assert_eq!(until(&[0.0, 0.0, f32::NAN, 0.0], &[0.0, 1.0], 1.0), [[0.0, 0.0]]);
    }
}
