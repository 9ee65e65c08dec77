//! Paths × couplings × seeds over a data set, measured alike: does the straight path cross, how much does that bend the
//! flow that is learned, and what does a coupling buy?
//!
//! A [`Plan`] says what is compared. A [`Lab`] is a folder with one file for every finished [`Cell`], a combination of a
//! task, a path, a coupling and a seed; cells are independent of each other, so that an interrupted lab goes on where it
//! was, and a larger one takes over those that are there. [`Table`] has their means over the seeds with 95 % confidence
//! intervals. A [`suite`](SUITES) is a plan with published figures to be held against.

mod cell;
mod plan;
mod suite;
mod table;

use std::path::{Path as FilePath, PathBuf};

pub use cell::{Cell, Crossing, Evaluations, Progress, Quality, Trajectories};
pub use plan::{CellId, Plan, Task, Validation, path_label};
pub use suite::{PUBLISHED, Published, SUITES, Suite};
pub use table::{COLUMNS, Column, CrossingAt, QualityAt, Row, Table, Versus, three_digits, with_interval};

use crate::flow::Coupling;
use crate::gpu::Device;
use crate::{Error, Result, files};

/// The version of the files.
pub const FORMAT: u32 = 2;

/// A folder of cells.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    plan: Plan,
    done: Vec<Cell>,
}

impl Lab {
    /// Begins a lab in `folder`, or goes on with the one that is there: reads the cells of the plan that are finished.
    ///
    /// # Errors
    /// [`Error::Config`] for a plan that cannot be run, or if the folder holds a lab with other settings;
    /// [`Error::Input`] if a file of it cannot be used, [`Error::Io`] if it cannot be read or written.
    pub fn open(folder: impl Into<PathBuf>, plan: Plan) -> Result<Self> {
        plan.validate()?;
        let folder = folder.into();
        let path = folder.join("settings.json");
        let settings = plan.settings()?;
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let found = serde_json::from_str(&text).map_err(|error| unusable(&path, &error))?;
                if let Some(what) = difference(&found, &settings) {
                    return Err(Error::config(
                        format!("{} holds a lab with other settings: {what}", folder.display()),
                        "give the same settings to go on, or another --out",
                    ));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                files::write_bytes(&path, pretty(&settings, &path)?)?;
            }
            Err(error) => return Err(Error::io("read", &path, error)),
        }
        let mut lab = Self { folder, plan, done: vec![] };
        for id in lab.plan.cells() {
            let path = lab.cell_file(&id, "json");
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    let cell = serde_json::from_str(&text).map_err(|error| unusable(&path, &error))?;
                    lab.done.push(cell);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("read", &path, error)),
            }
        }
        Ok(lab)
    }

    /// What is compared.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The finished cells.
    #[must_use]
    pub fn done(&self) -> &[Cell] {
        &self.done
    }

    /// The cells that are still to be run, in the order in which they give the most complete table: all combinations of
    /// a seed before the next seed.
    #[must_use]
    pub fn todo(&self) -> Vec<CellId> {
        let done = |id: &CellId| self.done.iter().any(|cell| id.is_of(cell));
        self.plan.cells().into_iter().filter(|id| !done(id)).collect()
    }

    /// The seconds that cells will take, from those that are done: of the same coupling where there are any.
    #[must_use]
    pub fn seconds_for(&self, cells: &[CellId]) -> Option<f64> {
        let mean = |coupling: Option<&str>| {
            let like = |cell: &&Cell| coupling.is_none_or(|coupling| cell.coupling == coupling);
            let seconds: Vec<f64> = self.done.iter().filter(like).map(|cell| cell.seconds).collect();
            (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64)
        };
        cells.iter().map(|id| mean(Some(id.coupling.entry().name)).or_else(|| mean(None))).sum()
    }

    /// Trains and measures a cell, and writes it: its model, and then what was measured. A cell that is broken off
    /// leaves a checkpoint, from which the next call goes on.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if `stop` asked for that; as of [`Trainer`](crate::train::Trainer) and
    /// [`evaluate`](crate::measure::evaluate::evaluate).
    pub fn run(
        &mut self,
        device: &Device,
        id: &CellId,
        stop: fn() -> bool,
        progress: impl FnMut(Progress),
    ) -> Result<()> {
        let checkpoint = self.cell_file(id, "checkpoint.safetensors");
        let parent = self.cell_file(&CellId { coupling: Coupling::Independent, ..id.clone() }, "safetensors");
        let best = self.cell_file(id, "best.safetensors");
        let files = cell::Files { parent: &parent, checkpoint: &checkpoint, best: &best };
        let (cell, model) = cell::run(device, &self.plan, id, files, stop, progress)?;
        model.save(self.cell_file(id, "safetensors"))?;
        let path = self.cell_file(id, "json");
        files::write_bytes(&path, pretty(&cell, &path)?)?;
        for file in [&checkpoint, &best] {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", file, error));
                }
                _ => {}
            }
        }
        self.done.push(cell);
        Ok(())
    }

    /// What the finished cells come to.
    #[must_use]
    pub fn table(&self) -> Table {
        Table::of(&self.plan, &self.done)
    }

    fn cell_file(&self, id: &CellId, extension: &str) -> PathBuf {
        self.folder.join("cells").join(format!("{}.{extension}", id.name()))
    }
}

