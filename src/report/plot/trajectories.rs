//! Paths of particles from noise to data.

use image::RgbImage;

use super::axis::Scale;
use super::canvas::{Canvas, LineStyle, Rect};
use super::density::{Limits, thinned};
use super::panel::{Axes, Entry, Frame, Mark, Panel, colour_bar, legend_row, y_label_width};
use super::theme::Theme;
use super::{counted, short, whole_points};
use crate::error::{Error, Result};

/// Paths of particles in the plane.
#[derive(Clone, Copy, Debug)]
pub struct TrajectoryPlot<'a> {
    /// The paths, [n, steps + 1, 2].
    pub trajectories: &'a [f32],
    /// How many steps each has.
    pub steps: usize,
    /// The times of the first and the last point.
    pub t: (f64, f64),
    /// The window to show; `None` finds one.
    pub limits: Option<Limits>,
    /// The title.
    pub title: &'a str,
}

/// At most this many paths are drawn.
const MOST: usize = 2000;
/// Each path is drawn in this many pieces of one colour.
const PIECES: usize = 48;
const SIDE: f32 = 288.0;

/// Draws paths as thin translucent lines coloured by time, from grey first to orange last points.
///
/// # Errors
/// When the array is not [n, steps + 1, 2].
pub fn trajectories_2d(plot: &TrajectoryPlot<'_>, theme: &Theme) -> Result<RgbImage> {
    let (first, last) = ends(plot.trajectories, plot.steps)?;
    let n = first.len() / 2;
    let limits = plot.limits.unwrap_or_else(|| {
        let all: Vec<f32> = first.iter().chain(&last).copied().collect();
        Limits::around(&all, &[])
    });

    let height = SIDE * limits.aspect();
    let probe = Canvas::new(1.0, 1.0, theme)?;
    let left = theme.margin + y_label_width(&probe, theme, limits.y, height);
    let top = theme.margin + theme.title_size * 1.7;
    let note_room =
        if limits.x.ticks(6, super::Format::Plain).note.is_some() { theme.tick_size * 1.4 } else { 0.0 };
    let foot = theme.tick_length + theme.tick_size + 4.0 + note_room + theme.margin;
    let bar_x = left + SIDE + 10.0;
    let mut canvas = Canvas::new(bar_x + 44.0, top + height + foot, theme)?;
    let panel = Panel::new(&canvas, Rect::new(left, top, SIDE, height), limits.x, limits.y);

    paths(&mut canvas, theme, &panel, plot, 1.0)?;
    let subtitle = match n {
        0 => "no paths".to_owned(),
        n if n > MOST => {
            format!("{} of {}", super::thousands(MOST as i64), counted(n, "path", "paths"))
        }
        n => counted(n, "path", "paths"),
    };
    let axes =
        Axes { x_ticks: true, y_ticks: true, title: plot.title.into(), frame: Frame::Box, ..Axes::default() };
    let (t0, t1) = plot.t;
    let entries = [
        Entry::new(Mark::Disc(1.8), theme.source, format!("t = {}", short(t0, 3))),
        Entry::new(Mark::Disc(1.8), theme.samples, format!("t = {}", short(t1, 3))),
    ];
    let y = panel.rect.y - 0.8 * theme.title_size;
    let used = legend_row(&mut canvas, theme, panel.rect.right(), y, &entries);
    panel.axes(&mut canvas, theme, &axes);
    let heading = Panel { rect: Rect { w: panel.rect.w - used - 10.0, ..panel.rect }, ..panel };
    heading.title_only(&mut canvas, theme, &Axes { subtitle, ..axes });
    let bar = Rect::new(bar_x, top, 7.0, height);
    let map = if t0 <= t1 { theme.time } else { theme.time.reversed() };
    colour_bar(&mut canvas, theme, bar, &map, Scale::linear(t0.min(t1), t0.max(t1)), "time t");
    Ok(canvas.finish())
}

/// The first and the last points of paths `[n, steps + 1, 2]`: each `[n, 2]`.
pub(super) fn ends(trajectories: &[f32], steps: usize) -> Result<(Vec<f32>, Vec<f32>)> {
    let points = steps.checked_add(1).and_then(|p| p.checked_mul(2));
    let Some(stride) = points else {
        return Err(Error::config(format!("{steps} steps cannot be drawn"), "pass the number of steps"));
    };
    whole_points(trajectories, stride, "trajectories")?;
    let at = |at: usize| -> Vec<f32> {
        trajectories.chunks_exact(stride).flat_map(|path| [path[at], path[at + 1]]).collect()
    };
    Ok((at(0), at(stride - 2)))
}

