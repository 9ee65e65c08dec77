//! How a cost grows with a size: log–log panels beside the slope that it should have.

use image::RgbImage;

use super::axis::{Format, Scale};
use super::canvas::{Canvas, LineStyle, Rect, TextStyle};
use super::panel::{Axes, Cells, Entry, Mark, Panel, legend_row};
use super::theme::Theme;
use crate::error::{Error, Result};

/// A cost against a size.
#[derive(Clone, Debug)]
pub struct ScalingPanel<'a> {
    /// The size's name.
    pub size: &'a str,
    /// The cost's name with its unit.
    pub cost: &'a str,
    /// Sizes with the smallest, the median and the largest of their costs.
    pub points: &'a [(f64, [f64; 3])],
    /// What it is held against.
    pub ideal: Ideal<'a>,
}

/// What a cost is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ideal<'a> {
    /// The power of the size with which it grows in the end, through the last point.
    Slope(f64),
    /// Sizes with the cost that a formula gives.
    Formula(&'a [(f64, f64)]),
}

const PANEL: (f32, f32) = (104.0, 96.0);
const GAP: (f32, f32) = (50.0, 48.0);
const LEFT: f32 = 50.0;
const BOTTOM: f32 = 30.0;

/// Draws panels in rows of `columns`.
///
/// # Errors
/// When there are no panels.
pub fn scaling(panels: &[ScalingPanel<'_>], columns: usize, title: &str, theme: &Theme) -> Result<RgbImage> {
    if panels.is_empty() || columns == 0 {
        return Err(Error::config("a picture without panels", "give at least one"));
    }
    let top = theme.margin + theme.title_size * 2.2;
    let cells = Cells { origin: (theme.margin + LEFT, top), size: PANEL, gap: GAP };
    let (width, height) = cells.extent(columns.min(panels.len()), panels.len().div_ceil(columns));
    let mut canvas =
        Canvas::new(width + LEFT + 2.0 * theme.margin + 8.0, height + top + BOTTOM + theme.margin, theme)?;
    for (place, panel) in panels.iter().enumerate() {
        draw(&mut canvas, theme, cells.at(place % columns, place / columns), panel);
    }
    let entries = [
        Entry::new(Mark::Line(theme.line, 1.0), theme.data, "measured"),
        Entry::new(Mark::Dashed(0.9), theme.reference, "ideal slope, or formula"),
    ];
    let right = cells.origin.0 + width;
    let above = top - 0.8 * theme.title_size;
    let legend = legend_row(&mut canvas, theme, right, above, &entries);
    let style = TextStyle::new(theme.title_size, theme.ink).bold();
    let title = canvas.fitted(title, style, width - legend - 12.0);
    canvas.text(cells.origin.0, above, &title, style);
    Ok(canvas.finish())
}

fn draw(canvas: &mut Canvas, theme: &Theme, rect: Rect, panel: &ScalingPanel<'_>) {
    let usable = |(size, costs): &&(f64, [f64; 3])| {
        *size > 0.0 && size.is_finite() && costs.iter().all(|cost| *cost > 0.0 && cost.is_finite())
    };
    let points: Vec<&(f64, [f64; 3])> = panel.points.iter().filter(usable).collect();
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, 0.0), |(lo, hi): (f64, f64), value| (lo.min(value), hi.max(value)))
    };
    let (x_lo, x_hi) = range(&mut points.iter().map(|(size, _)| *size));
    let (mut y_lo, mut y_hi) = range(&mut points.iter().flat_map(|(_, costs)| *costs));
    if y_hi / y_lo < 10.0 {
        // A flat line is to look flat.
        let middle = (y_lo * y_hi).sqrt();
        (y_lo, y_hi) = (middle / 10.0, middle * 10.0);
    }
    let x = Scale::log(x_lo, x_hi).padded(0.06);
    let y = Scale::log(y_lo, y_hi).padded(0.06);
    let at = Panel::new(canvas, rect, x, y);
    let axes = Axes {
        x_ticks: true,
        y_ticks: true,
        x_format: Format::Plain,
        x_name: panel.size.to_owned(),
        y_name: panel.cost.to_owned(),
        ..Axes::default()
    };
    at.grid(canvas, theme, &axes);
    canvas.clipped(at.rect, |layer| {
        let line: Vec<(f32, f32)> = match (panel.ideal, points.last()) {
            (Ideal::Slope(slope), Some((size, [_, cost, _]))) => {
                [x.lo(), x.hi()].map(|x| at.place(x, cost * (x / size).powf(slope))).to_vec()
            }
            (Ideal::Formula(costs), _) => costs.iter().map(|(size, cost)| at.place(*size, *cost)).collect(),
            _ => vec![],
        };
        // Above what was measured, which would cover it where the two agree.
        let formula = matches!(panel.ideal, Ideal::Formula(_));
        let dashed = LineStyle::new(0.9, theme.reference).dashed(4.0, 2.5);
        if !formula {
            layer.polyline(&line, dashed);
        }
        let ideal = line;
        let line: Vec<(f32, f32)> = points.iter().map(|(size, costs)| at.place(*size, costs[1])).collect();
        layer.polyline(&line, LineStyle::new(theme.line, theme.data).round());
        for (size, [least, median, most]) in points {
            let spread = [at.place(*size, *least), at.place(*size, *most)];
            layer.polyline(&spread, LineStyle::new(theme.line, theme.data));
            let (x, y) = at.place(*size, *median);
            layer.disc(x, y, 1.8, theme.data, 1.0);
        }
        if formula {
            layer.polyline(&ideal, dashed);
        }
    });
    at.axes(canvas, theme, &axes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_are_drawn_whatever_they_hold() {
        let theme = Theme::default();
        let points = [(1.0, [1.0, 2.0, 3.0]), (10.0, [9.0, 10.0, 12.0]), (100.0, [f64::NAN, 1.0, 2.0])];
        let panel = ScalingPanel { size: "batch", cost: "ms", points: &points, ideal: Ideal::Slope(1.0) };
        let empty = ScalingPanel {
            size: "width",
            cost: "ms",
            points: &[],
            ideal: Ideal::Formula(&[(1.0, 3.0), (50.0, 4.0)]),
        };
        let one = ScalingPanel { points: &points[..1], ..panel.clone() };
        let picture = scaling(&[panel.clone(), empty.clone(), one], 2, "a title", &theme).unwrap();
        assert!(picture.width() > 300 && picture.height() > 300);
        assert_eq!(
            picture,
            scaling(
                &[
                    panel.clone(),
                    ScalingPanel { ..empty.clone() },
                    ScalingPanel { points: &points[..1], ..panel }
                ],
                2,
                "a title",
                &theme
            )
            .unwrap()
        );
        assert!(scaling(&[], 2, "", &theme).is_err());
    }
}
