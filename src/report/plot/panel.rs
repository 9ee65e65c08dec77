//! The parts that pictures are made of: panels with axes, colour bars, legends, rows of panels.

use super::axis::{Format, Scale, Ticks};
use super::canvas::{Align, Canvas, LineStyle, Rect, TextStyle};
use super::colour::{Colormap, Rgb};
use super::theme::Theme;

/// A rectangle of the picture that shows a window of the numbers.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    /// Where it is.
    pub rect: Rect,
    /// What it shows from left to right.
    pub x: Scale,
    /// What it shows from bottom to top.
    pub y: Scale,
}

/// What is written around a panel.
#[derive(Clone, Debug, Default)]
pub struct Axes {
    /// Ticks and labels below the panel.
    pub x_ticks: bool,
    /// Ticks and labels left of the panel.
    pub y_ticks: bool,
    /// How the labels below are written.
    pub x_format: Format,
    /// The name below the tick labels.
    pub x_name: String,
    /// The name left of the tick labels.
    pub y_name: String,
    /// Bold, above the panel on the left.
    pub title: String,
    /// Light, beside the title.
    pub subtitle: String,
    /// Which sides have a line.
    pub frame: Frame,
    /// The room that the tick labels on the left get before the name, for panels whose names
    /// should line up; 0 takes what they need.
    pub y_room: f32,
}

/// The sides of a panel that have a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frame {
    /// All four: images and point clouds.
    Box,
    /// The left and the lower one: curves.
    #[default]
    Corner,
    /// The lower one: histograms without a scale.
    Bottom,
}

/// Distance between ticks in points that is aimed at.
const TICK_ROOM: f32 = 22.0;

impl Panel {
    /// A panel whose edges lie on whole pixels of `canvas`.
    #[must_use]
    pub fn new(canvas: &Canvas, rect: Rect, x: Scale, y: Scale) -> Self {
        Self { rect: canvas.snap(rect), x, y }
    }

    /// Where a pair of numbers is drawn. What lies far outside is drawn a little outside instead,
    /// so that the drawing code never meets absurd coordinates.
    #[must_use]
    pub fn place(&self, x: f64, y: f64) -> (f32, f32) {
        let hold = |unit: f64| if unit.is_nan() { -20.0 } else { unit.clamp(-20.0, 21.0) } as f32;
        let (u, v) = (hold(self.x.unit(x)), hold(self.y.unit(y)));
        (self.rect.x + u * self.rect.w, self.rect.bottom() - v * self.rect.h)
    }

    /// Thin lines across the panel at the labelled ticks; call it before drawing the content.
    pub fn grid(&self, canvas: &mut Canvas, theme: &Theme, axes: &Axes) {
        let style = LineStyle::new(theme.hairline, theme.grid);
        if axes.x_ticks {
            for (value, _) in self.x_ticks(canvas, theme, axes.x_format).major {
                let (x, _) = self.place(value, self.y.lo());
                canvas.polyline(&[(x, self.rect.y), (x, self.rect.bottom())], style);
            }
        }
        if axes.y_ticks {
            for (value, _) in y_ticks(self.y, self.rect.h).major {
                let (_, y) = self.place(self.x.lo(), value);
                canvas.polyline(&[(self.rect.x, y), (self.rect.right(), y)], style);
            }
        }
    }

    /// The ticks below: as many as leave room between their labels.
    fn x_ticks(&self, canvas: &Canvas, theme: &Theme, format: Format) -> Ticks {
        let style = TextStyle::new(theme.tick_size, theme.muted);
        let most = tick_count(self.rect.w);
        let fits = |ticks: &Ticks| {
            let taken: f32 = ticks.major.iter().map(|(_, text)| canvas.text_width(text, style) + 8.0).sum();
            taken <= self.rect.w
        };
        let choices = (1..=most).rev().map(|most| self.x.ticks(most, format));
        choices.into_iter().find(fits).unwrap_or_else(|| self.x.ticks(1, format))
    }

