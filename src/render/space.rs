//! What a picture shows of three columns: a box around the data, and a camera that goes around it.
#![allow(clippy::cast_possible_truncation, reason = "pictures need no more than float32")]

use glam::camera::rh::proj::opengl::perspective;
use glam::camera::rh::view::look_at_mat4;
use glam::{Mat4, Vec3, Vec4};

use crate::data::default_columns;
use crate::model::Model;
use crate::report::plot::{Align, Canvas, Format, LineStyle, Panel, Scale, TextStyle, Theme, robust_range};
use crate::{Error, Result};

/// The camera's distance from the middle of the box, whose half side is 1.
const DISTANCE: f32 = 6.2;
/// Its height, as an angle in turns.
const HEIGHT: f32 = 0.055;
/// What it sees, as an angle in turns.
const SIGHT: f32 = 0.09;
/// Points between the numbers of an axis, at least.
const TICK_ROOM: f32 = 24.0;
/// Columns whose ranges differ by less are drawn to one scale.
const ONE_SCALE: f32 = 4.0;

/// Three columns of a model and a box around them. In data units.
#[derive(Clone, Debug)]
pub struct Space {
    /// x, y and z.
    pub columns: [usize; 3],
    /// What they are called.
    pub names: [String; 3],
    middle: Vec3,
    half: Vec3,
}

impl Space {
    /// The box around points `[n, d]`, in data units.
    ///
    /// # Errors
    /// [`Error::Config`] if the model does not have these columns, or one is there twice.
    pub fn new(model: &Model, columns: [usize; 3], points: &[f32]) -> Result<Self> {
        let dim = model.architecture.dim;
        let [x, y, z] = columns;
        if let Some(column) = columns.iter().find(|&&column| column >= dim) {
            return Err(Error::config(
                format!("there is no column {column}: the model has {dim}, counted from 0"),
                "choose others with --columns",
            ));
        }
        if x == y || y == z || x == z {
            return Err(Error::config("a column of --columns is there twice", "choose three different ones"));
        }
        let all = if model.columns.len() == dim { model.columns.clone() } else { default_columns(dim) };
        let range = |column: usize| {
            let (lo, hi) =
                robust_range(points.iter().skip(column).step_by(dim).copied()).unwrap_or((-1.0, 1.0));
            let half = ((hi - lo) / 2.0).max(1e-6 * hi.abs().max(1e-30)) as f32;
            (f64::midpoint(lo, hi) as f32, 1.02 * half)
        };
        let ranges = columns.map(range);
        let middle = Vec3::from_array(ranges.map(|range| range.0));
        let mut half = Vec3::from_array(ranges.map(|range| range.1));
        if half.max_element() < ONE_SCALE * half.min_element() {
            half = Vec3::splat(half.max_element());
        }
        Ok(Self { columns, names: columns.map(|column| all[column].clone()), middle, half })
    }

    /// From data units to clip space, with the camera turned by so many turns around the third axis.
    #[must_use]
    pub fn camera(&self, turn: f64) -> Mat4 {
        let (angle, height) = ((turn.fract() as f32) * std::f32::consts::TAU, HEIGHT * std::f32::consts::TAU);
        let eye = DISTANCE * Vec3::new(angle.cos() * height.cos(), angle.sin() * height.cos(), height.sin());
        perspective(SIGHT * std::f32::consts::TAU, 1.0, 0.1, 100.0)
            * look_at_mat4(eye, Vec3::ZERO, Vec3::Z)
            * Mat4::from_scale(self.half.recip())
            * Mat4::from_translation(-self.middle)
    }

    /// How far from the camera the nearest and the farthest things in the box are.
    #[must_use]
    pub fn depths(&self) -> [f32; 2] {
        [DISTANCE - 1.4, DISTANCE + 1.4]
    }

