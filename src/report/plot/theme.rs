//! The look of all pictures, in one place.

use super::colour::{Colormap, Rgb};

/// Colours, sizes and line widths. All lengths are in points (1/72 inch).
///
/// Sizes are those of a figure in a two-column paper: 8-point text in a figure
/// at most seven inches wide. `scale` says how many pixels a point gets.
#[derive(Clone, Debug)]
pub struct Theme {
    /// Pixels per point; 3 makes 216 pixels per inch.
    pub scale: f32,
    /// The paper.
    pub background: Rgb,
    /// Titles and axis names.
    pub ink: Rgb,
    /// Tick labels, captions, frames.
    pub muted: Rgb,
    /// Grid lines.
    pub grid: Rgb,
    /// Whatever comes from the data set.
    pub data: Rgb,
    /// Whatever comes from the model.
    pub samples: Rgb,
    /// Starting points of trajectories: the noise.
    pub source: Rgb,
    /// Reference lines, such as a known floor of the loss.
    pub reference: Rgb,
    /// Size of titles.
    pub title_size: f32,
    /// Size of axis names and legends.
    pub label_size: f32,
    /// Size of tick labels and captions.
    pub tick_size: f32,
    /// Width of frames and ticks.
    pub hairline: f32,
    /// Width of curves.
    pub line: f32,
    /// Length of a tick.
    pub tick_length: f32,
    /// The white border around a picture.
    pub margin: f32,
    /// Density of points, from the paper's colour upwards.
    pub density: Colormap,
    /// Speed of a velocity field.
    pub speed: Colormap,
    /// Time along a trajectory.
    pub time: Colormap,
}

impl Default for Theme {
    /// Dark ink on white paper; the blue and the vermilion of Okabe and Ito's palette.
    fn default() -> Self {
        Self {
            scale: 3.0,
            background: Rgb::WHITE,
            ink: Rgb(0x1c, 0x1f, 0x26),
            muted: Rgb(0x6b, 0x71, 0x7d),
            grid: Rgb(0xec, 0xed, 0xf0),
            data: Rgb(0x00, 0x72, 0xb2),
            samples: Rgb(0xd5, 0x5e, 0x00),
            source: Rgb(0x9a, 0xa1, 0xad),
            reference: Rgb(0x00, 0x7a, 0x5e),
            title_size: 9.0,
            label_size: 8.0,
            tick_size: 7.0,
            hairline: 0.5,
            line: 1.1,
            tick_length: 2.5,
            margin: 10.0,
            density: Colormap::new(colorous::MAGMA).part(0.98, 0.12).fading(0.18, Rgb::WHITE),
            speed: Colormap::new(colorous::VIRIDIS),
            time: Colormap::new(colorous::PLASMA).part(0.02, 0.78),
        }
    }
}

impl Theme {
    /// Light ink on dark paper.
    #[must_use]
    pub fn dark() -> Self {
        let paper = Rgb(0x12, 0x14, 0x1a);
        Self {
            background: paper,
            ink: Rgb(0xe8, 0xea, 0xee),
            muted: Rgb(0x9a, 0xa1, 0xad),
            grid: Rgb(0x2a, 0x2d, 0x35),
            data: Rgb(0x56, 0xb4, 0xe9),
            samples: Rgb(0xe6, 0x9f, 0x00),
            source: Rgb(0x6b, 0x71, 0x7d),
            density: Colormap::new(colorous::MAGMA).part(0.1, 1.0).fading(0.18, paper),
            ..Self::default()
        }
    }

    /// Whether ink is lighter than paper.
    #[must_use]
    pub fn is_dark(&self) -> bool {
        let light = |colour: Rgb| u32::from(colour.0) + u32::from(colour.1) + u32::from(colour.2);
        light(self.background) < light(self.ink)
    }

    /// The part of a map from dark to light that thin lines can be drawn in.
    #[must_use]
    pub fn thin(&self, map: Colormap) -> Colormap {
        if self.is_dark() { map.narrowed(0.25, 1.0) } else { map.narrowed(0.0, 0.86) }
    }
}