    /// Draws frame, ticks, labels and titles; call it after drawing the content.
    pub fn axes(&self, canvas: &mut Canvas, theme: &Theme, axes: &Axes) {
        let rect = self.rect;
        let frame = LineStyle::new(theme.hairline, theme.muted);
        let corner = [(rect.x, rect.y), (rect.x, rect.bottom()), (rect.right(), rect.bottom())];
        match axes.frame {
            Frame::Box => canvas.stroke_rect(rect, frame),
            Frame::Corner => canvas.polyline(&corner, frame),
            Frame::Bottom => canvas.polyline(&corner[1..], frame),
        }
        if axes.x_ticks {
            self.draw_x_ticks(canvas, theme, axes);
        }
        let label_width = if axes.y_ticks { self.draw_y_ticks(canvas, theme) } else { 0.0 };
        let name = TextStyle::new(theme.label_size, theme.ink).align(Align::Middle);
        if !axes.x_name.is_empty() {
            let below = if axes.x_ticks { theme.tick_length + theme.tick_size + 3.0 } else { 0.0 };
            let text = canvas.fitted(&axes.x_name, name, rect.w);
            canvas.text(rect.x + rect.w / 2.0, rect.bottom() + below + theme.label_size * 0.8, &text, name);
        }
        if !axes.y_name.is_empty() {
            let labels = if axes.y_ticks { theme.tick_length + 5.0 + label_width } else { 4.0 };
            let left = if axes.y_room > 0.0 { axes.y_room + 2.0 } else { labels };
            let text = canvas.fitted(&axes.y_name, name, rect.h);
            let x = rect.x - left - theme.label_size / 2.0;
            canvas.text(x, rect.y + rect.h / 2.0, &text, name.upwards());
        }
        self.title_only(canvas, theme, axes);
    }

    /// Draws only the title and the subtitle.
    pub fn title_only(&self, canvas: &mut Canvas, theme: &Theme, axes: &Axes) {
        let y = self.rect.y - 0.8 * theme.title_size;
        let style = TextStyle::new(theme.title_size, theme.ink).bold();
        let title = canvas.fitted(&axes.title, style, self.rect.w);
        canvas.text(self.rect.x, y, &title, style);
        let used = if title.is_empty() { 0.0 } else { canvas.text_width(&title, style) + 6.0 };
        let style = TextStyle::new(theme.tick_size, theme.muted);
        if self.rect.w > used + 20.0 {
            let subtitle = canvas.fitted(&axes.subtitle, style, self.rect.w - used);
            canvas.text(self.rect.x + used, y + 0.4, &subtitle, style);
        }
    }

    fn draw_x_ticks(&self, canvas: &mut Canvas, theme: &Theme, axes: &Axes) {
        let frame = LineStyle::new(theme.hairline, theme.muted);
        let label = TextStyle::new(theme.tick_size, theme.muted).align(Align::Middle);
        let ticks = self.x_ticks(canvas, theme, axes.x_format);
        let bottom = self.rect.bottom();
        for &value in &ticks.minor {
            let (x, _) = self.place(value, self.y.lo());
            canvas.polyline(&[(x, bottom), (x, bottom + theme.tick_length * 0.5)], frame);
        }
        let y = bottom + theme.tick_length + 0.8 * theme.tick_size;
        for (value, text) in &ticks.major {
            let (x, _) = self.place(*value, self.y.lo());
            canvas.polyline(&[(x, bottom), (x, bottom + theme.tick_length)], frame);
            // A label at the edge moves inwards, so that it cannot touch those of the panel beside it.
            let half = 0.5 * canvas.text_width(text, label);
            let (first, last) = (self.rect.x + half - 3.0, self.rect.right() - half + 3.0);
            canvas.text(x.max(first).min(last.max(first)), y, text, label);
        }
        if let Some(note) = ticks.note {
            let below = y + 1.3 * theme.tick_size;
            canvas.text(self.rect.right(), below, &note, label.align(Align::End));
        }
    }

