//! Paths and couplings side by side: trajectories, the crossing energy over the time, quality against steps.

use image::RgbImage;

use super::axis::{Format, Scale};
use super::canvas::{Align, Canvas, LineStyle, Rect, TextStyle};
use super::colour::Rgb;
use super::density::Limits;
use super::panel::{Axes, Entry, Frame, Mark, Panel, legend_row, y_label_width};
use super::theme::Theme;
use super::trajectories::{TrajectoryPlot, ends, paths};
use crate::error::{Error, Result};

/// A row of the figure: one flow along one path, with all couplings.
#[derive(Clone, Debug, Default)]
pub struct LabRow<'a> {
    /// What stands left of it.
    pub title: String,
    /// For each coupling its trajectories, steps and `[n, steps + 1, 2]`; none where they were not made.
    pub trajectories: Vec<Option<(usize, &'a [f32])>>,
    /// For each coupling: times, the loss of its model there, half the width of its interval.
    pub losses: Vec<Vec<(f64, f64, f64)>>,
    /// The exact crossing energy of independent pairs, likewise.
    pub crossing: Vec<(f64, f64, f64)>,
    /// For each coupling: Euler steps, W₂, half the width of its interval.
    pub quality: Vec<Vec<(f64, f64, f64)>>,
    /// W₂ of two test sets.
    pub floor: Option<f64>,
}

/// Okabe and Ito's palette, which is told apart with every common form of colour blindness, but for the vermilion in which
/// trajectories end.
const COLOURS: [Rgb; 5] = [
    Rgb(0x00, 0x72, 0xb2),
    Rgb(0x00, 0x9e, 0x73),
    Rgb(0xe6, 0x9f, 0x00),
    Rgb(0xcc, 0x79, 0xa7),
    Rgb(0x56, 0xb4, 0xe9),
];
/// Of a panel of trajectories, and the height of all.
const SIDE: f32 = 92.0;
const CURVE: f32 = 118.0;
const GAP: f32 = 8.0;
const ROW_GAP: f32 = 22.0;
/// Room for the ticks and the name left of a panel of curves.
const LEFT: f32 = 48.0;
/// Times beyond which singular velocities do not stretch the scale.
const LATE: f64 = 0.9;

