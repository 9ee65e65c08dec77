//! The drawing surface: antialiased lines, discs, text and pixel blocks, in points.

use image::RgbImage;
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, PathBuilder, Pixmap, PixmapPaint, Shader, Stroke, StrokeDash,
    Transform,
};

use super::colour::Rgb;
use super::font::{CAP_HEIGHT, Fonts, Weight};
use super::theme::Theme;
use crate::error::{Error, Result};

/// The largest picture, per side, in pixels.
const MAX_SIDE: f32 = 16_384.0;

/// A rectangle in points, y downwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Rect {
    /// A rectangle from its left upper corner and its size.
    #[must_use]
    pub const fn new(x: f32, y: f32, w: f32, h: f32) -> Self {
        Self { x, y, w, h }
    }
    /// The right edge.
    #[must_use]
    pub fn right(&self) -> f32 {
        self.x + self.w
    }
    /// The bottom edge.
    #[must_use]
    pub fn bottom(&self) -> f32 {
        self.y + self.h
    }
}

/// Where a text's anchor lies in it, horizontally.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Align {
    /// The text begins at the anchor.
    #[default]
    Start,
    /// The text is centred on the anchor.
    Middle,
    /// The text ends at the anchor.
    End,
}

/// How a text is set. The anchor's height is that of the middle of a capital letter.
#[derive(Clone, Copy, Debug)]
pub struct TextStyle {
    /// Size in points.
    pub size: f32,
    /// Weight.
    pub weight: Weight,
    /// Colour.
    pub colour: Rgb,
    /// Horizontal alignment.
    pub align: Align,
    /// Read from bottom to top, as the name of a y axis.
    pub upwards: bool,
}

impl TextStyle {
    /// Regular text of a size and a colour, beginning at its anchor.
    #[must_use]
    pub const fn new(size: f32, colour: Rgb) -> Self {
        Self { size, weight: Weight::Regular, colour, align: Align::Start, upwards: false }
    }
    /// The same, bold.
    #[must_use]
    pub const fn bold(mut self) -> Self {
        self.weight = Weight::Bold;
        self
    }
    /// The same, aligned otherwise.
    #[must_use]
    pub const fn align(mut self, align: Align) -> Self {
        self.align = align;
        self
    }
    /// The same, reading upwards.
    #[must_use]
    pub const fn upwards(mut self) -> Self {
        self.upwards = true;
        self
    }
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub struct LineStyle {
    /// Width in points.
    pub width: f32,
    /// Colour.
    pub colour: Rgb,
    /// Opacity, 0…1.
    pub alpha: f32,
    /// Lengths of dash and gap in points.
    pub dash: Option<(f32, f32)>,
    /// Round ends and joins instead of flat ends; wrong for translucent pieces that touch.
    pub round: bool,
}

impl LineStyle {
    /// A solid opaque line.
    #[must_use]
    pub const fn new(width: f32, colour: Rgb) -> Self {
        Self { width, colour, alpha: 1.0, dash: None, round: false }
    }
    /// The same, translucent.
    #[must_use]
    pub const fn alpha(mut self, alpha: f32) -> Self {
        self.alpha = alpha;
        self
    }
    /// The same, dashed.
    #[must_use]
    pub const fn dashed(mut self, dash: f32, gap: f32) -> Self {
        self.dash = Some((dash, gap));
        self
    }
    /// The same with round ends and joins.
    #[must_use]
    pub const fn round(mut self) -> Self {
        self.round = true;
        self
    }
}

/// A surface to draw on. Coordinates are points, the origin is the left upper corner.
pub struct Canvas {
    pixmap: Pixmap,
    scale: f32,
    /// The canvas coordinates of pixel (0, 0), in pixels: zero except for a layer.
    origin: (i32, i32),
    fonts: Fonts,
}

impl Canvas {
    /// A canvas of `width` × `height` points in the theme's background colour.
    ///
    /// # Errors
    /// When the picture would have no pixel or more than 16 384 on a side.
    pub fn new(width: f32, height: f32, theme: &Theme) -> Result<Self> {
        let (w, h) = ((width * theme.scale).ceil(), (height * theme.scale).ceil());
        let fits = |side: f32| (1.0..=MAX_SIDE).contains(&side);
        let pixmap = (fits(w) && fits(h)).then(|| Pixmap::new(w as u32, h as u32)).flatten();
        let Some(mut pixmap) = pixmap else {
            return Err(Error::config(
                format!("a picture of {w} × {h} pixels cannot be drawn"),
                format!("choose a size between 1 and {MAX_SIDE} pixels a side"),
            ));
        };
        pixmap.fill(colour_of(theme.background, 1.0));
        Ok(Self { pixmap, scale: theme.scale, origin: (0, 0), fonts: Fonts::new() })
    }

