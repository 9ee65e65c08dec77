//! The runs below a folder, a row each.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::run::{Metrics, RunConfig, RunFolder};
use super::{Smoothed, approximately, count};
use crate::model::Model;
use crate::{Error, Result};

/// Folders within folders that are searched, at most: links may lead in circles.
const DEPTH: usize = 16;

/// A run in a few words and numbers. What could not be found out is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Its folder, below the one that was searched.
    pub run: String,
    /// What is wrong with it, if anything is.
    pub fault: Option<String>,
    /// The data, as they were asked for.
    pub data: Option<String>,
    /// The path.
    pub path: Option<String>,
    /// The coupling.
    pub coupling: Option<String>,
    /// Widths of the hidden layers.
    pub hidden: Option<Vec<usize>>,
    /// Rows of a batch.
    pub batch: Option<usize>,
    /// The seed.
    pub seed: Option<u64>,
    /// Steps made.
    pub steps: Option<u64>,
    /// Steps asked for.
    pub of: Option<u64>,
    /// The loss, smoothed over the last fiftieth of the rows of its history.
    pub loss: Option<f64>,
    /// The last L_FM over the held-out batch: how far the model is above the floor.
    pub excess: Option<f64>,
    /// Steps a second.
    pub speed: Option<f64>,
    /// The adapter.
    pub adapter: Option<String>,
    /// The weights, by [`Model::fingerprint`].
    pub fingerprint: Option<String>,
}

/// What stands in a column of a run's row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// It is not known.
    Nothing,
}

impl Cell {
    fn text(text: Option<&String>) -> Self {
        text.map_or(Self::Nothing, |text| Self::Text(text.clone()))
    }

    fn number(number: Option<f64>) -> Self {
        number.map_or(Self::Nothing, Self::Number)
    }

    /// The order of a column: texts, then numbers from the smallest, and what is not known last.
    #[must_use]
    pub fn order(&self, other: &Self) -> std::cmp::Ordering {
        let rank = |cell: &Self| match cell {
            Self::Text(_) => 0,
            Self::Number(_) => 1,
            Self::Nothing => 2,
        };
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            _ => rank(self).cmp(&rank(other)),
        }
    }
}

/// A column of the table of runs.
pub struct Column {
    /// Its name, in headings and in `--sort`.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// What is in it.
    pub cell: fn(&Summary) -> Cell,
    /// A number as people read it.
    pub show: fn(f64) -> String,
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of rows and steps")]
fn whole(value: f64) -> String {
    count(value as u64)
}

fn loss(value: f64) -> String {
    format!("{value:.4}")
}

/// All columns, in their order.
pub static SURVEY: &[Column] = &[
    Column { name: "run", help: "its folder", cell: |run| Cell::Text(run.run.clone()), show: loss },
    Column { name: "data", help: "what it learned", cell: |run| Cell::text(run.data.as_ref()), show: loss },
    Column { name: "path", help: "the path", cell: |run| Cell::text(run.path.as_ref()), show: loss },
    Column {
        name: "coupling",
        help: "the coupling",
        cell: |run| Cell::text(run.coupling.as_ref()),
        show: loss,
    },
    Column {
        name: "hidden",
        help: "widths of the hidden layers",
        cell: |run| {
            Cell::text(
                run.hidden
                    .as_ref()
                    .map(|widths| match widths.as_slice() {
                        [] => "none".to_owned(),
                        widths => widths.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
                    })
                    .as_ref(),
            )
        },
        show: loss,
    },
    Column {
        name: "batch",
        help: "rows of a batch",
        cell: |run| Cell::number(run.batch.map(|rows| rows as f64)),
        show: whole,
    },
    Column {
        name: "seed",
        help: "the seed",
        cell: |run| Cell::number(run.seed.map(|seed| seed as f64)),
        show: whole,
    },
    Column {
        name: "steps",
        help: "steps made",
        cell: |run| Cell::number(run.steps.map(|steps| steps as f64)),
        show: whole,
    },
    Column {
        name: "loss",
        help: "the loss, smoothed over the last fiftieth of the run",
        cell: |run| Cell::number(run.loss),
        show: loss,
    },
    Column {
        name: "excess",
        help: "the last L_FM of --exact-every, above the floor",
        cell: |run| Cell::number(run.excess),
        show: loss,
    },
    Column {
        name: "steps/s",
        help: "steps a second",
        cell: |run| Cell::number(run.speed),
        show: approximately,
    },
    Column {
        name: "state",
        help: "done, how far it is, or what is wrong",
        cell: |run| Cell::Text(run.state()),
        show: loss,
    },
];

impl Summary {
    /// `done`, how far it is, or what is wrong.
    #[must_use]
    pub fn state(&self) -> String {
        match (&self.fault, self.steps, self.of) {
            (Some(fault), ..) => fault.clone(),
            (None, Some(steps), Some(of)) if steps < of => format!("{} of {}", count(steps), count(of)),
            _ => "done".to_owned(),
        }
    }

