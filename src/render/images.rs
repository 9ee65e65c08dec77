//! Images on their way out of noise, beside what the model expects of each.

use image::RgbImage;

use super::cloud::between;
use super::page::Page;
use super::trajectories;
use crate::data::Preparation;
use crate::flow::Quantity;
use crate::report::plot::{ContactSheet, ImageShape, Theme, contact_sheet, opaque, robust_range, zoom};
use crate::sample::Sampler;
use crate::{Error, Result};

/// Images on one sheet, at most, and where no number is asked for.
const MOST: usize = 100;
const USUAL: usize = 36;
/// Where what the model expects is not asked: at the very ends, the path of some schedules says nothing of the other one.
const ENDS: f64 = 1e-3;

/// The trajectories of some images.
#[derive(Clone, Debug)]
pub struct Images {
    shape: ImageShape,
    /// `[n, states, d]` in the network's coordinates.
    paths: Vec<f32>,
    times: Vec<f64>,
    dim: usize,
    /// Black and white, in data units.
    range: (f64, f64),
    /// Of the sheet, in pixels.
    size: [u32; 2],
}

impl Images {
    /// The trajectories of samples 0 … n − 1, with the sampler's solver and steps, for sheets of a size; without a number
    /// 36, or as many as fit.
    ///
    /// # Errors
    /// [`Error::Config`] for a model of something else, or for no image or more than a sheet has; as of
    /// [`Sampler::sample_trajectory`].
    pub fn new(sampler: &mut Sampler, n: Option<usize>, size: [u32; 2]) -> Result<Self> {
        let Some(image) = sampler.model().image else {
            return Err(Error::config("the model is not one of images", "choose another --show"));
        };
        let shape = ImageShape { height: image.height, width: image.width, channels: image.channels };
        let n = n.unwrap_or_else(|| {
            let theme = Page::theme(&Theme::default(), size);
            let fits = |n: &usize| zoom(shape, *n, size, &theme) > 0;
            (1..=USUAL.isqrt()).rev().map(|side| side * side).find(fits).unwrap_or(1)
        });
        if n == 0 || n > MOST {
            return Err(Error::config(format!("{n} images on a sheet"), format!("draw 1 to {MOST} with -n")));
        }
        let (times, dim) = (sampler.times(), sampler.model().architecture.dim);
        let paths = trajectories(sampler, n)?;
        let mut end: Vec<f32> = paths
            .chunks_exact(times.len() * dim)
            .flat_map(|path| &path[path.len() - dim..])
            .copied()
            .collect();
        sampler.to_data_units(&mut end);
        let range = match &sampler.model().preparation {
            Some(Preparation::Images { low, high, .. }) => (f64::from(*low), f64::from(*high)),
            _ => robust_range(end.into_iter()).unwrap_or((0.0, 1.0)),
        };
        Ok(Self { shape, paths, times, dim, range, size })
    }

    /// The sheet of a time: the images, and E[x1 | x_t] beside.
    ///
    /// # Errors
    /// As of [`Sampler::quantity`] and [`contact_sheet`].
    pub fn sheet(&self, sampler: &mut Sampler, theme: &Theme, t: f64) -> Result<RgbImage> {
        let (state, part) = between(&self.times, t);
        #[allow(clippy::cast_possible_truncation, reason = "a share")]
        let part = part as f32;
        let next = (state + 1).min(self.times.len() - 1);
        let mut states: Vec<f32> = (self.paths.chunks_exact(self.times.len() * self.dim))
            .flat_map(|path| {
                let (a, b) = (&path[state * self.dim..][..self.dim], &path[next * self.dim..][..self.dim]);
                a.iter().zip(b).map(|(a, b)| a + part * (b - a)).collect::<Vec<f32>>()
            })
            .collect();
        #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
        let moment = t.clamp(ENDS, 1.0 - ENDS) as f32;
        let mut expected = sampler.quantity(&states, moment, Quantity::Denoised)?;
        sampler.to_data_units(&mut states);
        sampler.to_data_units(&mut expected);
        let ((states, shape), (expected, _)) = (opaque(&states, self.shape), opaque(&expected, self.shape));
        #[allow(clippy::cast_possible_truncation, reason = "grey levels")]
        let (lo, hi) = (self.range.0 as f32, self.range.1 as f32);
        let sheet = ContactSheet {
            names: [&format!("t = {t:.2}"), "E[x1 | x_t]"],
            range: (lo < hi).then_some((lo, hi)),
            size: Some(self.size),
            ..ContactSheet::new(&states, &expected, shape)
        };
        contact_sheet(&sheet, &Page::theme(theme, self.size))
    }
}