    /// Draws the ticks on the left; returns the width of the widest label.
    fn draw_y_ticks(&self, canvas: &mut Canvas, theme: &Theme) -> f32 {
        let frame = LineStyle::new(theme.hairline, theme.muted);
        let label = TextStyle::new(theme.tick_size, theme.muted).align(Align::End);
        let ticks = y_ticks(self.y, self.rect.h);
        for &value in &ticks.minor {
            let (_, y) = self.place(self.x.lo(), value);
            canvas.polyline(&[(self.rect.x - theme.tick_length * 0.5, y), (self.rect.x, y)], frame);
        }
        let mut widest = 0f32;
        for (value, text) in &ticks.major {
            let (_, y) = self.place(self.x.lo(), *value);
            canvas.polyline(&[(self.rect.x - theme.tick_length, y), (self.rect.x, y)], frame);
            // The note stands above the uppermost label's place.
            if ticks.note.is_none() || y > self.rect.y + 0.5 * theme.tick_size {
                canvas.text(self.rect.x - theme.tick_length - 2.0, y, text, label);
            }
            widest = widest.max(canvas.text_width(text, label));
        }
        if let Some(note) = ticks.note {
            let x = self.rect.x - theme.tick_length - 2.0;
            canvas.text(x, self.rect.y - 0.7 * theme.tick_size, &note, label);
        }
        widest
    }
}

/// The ticks of a vertical scale of this height.
fn y_ticks(scale: Scale, height: f32) -> Ticks {
    scale.ticks(tick_count(height), Format::Plain)
}

fn tick_count(length: f32) -> usize {
    ((length / TICK_ROOM) as usize).clamp(3, 7)
}

/// The width in points that the tick labels of a y axis take, its name not counted.
#[must_use]
pub fn y_label_width(canvas: &Canvas, theme: &Theme, scale: Scale, height: f32) -> f32 {
    let style = TextStyle::new(theme.tick_size, theme.muted);
    let ticks = y_ticks(scale, height);
    let labels = ticks.major.iter().map(|(_, text)| text.as_str()).chain(ticks.note.as_deref());
    labels.map(|text| canvas.text_width(text, style)).fold(0.0, f32::max) + theme.tick_length + 4.0
}

/// Draws a vertical colour bar with ticks and a name on its right.
pub fn colour_bar(canvas: &mut Canvas, theme: &Theme, rect: Rect, map: &Colormap, scale: Scale, name: &str) {
    let rect = canvas.snap(rect);
    let table = map.table::<512>();
    let (_, height) = canvas.pixels_of(rect);
    canvas.pixels(rect, |_, row| Some(table[(height - 1 - row) * 511 / (height - 1).max(1)]));
    let frame = LineStyle::new(theme.hairline, theme.muted);
    canvas.stroke_rect(rect, frame);
    let label = TextStyle::new(theme.tick_size, theme.muted);
    let ticks = y_ticks(scale, rect.h);
    let mut widest = 0f32;
    for (value, text) in &ticks.major {
        let y = rect.bottom() - scale.unit(*value) as f32 * rect.h;
        canvas.polyline(&[(rect.right(), y), (rect.right() + theme.tick_length, y)], frame);
        canvas.text(rect.right() + theme.tick_length + 2.0, y, text, label);
        widest = widest.max(canvas.text_width(text, label));
    }
    if let Some(note) = &ticks.note {
        canvas.text(rect.x, rect.y - 0.7 * theme.tick_size, note, label);
    }
    let name_style = TextStyle::new(theme.label_size, theme.ink).align(Align::Middle).upwards();
    let x = rect.right() + theme.tick_length + 6.0 + widest + theme.label_size / 2.0;
    canvas.text(x, rect.y + rect.h / 2.0, name, name_style);
}

/// What stands for an entry in a legend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mark {
    /// A piece of a line: width and opacity.
    Line(f32, f32),
    /// A piece of a dashed line.
    Dashed(f32),
    /// A disc of this radius.
    Disc(f32),
    /// A small filled square of this opacity.
    Patch(f32),
}

/// An entry of a legend.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its sign.
    pub mark: Mark,
    /// The sign's colour.
    pub colour: Rgb,
    /// Its name.
    pub label: String,
}

impl Entry {
    /// An entry from its parts.
    pub fn new(mark: Mark, colour: Rgb, label: impl Into<String>) -> Self {
        Self { mark, colour, label: label.into() }
    }
}

const MARK_WIDTH: f32 = 12.0;
const MARK_GAP: f32 = 4.0;
const ENTRY_GAP: f32 = 12.0;

