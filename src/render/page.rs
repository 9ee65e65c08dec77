//! A picture of one panel: axes in data units, a title, the time, and a bar of colours.
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers become pixels here: counts are small, and conversions saturate where they matter"
)]

use image::RgbImage;

use crate::Result;
use crate::report::plot::{
    Align, Axes, Canvas, Colormap, Frame, Limits, Panel, Rect, Scale, TextStyle, Theme, colour_bar,
    y_label_width,
};

/// The room for the bar of colours with its labels and its name, in points.
const BAR_ROOM: f32 = 56.0;
const BAR_WIDTH: f32 = 7.0;
/// Points beside the time without which a title is left out.
const TITLE_ROOM: f32 = 48.0;

/// What stands around a panel.
#[derive(Clone, Debug)]
pub struct Page {
    /// The picture's width and height in pixels.
    pub size: [u32; 2],
    /// Bold, above the panel on the left.
    pub title: String,
    /// Light, beside it.
    pub subtitle: String,
    /// What the axes are called; none are drawn around a space, which has its own.
    pub names: Option<[String; 2]>,
    /// The time that is shown, above the panel on the right.
    pub time: Option<f64>,
    /// The colours, their scale and its name.
    pub legend: Option<(Colormap, Scale, &'static str)>,
}

impl Page {
    /// Pixels a point, so that labels can be read at any size, and grow with it.
    #[must_use]
    pub fn scale(size: [u32; 2]) -> f32 {
        let [width, height] = size.map(|side| side as f32);
        (width / 400.0).min(height / 280.0).max(1.3)
    }

    /// A theme at the scale of a picture.
    #[must_use]
    pub fn theme(theme: &Theme, size: [u32; 2]) -> Theme {
        Theme { scale: Self::scale(size), ..theme.clone() }
    }

    /// Draws what stands around, and between paper and axes what `content` paints into the panel.
    ///
    /// # Errors
    /// What `content` says, or when the picture has no pixel or too many.
    pub fn draw(
        &self,
        theme: &Theme,
        limits: &Limits,
        content: impl FnOnce(&mut Canvas, &Theme, &Panel) -> Result<()>,
    ) -> Result<RgbImage> {
        let theme = Self::theme(theme, self.size);
        let [width, height] = self.size.map(|side| side as f32 / theme.scale);
        let mut canvas = Canvas::new(width - 0.5 / theme.scale, height - 0.5 / theme.scale, &theme)?;
        let top = theme.margin + 1.7 * theme.title_size;
        let below = match self.names {
            Some(_) => theme.tick_length + theme.tick_size + 4.0 + 1.6 * theme.label_size,
            None => theme.margin,
        };
        let room_y = (height - top - below - 0.5 * theme.margin).max(8.0);
        let left = match self.names {
            Some(_) => {
                0.8 * theme.margin + y_label_width(&canvas, &theme, limits.y, room_y) + 1.4 * theme.label_size
            }
            None => theme.margin,
        };
        let right = if self.legend.is_some() { BAR_ROOM + 8.0 } else { theme.margin };
        let room_x = (width - left - right).max(8.0);
        // As large as there is room for, and in the middle of what is left.
        let panel_width = room_x.min(room_y / limits.aspect());
        let panel_height = panel_width * limits.aspect();
        let x = left + (room_x - panel_width) / 2.0;
        let y = top + (room_y - panel_height) / 2.0;
        let panel = Panel::new(&canvas, Rect::new(x, y, panel_width, panel_height), limits.x, limits.y);
        content(&mut canvas, &theme, &panel)?;
        let mut used = 0.0;
        if let Some(t) = self.time {
            let style = TextStyle::new(theme.title_size, theme.ink).align(Align::End);
            // Digits that stay change nothing of where the label begins.
            let text = format!("t = {t:.2}");
            used = canvas.text_width(&text, style) + 8.0;
            canvas.text(panel.rect.right(), panel.rect.y - 0.8 * theme.title_size, &text, style);
        }
        if let Some([x_name, y_name]) = self.names.clone() {
            let axes =
                Axes { x_ticks: true, y_ticks: true, x_name, y_name, frame: Frame::Box, ..Axes::default() };
            panel.axes(&mut canvas, &theme, &axes);
        }
        let heading = Panel { rect: Rect { w: (panel.rect.w - used).max(1.0), ..panel.rect }, ..panel };
        let axes = Axes { title: self.title.clone(), subtitle: self.subtitle.clone(), ..Axes::default() };
        if heading.rect.w > TITLE_ROOM {
            heading.title_only(&mut canvas, &theme, &axes);
        }
        if let Some((map, scale, name)) = &self.legend {
            let bar = Rect::new(panel.rect.right() + 8.0, panel.rect.y, BAR_WIDTH, panel.rect.h);
            colour_bar(&mut canvas, &theme, bar, map, *scale, name);
        }
        Ok(canvas.finish())
    }
}