/// Draws the figure: a row of panels for each of `rows`, a column of trajectories for each of `couplings`.
///
/// # Errors
/// When there is nothing to draw, or trajectories are not `[n, steps + 1, 2]`.
pub fn lab(rows: &[LabRow<'_>], couplings: &[String], theme: &Theme) -> Result<RgbImage> {
    if rows.is_empty() || couplings.is_empty() {
        return Err(Error::config("a figure without rows", "give at least one"));
    }
    let planar = rows.iter().any(|row| row.trajectories.iter().any(Option::is_some));
    let left = theme.margin + 1.8 * theme.title_size;
    let legend_height = 2.0 * theme.title_size;
    let top = theme.margin + legend_height + 1.9 * theme.title_size;
    let across = if planar { couplings.len() as f32 * (SIDE + GAP) } else { 0.0 };
    let width = left + across + 2.0 * (LEFT + CURVE) + GAP + theme.margin;
    let foot = theme.tick_length + theme.tick_size + 1.6 * theme.label_size + theme.margin;
    let height = top + rows.len() as f32 * (SIDE + ROW_GAP) - ROW_GAP + foot;
    let mut canvas = Canvas::new(width, height, theme)?;

    let colour = |place: usize| COLOURS[place % COLOURS.len()];
    let mut entries: Vec<Entry> = couplings
        .iter()
        .enumerate()
        .map(|(place, name)| Entry::new(Mark::Line(theme.line, 1.0), colour(place), name.clone()))
        .collect();
    if rows.iter().any(|row| !row.crossing.is_empty()) {
        entries.push(Entry::new(Mark::Dashed(theme.line), theme.ink, "exact C, independent pairs"));
    }
    if rows.iter().any(|row| row.floor.is_some()) {
        entries.push(Entry::new(Mark::Dashed(theme.line), theme.source, "two test sets"));
    }
    let above = theme.margin + 0.5 * theme.title_size;
    let used = legend_row(&mut canvas, theme, width - theme.margin, above, &entries);
    if planar && used + 100.0 < width - left {
        let ends = [
            Entry::new(Mark::Disc(1.8), theme.source, "t = 0"),
            Entry::new(Mark::Disc(1.8), theme.samples, "t = 1"),
        ];
        legend_row(&mut canvas, theme, width - theme.margin - used - 14.0, above, &ends);
    }

    for (place, row) in rows.iter().enumerate() {
        let y = top + place as f32 * (SIDE + ROW_GAP);
        let (first, last) = (place == 0, place + 1 == rows.len());
        let style = TextStyle::new(theme.title_size, theme.ink).bold().align(Align::Middle).upwards();
        let title = canvas.fitted(&row.title, style, SIDE + ROW_GAP - 4.0);
        canvas.text(theme.margin + 0.5 * theme.title_size, y + SIDE / 2.0, &title, style);
        if planar {
            flows(&mut canvas, theme, row, couplings, (left, y), first)?;
        }
        let x = left + across + LEFT;
        let heading = |text: &str| if first { text.to_owned() } else { String::new() };
        let name = |text: &str| if last { text.to_owned() } else { String::new() };
        let axes = Axes {
            x_ticks: true,
            y_ticks: true,
            x_name: name("time t"),
            y_name: "squared error".to_owned(),
            title: heading("Loss against its floor C"),
            ..Axes::default()
        };
        crossing(&mut canvas, theme, row, Rect::new(x, y, CURVE, SIDE), &axes);
        let axes = Axes {
            x_name: name("Euler steps"),
            y_name: "W₂ from test points".to_owned(),
            title: heading("Samples against steps"),
            x_format: Format::Plain,
            ..axes
        };
        quality(&mut canvas, theme, row, Rect::new(x + CURVE + LEFT + GAP, y, CURVE, SIDE), &axes);
    }
    Ok(canvas.finish())
}

/// The trajectories of a row, all in one window.
fn flows(
    canvas: &mut Canvas,
    theme: &Theme,
    row: &LabRow<'_>,
    couplings: &[String],
    (left, top): (f32, f32),
    headings: bool,
) -> Result<()> {
    let mut all: Vec<f32> = vec![];
    for (steps, points) in row.trajectories.iter().flatten() {
        ends(points, *steps)?;
        // Also those on the way: some flows swing out.
        all.extend(*points);
    }
    let limits = Limits::around(&all, &[]);
    // A square window, so that all rows line up.
    let half = (limits.x.hi() - limits.x.lo()).max(limits.y.hi() - limits.y.lo()) / 2.0;
    let around = |scale: Scale| {
        let middle = f64::midpoint(scale.lo(), scale.hi());
        Scale::linear(middle - half, middle + half)
    };
    for (place, name) in couplings.iter().enumerate() {
        let rect = Rect::new(left + place as f32 * (SIDE + GAP), top, SIDE, SIDE);
        let panel = Panel::new(canvas, rect, around(limits.x), around(limits.y));
        if let Some(Some((steps, points))) = row.trajectories.get(place) {
            let plot = TrajectoryPlot {
                trajectories: points,
                steps: *steps,
                t: (0.0, 1.0),
                limits: None,
                title: "",
            };
            paths(canvas, theme, &panel, &plot, 0.6)?;
        }
        let title = if headings { name.clone() } else { String::new() };
        panel.axes(canvas, theme, &Axes { title, frame: Frame::Box, ..Axes::default() });
    }
    Ok(())
}

/// The loss of each coupling's model over the time, and the exact crossing energy.
fn crossing(canvas: &mut Canvas, theme: &Theme, row: &LabRow<'_>, rect: Rect, axes: &Axes) {
    let values = row.losses.iter().flatten().chain(&row.crossing);
    let seen = values.filter(|(t, value, _)| *t <= LATE && value.is_finite());
    let most = seen.map(|(_, value, half)| value + half).fold(0.0, f64::max);
    let y = Scale::linear(0.0, if most > 0.0 { 1.06 * most } else { 1.0 });
    let panel = Panel::new(canvas, rect, Scale::linear(0.0, 1.0), y);
    panel.grid(canvas, theme, axes);
    canvas.clipped(panel.rect, |layer| {
        for (place, curve) in row.losses.iter().enumerate() {
            draw(layer, &panel, curve, LineStyle::new(theme.line, COLOURS[place % COLOURS.len()]));
        }
        draw(layer, &panel, &row.crossing, LineStyle::new(theme.line, theme.ink).dashed(3.0, 2.0));
    });
    label(canvas, theme, &panel, axes);
}

/// W₂ against the number of steps, and that of two test sets.
fn quality(canvas: &mut Canvas, theme: &Theme, row: &LabRow<'_>, rect: Rect, axes: &Axes) {
    let points: Vec<&(f64, f64, f64)> =
        row.quality.iter().flatten().filter(|(steps, value, _)| *steps > 0.0 && *value > 0.0).collect();
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, 0.0), |(lo, hi): (f64, f64), value| (lo.min(value), hi.max(value)))
    };
    let (first, last) = range(&mut points.iter().map(|(steps, ..)| *steps));
    let (lo, hi) = range(&mut points.iter().map(|(_, value, _)| *value).chain(row.floor));
    let x = Scale::log(first, last).padded(0.03);
    let panel = Panel::new(canvas, rect, x, Scale::log(lo, hi).padded(0.1));
    panel.grid(canvas, theme, axes);
    canvas.clipped(panel.rect, |layer| {
        if let Some(floor) = row.floor {
            let line = [panel.place(x.lo(), floor), panel.place(x.hi(), floor)];
            layer.polyline(&line, LineStyle::new(theme.line, theme.source).dashed(3.0, 2.0));
        }
        for (place, curve) in row.quality.iter().enumerate() {
            let colour = COLOURS[place % COLOURS.len()];
            draw(layer, &panel, curve, LineStyle::new(theme.line, colour));
            for (steps, value, _) in curve {
                let (x, y) = panel.place(*steps, *value);
                layer.disc(x, y, 1.4, colour, 1.0);
            }
        }
    });
    label(canvas, theme, &panel, axes);
}