    /// Draws the edges of the box, the far ones lighter, and the numbers and names of its axes.
    pub(crate) fn frame(&self, canvas: &mut Canvas, theme: &Theme, panel: &Panel, turn: f64) {
        let camera = self.camera(turn);
        let of = |i: usize| {
            let sign = |bit: usize| if i >> bit & 1 == 1 { 1.0 } else { -1.0 };
            self.middle + self.half * Vec3::new(sign(0), sign(1), sign(2))
        };
        let corner = |i: usize| camera * Vec4::from((of(i), 1.0));
        let place = |q: Vec4| panel.place(f64::from(q.x / q.w), f64::from(q.y / q.w));
        for i in 0..8 {
            for bit in (0..3).filter(|bit| i >> bit & 1 == 0) {
                let (a, b) = (corner(i), corner(i | 1 << bit));
                let far = f32::midpoint(a.w, b.w) > DISTANCE;
                let colour = if far { theme.grid } else { theme.source };
                canvas.polyline(&[place(a), place(b)], LineStyle::new(theme.hairline, colour));
            }
        }
        // Each axis has its numbers and its name at the edge that is nearest to the camera among the lower ones; the third, at an upright one.
        let lower = |bit: usize| {
            (0..8)
                .filter(move |i| i >> bit & 1 == 0 && (bit == 2 || i >> 2 & 1 == 0))
                .map(move |i| (i, i | 1 << bit))
        };
        let label = TextStyle::new(theme.tick_size, theme.muted).align(Align::Middle);
        let style = TextStyle::new(theme.label_size, theme.ink).align(Align::Middle);
        let origin = place(camera * Vec4::from((self.middle, 1.0)));
        for (bit, name) in self.names.iter().enumerate() {
            let middle = |(a, b): (usize, usize)| (corner(a) + corner(b)) / 2.0;
            let chosen = if bit == 2 {
                // The upright edge on the left of the picture.
                lower(bit).min_by(|&a, &b| place(middle(a)).0.total_cmp(&place(middle(b)).0))
            } else {
                lower(bit).min_by(|&a, &b| middle(a).w.total_cmp(&middle(b).w))
            };
            let Some((a, b)) = chosen else { continue };
            let (from, to) = (place(corner(a)), place(corner(b)));
            let (x, y) = place(middle((a, b)));
            let length = (to.0 - from.0).hypot(to.1 - from.1).max(1e-3);
            // Across the edge, away from the middle of the box.
            let (nx, ny) = ((to.1 - from.1) / length, (from.0 - to.0) / length);
            let side = ((x - origin.0) * nx + (y - origin.1) * ny).signum();
            let (nx, ny) = (side * nx, side * ny);
            let away = |x: f32, y: f32, by: f32| (x + by * nx, y + by * ny);
            // Half of what a label takes in that direction.
            let half = |width: f32, height: f32| (nx * width).abs() / 2.0 + (ny * height).abs() / 2.0;
            let (lo, hi) = (self.middle[bit] - self.half[bit], self.middle[bit] + self.half[bit]);
            let scale = Scale::linear(f64::from(lo), f64::from(hi));
            #[allow(clippy::cast_sign_loss, reason = "a length")]
            let most = ((length / TICK_ROOM) as usize).clamp(2, 5);
            let ticks = scale.ticks(most, Format::Plain);
            let mut taken = theme.tick_length;
            // An edge that is seen from its end has no room for numbers.
            let room = length > 1.5 * TICK_ROOM;
            for (value, text) in ticks.major.iter().filter(|_| room) {
                let mut at = of(a);
                at[bit] = *value as f32;
                let (x, y) = place(camera * Vec4::from((at, 1.0)));
                let line = LineStyle::new(theme.hairline, theme.muted);
                canvas.polyline(&[(x, y), away(x, y, theme.tick_length)], line);
                let by = theme.tick_length + 2.0 + half(canvas.text_width(text, label), theme.tick_size);
                let (x, y) = away(x, y, by);
                canvas.text(x, y, text, label);
                taken = taken.max(by + half(canvas.text_width(text, label), theme.tick_size));
            }
            let name = match &ticks.note {
                Some(note) if room => format!("{name} ({note})"),
                _ => name.clone(),
            };
            let (x, y) = away(x, y, taken + 2.0 + half(canvas.text_width(&name, style), theme.label_size));
            canvas.text(x, y, &name, style);
        }
    }
}