/// Paths with their ends in a panel; `size` is that of the dots beside those of a picture of its own.
pub(super) fn paths(
    canvas: &mut Canvas,
    theme: &Theme,
    panel: &Panel,
    plot: &TrajectoryPlot<'_>,
    size: f32,
) -> Result<()> {
    let (first, last) = ends(plot.trajectories, plot.steps)?;
    let drawn: Vec<usize> = thinned(first.len() / 2, MOST).collect();
    canvas.clipped(panel.rect, |layer| {
        let crowd = drawn.len().max(1) as f32;
        // The first points lie under the lines, the last ones on them.
        let radius = size * (22.0 / crowd.sqrt()).clamp(0.7, 1.8);
        dots(layer, panel, &first, &drawn, radius, LineStyle::new(0.0, theme.source).alpha(0.85));
        let alpha = (9.0 / crowd.sqrt()).clamp(0.16, 0.8);
        let width = size * (14.0 / crowd.sqrt()).clamp(0.35, 0.8);
        lines(layer, theme, panel, plot, &drawn, (width, alpha));
        dots(layer, panel, &last, &drawn, radius, LineStyle::new(0.0, theme.samples).alpha(0.9));
    });
    Ok(())
}

fn dots(canvas: &mut Canvas, panel: &Panel, ends: &[f32], drawn: &[usize], radius: f32, style: LineStyle) {
    for &i in drawn {
        let (x, y) = (f64::from(ends[2 * i]), f64::from(ends[2 * i + 1]));
        if x.is_finite() && y.is_finite() && panel.x.contains(x) && panel.y.contains(y) {
            let (x, y) = panel.place(x, y);
            canvas.disc(x, y, radius, style.colour, style.alpha);
        }
    }
}

/// All paths, piece by piece in time, so that late pieces lie over early ones.
fn lines(
    canvas: &mut Canvas,
    theme: &Theme,
    panel: &Panel,
    plot: &TrajectoryPlot<'_>,
    drawn: &[usize],
    (width, alpha): (f32, f32),
) {
    let stride = 2 * (plot.steps + 1);
    let pieces = PIECES.min(plot.steps);
    let mut line: Vec<(f32, f32)> = Vec::new();
    for piece in 0..pieces {
        let (from, to) = (piece * plot.steps / pieces, (piece + 1) * plot.steps / pieces);
        let colour = theme.time.at((piece as f64 + 0.5) / pieces as f64);
        let style = LineStyle::new(width, colour).alpha(alpha);
        for &i in drawn {
            let path = &plot.trajectories[i * stride..(i + 1) * stride];
            line.clear();
            for point in path[2 * from..2 * to + 2].chunks_exact(2) {
                if !point[0].is_finite() || !point[1].is_finite() {
                    break;
                }
                let at = panel.place(f64::from(point[0]), f64::from(point[1]));
                // Steps much shorter than a pixel only cost time.
                let near = line.last().is_some_and(|l| (l.0 - at.0).abs() + (l.1 - at.1).abs() < 0.08);
                if !near || line.len() < 2 {
                    line.push(at);
                } else if let Some(last) = line.last_mut() {
                    *last = at;
                }
            }
            canvas.polyline(&line, style);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::density::hash;
    use super::*;

    fn picture(trajectories: &[f32], steps: usize) -> Result<RgbImage> {
        let plot = TrajectoryPlot { trajectories, steps, t: (0.0, 1.0), limits: None, title: "Trajectories" };
        trajectories_2d(&plot, &Theme { scale: 1.0, ..Theme::default() })
    }

    #[test]
    fn paths_are_drawn_the_same_each_time() {
        let paths: Vec<f32> = (0..50 * 11 * 2).map(|i| (hash(i) % 1000) as f32 / 500.0).collect();
        let a = picture(&paths, 10).unwrap();
        assert_eq!(a, picture(&paths, 10).unwrap());
        assert_ne!(a, picture(&paths[..22 * 40], 10).unwrap());
    }

    #[test]
    fn degenerate_paths_are_drawn_or_refused_in_words() {
        for values in [&[][..], &[1.0; 44], &[f32::NAN; 44], &[1e30; 22], &[-1e-30; 22]] {
            picture(values, 10).unwrap();
        }
        let mut odd: Vec<f32> = (0..44).map(|i| i as f32).collect();
        odd[6] = f32::INFINITY;
        odd[30] = 1e38;
        picture(&odd, 10).unwrap();
        picture(&[0.5, 0.5, 1.0, 1.0], 0).unwrap();
        assert!(picture(&[1.0; 43], 10).is_err());
        assert!(picture(&[1.0; 4], usize::MAX).is_err());
    }
}
