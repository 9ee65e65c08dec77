//! Pictures one after the other, as a GIF or a folder of PNGs; or one alone, as a PNG.

use std::path::Path;

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, RgbImage};

use crate::files::{AtomicFile, FolderDraft, write_bytes, write_error};
use crate::report::plot::encode;
use crate::{Error, Result};

/// Pixels of an animation, at most.
const MOST_PIXELS: u64 = 1 << 31;

/// What a file's name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One picture.
    Png,
    /// An animation that repeats.
    Gif,
    /// The same in all colours, as a PNG.
    Apng,
    /// A folder with a PNG for each picture.
    Folder,
}

impl Format {
    /// Of a name: `.png`, `.gif`, `.apng`, or a slash at its end.
    ///
    /// # Errors
    /// [`Error::Config`] for any other.
    pub fn of(path: &Path) -> Result<Self> {
        let name = path.to_string_lossy();
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
        match extension.as_deref() {
            _ if name.ends_with(['/', std::path::MAIN_SEPARATOR]) => Ok(Self::Folder),
            Some("png") => Ok(Self::Png),
            Some("gif") => Ok(Self::Gif),
            Some("apng") => Ok(Self::Apng),
            _ => Err(Error::config(
                format!("{name} says no format of a picture"),
                "give a name that ends in .png, .gif or .apng, or a folder that ends in /",
            )),
        }
    }
}

/// Whether an animation of so many pictures of a size is not too much.
///
/// # Errors
/// [`Error::Config`] for more than 2^31 pixels.
pub fn fits(count: usize, size: [u32; 2]) -> Result<()> {
    let pixels = (count as u64).saturating_mul(size[0].into()).saturating_mul(size[1].into());
    if pixels > MOST_PIXELS {
        return Err(Error::config(
            format!("{count} pictures of {} × {} pixels are too many for an animation", size[0], size[1]),
            "choose a smaller --size, or fewer --fps or --seconds",
        ));
    }
    Ok(())
}

/// Writes so many pictures of one size, which `picture` draws by their numbers, to a file or folder that appears whole or
/// not at all. The last one of an animation stays for a second.
///
/// # Errors
/// [`Error::Config`] for an animation of more than 2^31 pixels; [`Error::Io`]; what `picture` says.
pub fn film(
    path: &Path,
    format: Format,
    count: usize,
    (size, fps): ([u32; 2], u32),
    mut picture: impl FnMut(usize) -> Result<RgbImage>,
) -> Result<()> {
    let failed = |error: image::ImageError| match error {
        image::ImageError::IoError(error) => write_error(path, error),
        error => Error::io("write", path, std::io::Error::other(error)),
    };
    let png = |image: &RgbImage| encode(image).map_err(|source| Error::io("write", path, source));
    if format == Format::Png {
        return write_bytes(path, png(&picture(0)?)?);
    }
    fits(count, size)?;
    if format == Format::Folder {
        let folder = FolderDraft::create(path)?;
        for number in 0..count {
            let bytes = png(&picture(number)?)?;
            let name = folder.path().join(format!("{number:05}.png"));
            std::fs::write(name, bytes).map_err(|source| write_error(path, source))?;
        }
        return folder.finish();
    }
    let mut file = AtomicFile::create(path)?;
    if format == Format::Apng {
        let failed = |error: png::EncodingError| match error {
            png::EncodingError::IoError(error) => write_error(path, error),
            error => Error::io("write", path, std::io::Error::other(error)),
        };
        let first = picture(0)?;
        let mut encoder = png::Encoder::new(&mut file, first.width(), first.height());
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let frames = u32::try_from(count).unwrap_or(u32::MAX);
        encoder.set_animated(frames, 0).map_err(failed)?;
        encoder.set_frame_delay(1, u16::try_from(fps.max(1)).unwrap_or(u16::MAX)).map_err(failed)?;
        let mut writer = encoder.write_header().map_err(failed)?;
        for number in 0..count {
            if number + 1 == count {
                writer.set_frame_delay(1, 1).map_err(failed)?;
            }
            let image = if number == 0 { first.clone() } else { picture(number)? };
            writer.write_image_data(&image).map_err(failed)?;
        }
        writer.finish().map_err(failed)?;
        return file.finish();
    }
    {
        // 1 is the most careful choice of 256 colours, 30 the fastest.
        let mut encoder = GifEncoder::new_with_speed(&mut file, 10);
        encoder.set_repeat(Repeat::Infinite).map_err(failed)?;
        for number in 0..count {
            let delay = if number + 1 == count { (1000, 1) } else { (1000, fps.max(1)) };
            let image = DynamicImage::ImageRgb8(picture(number)?).into_rgba8();
            let delay = Delay::from_numer_denom_ms(delay.0, delay.1);
            encoder.encode_frame(Frame::from_parts(image, 0, 0, delay)).map_err(failed)?;
        }
    }
    file.finish()
}
