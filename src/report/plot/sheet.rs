//! Contact sheets: images of the data beside generated ones.

use image::RgbImage;

use super::canvas::{Canvas, Rect};
use super::colour::Rgb;
use super::density::thinned;
use super::panel::{Axes, Panel};
use super::theme::Theme;
use super::{Scale, counted, whole_points};
use crate::error::{Error, Result};

/// The shape of one image; its values lie row by row, channels of a pixel together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for grey, 3 for red, green, blue.
    pub channels: usize,
}

/// Images of the data and of the model.
#[derive(Clone, Copy, Debug)]
pub struct ContactSheet<'a> {
    /// Images of the data, [n, height × width × channels].
    pub data: &'a [f32],
    /// Images of the model, likewise.
    pub samples: &'a [f32],
    /// The shape of one.
    pub shape: ImageShape,
    /// The titles of the two sheets.
    pub names: [&'a str; 2],
    /// The values that are drawn black and white; `None` takes the data's own range for both sheets.
    pub range: Option<(f32, f32)>,
    /// Width and height of the picture in pixels; `None` makes it as large as the images want it.
    pub size: Option<[u32; 2]>,
}

impl<'a> ContactSheet<'a> {
    /// "Data" beside "Samples" on the data's intensity range.
    #[must_use]
    pub fn new(data: &'a [f32], samples: &'a [f32], shape: ImageShape) -> Self {
        Self { data, samples, shape, names: ["Data", "Samples"], range: None, size: None }
    }
}

/// Images of grey or RGB: those that have a fourth channel without it, which a sheet has no use for.
#[must_use]
pub fn opaque(values: &[f32], shape: ImageShape) -> (Vec<f32>, ImageShape) {
    if shape.channels == 4 {
        let values = values.chunks_exact(4).flat_map(|pixel| &pixel[..3]).copied().collect();
        return (values, ImageShape { channels: 3, ..shape });
    }
    (values.to_vec(), shape)
}

/// At most this many images in a row, and as many rows.
const PER_ROW: usize = 10;
/// Side of a sheet in pixels that is aimed at.
const AIM: usize = 690;
/// Pixels between images.
const GAP: usize = 2;

/// Points between the two sheets.
const APART: f32 = 22.0;

/// The images in a row and the rows of a sheet of so many.
fn grid(shown: usize, longest: usize) -> (usize, usize) {
    let per_row = (1200 / longest).clamp(1, PER_ROW);
    // Few images make a small sheet, as square as they allow.
    let per_row = per_row.min((shown as f64).sqrt().ceil() as usize).max(1);
    (per_row, shown.div_ceil(per_row).clamp(1, per_row))
}

/// The height above the images, in points.
fn top(theme: &Theme) -> f32 {
    theme.margin + theme.title_size * 1.7
}

/// The side of a value in pixels, with which two sheets of `shown` images are as large as a picture of this size allows; 0
/// if they do not fit.
#[must_use]
pub fn zoom(shape: ImageShape, shown: usize, size: [u32; 2], theme: &Theme) -> usize {
    let (per_row, rows) = grid(shown, shape.height.max(shape.width).max(1));
    let [width, height] = size.map(|side| side as f32);
    let room = [
        (width - theme.scale * (2.0 * theme.margin + APART)) / 2.0,
        height - theme.scale * (top(theme) + theme.margin),
    ];
    let most = |room: f32, count: usize, side: usize| {
        let room = room.max(0.0) as usize;
        (room + GAP).saturating_sub(count * GAP) / (count * side.max(1))
    };
    most(room[0], per_row, shape.width).min(most(room[1], rows, shape.height))
}

