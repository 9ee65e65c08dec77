//! A velocity field of two dimensions at several times.

use glam::{DVec2, Vec2};
use image::RgbImage;

use super::axis::Scale;
use super::canvas::{Canvas, LineStyle, Rect};
use super::colour::{Colormap, Rgb};
use super::density::{Limits, bilinear, finite_points, hash, quantile, thinned};
use super::panel::{Axes, Cells, Frame, Panel, colour_bar, y_label_width};
use super::samples::Cloud;
use super::theme::Theme;
use super::{short, whole_points};
use crate::error::{Error, Result};

/// The field at one time.
#[derive(Clone, Copy, Debug)]
pub struct FieldPanel<'a> {
    /// The time.
    pub t: f64,
    /// Velocities at the points of [`FieldPlot::grid_points`], [n × n, 2].
    pub velocity: &'a [f32],
    /// Points of the flow at this time, [m, 2], or empty.
    pub points: &'a [f32],
}

/// How a field is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldStyle {
    /// A texture of streaks along the field (line integral convolution), coloured by speed.
    #[default]
    Texture,
    /// Arrows coloured by speed over the density of the points.
    Arrows,
}

/// A velocity field at several times on one grid.
#[derive(Clone, Copy, Debug)]
pub struct FieldPlot<'a> {
    /// The panels, from left to right.
    pub panels: &'a [FieldPanel<'a>],
    /// Grid points per side.
    pub grid: usize,
    /// The window, which the grid spans from edge to edge.
    pub limits: Limits,
    /// How it is drawn.
    pub style: FieldStyle,
    /// What a vector's length is: the colour bar's label.
    pub length: &'a str,
}

impl FieldPlot<'_> {
    /// The places where velocities are wanted, [n × n, 2]: row by row from the lower left corner.
    #[must_use]
    pub fn grid_points(limits: &Limits, grid: usize) -> Vec<f32> {
        let at = |scale: &Scale, i: usize| {
            let share = if grid > 1 { i as f64 / (grid - 1) as f64 } else { 0.5 };
            (scale.lo() + (scale.hi() - scale.lo()) * share) as f32
        };
        (0..grid * grid).flat_map(|i| [at(&limits.x, i % grid), at(&limits.y, i / grid)]).collect()
    }
}

/// At most this many panels in a row.
const PER_ROW: usize = 5;

