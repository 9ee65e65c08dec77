//! Folders of pictures: 8-bit PNGs of one size, grey, RGB or RGBA.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use image::codecs::png::PngEncoder;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat};

use super::ImageShape;
use super::array::{Array, one_line};
use crate::error::{Error, Result};
use crate::files::{FolderDraft, write_error};

/// The values of black and white, as they are in the files.
pub(super) const RANGE: (f32, f32) = (0.0, 255.0);

/// Reads the pictures of a folder in the order of their names: `[n, height, width, channels]`, from 0 to 255. Files of
/// other kinds are not looked at.
pub(super) fn read(folder: &Path) -> Result<Array> {
    let error = |e| Error::io("read", folder, e);
    let mut files = vec![];
    for entry in fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        let is_png = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
        if is_png && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            files.push(path);
        }
    }
    files.sort();
    let Some(first_file) = files.first() else {
        return Err(Error::input(
            folder.display().to_string(),
            "there is no .png in the folder",
            "give a folder of PNGs of the same size",
        ));
    };
    let mut values: Vec<f32> = vec![];
    let mut first = None;
    for file in &files {
        let (shape, pixels) = decode(file)?;
        let expected = *first.get_or_insert(shape);
        if shape != expected {
            return Err(Error::input(
                file.display().to_string(),
                format!("it is {}, and {} is {}", told(shape), first_file.display(), told(expected)),
                "give PNGs of the same size and colours",
            ));
        }
        if values.is_empty() {
            values.try_reserve(pixels.len().saturating_mul(files.len())).map_err(|_| {
                Error::input(
                    folder.display().to_string(),
                    format!("{} pictures of {} do not fit memory", files.len(), told(shape)),
                    "use fewer or smaller ones",
                )
            })?;
        }
        values.extend(pixels.into_iter().map(f32::from));
    }
    let ImageShape { height, width, channels } =
        first.unwrap_or(ImageShape { height: 0, width: 0, channels: 0 });
    Ok(Array { values, shape: vec![files.len(), height, width, channels], columns: None })
}

/// A picture's size and colours, in words.
fn told(shape: ImageShape) -> String {
    let colours = match shape.channels {
        1 => "grey",
        3 => "RGB",
        _ => "RGBA",
    };
    format!("{} × {} pixels in {colours}", shape.width, shape.height)
}

/// A picture's shape and bytes.
fn decode(file: &Path) -> Result<(ImageShape, Vec<u8>)> {
    let bytes = fs::read(file).map_err(|e| Error::io("read", file, e))?;
    let picture = image::load_from_memory_with_format(&bytes, ImageFormat::Png).map_err(|e| {
        Error::input(file.display().to_string(), format!("no whole PNG: {}", one_line(&e)), "write it again")
    })?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (channels, pixels) = match picture {
        DynamicImage::ImageLuma8(picture) => (1, picture.into_raw()),
        DynamicImage::ImageRgb8(picture) => (3, picture.into_raw()),
        DynamicImage::ImageRgba8(picture) => (4, picture.into_raw()),
        other => {
            return Err(Error::input(
                file.display().to_string(),
                format!("pixels of the form {:?} are not read", other.color()),
                "write it with 8 bits a channel, in grey, RGB or RGBA",
            ));
        }
    };
    Ok((ImageShape { height, width, channels }, pixels))
}

/// Streams rows into numbered PNGs of a new folder, which is there whole or not at all.
pub(super) struct Writer {
    folder: FolderDraft,
    path: PathBuf,
    shape: ImageShape,
    low: f32,
    high: f32,
    digits: usize,
    written: usize,
}

impl Writer {
    pub(super) fn create(
        path: &Path,
        rows: usize,
        shape: ImageShape,
        (low, high): (f32, f32),
    ) -> Result<Self> {
        let folder = FolderDraft::create(path)?;
        let digits = rows.saturating_sub(1).to_string().len().max(4);
        Ok(Self { folder, path: path.to_owned(), shape, low, high, digits, written: 0 })
    }

    pub(super) fn write(&mut self, values: &[f32]) -> Result<()> {
        let ImageShape { height, width, channels } = self.shape;
        let colour = match channels {
            1 => ExtendedColorType::L8,
            3 => ExtendedColorType::Rgb8,
            _ => ExtendedColorType::Rgba8,
        };
        let side = |extent: usize| u32::try_from(extent).unwrap_or(u32::MAX);
        let scale = 255.0 / (self.high - self.low);
        for row in values.chunks_exact(height * width * channels) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to the range")]
            let pixels: Vec<u8> =
                row.iter().map(|x| ((x - self.low) * scale).round().clamp(0.0, 255.0) as u8).collect();
            let mut bytes = vec![];
            PngEncoder::new(&mut bytes)
                .write_image(&pixels, side(width), side(height), colour)
                .map_err(|e| write_error(&self.path, std::io::Error::other(one_line(&e))))?;
            let name = format!("{:0digits$}.png", self.written, digits = self.digits);
            fs::File::create(self.folder.path().join(name))
                .and_then(|mut file| file.write_all(&bytes))
                .map_err(|e| write_error(&self.path, e))?;
            self.written += 1;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<()> {
        self.folder.finish()
    }
}