/// Draws up to 10 × 10 images of each kind, every value as a whole square of pixels.
///
/// # Errors
/// When the shape is not that of an image, an array does not hold whole images, or they do not fit the size.
pub fn contact_sheet(sheet: &ContactSheet<'_>, theme: &Theme) -> Result<RgbImage> {
    let ImageShape { height, width, channels } = sheet.shape;
    let size = height.checked_mul(width).and_then(|area| area.checked_mul(channels));
    let Some(size) = size.filter(|s| *s > 0 && matches!(channels, 1 | 3) && height.max(width) <= 4096) else {
        return Err(Error::config(
            format!("an image of {height} × {width} with {channels} channels cannot be drawn"),
            "the picture needs 1 or 3 channels and sides from 1 to 4096",
        ));
    };
    let sets = [sheet.data, sheet.samples];
    let counts = [whole_points(sets[0], size, sheet.names[0])?, whole_points(sets[1], size, sheet.names[1])?];
    let (lo, hi) = sheet
        .range
        .or_else(|| exact_range(sheet.data))
        .or_else(|| exact_range(sheet.samples))
        .unwrap_or((0.0, 1.0));
    let levels = Scale::linear(f64::from(lo), f64::from(hi));

    let longest = height.max(width);
    let shown = counts.iter().copied().max().unwrap_or(0);
    let (per_row, rows) = grid(shown, longest);
    let zoom = match sheet.size {
        Some(size) => zoom(sheet.shape, shown, size, theme),
        None => (AIM / (per_row * longest)).clamp(1, 24),
    };
    if zoom == 0 {
        let [across, down] = sheet.size.unwrap_or_default();
        return Err(Error::config(
            format!(
                "{shown} images of {width} × {height} do not fit twice into a picture of {across} × {down} pixels"
            ),
            "choose a larger --size, or fewer with -n",
        ));
    }
    let pitch = (width * zoom + GAP, height * zoom + GAP);
    let sheet_px = (per_row * pitch.0 - GAP, rows * pitch.1 - GAP);
    let points = |pixels: usize| pixels as f32 / theme.scale;

    let top = top(theme);
    // Titles need room even over a single small image.
    let least = sheet.size.map_or(110.0, |[across, _]| {
        (points(across as usize) - 2.0 * theme.margin - APART).clamp(0.0, 220.0) / 2.0
    });
    let breadth = points(sheet_px.0).max(least);
    let natural = (2.0 * theme.margin + 2.0 * breadth + APART, top + points(sheet_px.1) + theme.margin);
    let total = match sheet.size {
        // Canvases end at the next whole pixel.
        Some(size) => size.map(|side| points(side as usize) - 0.5 / theme.scale).into(),
        None => natural,
    };
    // In the middle of what is left.
    let (spare, top) = ((total.0 - natural.0).max(0.0) / 2.0, top + (total.1 - natural.1).max(0.0) / 2.0);
    let mut canvas = Canvas::new(total.0, total.1, theme)?;
    for (i, images) in sets.into_iter().enumerate() {
        let left = spare + theme.margin + i as f32 * (breadth + APART);
        let area = canvas.snap(Rect::new(left, top, points(sheet_px.0), points(sheet_px.1)));
        let drawn: Vec<usize> = thinned(counts[i], per_row * rows).collect();
        canvas.pixels(area, |x, y| {
            let (column, row) = (x / pitch.0, y / pitch.1);
            let (x, y) = (x % pitch.0 / zoom, y % pitch.1 / zoom);
            let image = *drawn.get(row * per_row + column)?;
            if x >= width || y >= height || column >= per_row {
                return None;
            }
            let at = image * size + (y * width + x) * channels;
            let level =
                |k: usize| (levels.unit(f64::from(images[at + k])).clamp(0.0, 1.0) * 255.0).round() as u8;
            // What is no number stands out instead of passing for black.
            if images[at..at + channels].iter().any(|v| v.is_nan()) {
                return Some(theme.samples);
            }
            Some(if channels == 3 {
                Rgb(level(0), level(1), level(2))
            } else {
                Rgb(level(0), level(0), level(0))
            })
        });
        let heading = Panel { rect: Rect::new(left, top, breadth, area.h), x: levels, y: levels };
        let subtitle = match (counts[i], drawn.len()) {
            (0, _) => "no images".to_owned(),
            (n, k) if n > k => format!("{k} of {}", counted(n, "image", "images")),
            (n, _) => counted(n, "image", "images"),
        };
        heading.title_only(
            &mut canvas,
            theme,
            &Axes { title: sheet.names[i].into(), subtitle, ..Axes::default() },
        );
    }
    Ok(canvas.finish())
}

fn exact_range(values: &[f32]) -> Option<(f32, f32)> {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    let (lo, hi) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    (lo <= hi).then_some((lo, hi))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { height: 8, width: 8, channels: 1 };

    #[test]
    fn values_become_squares_of_pixels_on_the_range_of_the_data() {
        let mut data = vec![0f32; 64 * 100];
        data[0] = 16.0;
        let samples = vec![8.0; 64 * 100];
        let theme = Theme::default();
        let picture = contact_sheet(&ContactSheet::new(&data, &samples, SHAPE), &theme).unwrap();
        let count = |grey: u8| picture.pixels().filter(|p| p.0 == [grey; 3]).count();
        // 690 px over 80 values: 8 px a value.
        assert_eq!(count(0), (6400 - 1) * 64);
        assert_eq!(count(128), 6400 * 64);
        assert_eq!(picture, contact_sheet(&ContactSheet::new(&data, &samples, SHAPE), &theme).unwrap());
    }

    #[test]
    fn a_picture_is_as_large_as_it_is_asked_to_be() {
        let theme = Theme { scale: 1.6, ..Theme::default() };
        let data = vec![8.0; 64 * 36];
        let sheet = ContactSheet { range: Some((0.0, 16.0)), ..ContactSheet::new(&data, &data, SHAPE) };
        for size in [[640, 560], [320, 280], [900, 301]] {
            let picture = contact_sheet(&ContactSheet { size: Some(size), ..sheet }, &theme).unwrap();
            assert_eq!([picture.width(), picture.height()], size);
            let side = zoom(SHAPE, 36, size, &theme);
            let grey = picture.pixels().filter(|p| p.0 == [128; 3]).count();
            assert!(side > 0 && grey >= 2 * 36 * 64 * side * side, "{grey} of {side} at {size:?}");
        }
        let error = contact_sheet(&ContactSheet { size: Some([200, 90]), ..sheet }, &theme).unwrap_err();
        assert!(error.to_string().contains("--size"), "{error}");
    }

    #[test]
    fn degenerate_images_are_drawn_or_refused_in_words() {
        let theme = Theme::default();
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30].repeat(16);
        let cases: [&[f32]; 4] = [&[], &[0.0; 64], &odd, &[1e-30; 128]];
        for data in cases {
            for samples in cases {
                contact_sheet(&ContactSheet::new(data, samples, SHAPE), &theme).unwrap();
            }
        }
        let refused =
            |data: &[f32], shape| contact_sheet(&ContactSheet::new(data, &[], shape), &theme).is_err();
        assert!(refused(&[0.0; 63], SHAPE));
        for (height, width, channels) in [(0, 8, 1), (8, 8, 2), (usize::MAX, usize::MAX, 3), (9000, 1, 1)] {
            assert!(refused(&[], ImageShape { height, width, channels }), "{height} {width} {channels}");
        }
        let wide = ImageShape { height: 2, width: 300, channels: 3 };
        contact_sheet(&ContactSheet::new(&vec![0.5; 1800 * 7], &[], wide), &theme).unwrap();
    }
}
