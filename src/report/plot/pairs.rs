//! Pair plots: every two columns of a table against each other.

use image::RgbImage;

use super::axis::Scale;
use super::canvas::{Align, Canvas, TextStyle};
use super::density::{hash, robust_range};
use super::panel::{Axes, Cells, Entry, Frame, Mark, Panel, legend_column, y_label_width};
use super::samples::{Histogram, bins_for, dot_of, drawable, ranges};
use super::theme::Theme;
use super::{counted, thousands, whole_points};
use crate::error::{Error, Result};

/// A table and what a model made of it.
#[derive(Clone, Copy, Debug)]
pub struct PairPlot<'a> {
    /// The rows of the data, [n, columns].
    pub data: &'a [f32],
    /// The rows of the model, likewise.
    pub samples: &'a [f32],
    /// The columns' names.
    pub columns: &'a [String],
    /// The names of the two.
    pub names: [&'a str; 2],
}

impl<'a> PairPlot<'a> {
    /// "Data" and "Samples".
    #[must_use]
    pub fn new(data: &'a [f32], samples: &'a [f32], columns: &'a [String]) -> Self {
        Self { data, samples, columns, names: ["Data", "Samples"] }
    }
}

/// At most this many columns are drawn.
const MOST_COLUMNS: usize = 6;
/// At most this many rows of each are drawn as points.
const MOST_POINTS: usize = 2500;
/// As many are drawn even if there are fewer of the other kind.
const FEWEST_POINTS: usize = 400;

/// Draws histograms on the diagonal and the points of each two columns below it.
///
/// # Errors
/// When there are no columns or an array does not hold whole rows.
pub fn pair_plot(plot: &PairPlot<'_>, theme: &Theme) -> Result<RgbImage> {
    let dim = plot.columns.len();
    if dim == 0 {
        return Err(Error::config(
            "a pair plot of no columns cannot be drawn",
            "pass the names of the columns",
        ));
    }
    let sets = [plot.data, plot.samples];
    let counts = [whole_points(sets[0], dim, plot.names[0])?, whole_points(sets[1], dim, plot.names[1])?];
    let shown = dim.min(MOST_COLUMNS);
    let side = match shown {
        1 | 2 => 150.0,
        3 => 124.0,
        4 => 104.0,
        5 => 88.0,
        _ => 76.0,
    };
    let column = |set: usize, k: usize| sets[set].iter().copied().skip(k).step_by(dim);
    let scales: Vec<Scale> = (0..shown)
        .map(|k| ranges(robust_range(column(0, k)), robust_range(column(1, k))).padded(0.05))
        .collect();

    let probe = Canvas::new(1.0, 1.0, theme)?;
    let labels = scales.iter().skip(1).map(|s| y_label_width(&probe, theme, *s, side)).fold(0.0, f32::max);
    let left = theme.margin + theme.label_size + 8.0 + labels;
    let top = theme.margin + 4.0;
    let cells = Cells { origin: (left, top), size: (side, side), gap: (7.0, 7.0) };
    let extent = cells.extent(shown, shown);
    let noted = scales.iter().any(|s| s.ticks(2, super::Format::Plain).note.is_some());
    let foot = theme.tick_length + theme.tick_size + theme.label_size + 7.0 + if noted { 8.0 } else { 0.0 };
    // The legend of a small plot stands beside it.
    let beside = if shown < 3 { 96.0 } else { 0.0 };
    let width = left + extent.0 + beside + theme.margin + 4.0;
    let mut canvas = Canvas::new(width, top + extent.1 + foot + theme.margin, theme)?;

    let dots = dots(sets, dim);
    for row in 0..shown {
        for col in 0..=row {
            let last = row + 1 == shown;
            let axes = Axes {
                x_ticks: last,
                y_ticks: col == 0 && row > 0,
                x_name: if last { plot.columns[col].clone() } else { String::new() },
                y_name: if col == 0 && row > 0 { plot.columns[row].clone() } else { String::new() },
                frame: if row == col { Frame::Bottom } else { Frame::Box },
                y_room: labels,
                ..Axes::default()
            };
            if row == col {
                let histograms =
                    [0, 1].map(|set| Histogram::new(column(set, row), scales[row], bins_for(counts, 40)));
                let highest = histograms.iter().map(Histogram::top).fold(0.0, f64::max);
                let y = Scale::linear(0.0, if highest > 0.0 { highest * 1.05 } else { 1.0 });
                let panel = Panel::new(&canvas, cells.at(col, row), scales[col], y);
                canvas.clipped(panel.rect, |layer| {
                    histograms[0].fill(layer, &panel, theme.data, 0.35);
                    histograms[1].outline(layer, &panel, theme.samples, 0.9);
                });
                panel.axes(&mut canvas, theme, &axes);
            } else {
                let panel = Panel::new(&canvas, cells.at(col, row), scales[col], scales[row]);
                let (radius, alpha) = dot_of(dots.len());
                let (radius, alpha) = (radius.min(1.1), alpha * 0.6);
                canvas.clipped(panel.rect, |layer| {
                    for &(set, index) in &dots {
                        let at = index * dim;
                        let values = (f64::from(sets[set][at + col]), f64::from(sets[set][at + row]));
                        if !(panel.x.contains(values.0) && panel.y.contains(values.1)) {
                            continue;
                        }
                        let (x, y) = panel.place(values.0, values.1);
                        layer.disc(x, y, radius, if set == 0 { theme.data } else { theme.samples }, alpha);
                    }
                });
                panel.axes(&mut canvas, theme, &axes);
            }
        }
    }
    let at = if shown < 3 { left + extent.0 + 10.0 } else { cells.at(shown - 2, 0).x };
    captions(&mut canvas, theme, plot, (at, top + 10.0), counts, &dots);
    Ok(canvas.finish())
}

