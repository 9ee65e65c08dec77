//! Samples beside data, for points of one and of two dimensions.

use image::RgbImage;

use super::axis::Scale;
use super::canvas::{Canvas, LineStyle, Rect};
use super::colour::Rgb;
use super::density::{Histogram2d, Limits, finite_points, inner_range, quantile, robust_range, thinned};
use super::panel::{Axes, Cells, Entry, Frame, Mark, Panel, colour_bar, legend_row, y_label_width};
use super::theme::Theme;
use super::{counted, short, whole_points};
use crate::error::Result;

/// Samples and the data that they should look like.
#[derive(Clone, Copy, Debug)]
pub struct SamplesPlot<'a> {
    /// The data, [n, 1] or [n, 2].
    pub data: &'a [f32],
    /// The samples, likewise; the number may differ.
    pub samples: &'a [f32],
    /// The titles of the two.
    pub names: [&'a str; 2],
    /// The window to show; `None` finds one.
    pub limits: Option<Limits>,
}

impl<'a> SamplesPlot<'a> {
    /// "Data" beside "Samples".
    #[must_use]
    pub fn new(data: &'a [f32], samples: &'a [f32]) -> Self {
        Self { data, samples, names: ["Data", "Samples"], limits: None }
    }
}

/// Up to this many points are drawn one by one, coloured by the density around them.
const SCATTER_UP_TO: usize = 20_000;
const PANEL_WIDTH: f32 = 208.0;

/// Draws two panels side by side with the same window and the same colours for the same density.
///
/// # Errors
/// When an array is not [n, 2].
pub fn samples_2d(plot: &SamplesPlot<'_>, theme: &Theme) -> Result<RgbImage> {
    let sets = [plot.data, plot.samples];
    for (points, name) in sets.into_iter().zip(plot.names) {
        whole_points(points, 2, name)?;
    }
    let limits = plot.limits.unwrap_or_else(|| Limits::around(plot.data, plot.samples));
    let height = PANEL_WIDTH * limits.aspect();
    let probe = Canvas::new(1.0, 1.0, theme)?;
    let left = theme.margin + y_label_width(&probe, theme, limits.y, height);
    let top = theme.margin + theme.title_size * 1.7;
    let cells = Cells { origin: (left, top), size: (PANEL_WIDTH, height), gap: (14.0, 0.0) };
    let bar_x = left + cells.extent(2, 1).0 + 10.0;
    let note_room =
        if limits.x.ticks(4, super::Format::Plain).note.is_some() { theme.tick_size * 1.4 } else { 0.0 };
    let bottom = theme.tick_length + theme.tick_size + 4.0 + note_room + theme.margin;
    let mut canvas = Canvas::new(bar_x + 50.0 + theme.margin * 0.6, top + height + bottom, theme)?;

    let clouds = sets.map(|points| Cloud::new(points, &limits));
    let top_density = clouds.iter().map(|c| c.top).fold(0.0, f64::max);
    let top_density = if top_density > 0.0 { top_density } else { 1.0 };
    let scale = Scale::log1p(top_density, top_density / 12.0);
    for (i, cloud) in clouds.iter().enumerate() {
        let panel = Panel::new(&canvas, cells.at(i, 0), limits.x, limits.y);
        cloud.draw(&mut canvas, theme, &panel, &limits, scale);
        let axes = Axes {
            x_ticks: true,
            y_ticks: i == 0,
            title: plot.names[i].into(),
            subtitle: cloud.caption(),
            frame: Frame::Box,
            ..Axes::default()
        };
        panel.axes(&mut canvas, theme, &axes);
    }
    let bar = Rect::new(bar_x, top, 7.0, height);
    colour_bar(&mut canvas, theme, bar, &theme.density, scale, "probability density");
    Ok(canvas.finish())
}

/// A point cloud and its density in the window.
pub(super) struct Cloud<'a> {
    points: &'a [f32],
    density: Histogram2d,
    /// From counts to probability density.
    factor: f64,
    /// The density that the strongest colour stands for.
    top: f64,
    scatter: bool,
}

