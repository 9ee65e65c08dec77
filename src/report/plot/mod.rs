//! Pictures: the loss, samples beside data, the velocity field, trajectories.
//!
//! Each picture is a function from plain slices to an [`image::RgbImage`];
//! [`save`] writes one as a PNG. Nothing here knows of devices, models or data
//! sets. Equal input gives equal bytes. Numbers that are not finite are left
//! out, and the picture says how many they were.
//!
//! The pictures share a few parts, which others may be built from: the
//! [`Theme`] (colours and sizes), the [`Canvas`] (antialiased lines, discs,
//! text), a [`Panel`] with axes on [`Scale`]s, [`colour_bar`], legends, and
//! [`Histogram2d`] for the density of points.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers become pixels here: counts are small, and conversions saturate where they matter"
)]
#![cfg_attr(test, allow(clippy::float_cmp, reason = "the tests compare values that are exact"))]

mod axis;
mod canvas;
mod colour;
mod curves;
mod density;
mod field;
mod font;
mod lab;
mod loss;
mod pairs;
mod panel;
mod samples;
mod scaling;
mod sheet;
mod theme;
mod trajectories;

use std::path::Path;

use image::{ExtendedColorType, ImageEncoder, RgbImage, codecs::png};

pub use axis::{Format, Scale, Spread, Ticks, short, thousands};
pub use canvas::{Align, Canvas, LineStyle, Rect, TextStyle};
pub use colour::{Colormap, Rgb};
pub use curves::{Curve, CurvePanel, curves};
pub use density::{Histogram2d, Limits, finite_points, robust_range};
pub(crate) use density::{bilinear, thinned};
pub(crate) use field::{Field, arrow_colours, arrows, lit, speed_scale};
pub use field::{FieldPanel, FieldPlot, FieldStyle, field_2d};
pub use font::Weight;
pub use lab::{LabRow, lab};
pub use loss::{LossCurve, loss_curve};
pub use pairs::{PairPlot, pair_plot};
pub use panel::{
    Axes, Cells, Entry, Frame, Mark, Panel, colour_bar, legend_column, legend_row, y_label_width,
};
pub use samples::{SamplesPlot, samples_1d, samples_2d};
pub use scaling::{Ideal, ScalingPanel, scaling};
pub use sheet::{ContactSheet, ImageShape, contact_sheet, opaque, zoom};
pub use theme::Theme;
pub use trajectories::{TrajectoryPlot, trajectories_2d};

use crate::error::{Error, Result};

/// Writes a picture as a PNG. The file appears whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn save(image: &RgbImage, path: &Path) -> Result<()> {
    let bytes = encode(image).map_err(|source| Error::io("write", path, source))?;
    crate::files::write_bytes(path, &bytes)
}

/// A picture as the bytes of a PNG file.
///
/// # Errors
/// When the encoder fails, which takes a picture without pixels.
pub fn encode(image: &RgbImage) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = png::PngEncoder::new_with_quality(
        &mut bytes,
        png::CompressionType::Default,
        png::FilterType::Adaptive,
    );
    encoder
        .write_image(image.as_raw(), image.width(), image.height(), ExtendedColorType::Rgb8)
        .map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// Refuses a slice that is not a whole number of points.
fn whole_points(values: &[f32], dim: usize, name: &str) -> Result<usize> {
    if dim == 0 || !values.len().is_multiple_of(dim) {
        return Err(Error::config(
            format!("the picture's {name} have {} values, not a multiple of {dim}", values.len()),
            format!("pass an array of shape [n, {dim}]"),
        ));
    }
    Ok(values.len() / dim)
}

/// "100 000 points", or "1 point".
fn counted(count: usize, one: &str, many: &str) -> String {
    let number = thousands(i64::try_from(count).unwrap_or(i64::MAX));
    format!("{number} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_pictures_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let picture = RgbImage::from_fn(7, 5, |x, y| image::Rgb([x as u8, y as u8, 9]));
        save(&picture, &path).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8(), picture);
        let under_a_file = save(&picture, &path.join("b.png")).unwrap_err().to_string();
        assert!(under_a_file.contains("a.png"), "{under_a_file}");
    }
}
