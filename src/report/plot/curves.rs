//! Curves with their uncertainty, in panels side by side.

use image::RgbImage;

use super::axis::{Format, Scale};
use super::canvas::{Canvas, LineStyle, Rect};
use super::colour::Rgb;
use super::panel::{Axes, Cells, Entry, Mark, Panel, legend_row};
use super::theme::Theme;
use crate::error::{Error, Result};

/// A curve with a name.
#[derive(Clone, Debug)]
pub struct Curve<'a> {
    /// In the legend.
    pub name: &'a str,
    /// Of line and band.
    pub colour: Rgb,
    /// (x, y, half the width of y's interval); what is not finite is left out.
    pub points: Vec<(f64, f64, f64)>,
}

/// Curves over the same axis.
#[derive(Clone, Debug, Default)]
pub struct CurvePanel<'a> {
    /// Above the panel.
    pub title: &'a str,
    /// Below it.
    pub x_name: &'a str,
    /// Left of it.
    pub y_name: &'a str,
    /// The curves.
    pub curves: Vec<Curve<'a>>,
    /// A level to compare with, and its name.
    pub level: Option<(f64, &'a str)>,
    /// Whether both axes go by powers of ten. Otherwise x is a time, from 0 to 1, and y begins at 0.
    pub logarithmic: bool,
}

const PANEL: (f32, f32) = (190.0, 128.0);
const GAP: (f32, f32) = (58.0, 62.0);
const LEFT: f32 = 46.0;
const BOTTOM: f32 = 30.0;

