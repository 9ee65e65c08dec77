//! What a picture shows of a model's space: two of its columns, or the time and one.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers become pixels here: counts are small, and conversions saturate where they matter"
)]

use crate::data::default_columns;
use crate::model::Model;
use crate::report::plot::{FieldPlot, Limits};
use crate::sample::Sampler;
use crate::{Error, Result};

/// A plane of a model's space, and the window on it that is shown. In data units.
#[derive(Clone, Debug)]
pub struct View {
    /// The columns that are shown. The time goes from left to right where there is one alone.
    pub columns: Vec<usize>,
    /// What the two axes are called.
    pub names: [String; 2],
    /// The window.
    pub limits: Limits,
}

impl View {
    /// Of the columns of a model that are asked for, or of all it has if they are one or two, with a window around points
    /// `[n, d]` of the noise and of what it flows to, in data units: around all of the noise if it is to be seen whole, and
    /// is not very much wider.
    ///
    /// # Errors
    /// [`Error::Config`] if there are not one or two columns, or the model does not have them.
    pub fn new(
        model: &Model,
        asked: Option<&[usize]>,
        begin: &[f32],
        end: &[f32],
        whole: bool,
    ) -> Result<Self> {
        let dim = model.architecture.dim;
        let columns: Vec<usize> = match asked {
            Some(columns) => columns.to_vec(),
            None if dim <= 2 => (0..dim).collect(),
            None => {
                return Err(Error::config(
                    format!("the model has {dim} columns, and the picture two axes"),
                    "choose two with --columns, such as --columns 0,1",
                ));
            }
        };
        if let Some(column) = columns.iter().find(|&&column| column >= dim) {
            return Err(Error::config(
                format!("there is no column {column}: the model has {dim}, counted from 0"),
                "choose others with --columns",
            ));
        }
        let all = if model.columns.len() == dim { model.columns.clone() } else { default_columns(dim) };
        let of = |points: &[f32]| -> Vec<f32> {
            points.chunks_exact(dim).flat_map(|point| columns.iter().map(|&column| point[column])).collect()
        };
        let window = if whole { Limits::around_both } else { Limits::around };
        let (names, limits) = match columns[..] {
            [x] => {
                // A window around both ends of the time, which is square at first.
                let square = |points: Vec<f32>| -> Vec<f32> { points.iter().flat_map(|&x| [x, x]).collect() };
                let around = window(&square(of(end)), &square(of(begin)));
                let limits = Limits::new((0.0, 1.0), (around.y.lo(), around.y.hi()));
                (["time t".to_owned(), all[x].clone()], limits)
            }
            [x, y] if x != y => ([all[x].clone(), all[y].clone()], window(&of(end), &of(begin))),
            _ => {
                return Err(Error::config(
                    format!("{} columns do not make a picture of two axes", columns.len()),
                    "choose two different ones with --columns",
                ));
            }
        };
        Ok(Self { columns, names, limits })
    }

    /// Whether the time is an axis.
    #[must_use]
    pub fn has_time(&self) -> bool {
        self.columns.len() == 1
    }

    /// The points of a grid of n × n over the window, from edge to edge, row by row from the lower left corner, in the
    /// network's coordinates: `[n·n, d]`. What is not shown is at its mean.
    #[must_use]
    pub fn grid(&self, model: &Model, n: usize) -> Vec<f32> {
        let dim = model.architecture.dim;
        let plane = FieldPlot::grid_points(&self.limits, n);
        let mut points = vec![0.0; n * n * dim];
        for (point, place) in points.chunks_exact_mut(dim).zip(plane.chunks_exact(2)) {
            // Of a time and a column, the second coordinate is the column.
            let place = &place[2 - self.columns.len()..];
            for (&column, &x) in self.columns.iter().zip(place) {
                point[column] = match &model.standardization {
                    Some(units) => ((f64::from(x) - units.mean[column]) / units.std[column]) as f32,
                    None => x,
                };
            }
        }
        points
    }

    /// Of vectors `[n, d]` in data units those two columns, or 1 and the one: `[n, 2]`.
    #[must_use]
    pub fn vectors(&self, values: &[f32], dim: usize) -> Vec<f32> {
        values
            .chunks_exact(dim)
            .flat_map(|v| match self.columns[..] {
                [x, y] => [v[x], v[y]],
                [x] => [1.0, v[x]],
                _ => [0.0; 2],
            })
            .collect()
    }

    /// The velocities of a model on [`grid`](Self::grid) at a time, in data units a unit of time: `[n·n, 2]`. Where the
    /// time is an axis, each column of the grid has its own.
    ///
    /// # Errors
    /// As of [`Sampler::velocity`].
    pub fn velocities(&self, sampler: &mut Sampler, n: usize, t: f64) -> Result<Vec<f32>> {
        let dim = sampler.model().architecture.dim;
        let points = self.grid(sampler.model(), n);
        let mut values = if self.has_time() {
            // One column of the grid after the other: all of them are at one place of the time.
            let mut values = vec![0.0; points.len()];
            for column in 0..n {
                let here: Vec<f32> = points.chunks_exact(n).map(|row| row[column]).collect();
                let time = column as f64 / (n - 1) as f64;
                let found = sampler.velocity(&here, time as f32)?;
                for (row, v) in values.chunks_exact_mut(n).zip(found) {
                    row[column] = v;
                }
            }
            values
        } else {
            sampler.velocity(&points, t as f32)?
        };
        sampler.velocities_to_data_units(&mut values);
        Ok(self.vectors(&values, dim))
    }
}