impl<'a> Cloud<'a> {
    pub(super) fn new(points: &'a [f32], limits: &Limits) -> Self {
        let scatter = points.len() / 2 <= SCATTER_UP_TO;
        let columns = if scatter { 128 } else { 312 };
        let rows = (columns as f32 * limits.aspect()).round().max(1.0) as usize;
        let mut density = Histogram2d::new(points, limits, columns, rows);
        density.smooth_adaptively(density.bandwidth(if scatter { 24.0 } else { 36.0 }));
        let factor = density.to_density(limits);
        // What a point sees around it: empty bins do not count, single bins do not decide.
        let mut seen: Vec<f32> = if scatter {
            let inside = finite_points(points).filter(|p| limits.contains(p.0, p.1));
            inside.map(|(x, y)| density.at(limits.x.unit(x), limits.y.unit(y))).collect()
        } else {
            density.counts.iter().copied().filter(|c| *c > 1e-3).collect()
        };
        let top = 1.08 * f64::from(quantile(&mut seen, 0.995)) * factor;
        Self { points, density, factor, top, scatter }
    }

    /// The density that deserves the strongest colour; 0 if there are no points.
    pub(super) fn top(&self) -> f64 {
        self.top
    }

    /// Draws the cloud into `panel`: as points if they are few, as an image of its density if many.
    pub(super) fn draw(
        &self,
        canvas: &mut Canvas,
        theme: &Theme,
        panel: &Panel,
        limits: &Limits,
        scale: Scale,
    ) {
        let table = theme.density.table::<1024>();
        let colour = |count: f32| {
            let value = scale.unit(f64::from(count) * self.factor).clamp(0.0, 1.0);
            table[(value * 1023.0) as usize]
        };
        if self.scatter {
            self.draw_points(canvas, panel, limits, |count| {
                // Kept off the palest end: a single point must be seen on white.
                let value = scale.unit(f64::from(count) * self.factor).clamp(0.0, 1.0);
                table[(value.max(0.22) * 1023.0) as usize]
            });
            return;
        }
        let (w, h) = canvas.pixels_of(panel.rect);
        canvas.pixels(panel.rect, |column, row| {
            let (u, v) = ((column as f64 + 0.5) / w as f64, 1.0 - (row as f64 + 0.5) / h as f64);
            let count = self.density.at(u, v);
            (count > 1e-4).then(|| colour(count))
        });
    }

    fn draw_points(&self, canvas: &mut Canvas, panel: &Panel, limits: &Limits, colour: impl Fn(f32) -> Rgb) {
        let mut points: Vec<(f32, f64, f64)> = finite_points(self.points)
            .filter(|p| limits.contains(p.0, p.1))
            .map(|(x, y)| (self.density.at(limits.x.unit(x), limits.y.unit(y)), x, y))
            .collect();
        // The densest last, so that they are not hidden by the rim of the sparse.
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (radius, alpha) = dot_of(points.len());
        canvas.clipped(panel.rect, |layer| {
            for (count, x, y) in points {
                let (x, y) = panel.place(x, y);
                layer.disc(x, y, radius, colour(count), alpha);
            }
        });
    }

    /// "100 000 points, 3 not finite, 2.1 % outside".
    pub(super) fn caption(&self) -> String {
        let n = self.points.len() / 2;
        let mut text = if n == 0 { "no points".to_owned() } else { counted(n, "point", "points") };
        let lost = n - (self.density.finite as usize).min(n);
        if lost > 0 {
            text = format!("{text}, {} not finite", super::thousands(lost as i64));
        }
        let outside = (self.density.finite - self.density.inside) as f64 / self.density.finite.max(1) as f64;
        if outside > 0.002 {
            text = format!("{text}, {} % outside", short(outside * 100.0, 2));
        }
        text
    }
}

/// Radius in points and opacity of one of `n` dots.
pub(super) fn dot_of(n: usize) -> (f32, f32) {
    let n = n.max(1) as f32;
    ((45.0 / n.sqrt()).clamp(0.6, 1.6), (60.0 / n.sqrt()).clamp(0.7, 0.95))
}