/// Draws panels in rows of `columns`.
///
/// # Errors
/// When there are no panels.
pub fn curves(panels: &[CurvePanel<'_>], columns: usize, theme: &Theme) -> Result<RgbImage> {
    if panels.is_empty() || columns == 0 {
        return Err(Error::config("a picture without panels", "give at least one"));
    }
    let top = theme.margin + theme.title_size * 1.7 + theme.label_size * 1.6;
    let cells = Cells { origin: (theme.margin + LEFT, top), size: PANEL, gap: GAP };
    let (width, height) = cells.extent(columns.min(panels.len()), panels.len().div_ceil(columns));
    let mut canvas =
        Canvas::new(width + LEFT + 2.0 * theme.margin + 6.0, height + top + BOTTOM + theme.margin, theme)?;
    for (place, panel) in panels.iter().enumerate() {
        draw(&mut canvas, theme, cells.at(place % columns, place / columns), panel);
    }
    Ok(canvas.finish())
}

fn draw(canvas: &mut Canvas, theme: &Theme, rect: Rect, panel: &CurvePanel<'_>) {
    let shown = |&(x, y, _): &(f64, f64, f64)| {
        x.is_finite() && y.is_finite() && !(panel.logarithmic && (x <= 0.0 || y <= 0.0))
    };
    let curves: Vec<Vec<(f64, f64, f64)>> =
        panel.curves.iter().map(|curve| curve.points.iter().copied().filter(shown).collect()).collect();
    let level = panel.level.filter(|(level, _)| level.is_finite() && (*level > 0.0 || !panel.logarithmic));
    let (x, y) = scales(&curves, level.map(|(level, _)| level), panel.logarithmic);
    let at = Panel::new(canvas, rect, x, y);
    let axes = Axes {
        x_ticks: true,
        y_ticks: true,
        x_format: Format::Plain,
        x_name: panel.x_name.to_owned(),
        y_name: panel.y_name.to_owned(),
        ..Axes::default()
    };
    at.grid(canvas, theme, &axes);
    canvas.clipped(at.rect, |layer| {
        for (curve, points) in panel.curves.iter().zip(&curves) {
            let half = |half: f64| if half.is_finite() { half } else { 0.0 };
            let low = |y: f64, half: f64| {
                if panel.logarithmic { (y - half).max(y.min(at.y.lo())) } else { y - half }
            };
            let mut band: Vec<(f32, f32)> =
                points.iter().map(|&(x, y, h)| at.place(x, y + half(h))).collect();
            band.extend(points.iter().rev().map(|&(x, y, h)| at.place(x, low(y, half(h)))));
            if points.len() > 1 {
                layer.polygon(&band, curve.colour, 0.18);
            }
        }
        if let Some((level, _)) = level {
            let line = [at.place(x.lo(), level), at.place(x.hi(), level)];
            layer.polyline(&line, LineStyle::new(0.9, theme.reference).dashed(4.0, 2.5));
        }
        for (curve, points) in panel.curves.iter().zip(&curves) {
            let line: Vec<(f32, f32)> = points.iter().map(|&(x, y, _)| at.place(x, y)).collect();
            layer.polyline(&line, LineStyle::new(theme.line, curve.colour).round());
            if points.len() <= 16 {
                for (x, y) in line {
                    layer.disc(x, y, 1.6, curve.colour, 1.0);
                }
            }
        }
    });
    at.axes(canvas, theme, &axes);
    // The title has a line of its own, so that the legend has room.
    let above = Axes { title: panel.title.to_owned(), ..Axes::default() };
    let raised = Panel { rect: Rect { y: at.rect.y - theme.label_size * 1.5, ..at.rect }, ..at };
    raised.title_only(canvas, theme, &above);
    let mut entries: Vec<Entry> = panel
        .curves
        .iter()
        .map(|curve| Entry::new(Mark::Line(theme.line, 1.0), curve.colour, curve.name))
        .collect();
    if let Some((_, name)) = level {
        entries.push(Entry::new(Mark::Dashed(0.9), theme.reference, name));
    }
    if !entries.is_empty() {
        legend_row(canvas, theme, at.rect.right(), at.rect.y - 0.7 * theme.label_size, &entries);
    }
}

/// Of a time and from 0 on, or by powers of ten.
fn scales(curves: &[Vec<(f64, f64, f64)>], level: Option<f64>, logarithmic: bool) -> (Scale, Scale) {
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi): (f64, f64), v| (lo.min(v), hi.max(v)))
    };
    let points = || curves.iter().flatten();
    let (x_lo, x_hi) = range(&mut points().map(|point| point.0));
    let (y_lo, y_hi) = range(&mut points().map(|point| point.1).chain(level));
    if !(x_lo.is_finite() && y_lo.is_finite()) {
        return (Scale::linear(0.0, 1.0), Scale::linear(0.0, 1.0));
    }
    if logarithmic {
        return (Scale::log(x_lo, x_hi).padded(0.04), Scale::log(y_lo, y_hi).padded(0.08));
    }
    let high =
        range(&mut points().map(|&(_, y, half)| if half.is_finite() { y + half } else { y })).1.max(y_hi);
    (
        Scale::linear(x_lo.min(0.0), x_hi.max(1.0)),
        Scale::linear(y_lo.min(0.0), if high > 0.0 { 1.06 * high } else { 1.0 }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_are_drawn_whatever_they_hold() {
        let theme = Theme::default();
        let points = vec![(1.0, 2.0, 0.1), (2.0, f64::NAN, 0.1), (4.0, 1.0, f64::NAN), (8.0, -1.0, 0.5)];
        let curve = Curve { name: "a", colour: theme.data, points };
        let full = CurvePanel {
            title: "a title",
            x_name: "t",
            y_name: "C",
            curves: vec![curve.clone()],
            level: Some((0.5, "floor")),
            logarithmic: false,
        };
        let powers = CurvePanel { logarithmic: true, ..full.clone() };
        let empty = CurvePanel { curves: vec![Curve { points: vec![], ..curve }], ..CurvePanel::default() };
        let picture = curves(&[full.clone(), powers.clone(), empty.clone()], 2, &theme).unwrap();
        assert!(picture.width() > 600 && picture.height() > 600);
        assert_eq!(picture, curves(&[full, powers, empty], 2, &theme).unwrap());
        assert!(curves(&[], 2, &theme).is_err());
    }
}