    /// Pixels per point.
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The canvas' size in pixels.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.pixmap.width(), self.pixmap.height())
    }

    /// `rect` moved to whole pixels, so that its edges are sharp.
    #[must_use]
    pub fn snap(&self, rect: Rect) -> Rect {
        let whole = |length: f32| (length * self.scale).round();
        Rect::new(
            whole(rect.x) / self.scale,
            whole(rect.y) / self.scale,
            whole(rect.w).max(1.0) / self.scale,
            whole(rect.h).max(1.0) / self.scale,
        )
    }

    /// The size in whole pixels of a rectangle.
    #[must_use]
    pub fn pixels_of(&self, rect: Rect) -> (usize, usize) {
        ((rect.w * self.scale).round().max(1.0) as usize, (rect.h * self.scale).round().max(1.0) as usize)
    }

    /// Draws what `draw` draws, cut off at the edges of `rect`. Coordinates stay those of this canvas.
    pub fn clipped(&mut self, rect: Rect, draw: impl FnOnce(&mut Canvas)) {
        let (w, h) = self.pixels_of(rect);
        let corner = ((rect.x * self.scale).round() as i32, (rect.y * self.scale).round() as i32);
        let Some(pixmap) = Pixmap::new(w.min(MAX_SIDE as usize) as u32, h.min(MAX_SIDE as usize) as u32)
        else {
            return;
        };
        let mut layer = Canvas { pixmap, scale: self.scale, origin: corner, fonts: self.fonts.clone() };
        draw(&mut layer);
        self.pixmap.draw_pixmap(
            corner.0 - self.origin.0,
            corner.1 - self.origin.1,
            layer.pixmap.as_ref(),
            &PixmapPaint::default(),
            Transform::identity(),
            None,
        );
    }

    fn transform(&self) -> Transform {
        Transform::from_row(self.scale, 0.0, 0.0, self.scale, -self.origin.0 as f32, -self.origin.1 as f32)
    }

    /// Fills a rectangle.
    pub fn fill_rect(&mut self, rect: Rect, colour: Rgb, alpha: f32) {
        if let Some(r) = tiny_skia::Rect::from_xywh(rect.x, rect.y, rect.w, rect.h) {
            let transform = self.transform();
            self.pixmap.fill_rect(r, &paint_of(colour, alpha), transform, None);
        }
    }

    /// Draws the outline of a rectangle.
    pub fn stroke_rect(&mut self, rect: Rect, style: LineStyle) {
        if let Some(r) = tiny_skia::Rect::from_xywh(rect.x, rect.y, rect.w, rect.h) {
            self.stroke(&PathBuilder::from_rect(r), style);
        }
    }

    /// Draws a line through `points`; fewer than two draw nothing.
    pub fn polyline(&mut self, points: &[(f32, f32)], style: LineStyle) {
        if let Some(path) = path_of(points, false) {
            self.stroke(&path, style);
        }
    }