/// Draws a legend in one line that ends at (`right`, `y`); returns its width.
pub fn legend_row(canvas: &mut Canvas, theme: &Theme, right: f32, y: f32, entries: &[Entry]) -> f32 {
    let style = TextStyle::new(theme.label_size, theme.ink);
    let widths: Vec<f32> =
        entries.iter().map(|e| mark_width(e.mark) + MARK_GAP + canvas.text_width(&e.label, style)).collect();
    let total = widths.iter().sum::<f32>() + ENTRY_GAP * (entries.len().max(1) - 1) as f32;
    let mut x = right - total;
    for (entry, width) in entries.iter().zip(widths) {
        draw_entry(canvas, theme, x, y, entry);
        x += width + ENTRY_GAP;
    }
    total
}

/// Draws a legend in one column whose first line is centred at `y`.
pub fn legend_column(canvas: &mut Canvas, theme: &Theme, left: f32, y: f32, entries: &[Entry]) {
    for (i, entry) in entries.iter().enumerate() {
        draw_entry(canvas, theme, left, y + i as f32 * theme.label_size * 1.6, entry);
    }
}

fn mark_width(mark: Mark) -> f32 {
    match mark {
        Mark::Line(..) | Mark::Dashed(_) => MARK_WIDTH,
        Mark::Disc(radius) => (2.0 * radius).max(5.0),
        Mark::Patch(_) => 7.0,
    }
}

fn draw_entry(canvas: &mut Canvas, theme: &Theme, x: f32, y: f32, entry: &Entry) {
    let width = mark_width(entry.mark);
    match entry.mark {
        Mark::Line(thickness, alpha) => {
            canvas.polyline(&[(x, y), (x + width, y)], LineStyle::new(thickness, entry.colour).alpha(alpha));
        }
        Mark::Dashed(thickness) => {
            let style = LineStyle::new(thickness, entry.colour).dashed(3.0, 2.0);
            canvas.polyline(&[(x, y), (x + width, y)], style);
        }
        Mark::Disc(radius) => canvas.disc(x + width / 2.0, y, radius, entry.colour, 1.0),
        Mark::Patch(alpha) => {
            canvas.fill_rect(Rect::new(x, y - 3.0, 7.0, 6.0), entry.colour, alpha);
            canvas.stroke_rect(Rect::new(x, y - 3.0, 7.0, 6.0), LineStyle::new(0.7, entry.colour));
        }
    }
    let style = TextStyle::new(theme.label_size, theme.ink);
    canvas.text(x + width + MARK_GAP, y, &entry.label, style);
}

/// A grid of equal cells.
#[derive(Clone, Copy, Debug)]
pub struct Cells {
    /// The left upper corner of the first cell.
    pub origin: (f32, f32),
    /// Size of a cell.
    pub size: (f32, f32),
    /// Space between cells.
    pub gap: (f32, f32),
}

impl Cells {
    /// The cell at a column and a row, both from 0.
    #[must_use]
    pub fn at(&self, column: usize, row: usize) -> Rect {
        Rect::new(
            self.origin.0 + column as f32 * (self.size.0 + self.gap.0),
            self.origin.1 + row as f32 * (self.size.1 + self.gap.1),
            self.size.0,
            self.size.1,
        )
    }

    /// The extent of `columns` × `rows` cells.
    #[must_use]
    pub fn extent(&self, columns: usize, rows: usize) -> (f32, f32) {
        let last = self.at(columns.max(1) - 1, rows.max(1) - 1);
        (last.right() - self.origin.0, last.bottom() - self.origin.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_scales_and_stay_bounded() {
        let canvas = Canvas::new(100.0, 100.0, &Theme::default()).unwrap();
        let rect = Rect::new(10.0, 10.0, 80.0, 80.0);
        let panel = Panel::new(&canvas, rect, Scale::linear(0.0, 1.0), Scale::linear(0.0, 2.0));
        assert_eq!(panel.place(0.0, 0.0), (10.0, 90.0));
        assert_eq!(panel.place(1.0, 2.0), (90.0, 10.0));
        for bad in [f64::NAN, f64::INFINITY, -1e300] {
            let (x, y) = panel.place(bad, bad);
            assert!(x.abs() < 5000.0 && y.abs() < 5000.0);
        }
    }

    #[test]
    fn cells_tile_without_overlap() {
        let cells = Cells { origin: (5.0, 7.0), size: (10.0, 20.0), gap: (2.0, 3.0) };
        assert_eq!(cells.at(1, 2), Rect::new(17.0, 53.0, 10.0, 20.0));
        assert_eq!(cells.extent(2, 3), (22.0, 66.0));
    }
}