/// Which rows are drawn, data and samples mixed so that neither lies on top.
fn dots(sets: [&[f32]; 2], dim: usize) -> Vec<(usize, usize)> {
    // As many of each, so that neither drowns the other.
    let least = sets.iter().map(|s| s.len() / dim).filter(|n| *n > 0).min().unwrap_or(0);
    let most = least.clamp(FEWEST_POINTS, MOST_POINTS);
    let mut dots: Vec<(usize, usize)> = Vec::new();
    for (set, values) in sets.into_iter().enumerate() {
        dots.extend(drawable(values, dim, most).into_iter().map(|index| (set, index)));
    }
    dots.sort_by_cached_key(|&(set, index)| hash(2 * index as u64 + set as u64));
    dots
}

/// The legend and what the plot leaves out, in the empty upper triangle.
fn captions(
    canvas: &mut Canvas,
    theme: &Theme,
    plot: &PairPlot<'_>,
    (x, y): (f32, f32),
    counts: [usize; 2],
    dots: &[(usize, usize)],
) {
    let colours = [theme.data, theme.samples];
    let entries: Vec<Entry> =
        (0..2).map(|set| Entry::new(Mark::Disc(2.2), colours[set], plot.names[set])).collect();
    legend_column(canvas, theme, x, y, &entries);
    let mut lines = Vec::new();
    for (set, &count) in counts.iter().enumerate() {
        let drawn = dots.iter().filter(|d| d.0 == set).count();
        let name = plot.names[set].to_lowercase();
        lines.push(if drawn < count {
            format!("{name}: {} of {} drawn", thousands(drawn as i64), counted(count, "row", "rows"))
        } else {
            format!("{name}: {}", counted(count, "row", "rows"))
        });
    }
    if plot.columns.len() > MOST_COLUMNS {
        lines.push(format!("the first {MOST_COLUMNS} of {} columns", plot.columns.len()));
    }
    let style = TextStyle::new(theme.tick_size, theme.muted).align(Align::Start);
    for (i, line) in lines.iter().enumerate() {
        let y = y + theme.label_size * 3.6 + i as f32 * theme.tick_size * 1.5;
        canvas.text(x, y, line, style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("a rather long column name {i}")).collect()
    }

    #[test]
    fn any_number_of_columns_is_drawn_the_same_each_time() {
        let theme = Theme::default();
        for dim in [1, 2, 3, 4, 6, 13] {
            let columns = names(dim);
            let rows: Vec<f32> = (0..dim as u64 * 50).map(|i| (hash(i) % 1000) as f32).collect();
            let plot = PairPlot::new(&rows, &rows[..dim * 20], &columns);
            let picture = pair_plot(&plot, &theme).unwrap();
            assert!(picture.width() > 500 && picture.height() > 400);
            assert_eq!(picture, pair_plot(&plot, &theme).unwrap());
        }
    }

    #[test]
    fn degenerate_tables_are_drawn_or_refused_in_words() {
        let theme = Theme::default();
        let columns = names(3);
        let cases: [&[f32]; 5] = [&[], &[1.0; 3], &[f32::NAN; 6], &[1e30, -1e30, 1e-30], &[7.0; 300]];
        for data in cases {
            for samples in cases {
                pair_plot(&PairPlot::new(data, samples, &columns), &theme).unwrap();
            }
        }
        assert!(pair_plot(&PairPlot::new(&[1.0; 4], &[], &columns), &theme).is_err());
        assert!(pair_plot(&PairPlot::new(&[], &[], &[]), &theme).is_err());
    }
}
