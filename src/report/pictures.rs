//! The pictures of a trained model: what to ask the model for, and which of [`plot`]'s pictures fit the
//! data. Points are drawn with the model on the device, in chunks, so that one can stop in between.

use std::time::{Duration, Instant};

use image::RgbImage;

use super::plot::{
    self, ContactSheet, FieldPanel, FieldPlot, FieldStyle, Ideal, ImageShape, Limits, LossCurve, PairPlot,
    SamplesPlot, ScalingPanel, Theme, TrajectoryPlot, contact_sheet, field_2d, loss_curve, opaque, pair_plot,
    samples_1d, samples_2d, trajectories_2d,
};
use crate::Result;
use crate::data::Dataset;
use crate::gpu::Device;
use crate::measure::bench::{Report, SIZES, Scaling, ScalingPoint};
use crate::measure::evaluate::Interval;
use crate::measure::lab::Table;
use crate::model::Model;
use crate::sample::{Kernels, SampleOptions, Sampler};
use crate::train::{ExactLoss, Floor};

/// Samples beside the data, at most. Slow devices make fewer.
const SAMPLES: usize = 100_000;
/// Values of a picture's points, at most: wide rows make fewer points.
const VALUES: usize = 8_000_000;
/// Images of a contact sheet, of each kind.
const IMAGES: usize = 100;
/// Particles whose paths are drawn.
const PATHS: usize = 1000;
/// Particles whose places show where the flow is, in the field's panels.
const PLACES: usize = 4000;
/// The field's panels: one every so many steps of the paths.
const PANEL_EVERY: u32 = 15;
/// Steps of the paths; four times [`PANEL_EVERY`].
const PATH_STEPS: u32 = 60;
/// Grid points of the field per side.
const GRID: usize = 64;

/// The field at time `t` around some of its points [n, 2]: arrows over the density of the points. `at` gives its vectors
/// [m, 2] at places [m, 2], all in the units of the picture; `length` is what their length is called.
///
/// # Errors
/// What `at` says, or when the picture cannot be drawn.
pub fn field(
    points: &[f32],
    t: f64,
    length: &str,
    mut at: impl FnMut(&[f32]) -> Result<Vec<f32>>,
) -> Result<RgbImage> {
    let limits = Limits::around(points, &[]);
    let velocity = at(&FieldPlot::grid_points(&limits, GRID))?;
    let panels = [FieldPanel { t, velocity: &velocity, points }];
    field_2d(
        &FieldPlot { panels: &panels, grid: GRID, limits, style: FieldStyle::Arrows, length },
        &Theme::default(),
    )
}

/// The trajectories of a lab's combinations, the losses of its models over the time, and the quality of its samples against
/// the number of steps: a row for each task and path.
///
/// # Errors
/// When there is nothing to draw.
pub fn lab(table: &Table) -> Result<RgbImage> {
    let mut couplings: Vec<String> = vec![];
    let mut places: Vec<(&str, &str)> = vec![];
    for row in &table.rows {
        if !couplings.contains(&row.coupling) {
            couplings.push(row.coupling.clone());
        }
        if !places.contains(&(&row.task, &row.path)) {
            places.push((&row.task, &row.path));
        }
    }
    let several = |of: fn(&(&str, &str)) -> String| {
        let mut names: Vec<String> = places.iter().map(of).collect();
        names.dedup();
        names.len() > 1
    };
    let (tasks, paths) = (several(|place| place.0.to_owned()), several(|place| place.1.to_owned()));
    let point = |x: f64, y: &Interval| (x, y.mean, y.half_width.unwrap_or(0.0));
    let rows: Vec<plot::LabRow<'_>> = places
        .iter()
        .map(|(task, path)| {
            let of = |coupling: &String| table.row(task, path, coupling);
            let rows: Vec<_> = couplings.iter().map(of).collect();
            let title = match (tasks, paths) {
                (true, true) => format!("{task}, {path}"),
                (true, false) => (*task).to_owned(),
                _ => (*path).to_owned(),
            };
            plot::LabRow {
                title,
                trajectories: rows
                    .iter()
                    .map(|row| {
                        row.and_then(|row| row.trajectories.as_ref())
                            .map(|paths| (paths.steps, paths.points.as_slice()))
                    })
                    .collect(),
                losses: rows
                    .iter()
                    .map(|row| {
                        row.iter().flat_map(|row| &row.crossing).map(|at| point(at.t, &at.cfm)).collect()
                    })
                    .collect(),
                crossing: rows
                    .iter()
                    .flatten()
                    .flat_map(|row| &row.crossing)
                    .filter_map(|at| at.exact.as_ref().map(|exact| point(at.t, exact)))
                    .collect(),
                quality: rows
                    .iter()
                    .map(|row| {
                        let curve = row.iter().flat_map(|row| &row.quality);
                        curve.map(|at| point(at.steps.into(), &at.wasserstein2)).collect()
                    })
                    .collect(),
                floor: rows.iter().flatten().find_map(|row| row.floors.get("W2")).map(|floor| floor.mean),
            }
        })
        .collect();
    plot::lab(&rows, &couplings, &Theme::default())
}