/// Axes whose names line up over the rows.
fn label(canvas: &mut Canvas, theme: &Theme, panel: &Panel, axes: &Axes) {
    let room = y_label_width(canvas, theme, panel.y, panel.rect.h).max(22.0);
    panel.axes(canvas, theme, &Axes { y_room: room, ..axes.clone() });
}

/// A curve in the band of its intervals.
fn draw(canvas: &mut Canvas, panel: &Panel, curve: &[(f64, f64, f64)], style: LineStyle) {
    let finite: Vec<&(f64, f64, f64)> = curve.iter().filter(|point| point.1.is_finite()).collect();
    let edge = |sign: f64| {
        finite.iter().map(move |(x, y, half)| {
            // On a logarithmic scale a band that reaches 0 has no lower end.
            panel.place(*x, (y + sign * half).max(panel.y.lo() * 0.5))
        })
    };
    if finite.iter().any(|(_, _, half)| *half > 0.0) {
        let band: Vec<(f32, f32)> = edge(1.0).chain(edge(-1.0).rev()).collect();
        canvas.polygon(&band, style.colour, 0.16);
    }
    let line: Vec<(f32, f32)> = finite.iter().map(|(x, y, _)| panel.place(*x, *y)).collect();
    canvas.polyline(&line, style);
}

#[cfg(test)]
mod tests {
    use super::super::density::hash;
    use super::*;

    fn theme() -> Theme {
        Theme { scale: 1.0, ..Theme::default() }
    }

    #[test]
    fn the_figure_is_drawn_the_same_each_time() {
        let paths: Vec<f32> = (0..20 * 9 * 2).map(|i| (hash(i) % 1000) as f32 / 500.0).collect();
        let curve: Vec<(f64, f64, f64)> = (1..9).map(|i| (f64::from(i) / 9.0, f64::from(i), 0.2)).collect();
        let steps: Vec<(f64, f64, f64)> =
            (0..6).map(|i| (f64::from(1 << i), 2.0 / f64::from(i + 1), 0.1)).collect();
        let row = LabRow {
            title: "ot".into(),
            trajectories: vec![Some((8, &paths)), None],
            losses: vec![curve.clone(), curve.clone()],
            crossing: curve,
            quality: vec![steps.clone(), steps],
            floor: Some(0.1),
        };
        let names = ["independent".to_owned(), "minibatch-ot".to_owned()];
        let draw = |rows: &[LabRow<'_>]| lab(rows, &names, &theme()).unwrap();
        let one = draw(std::slice::from_ref(&row));
        assert_eq!(one, draw(std::slice::from_ref(&row)));
        assert!(draw(&[row.clone(), row]).height() > one.height());
    }

    #[test]
    fn degenerate_figures_are_drawn_or_refused_in_words() {
        let names = ["independent".to_owned()];
        assert!(lab(&[], &names, &theme()).is_err());
        assert!(lab(&[LabRow::default()], &[], &theme()).is_err());
        lab(&[LabRow::default()], &names, &theme()).unwrap();
        let odd = vec![(0.5, f64::NAN, 0.0), (0.0, -1.0, f64::INFINITY), (1.0, 0.0, 0.0)];
        let row = LabRow {
            trajectories: vec![Some((1, &[0.0; 4]))],
            losses: vec![odd.clone()],
            quality: vec![odd],
            ..LabRow::default()
        };
        lab(std::slice::from_ref(&row), &names, &theme()).unwrap();
        let wrong = LabRow { trajectories: vec![Some((2, &[0.0; 4]))], ..row };
        assert!(lab(&[wrong], &names, &theme()).is_err());
    }
}
