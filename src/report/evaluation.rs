//! What an evaluation leaves in a folder: the numbers, the curves as tables, and a picture of them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use image::RgbImage;
use serde::Serialize;

use super::plot::{self, Curve, CurvePanel, Theme, curves};
use crate::measure::evaluate::{Evaluation, Interval};
use crate::{Result, files};

/// The names of the files.
const FILES: [&str; 4] = ["evaluation.json", "crossing.csv", "quality.csv", "evaluation.png"];

/// Writes `evaluation.json` with `record`, `crossing.csv`, `quality.csv` and `evaluation.png`, and says which files
/// there are. What is not known is empty in a table.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io).
pub fn write(folder: &Path, evaluation: &Evaluation, record: &impl Serialize) -> Result<Vec<PathBuf>> {
    let paths = FILES.map(|name| folder.join(name));
    let json = serde_json::to_string_pretty(record)
        .map_err(|error| crate::Error::io("write", &paths[0], std::io::Error::other(error)))?;
    files::write_bytes(&paths[0], json + "\n")?;
    files::write_bytes(&paths[1], crossing_table(evaluation))?;
    files::write_bytes(&paths[2], quality_table(evaluation))?;
    plot::save(&picture(evaluation)?, &paths[3])?;
    Ok(paths.to_vec())
}

/// `t,crossing,crossing_half_width,l_cfm,l_cfm_half_width,l_fm,l_fm_half_width`
fn crossing_table(evaluation: &Evaluation) -> String {
    let mut table = header("t", &["crossing", "l_cfm", "l_fm"]);
    for at in &evaluation.crossing {
        let _ = write!(table, "{}", at.t);
        row(&mut table, &[at.crossing.as_ref(), Some(&at.cfm), at.fm.as_ref()]);
    }
    table
}

/// `steps,w2,w2_half_width,…`
fn quality_table(evaluation: &Evaluation) -> String {
    let mut table = header("steps", &["w2", "sliced_w2", "energy_distance"]);
    for quality in &evaluation.quality {
        let _ = write!(table, "{}", quality.steps);
        row(&mut table, &[quality.wasserstein2.as_ref(), Some(&quality.sliced), Some(&quality.energy)]);
    }
    table
}

fn header(first: &str, names: &[&str]) -> String {
    let mut line = first.to_owned();
    for name in names {
        let _ = write!(line, ",{name},{name}_half_width");
    }
    line + "\n"
}

fn row(table: &mut String, values: &[Option<&Interval>]) {
    for value in values {
        let half = value.and_then(|value| value.half_width);
        for number in [value.map(|value| value.mean), half] {
            table.push(',');
            if let Some(number) = number {
                let _ = write!(table, "{number}");
            }
        }
    }
    table.push('\n');
}

/// The crossing energy over the time, and the quality of samples over the number of Euler steps, beside its floor.
///
/// # Errors
/// When it cannot be drawn.
pub fn picture(evaluation: &Evaluation) -> Result<RgbImage> {
    let theme = Theme::default();
    let point = |x: f64, y: &Interval| (x, y.mean, y.half_width.unwrap_or(0.0));
    let mut losses = vec![Curve { name: "L_CFM of the model", colour: theme.samples, points: vec![] }];
    losses[0].points = evaluation.crossing.iter().map(|at| point(at.t, &at.cfm)).collect();
    let exact: Vec<(f64, f64, f64)> = evaluation
        .crossing
        .iter()
        .filter_map(|at| at.crossing.as_ref().map(|crossing| point(at.t, crossing)))
        .collect();
    if !exact.is_empty() {
        losses.push(Curve { name: "C of the data", colour: theme.data, points: exact });
    }
    let mut panels = vec![CurvePanel {
        title: "Where paths cross",
        x_name: "t",
        y_name: "energy",
        curves: losses,
        ..CurvePanel::default()
    }];
    let exact = evaluation.quality.iter().all(|quality| quality.wasserstein2.is_some());
    let (name, measure) = if exact { ("W₂", "W2") } else { ("sliced W₂", "sliced W2") };
    let points: Vec<(f64, f64, f64)> = evaluation
        .quality
        .iter()
        .map(|quality| {
            let value = quality.wasserstein2.as_ref().filter(|_| exact).unwrap_or(&quality.sliced);
            point(f64::from(quality.steps), value)
        })
        .collect();
    let floor = evaluation.measure(measure).and_then(|measured| measured.floor.as_ref());
    if !points.is_empty() {
        panels.push(CurvePanel {
            title: "Quality of samples",
            x_name: "Euler steps",
            y_name: name,
            curves: vec![Curve { name: "samples", colour: theme.samples, points }],
            level: floor.map(|floor| (floor.mean, "floor")),
            logarithmic: true,
        });
    }
    curves(&panels, 2, &theme)
}