/// Draws the histograms of data and samples of one dimension, one over the other.
///
/// # Errors
/// When the picture cannot be made; not for any content of the arrays.
pub fn samples_1d(plot: &SamplesPlot<'_>, theme: &Theme) -> Result<RgbImage> {
    let (width, height) = (380.0, 220.0);
    let mut canvas = Canvas::new(width, height, theme)?;
    let x = plot.limits.map_or_else(|| range_of(plot.data, plot.samples).padded(0.03), |limits| limits.x);
    let bins = bins_for([plot.data.len(), plot.samples.len()], 90);
    let histograms = [plot.data, plot.samples].map(|values| Histogram::new(values.iter().copied(), x, bins));
    let top = histograms.iter().map(Histogram::top).fold(0.0, f64::max);
    let y = Scale::linear(0.0, if top > 0.0 { top * 1.06 } else { 1.0 });
    let head = theme.margin + theme.title_size * 1.7;
    let note_room = if x.ticks(6, super::Format::Plain).note.is_some() { theme.tick_size * 1.4 } else { 0.0 };
    let foot = theme.margin + theme.tick_size + theme.tick_length + 5.0 + note_room;
    let left = theme.margin + theme.label_size + 6.0 + y_label_width(&canvas, theme, y, height - head - foot);
    let rect = Rect::new(left, head, width - left - theme.margin - 6.0, height - head - foot);
    let panel = Panel::new(&canvas, rect, x, y);
    let axes = Axes { x_ticks: true, y_ticks: true, y_name: "probability density".into(), ..Axes::default() };
    panel.grid(&mut canvas, theme, &axes);
    canvas.clipped(panel.rect, |layer| {
        histograms[0].fill(layer, &panel, theme.data, 0.35);
        histograms[1].outline(layer, &panel, theme.samples, theme.line);
    });
    panel.axes(&mut canvas, theme, &axes);
    let captions = [plot.data, plot.samples].map(|values| {
        let lost = values.iter().filter(|v| !v.is_finite()).count();
        let count = counted(values.len(), "value", "values");
        if lost > 0 { format!("{count}, {} not finite", super::thousands(lost as i64)) } else { count }
    });
    let entries = [
        Entry::new(Mark::Patch(0.35), theme.data, format!("{}, {}", plot.names[0], captions[0])),
        Entry::new(Mark::Line(theme.line, 1.0), theme.samples, format!("{}, {}", plot.names[1], captions[1])),
    ];
    legend_row(&mut canvas, theme, panel.rect.right(), panel.rect.y - 0.8 * theme.title_size, &entries);
    Ok(canvas.finish())
}

/// The range of an axis that shows `data` well and as much of `samples` as fits in.
pub(super) fn range_of(data: &[f32], samples: &[f32]) -> Scale {
    ranges(robust_range(data.iter().copied()), inner_range(samples.iter().copied(), 0.001))
}

pub(super) fn ranges(data: Option<(f64, f64)>, samples: Option<(f64, f64)>) -> Scale {
    let (lo, hi) = match (data, samples) {
        (Some(a), Some(b)) => {
            let more = (a.1 - a.0) / 2.0;
            (a.0.min(b.0.max(a.0 - more)), a.1.max(b.1.min(a.1 + more)))
        }
        (Some(range), None) | (None, Some(range)) => range,
        (None, None) => (0.0, 1.0),
    };
    Scale::linear(lo, hi)
}

/// How many bins suit sets of these sizes: the same for all, as many as the smallest allows.
pub(super) fn bins_for(counts: [usize; 2], most: usize) -> usize {
    let least = counts.into_iter().filter(|n| *n > 0).min().unwrap_or(1);
    ((2.5 * (least as f64).cbrt()) as usize).clamp(8, most)
}

/// A histogram of one column, normalised to a density.
pub(super) struct Histogram {
    density: Vec<f64>,
}

impl Histogram {
    pub(super) fn new(values: impl Iterator<Item = f32> + Clone, scale: Scale, bins: usize) -> Self {
        let finite = values.filter(|v| v.is_finite()).map(f64::from);
        let n = finite.clone().count();
        let mut density = vec![0f64; bins];
        for value in finite.filter(|v| scale.contains(*v)) {
            density[((scale.unit(value) * bins as f64) as usize).min(bins - 1)] += 1.0;
        }
        let width = (scale.hi() - scale.lo()) / bins as f64;
        for count in &mut density {
            *count = *count / n.max(1) as f64 / width;
        }
        Self { density }
    }

    pub(super) fn top(&self) -> f64 {
        self.density.iter().copied().fold(0.0, f64::max)
    }