fn unusable(path: &FilePath, error: &serde_json::Error) -> Error {
    Error::input(
        path.display().to_string(),
        error.to_string(),
        "remove the file: what it holds is made again",
    )
}

fn pretty(value: &impl serde::Serialize, path: &FilePath) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::io("write", path, std::io::Error::other(error)))
}

/// Which setting differs, in words.
fn difference(found: &serde_json::Value, wanted: &serde_json::Value) -> Option<String> {
    use serde_json::Value;
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            let mut names = wanted.keys().chain(found.keys());
            names.find_map(|name| {
                let (found, wanted) =
                    (found.get(name).unwrap_or(&Value::Null), wanted.get(name).unwrap_or(&Value::Null));
                let nested = found.is_object() && wanted.is_object();
                match difference(found, wanted) {
                    Some(what) if nested => Some(what),
                    Some(what) => Some(format!("{name} {what}")),
                    None => None,
                }
            })
        }
        (found, wanted) if found == wanted => None,
        (found, wanted) => Some(format!("is {} there, not {}", shortest(found), shortest(wanted))),
    }
}

/// A value as it was typed: a number of float32 without the digits that float64 adds.
fn shortest(value: &serde_json::Value) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::float_cmp, reason = "whether it is the same number")]
    let narrow = |wide: f64| Some(wide as f32).filter(|&narrow| f64::from(narrow) == wide);
    match value.as_f64().filter(|_| value.is_f64()).and_then(narrow) {
        Some(narrow) => narrow.to_string(),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::TrainOptions;

    fn plan() -> Plan {
        Plan {
            tasks: vec![Task::new("moons:200", None)],
            seeds: vec![0],
            train: TrainOptions { steps: 3, hidden: vec![8], batch: 16, ..Plan::default().train },
            ..Plan::default()
        }
    }

    #[test]
    fn a_folder_with_other_settings_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        Lab::open(folder.path(), plan()).unwrap();
        // More of the same goes into the same folder.
        let more = Plan { seeds: vec![0, 1, 2], ..plan() };
        assert!(Lab::open(folder.path(), more).unwrap().todo().len() > plan().cells().len());
        let mut other = plan();
        other.train.batch = 17;
        let error = Lab::open(folder.path(), other).unwrap_err().to_string();
        assert!(error.contains("batch is 16 there, not 17") && error.lines().count() == 1, "{error}");
        let mut other = plan();
        other.train.lr = 3e-4;
        let error = Lab::open(folder.path(), other).unwrap_err().to_string();
        assert!(error.contains("lr is 0.003 there, not 0.0003"), "{error}");
        let other = Plan { tasks: vec![Task::new("moons:201", None)], ..plan() };
        let error = Lab::open(folder.path(), other).unwrap_err().to_string();
        assert!(error.contains("moons:201"), "{error}");
    }

    #[test]
    fn plans_that_cannot_be_run_are_refused() {
        let refused = |plan: Plan| {
            let folder = tempfile::tempdir().unwrap();
            Lab::open(folder.path(), plan).unwrap_err().to_string()
        };
        assert!(refused(Plan { seeds: vec![], ..plan() }).contains("--seeds"));
        assert!(refused(Plan { paths: vec![], ..plan() }).contains("--paths"));
        let path = crate::flow::Path::default();
        assert!(refused(Plan { paths: vec![path.clone(), path], ..plan() }).contains("twice"));
        assert!(refused(Plan { rows: 1, ..plan() }).contains("-n"));
        assert!(
            refused(Plan { tasks: vec![Task::new("no such data", None)], ..plan() }).contains("no such data")
        );
    }
}