    /// Fills a polygon.
    pub fn polygon(&mut self, points: &[(f32, f32)], colour: Rgb, alpha: f32) {
        if let Some(path) = path_of(points, true) {
            let transform = self.transform();
            self.pixmap.fill_path(&path, &paint_of(colour, alpha), FillRule::Winding, transform, None);
        }
    }

    /// Fills a disc.
    pub fn disc(&mut self, x: f32, y: f32, radius: f32, colour: Rgb, alpha: f32) {
        if let Some(path) = PathBuilder::from_circle(x, y, radius) {
            let transform = self.transform();
            self.pixmap.fill_path(&path, &paint_of(colour, alpha), FillRule::Winding, transform, None);
        }
    }

    /// The width of a text in points.
    #[must_use]
    pub fn text_width(&self, text: &str, style: TextStyle) -> f32 {
        self.fonts.width(text, style.size, style.weight)
    }

    /// `text`, cut and ended with "…" if it is wider than `width` points.
    #[must_use]
    pub fn fitted(&self, text: &str, style: TextStyle, width: f32) -> String {
        if self.text_width(text, style) <= width {
            return text.to_owned();
        }
        let mut kept: String = text.to_owned();
        while kept.pop().is_some() {
            let cut = format!("{}…", kept.trim_end());
            if self.text_width(&cut, style) <= width {
                return cut;
            }
        }
        "…".to_owned()
    }

    /// Writes a text; (x, y) is its anchor at half the height of a capital.
    pub fn text(&mut self, x: f32, y: f32, text: &str, style: TextStyle) {
        let Some(path) = self.fonts.outline(text, style.size, style.weight) else { return };
        let shift = match style.align {
            Align::Start => 0.0,
            Align::Middle => -0.5,
            Align::End => -1.0,
        } * self.text_width(text, style);
        let middle = CAP_HEIGHT * style.size / 2.0;
        let turn = if style.upwards {
            Transform::from_row(0.0, -1.0, 1.0, 0.0, x + middle, y - shift)
        } else {
            Transform::from_translate(x + shift, y + middle)
        };
        let transform = turn.post_concat(self.transform());
        self.pixmap.fill_path(&path, &paint_of(style.colour, 1.0), FillRule::Winding, transform, None);
    }

    /// Paints the pixels of `rect`: `colour(column, row)` in whole pixels from its left upper corner.
    pub fn pixels(&mut self, rect: Rect, mut colour: impl FnMut(usize, usize) -> Option<Rgb>) {
        let (w, h) = self.pixels_of(rect);
        let left = (rect.x * self.scale).round() as i32 - self.origin.0;
        let top = (rect.y * self.scale).round() as i32 - self.origin.1;
        let (width, height) = (self.pixmap.width() as usize, self.pixmap.height() as usize);
        let data = self.pixmap.data_mut();
        for row in 0..h {
            let Some(y) = offset(top, row, height) else { continue };
            for column in 0..w {
                let Some(x) = offset(left, column, width) else { continue };
                if let Some(Rgb(r, g, b)) = colour(column, row) {
                    let at = 4 * (y * width + x);
                    data[at..at + 4].copy_from_slice(&[r, g, b, 255]);
                }
            }
        }
    }

    fn stroke(&mut self, path: &tiny_skia::Path, style: LineStyle) {
        let mut stroke = Stroke { width: style.width, ..Stroke::default() };
        if style.round {
            stroke.line_cap = LineCap::Round;
        }
        stroke.line_join = LineJoin::Round;
        stroke.dash = style.dash.and_then(|(dash, gap)| StrokeDash::new(vec![dash, gap], 0.0));
        let transform = self.transform();
        self.pixmap.stroke_path(path, &paint_of(style.colour, style.alpha), &stroke, transform, None);
    }

    /// The finished picture.
    #[must_use]
    pub fn finish(self) -> RgbImage {
        let (w, h) = self.size();
        let mut image = RgbImage::new(w, h);
        for (pixel, rgba) in image.pixels_mut().zip(self.pixmap.data().chunks_exact(4)) {
            pixel.0 = [rgba[0], rgba[1], rgba[2]];
        }
        image
    }
}