/// How the time and the memory of a report grow with each size, beside the slopes that they should have: time above,
/// memory below.
///
/// # Errors
/// When nothing was measured.
pub fn scaling(report: &Report) -> Result<RgbImage> {
    /// Of time and of memory.
    fn slopes(scaling: &Scaling) -> (f64, f64) {
        SIZES.iter().find(|size| size.name == scaling.size).map_or((1.0, 1.0), |size| size.slopes)
    }
    type Points = Vec<(f64, [f64; 3])>;
    let of = |cost: fn(&ScalingPoint) -> [f64; 3]| -> Vec<Points> {
        let points = |scaling: &Scaling| scaling.points.iter().map(|p| (p.value as f64, cost(p))).collect();
        report.scaling.iter().map(points).collect()
    };
    let times = of(|p| [p.seconds.min, p.seconds.median, p.seconds.max].map(|seconds| 1e3 * seconds));
    let bytes = of(|p| [p.device_bytes as f64 / f64::from(1 << 20); 3]);
    let costs: Vec<String> = report.scaling.iter().map(|scaling| format!("{}, ms", scaling.of)).collect();
    let mut panels = vec![];
    for (scaling, points) in report.scaling.iter().zip(&times) {
        let ideal = Ideal::Slope(slopes(scaling).0);
        let cost = &costs[panels.len()];
        panels.push(ScalingPanel { size: &scaling.size, cost, points, ideal });
    }
    let formulas: Vec<Vec<(f64, f64)>> = (report.scaling.iter())
        .map(|scaling| {
            let mebibytes = |p: &ScalingPoint| p.formula_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20));
            scaling.points.iter().filter_map(|p| Some((p.value as f64, mebibytes(p)?))).collect()
        })
        .collect();
    for ((scaling, points), formula) in report.scaling.iter().zip(&bytes).zip(&formulas) {
        let slope = Ideal::Slope(slopes(scaling).1);
        let ideal = if formula.is_empty() { slope } else { Ideal::Formula(formula) };
        panels.push(ScalingPanel { size: &scaling.size, cost: "device memory, MiB", points, ideal });
    }
    let title = format!("Cost against size: {}", report.adapter.name);
    plot::scaling(&panels, report.scaling.len(), &title, &Theme::default())
}

/// The loss over the steps of a run, `(step, loss, smoothed)`; and where the exact loss was measured, `(step, loss)`,
/// what it has above its floor.
///
/// # Errors
/// When it cannot be drawn.
pub fn loss(curve: &[(u64, f32, f64)], exact: &[(u64, ExactLoss)], floor: Option<Floor>) -> Result<RgbImage> {
    #[allow(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    let steps: Vec<f64> = curve.iter().map(|row| row.0 as f64).collect();
    let loss: Vec<f64> = curve.iter().map(|row| row.1.into()).collect();
    let smoothed: Vec<f64> = curve.iter().map(|row| row.2).collect();
    #[allow(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    let excess: Vec<(f64, f64)> = exact.iter().map(|(step, loss)| (*step as f64, loss.fm)).collect();
    let curve = LossCurve {
        steps: &steps,
        loss: &loss,
        smoothed: &smoothed,
        floor: floor.map(|floor| (floor.crossing_energy, "floor C")),
        excess: &excess,
        title: "Conditional flow matching loss",
    };
    loss_curve(&curve, &Theme::default())
}

/// What the pictures of a model are made of.
#[derive(Debug)]
pub struct Portrait<'a> {
    data: &'a Dataset,
    model: &'a Model,
    shown: Dataset,
    samples: Vec<f32>,
    /// [`PLACES`] particles after each of [`PATH_STEPS`] steps, where there are two dimensions.
    paths: Vec<f32>,
    field: Option<Sampler>,
}

impl<'a> Portrait<'a> {
    /// Rows of the data that are shown, at most: [`Dataset::spread`] leaves as many, and the pictures are the same.
    #[must_use]
    pub fn rows(dim: usize, images: bool) -> usize {
        if images { IMAGES } else { SAMPLES.min(VALUES / dim).max(IMAGES) }
    }