/// Draws the field at each time with one colour bar for the speed.
///
/// # Errors
/// When there are no panels, or a panel's velocities are not [n × n, 2].
pub fn field_2d(plot: &FieldPlot<'_>, theme: &Theme) -> Result<RgbImage> {
    let (panels, grid, limits) = (plot.panels, plot.grid, &plot.limits);
    if panels.is_empty() || grid == 0 {
        return Err(Error::config(
            "a field without panels cannot be drawn",
            "pass the field at one time at least",
        ));
    }
    let values = grid.saturating_mul(grid).saturating_mul(2);
    for panel in panels {
        if panel.velocity.len() != values {
            return Err(Error::config(
                format!(
                    "the field at t = {} has {} values for a grid of {grid} × {grid}",
                    panel.t,
                    panel.velocity.len()
                ),
                format!("pass {values} values, shape [{grid} × {grid}, 2]"),
            ));
        }
        whole_points(panel.points, 2, "points")?;
    }
    let columns = panels.len().min(PER_ROW);
    let rows = panels.len().div_ceil(columns);
    let width = match columns {
        1 => 260.0,
        2 => 210.0,
        3 => 170.0,
        4 => 138.0,
        _ => 116.0,
    };
    let height = width * limits.aspect();
    let probe = Canvas::new(1.0, 1.0, theme)?;
    let left = theme.margin + y_label_width(&probe, theme, limits.y, height);
    let top = theme.margin + theme.title_size * 1.7;
    let note_room =
        if limits.x.ticks(2, super::Format::Plain).note.is_some() { theme.tick_size * 1.4 } else { 0.0 };
    let foot = theme.tick_length + theme.tick_size + 4.0 + note_room;
    let cells = Cells { origin: (left, top), size: (width, height), gap: (9.0, theme.title_size * 2.2) };
    let extent = cells.extent(columns, rows);
    let bar_x = left + extent.0 + 9.0;
    let mut canvas = Canvas::new(bar_x + 48.0, top + extent.1 + foot + theme.margin, theme)?;

    let speeds = speed_scale(panels);
    for (i, field) in panels.iter().enumerate() {
        let (column, row) = (i % columns, i / columns);
        let panel = Panel::new(&canvas, cells.at(column, row), limits.x, limits.y);
        match plot.style {
            FieldStyle::Texture => texture(&mut canvas, theme, &panel, field, grid, speeds),
            FieldStyle::Arrows => arrows(&mut canvas, theme, &panel, field, grid, limits, speeds),
        }
        let bad = field.velocity.chunks_exact(2).filter(|v| !(v[0].is_finite() && v[1].is_finite())).count();
        let axes = Axes {
            x_ticks: row + 1 == rows || i + columns >= panels.len(),
            y_ticks: column == 0,
            title: format!("t = {}", short(field.t, 3)),
            subtitle: if bad > 0 { format!("{bad} not finite") } else { String::new() },
            frame: Frame::Box,
            ..Axes::default()
        };
        panel.axes(&mut canvas, theme, &axes);
    }
    let bar = Rect::new(bar_x, top, 7.0, extent.1);
    let map = if plot.style == FieldStyle::Arrows { arrow_colours(theme) } else { theme.speed };
    colour_bar(&mut canvas, theme, bar, &map, speeds, plot.length);
    Ok(canvas.finish())
}