/// `base + step` if it is a position below `end`.
fn offset(base: i32, step: usize, end: usize) -> Option<usize> {
    let position = usize::try_from(i64::from(base) + i64::try_from(step).ok()?).ok()?;
    (position < end).then_some(position)
}

fn path_of(points: &[(f32, f32)], closed: bool) -> Option<tiny_skia::Path> {
    let (&(x, y), rest) = points.split_first()?;
    if rest.is_empty() {
        return None;
    }
    let mut path = PathBuilder::with_capacity(points.len() + 1, points.len() + 1);
    path.move_to(x, y);
    for &(x, y) in rest {
        path.line_to(x, y);
    }
    if closed {
        path.close();
    }
    path.finish()
}

fn colour_of(colour: Rgb, alpha: f32) -> Color {
    let alpha = if alpha.is_nan() { 0.0 } else { alpha.clamp(0.0, 1.0) };
    Color::from_rgba8(colour.0, colour.1, colour.2, (alpha * 255.0).round() as u8)
}

fn paint_of(colour: Rgb, alpha: f32) -> Paint<'static> {
    Paint { shader: Shader::SolidColor(colour_of(colour, alpha)), anti_alias: true, ..Paint::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ink(image: &RgbImage) -> usize {
        image.pixels().filter(|p| p.0 != [255, 255, 255]).count()
    }

    #[test]
    fn sizes_are_points_times_scale_and_absurd_ones_are_refused() {
        let theme = Theme::default();
        let canvas = Canvas::new(100.0, 50.0, &theme).unwrap();
        assert_eq!(canvas.size(), (300, 150));
        for (w, h) in [(0.0, 10.0), (1e9, 10.0), (f32::NAN, 10.0), (10.0, f32::INFINITY)] {
            assert!(Canvas::new(w, h, &theme).is_err());
        }
    }

    #[test]
    fn clipping_cuts_at_the_rectangle() {
        let theme = Theme::default();
        let mut canvas = Canvas::new(30.0, 30.0, &theme).unwrap();
        let rect = Rect::new(10.0, 10.0, 10.0, 10.0);
        canvas.clipped(rect, |layer| layer.disc(15.0, 15.0, 40.0, Rgb(0, 0, 0), 1.0));
        assert_eq!(ink(&canvas.finish()), 900);
    }

    #[test]
    fn impossible_coordinates_draw_nothing_and_do_not_panic() {
        let mut canvas = Canvas::new(20.0, 20.0, &Theme::default()).unwrap();
        let style = LineStyle::new(1.0, Rgb(0, 0, 0));
        canvas.polyline(&[(f32::NAN, 0.0), (f32::INFINITY, 3.0)], style);
        canvas.polyline(&[(1.0, 1.0)], style.dashed(0.0, 0.0));
        canvas.disc(f32::NAN, 1.0, 2.0, Rgb(0, 0, 0), 1.0);
        canvas.disc(5.0, 5.0, -1.0, Rgb(0, 0, 0), f32::NAN);
        canvas.text(f32::NAN, 0.0, "x", TextStyle::new(8.0, Rgb(0, 0, 0)));
        canvas.pixels(Rect::new(-50.0, -50.0, 10.0, 10.0), |_, _| Some(Rgb(0, 0, 0)));
        assert_eq!(ink(&canvas.finish()), 0);
    }

    #[test]
    fn long_texts_are_cut_to_fit() {
        let canvas = Canvas::new(20.0, 20.0, &Theme::default()).unwrap();
        let style = TextStyle::new(8.0, Rgb(0, 0, 0));
        let cut = canvas.fitted("total sulphur dioxide", style, 40.0);
        assert!(cut.ends_with('…') && canvas.text_width(&cut, style) <= 40.0, "{cut}");
        assert_eq!(canvas.fitted("pH", style, 40.0), "pH");
    }
}