    /// Draws samples for as long as `patience` lasts, and paths where there are two dimensions. `go_on` is asked
    /// between chunks, with the samples drawn and those wanted; if it says no, there is no portrait.
    ///
    /// # Errors
    /// As of [`Sampler`].
    pub fn sit(
        device: &Device,
        model: &'a Model,
        data: &'a Dataset,
        source: Option<&Dataset>,
        patience: Duration,
        mut go_on: impl FnMut(usize, usize) -> bool,
    ) -> Result<Option<Self>> {
        let begun = Instant::now();
        let dim = model.architecture.dim;
        let most = Self::rows(dim, model.image.is_some());
        // Twenty steps of the midpoint method are as good as fifty to the eye.
        let options = SampleOptions { seed: model.seed, steps: 20, ..SampleOptions::default() };
        let mut sampler = Sampler::new(device, model, source, options.clone())?;
        // The first chunk is small: it shows how fast the device is.
        let mut rows = sampler.chunk_rows().min(1 << 11);
        let mut drawn = Vec::new();
        while drawn.len() < most * dim {
            let have = drawn.len() / dim;
            if !go_on(have, most) {
                return Ok(None);
            }
            drawn.extend(sampler.sample(have as u64, rows.min(most - have))?);
            if begun.elapsed() > patience {
                break;
            }
            rows = sampler.chunk_rows().min(1 << 14);
        }
        sampler.to_data_units(&mut drawn);
        let shown = data.spread(most);
        let (mut paths, mut field) = (vec![], None);
        if dim == 2 {
            if !go_on(drawn.len() / dim, most) {
                return Ok(None);
            }
            let mut sampler =
                Sampler::new(device, model, source, SampleOptions { steps: PATH_STEPS, ..options.clone() })?;
            let places = sampler.chunk_rows().min(PLACES);
            paths = sampler.sample_trajectory(0, places)?;
            sampler.to_data_units(&mut paths);
            let options = SampleOptions { kernels: Kernels::Layered, ..options };
            field = Some(Sampler::new(device, model, None, options)?);
        }
        Ok(Some(Self { data, model, shown, samples: drawn, paths, field }))
    }

    /// Data beside samples: two densities, a contact sheet, or a pair plot.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn samples(&self) -> Result<RgbImage> {
        let theme = Theme::default();
        let (data, samples) = (self.shown.values(), self.samples.as_slice());
        if let Some(shape) = self.model.image {
            let shape = ImageShape { height: shape.height, width: shape.width, channels: shape.channels };
            let ((data, opaque_shape), (samples, _)) = (opaque(data, shape), opaque(samples, shape));
            return contact_sheet(&ContactSheet::new(&data, &samples, opaque_shape), &theme);
        }
        match self.data.dim() {
            1 => samples_1d(&SamplesPlot::new(data, samples), &theme),
            2 => samples_2d(&SamplesPlot::new(data, samples), &theme),
            _ => pair_plot(&PairPlot::new(data, samples, self.data.columns()), &theme),
        }
    }

    /// The velocity field at five times from noise to data, where there are two dimensions.
    ///
    /// # Errors
    /// As of [`Sampler::velocity`], or when it cannot be drawn.
    pub fn field(&mut self) -> Result<Option<RgbImage>> {
        let limits = self.limits();
        let stride = 2 * (PATH_STEPS as usize + 1);
        let Some(field) = &mut self.field else { return Ok(None) };
        let points = FieldPlot::grid_points(&limits, GRID);
        let mut network_points = points;
        field.to_network_units(&mut network_points);
        let mut panels = Vec::new();
        for step in (0..=PATH_STEPS).step_by(PANEL_EVERY as usize) {
            let t = f64::from(step) / f64::from(PATH_STEPS);
            #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
            let mut velocity = field.velocity(&network_points, t as f32)?;
            field.velocities_to_data_units(&mut velocity);
            let at = 2 * step as usize;
            let places: Vec<f32> =
                self.paths.chunks_exact(stride).flat_map(|path| &path[at..at + 2]).copied().collect();
            panels.push((t, velocity, places));
        }
        let panels: Vec<FieldPanel<'_>> =
            panels.iter().map(|(t, velocity, points)| FieldPanel { t: *t, velocity, points }).collect();
        let plot =
            FieldPlot { panels: &panels, grid: GRID, limits, style: FieldStyle::default(), length: "speed" };
        field_2d(&plot, &Theme::default()).map(Some)
    }

    /// The paths of a thousand particles, where there are two dimensions.
    ///
    /// # Errors
    /// When they cannot be drawn.
    pub fn trajectories(&self) -> Result<Option<RgbImage>> {
        if self.paths.is_empty() {
            return Ok(None);
        }
        let floats = 2 * (PATH_STEPS as usize + 1) * PATHS;
        let plot = TrajectoryPlot {
            trajectories: &self.paths[..floats.min(self.paths.len())],
            steps: PATH_STEPS as usize,
            t: (0.0, 1.0),
            // That of all ends, and not of the data: no path is cut where it begins.
            limits: None,
            title: "Trajectories",
        };
        trajectories_2d(&plot, &Theme::default()).map(Some)
    }

    /// A window that shows the data and most of where the flow begins.
    fn limits(&self) -> Limits {
        let stride = 2 * (PATH_STEPS as usize + 1);
        let begin: Vec<f32> = self.paths.chunks_exact(stride).flat_map(|path| &path[..2]).copied().collect();
        Limits::around(self.shown.values(), &begin)
    }
}