    /// Reads the run in `folder`, which is called `name` in the table. What cannot be read is its fault, and no error.
    #[must_use]
    pub fn of(folder: &RunFolder, name: String) -> Self {
        let mut run = Self { run: name, ..Self::default() };
        let mut faults: Vec<String> = vec![];
        let mut note = |error: Error| faults.push(plain(&error, folder));
        match RunConfig::load(folder.config()) {
            Ok(config) => {
                let options = config.options;
                run.data = Some(config.data.source);
                run.path = Some(options.path.name());
                run.coupling = Some(options.coupling.entry().name.to_owned());
                run.hidden = Some(options.hidden);
                run.batch = Some(options.batch);
                run.seed = Some(options.seed);
                run.of = Some(options.steps);
                run.adapter = Some(config.adapter);
            }
            Err(error) => note(error),
        }
        match Model::load(folder.model()) {
            Ok(model) => {
                run.steps = Some(model.steps);
                run.fingerprint = Some(model.fingerprint());
            }
            Err(error) => note(error),
        }
        if !folder.checkpoint().exists() {
            faults.push("no checkpoint.safetensors: it cannot be resumed".to_owned());
        }
        if run.steps != Some(0)
            && let Err(error) = run.read_history(folder)
        {
            faults.push(plain(&error, folder));
        }
        run.fault = (!faults.is_empty()).then(|| faults.join("; "));
        run
    }

    fn read_history(&mut self, folder: &RunFolder) -> Result<()> {
        let path = folder.metrics();
        let rows = Metrics::rows(&path)?;
        let mut smoothed = Smoothed::new(1.0 - 50.0 / (rows.len() as f64).max(100.0));
        for (_, [loss, ..]) in &rows {
            smoothed.push(f32::from_bits(*loss).into());
        }
        if rows.is_empty() {
            return Err(Error::input(path.display().to_string(), "it has no rows", "train the run anew"));
        }
        self.loss = smoothed.value();
        self.excess = Metrics::exact(&path)?.last().map(|(_, exact)| exact.fm);
        self.speed = Metrics::speed(&path)?;
        Ok(())
    }
}

/// An error of a file of the run without its folder, which stands in the same row.
fn plain(error: &Error, folder: &RunFolder) -> String {
    let within = format!("{}{}", folder.path().display(), std::path::MAIN_SEPARATOR);
    error.to_string().replace(&within, "")
}

/// All runs in `folder` and in the folders below it, by name.
///
/// # Errors
/// [`Error::Io`] if `folder` cannot be read. What is wrong with a run, or with a folder below, stands in its row.
pub fn survey(folder: impl AsRef<Path>) -> Result<Vec<Summary>> {
    let root = folder.as_ref();
    let mut runs = vec![];
    search(root, root, 0, &mut runs).map_err(|error| Error::io("read", root, error))?;
    runs.sort_by(|a: &Summary, b| a.run.cmp(&b.run));
    Ok(runs)
}

fn search(root: &Path, at: &Path, depth: usize, runs: &mut Vec<Summary>) -> std::io::Result<()> {
    let name = |path: &Path| match path.strip_prefix(root) {
        Ok(below) if !below.as_os_str().is_empty() => below.display().to_string(),
        _ => root.file_name().map_or_else(|| ".".to_owned(), |name| name.to_string_lossy().into_owned()),
    };
    let entries = std::fs::read_dir(at)?;
    let folder = RunFolder::at(at);
    if folder.is_taken() {
        runs.push(Summary::of(&folder, name(at)));
    }
    let mut below: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect();
    below.sort();
    for path in below {
        if depth == DEPTH {
            break;
        }
        if let Err(error) = search(root, &path, depth + 1, runs) {
            let fault = Some(format!("cannot be read: {error}"));
            runs.push(Summary { run: name(&path), fault, ..Summary::default() });
        }
    }
    Ok(())
}