    fn steps(&self, panel: &Panel) -> Vec<(f32, f32)> {
        let bins = self.density.len() as f64;
        let at = |i: usize| panel.x.lo() + (panel.x.hi() - panel.x.lo()) * i as f64 / bins;
        let mut points = vec![panel.place(at(0), 0.0)];
        for (i, &density) in self.density.iter().enumerate() {
            points.push(panel.place(at(i), density));
            points.push(panel.place(at(i + 1), density));
        }
        points.push(panel.place(at(self.density.len()), 0.0));
        points
    }

    pub(super) fn fill(&self, canvas: &mut Canvas, panel: &Panel, colour: Rgb, alpha: f32) {
        let points = self.steps(panel);
        canvas.polygon(&points, colour, alpha);
        canvas.polyline(&points, LineStyle::new(0.6, colour).alpha((alpha * 2.0).min(1.0)));
    }

    pub(super) fn outline(&self, canvas: &mut Canvas, panel: &Panel, colour: Rgb, width: f32) {
        canvas.polyline(&self.steps(panel), LineStyle::new(width, colour));
    }
}

/// Indices of at most `most` of the points whose every column is finite.
pub(super) fn drawable(values: &[f32], dim: usize, most: usize) -> Vec<usize> {
    let whole: Vec<usize> = values
        .chunks_exact(dim.max(1))
        .enumerate()
        .filter(|(_, row)| row.iter().all(|v| v.is_finite()))
        .map(|(i, _)| i)
        .collect();
    thinned(whole.len(), most).map(|i| whole[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::density::hash;
    use super::*;

    fn cloud(n: u64, from: u64) -> Vec<f32> {
        (0..2 * n).map(|i| (hash(i + from) >> 40) as f32 / 2f32.powi(22) - 2.0).collect()
    }

    #[test]
    fn pictures_are_the_same_each_time_and_show_the_points() {
        let theme = Theme::default();
        let (few, many) = (cloud(500, 0), cloud(30_000, 1 << 40));
        for (data, samples) in [(&few, &many), (&many, &few)] {
            let picture = samples_2d(&SamplesPlot::new(data, samples), &theme).unwrap();
            assert_eq!(picture, samples_2d(&SamplesPlot::new(data, samples), &theme).unwrap());
            let coloured = picture.pixels().filter(|p| p.0[0].abs_diff(p.0[2]) > 40).count();
            assert!(coloured > 50_000, "{coloured} pixels are coloured");
        }
        let a = samples_1d(&SamplesPlot::new(&few, &many), &theme).unwrap();
        assert_eq!((a.width(), a.height()), (1140, 660));
        assert_ne!(a, samples_1d(&SamplesPlot::new(&many, &few), &theme).unwrap());
    }

    #[test]
    fn degenerate_points_are_drawn() {
        let theme = Theme::default();
        let cases: [&[f32]; 8] = [
            &[],
            &[1.0, 2.0],
            &[3.0; 400],
            &[f32::NAN; 8],
            &[f32::INFINITY, 0.0, 1.0, 1.0, f32::NEG_INFINITY, f32::NAN],
            &[1e-30, 2e-30, -1e-30, 0.0],
            &[1e30, -1e30, 2e30, 3e29],
            &[f32::MAX, f32::MIN, f32::MIN, f32::MAX],
        ];
        for data in cases {
            for samples in cases {
                let plot = SamplesPlot::new(data, samples);
                assert!(samples_1d(&plot, &theme).unwrap().width() == 1140);
                assert!(samples_2d(&plot, &theme).unwrap().width() > 1000);
            }
        }
    }

    #[test]
    fn odd_arrays_are_refused_in_words() {
        let message =
            samples_2d(&SamplesPlot::new(&[1.0; 5], &[]), &Theme::default()).unwrap_err().to_string();
        assert!(message.contains("5 values") && message.contains("[n, 2]"), "{message}");
    }

    #[test]
    fn captions_count_what_is_not_shown() {
        let mut points = cloud(100, 0);
        points[0] = f32::NAN;
        points[2] = 100.0;
        let limits = Limits::new((-2.0, 2.0), (-2.0, 2.0));
        assert_eq!(Cloud::new(&points, &limits).caption(), "100 points, 1 not finite, 1 % outside");
    }

    #[test]
    fn histograms_integrate_to_one() {
        let values = cloud(1000, 0);
        let scale = Scale::linear(-2.0, 2.0);
        let histogram = Histogram::new(values.iter().copied(), scale, 50);
        let sum: f64 = histogram.density.iter().sum::<f64>() * 4.0 / histogram.density.len() as f64;
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }
}