/// From no speed to the highest but for a few grid points, over all panels; logarithmic above
/// the median, because fields towards t = 1 have few, very fast places.
pub(crate) fn speed_scale(panels: &[FieldPanel<'_>]) -> Scale {
    let speeds = panels.iter().flat_map(|p| p.velocity.chunks_exact(2)).map(|v| v[0].hypot(v[1]));
    let mut speeds: Vec<f32> = speeds.filter(|s| s.is_finite()).collect();
    let (middle, top) = (f64::from(quantile(&mut speeds, 0.5)), f64::from(quantile(&mut speeds, 0.99)));
    match (middle > 0.0, top > 0.0) {
        (true, true) if top > 6.0 * middle => Scale::log1p(top, middle),
        (_, true) => Scale::linear(0.0, top),
        _ => Scale::linear(0.0, 1.0),
    }
}

/// A velocity field in grid coordinates: what lies between the grid points is interpolated.
pub(crate) struct Field {
    n: usize,
    u: Vec<f32>,
    v: Vec<f32>,
}

impl Field {
    pub(crate) fn new(velocity: &[f32], n: usize) -> Self {
        let part = |k: usize| {
            let values = velocity.iter().skip(k).step_by(2);
            values.map(|v| if v.is_finite() { *v } else { 0.0 }).collect()
        };
        Self { n, u: part(0), v: part(1) }
    }

    /// The velocity at a place of the window, both coordinates 0…1.
    pub(crate) fn at(&self, x: f64, y: f64) -> DVec2 {
        let (x, y) = (x * (self.n - 1) as f64, y * (self.n - 1) as f64);
        let part = |values| f64::from(bilinear(values, self.n, self.n, x, y));
        DVec2::new(part(&self.u), part(&self.v))
    }
}

/// Line integral convolution: noise, blurred along the field lines (Cabral and Leedom, 1993).
fn texture(
    canvas: &mut Canvas,
    theme: &Theme,
    panel: &Panel,
    field: &FieldPanel<'_>,
    grid: usize,
    speeds: Scale,
) {
    let (width, height) = canvas.pixels_of(panel.rect);
    let velocity = Field::new(field.velocity, grid);
    // Cells of the texture: streaks stay visible at the size the picture is printed.
    let cell = f64::from(theme.scale) * 0.5;
    let (columns, rows) = (((width as f64 / cell) as usize).max(2), ((height as f64 / cell) as usize).max(2));
    // Velocities in cells of the texture per unit of time, so that both axes count alike.
    let size = DVec2::new(columns as f64, rows as f64);
    let stretch = size / DVec2::new(panel.x.hi() - panel.x.lo(), panel.y.hi() - panel.y.lo());
    let mut flow = vec![Vec2::ZERO; columns * rows];
    for (i, cell) in flow.iter_mut().enumerate() {
        let (x, y) = ((i % columns) as f64 + 0.5, (i / columns) as f64 + 0.5);
        let v = stretch * velocity.at(x / size.x, y / size.y);
        *cell = v.normalize_or_zero().as_vec2();
    }
    let noise: Vec<f32> =
        (0..columns * rows).map(|i| (hash(i as u64) >> 40) as f32 / 2f32.powi(24)).collect();
    let streaks = convolve(&flow, &noise, columns, rows);
    let table = theme.speed.table::<1024>();
    canvas.pixels(panel.rect, |column, row| {
        let (x, y) = ((column as f64 + 0.5) / width as f64, 1.0 - (row as f64 + 0.5) / height as f64);
        let speed = speeds.unit(velocity.at(x, y).length()).clamp(0.0, 1.0);
        let base = table[(speed * 1023.0) as usize];
        let light = bilinear(&streaks, columns, rows, x * columns as f64 - 0.5, y * rows as f64 - 0.5);
        Some(lit(base, light))
    });
    let most = 1500;
    let points: Vec<(f64, f64)> = finite_points(field.points).collect();
    canvas.clipped(panel.rect, |layer| {
        for i in thinned(points.len(), most) {
            let (x, y) = panel.place(points[i].0, points[i].1);
            layer.disc(x, y, 0.75, Rgb(0x10, 0x10, 0x18), 0.35);
            layer.disc(x, y, 0.5, Rgb::WHITE, 0.9);
        }
    });
}

/// A colour made darker or lighter by a streak, −1…1.
pub(crate) fn lit(colour: Rgb, light: f32) -> Rgb {
    if light < 0.0 { colour.mix(Rgb(0, 0, 0), -light * 0.42) } else { colour.mix(Rgb::WHITE, light * 0.5) }
}

/// The mean of `noise` along the field line through each cell, stretched to about −1…1.
fn convolve(flow: &[Vec2], noise: &[f32], columns: usize, rows: usize) -> Vec<f32> {
    const REACH: i32 = 16;
    let mut streaks = vec![0f32; columns * rows];
    for (i, out) in streaks.iter_mut().enumerate() {
        let (mut sum, mut weights) = (noise[i], 1.0f32);
        for sign in [-1.0f32, 1.0] {
            let mut place = Vec2::new((i % columns) as f32 + 0.5, (i / columns) as f32 + 0.5);
            let mut at = i;
            for step in 1..=REACH {
                place += sign * flow[at];
                if place.min_element() < 0.0 || place.x >= columns as f32 || place.y >= rows as f32 {
                    break;
                }
                at = (place.y as usize) * columns + place.x as usize;
                // A Hann window: no ends of streaks stand out.
                let weight = 0.5 + 0.5 * (std::f32::consts::PI * step as f32 / (REACH + 1) as f32).cos();
                sum += weight * noise[at];
                weights += weight;
            }
        }
        *out = sum / weights;
    }
    let mean = streaks.iter().sum::<f32>() / streaks.len() as f32;
    let spread = (streaks.iter().map(|s| (s - mean).powi(2)).sum::<f32>() / streaks.len() as f32).sqrt();
    for (streak, v) in streaks.iter_mut().zip(flow) {
        // Where nothing moves there are no streaks, only the colour.
        *streak = if *v == Vec2::ZERO {
            0.0
        } else {
            ((*streak - mean) / (2.2 * spread.max(1e-6))).clamp(-1.0, 1.0)
        };
    }
    streaks
}

/// Arrows of one length scale in all panels, over the density of the points.
pub(crate) fn arrows(
    canvas: &mut Canvas,
    theme: &Theme,
    panel: &Panel,
    field: &FieldPanel<'_>,
    grid: usize,
    limits: &Limits,
    speeds: Scale,
) {
    if !field.points.is_empty() {
        under(canvas, theme, panel, field.points, limits);
    }
    let map = arrow_colours(theme);
    let velocity = Field::new(field.velocity, grid);
    let rect = panel.rect;
    let spacing = (rect.w / 14.0).clamp(8.5, 11.5);
    let across = ((rect.w / spacing) as usize).clamp(6, 24);
    let down = ((rect.h / spacing) as usize).clamp(6, 24);
    let cell = (rect.w / across as f32).min(rect.h / down as f32);
    // upwards in the plot is downwards in the picture
    let size = DVec2::new(rect.w.into(), -f64::from(rect.h));
    let stretch = size / DVec2::new(panel.x.hi() - panel.x.lo(), panel.y.hi() - panel.y.lo());
    canvas.clipped(rect, |layer| {
        for i in 0..across * down {
            let (x, y) =
                (((i % across) as f64 + 0.5) / across as f64, ((i / across) as f64 + 0.5) / down as f64);
            let v = velocity.at(x, y);
            let speed = speeds.unit(v.length()).clamp(0.0, 1.0);
            let direction = (stretch * v).normalize_or_zero().as_vec2();
            if speed <= 0.0 || direction == Vec2::ZERO {
                continue;
            }
            // The square root keeps slow arrows readable.
            let size = cell * (0.3 + 0.65 * speed.sqrt() as f32);
            let centre = Vec2::new(rect.x + x as f32 * rect.w, rect.bottom() - y as f32 * rect.h);
            arrow(layer, centre, direction, size, map.at(speed));
        }
    });
}

/// The speed's colours without those that thin arrows would lose on the theme's background.
pub(crate) fn arrow_colours(theme: &Theme) -> Colormap {
    theme.thin(theme.speed)
}

/// The points, grey and faint, below the arrows.
fn under(canvas: &mut Canvas, theme: &Theme, panel: &Panel, points: &[f32], limits: &Limits) {
    let grey = theme.source.mix(theme.background, 0.35);
    if points.len() > 40_000 {
        let faint = Theme { density: Colormap::new(colorous::GREYS).part(0.0, 0.5), ..theme.clone() };
        let cloud = Cloud::new(points, limits);
        let top = if cloud.top() > 0.0 { cloud.top() } else { 1.0 };
        cloud.draw(canvas, &faint, panel, limits, Scale::log1p(top, top / 3.0));
        return;
    }
    let points: Vec<(f64, f64)> = finite_points(points).filter(|p| limits.contains(p.0, p.1)).collect();
    canvas.clipped(panel.rect, |layer| {
        for i in thinned(points.len(), 4000) {
            let (x, y) = panel.place(points[i].0, points[i].1);
            layer.disc(x, y, 0.7, grey, 0.8);
        }
    });
}

/// An arrow of length `size` centred at a place.
fn arrow(canvas: &mut Canvas, centre: Vec2, direction: Vec2, size: f32, colour: Rgb) {
    let head = (0.36 * size).clamp(1.3, 2.6);
    let (half, wing) = (size / 2.0, head * 0.42);
    let tip = centre + half * direction;
    let neck = tip - head * direction;
    let tail = centre - half * direction;
    let across = wing * direction.perp();
    canvas.polyline(&[tail.into(), (neck + 0.3 * direction).into()], LineStyle::new(0.75, colour));
    canvas.polygon(&[tip.into(), (neck + across).into(), (neck - across).into()], colour, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swirl(n: usize) -> Vec<f32> {
        let limits = Limits::new((-1.0, 1.0), (-1.0, 1.0));
        FieldPlot::grid_points(&limits, n).chunks_exact(2).flat_map(|p| [-p[1], p[0]]).collect()
    }

    #[test]
    fn grid_points_span_the_window() {
        let limits = Limits::new((-1.0, 1.0), (0.0, 4.0));
        let points = FieldPlot::grid_points(&limits, 3);
        assert_eq!(points[..6], [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(points[16..], [1.0, 4.0]);
        assert_eq!(FieldPlot::grid_points(&limits, 1), [0.0, 2.0]);
    }

    #[test]
    fn streaks_follow_the_field() {
        let n = 64;
        let noise: Vec<f32> = (0..n * n).map(|i| (hash(i as u64) >> 40) as f32 / 2f32.powi(24)).collect();
        let streaks = convolve(&vec![Vec2::X; n * n], &noise, n, n);
        let difference = |step: usize| -> f32 {
            (0..n * (n - 1)).filter(|i| i % n < n - 1).map(|i| (streaks[i] - streaks[i + step]).abs()).sum()
        };
        assert!(difference(1) * 3.0 < difference(n), "along {} across {}", difference(1), difference(n));
        assert!(convolve(&vec![Vec2::ZERO; n * n], &noise, n, n).iter().all(|s| *s == 0.0));
    }

    #[test]
    fn fields_are_drawn_the_same_each_time_whatever_they_hold() {
        let theme = Theme { scale: 1.0, ..Theme::default() };
        let limits = Limits::new((-1.0, 1.0), (-1.0, 1.0));
        let mut odd = swirl(5);
        odd[..4].copy_from_slice(&[f32::NAN, f32::INFINITY, 1e30, -1e-30]);
        let fields = [
            swirl(5),
            vec![0.0; 50],
            odd,
            vec![1e30; 50],
            vec![f32::NAN; 50],
            vec![1e-38; 50],
            vec![f32::MAX; 50],
        ];
        for velocity in &fields {
            for style in [FieldStyle::Texture, FieldStyle::Arrows] {
                let points = [0.5, 0.5, f32::NAN, 1.0, 1e30, 0.0];
                let panels = [0.0, 0.25, 0.5, 0.75, 1.0, f64::NAN].map(|t| FieldPanel {
                    t,
                    velocity,
                    points: &points,
                });
                let plot = FieldPlot { panels: &panels, grid: 5, limits, style, length: "speed" };
                assert_eq!(field_2d(&plot, &theme).unwrap(), field_2d(&plot, &theme).unwrap());
                let one = FieldPlot { panels: &panels[..1], ..plot };
                assert!(field_2d(&one, &theme).unwrap().width() > 260);
            }
        }
        let single = [FieldPanel { t: 0.5, velocity: &[1.0, 2.0], points: &[] }];
        field_2d(
            &FieldPlot { panels: &single, grid: 1, limits, style: FieldStyle::Texture, length: "speed" },
            &theme,
        )
        .unwrap();
    }

    #[test]
    fn wrong_sizes_are_refused_in_words() {
        let limits = Limits::new((-1.0, 1.0), (-1.0, 1.0));
        let panels = [FieldPanel { t: 0.5, velocity: &[0.0; 7], points: &[] }];
        let plot =
            FieldPlot { panels: &panels, grid: 2, limits, style: FieldStyle::Texture, length: "speed" };
        let message = field_2d(&plot, &Theme::default()).unwrap_err().to_string();
        assert!(message.contains("t = 0.5 has 7 values") && message.contains("8 values"), "{message}");
        assert!(field_2d(&FieldPlot { panels: &[], ..plot }, &Theme::default()).is_err());
    }
}
