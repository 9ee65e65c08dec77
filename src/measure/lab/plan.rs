//! What is compared.

use serde::{Deserialize, Serialize};

use super::FORMAT;
use super::cell::Cell;
use crate::data::Dataset;
use crate::flow::{COUPLINGS, Coupling, PATHS, Path};
use crate::measure::evaluate::{EXACT_ROWS, test_rows};
use crate::train::{Schedule, TrainOptions};
use crate::{Error, Result};

/// A flow that is to be learned: from a source to data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name in tables and files.
    pub name: String,
    /// The data, as [`Dataset::open`] takes them.
    pub data: String,
    /// What replaces the Gaussian, likewise.
    pub source: Option<String>,
}

impl Task {
    /// Named after its data, and its source if there is one.
    #[must_use]
    pub fn new(data: &str, source: Option<&str>) -> Self {
        let short = |name: &str| {
            let stem = std::path::Path::new(name.split(':').next().unwrap_or(name)).file_stem();
            stem.map_or_else(|| "data".to_owned(), |stem| stem.to_string_lossy().into_owned())
        };
        let name = match source {
            Some(source) => format!("{}→{}", short(source), short(data)),
            None => short(data),
        };
        Self { name, data: data.to_owned(), source: source.map(str::to_owned) }
    }

    /// Data and source; `seed` chooses the points of built-in densities.
    ///
    /// # Errors
    /// As of [`Dataset::open`].
    pub fn open(&self, seed: u64) -> Result<(Dataset, Option<Dataset>)> {
        let open = |name: &String| Dataset::open_seeded(name, seed);
        Ok((open(&self.data)?, self.source.as_ref().map(open).transpose()?))
    }
}

/// How the weights of a run are chosen: those with the lowest loss over held-out pairs
/// ([`HeldOut`](crate::measure::evaluate::HeldOut)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Validation {
    /// Steps from one look to the next one; the last step is one more.
    pub every: u64,
    /// Points that are held out.
    pub rows: usize,
}

/// Tasks × paths × couplings × seeds, and how each is trained and measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The flows to learn.
    pub tasks: Vec<Task>,
    /// The names of those that are run; all, if it is empty.
    pub only: Vec<String>,
    /// The conditional paths.
    pub paths: Vec<Path>,
    /// The couplings.
    pub couplings: Vec<Coupling>,
    /// Of weights, batches, test points and noise; and, with `fresh`, of the points of built-in densities.
    pub seeds: Vec<u64>,
    /// Whether every seed has training points of its own.
    pub fresh: bool,
    /// The training of every cell; its path, coupling and seed are the cell's.
    pub train: TrainOptions,
    /// Which weights are measured: the last ones, unless this says otherwise.
    pub validation: Option<Validation>,
    /// Test points of a set, n.
    pub rows: usize,
    /// Particles and test points of NPE, where they are not as many as of everything else.
    pub transport_rows: Option<usize>,
    /// Euler steps with which trajectories are followed.
    pub solver_steps: u32,
    /// Numbers of Euler steps for which the quality of the samples is measured.
    pub quality_steps: Vec<u32>,
}

impl Default for Plan {
    /// `ot` and `vp`, all couplings that need no model, three seeds, 5000 steps of a network that trains in a minute.
    fn default() -> Self {
        let paths = PATHS.iter().take(2).filter_map(|family| Path::named(family.name).ok());
        Self {
            tasks: vec![],
            only: vec![],
            paths: paths.collect(),
            couplings: COUPLINGS.iter().take(2).map(|entry| entry.coupling).collect(),
            seeds: vec![0, 1, 2],
            fresh: false,
            train: TrainOptions { hidden: vec![64; 3], steps: 5000, ..TrainOptions::default() },
            validation: None,
            rows: 1000,
            transport_rows: None,
            solver_steps: 100,
            quality_steps: vec![1, 2, 4, 8, 16, 32, 64, 128],
        }
    }
}

/// A combination that is run on its own.
#[derive(Clone, Debug, PartialEq)]
pub struct CellId {
    /// The flow.
    pub task: Task,
    /// The path.
    pub path: Path,
    /// The coupling.
    pub coupling: Coupling,
    /// The seed.
    pub seed: u64,
}

/// The name of a path in tables and files: that of its family, and the deviation of the noise around it, if there is any:
/// `ot`, `ot+0.1`.
#[must_use]
pub fn path_label(path: &Path) -> String {
    let noise = path.noise();
    if noise > 0.0 { format!("{}+{noise}", path.name()) } else { path.name() }
}

impl CellId {
    /// The name of its files.
    #[must_use]
    pub fn name(&self) -> String {
        let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let Self { task, path, coupling, seed } = self;
        let parts = [task.name.replace('→', "-to-"), path_label(path), coupling.entry().name.to_owned()];
        let parts = parts.map(|part| part.chars().map(plain).collect::<String>());
        format!("{}-{seed}", parts.join("-"))
    }

    /// Whether a finished cell is this one.
    #[must_use]
    pub fn is_of(&self, cell: &Cell) -> bool {
        self.task.name == cell.task
            && path_label(&self.path) == cell.path
            && self.coupling.entry().name == cell.coupling
            && self.seed == cell.seed
    }

    /// In words.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self { task, path, coupling, seed } = self;
        format!("{} · {} · {} · seed {seed}", task.name, path_label(path), coupling.entry().name)
    }
}

impl Plan {
    /// The transport suite's network and optimiser: plain AdamW at a constant rate, nothing averaged, nothing clipped.
    ///
    /// # Errors
    /// None: the activation is in the table.
    pub(super) fn plain(steps: u64) -> Result<TrainOptions> {
        Ok(TrainOptions {
            hidden: vec![64; 3],
            activation: "selu".parse()?,
            time_frequencies: 0,
            batch: 512,
            steps,
            lr: 1e-3,
            schedule: Schedule::Constant,
            warmup: 0,
            weight_decay: 1e-5,
            clip: 0.0,
            ema: 0.0,
            standardize: false,
            ..TrainOptions::default()
        })
    }

    /// Checks every setting, and that cells have names of their own.
    ///
    /// # Errors
    /// [`Error::Config`] naming the flag; as of [`Dataset::open`].
    pub fn validate(&self) -> Result<()> {
        let lacking = [
            ("--data", self.tasks.is_empty()),
            ("--paths", self.paths.is_empty()),
            ("--couplings", self.couplings.is_empty()),
            ("--seeds", self.seeds.is_empty()),
        ];
        if let Some((flag, _)) = lacking.iter().find(|(_, lacking)| *lacking) {
            return Err(Error::config(format!("{flag} is empty"), "give at least one"));
        }
        if let Some(name) = self.only.iter().find(|name| !self.tasks.iter().any(|task| task.name == **name)) {
            let names: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
            return Err(Error::config(
                format!("there is no flow `{}`", name.escape_debug()),
                format!("there are {}", names.join(", ")),
            ));
        }
        if !(2..=EXACT_ROWS).contains(&self.rows) {
            return Err(Error::config(
                format!("-n {} is out of range", self.rows),
                format!("it takes 2 to {EXACT_ROWS} test points"),
            ));
        }
        let mut names: Vec<String> = self.cells().iter().map(CellId::name).collect();
        names.sort_unstable();
        let twice = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b);
        if let Some((name, _)) = twice {
            return Err(Error::config(
                format!("{name} is asked for twice"),
                "name every path, coupling and seed once",
            ));
        }
        let alone = !self.couplings.contains(&Coupling::Independent);
        if let Some(paired) = self.couplings.iter().find(|coupling| coupling.is_paired() && alone) {
            return Err(Error::config(
                format!("--couplings {} lacks the models that make its pairs", paired.entry().name),
                "give independent as well",
            ));
        }
        for coupling in &self.couplings {
            TrainOptions { coupling: *coupling, ..self.train.clone() }.validate()?;
        }
        for steps in self.quality_steps.iter().chain([&self.solver_steps]) {
            if !(1..=100_000).contains(steps) {
                return Err(Error::config(
                    format!("{steps} Euler steps are out of range"),
                    "it takes 1 to 100000",
                ));
            }
        }
        Ok(())
    }

    /// The flows that are run.
    pub fn flows(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| self.only.is_empty() || self.only.contains(&task.name))
    }

    /// All cells, the combinations of a seed before the next seed; couplings that go on from another one's models are
    /// the last.
    #[must_use]
    pub fn cells(&self) -> Vec<CellId> {
        let mut couplings = self.couplings.clone();
        couplings.sort_by_key(Coupling::is_paired);
        let mut cells = vec![];
        for &seed in &self.seeds {
            for task in self.flows() {
                for path in &self.paths {
                    for &coupling in &couplings {
                        cells.push(CellId { task: task.clone(), path: path.clone(), coupling, seed });
                    }
                }
            }
        }
        cells
    }

    /// The settings that all cells of a folder have in common: everything but which paths, couplings and seeds.
    ///
    /// # Errors
    /// As of [`Dataset::open`]; [`Error::Input`] if there are too few rows to measure with.
    pub(super) fn settings(&self) -> Result<serde_json::Value> {
        let mut tasks = serde_json::Map::new();
        for task in &self.tasks {
            let (data, source) =
                task.open(self.seeds.first().copied().filter(|_| self.fresh).unwrap_or(0))?;
            if let Some(source) = &source {
                source.leads_to(&data)?;
            }
            // Before anything is trained.
            test_rows(&data, source.as_ref(), Some(self.rows.max(self.transport_rows.unwrap_or(0))))?;
            let facts = serde_json::json!({
                "data": task.data,
                "source": task.source,
                // The points of every seed are others.
                "fingerprint": (!self.fresh).then(|| data.fingerprint()),
                "source_fingerprint": source.filter(|_| !self.fresh).map(|source| source.fingerprint()),
            });
            tasks.insert(task.name.clone(), facts);
        }
        let mut train = serde_json::to_value(TrainOptions {
            path: Path::default(),
            coupling: Coupling::default(),
            seed: 0,
            ..self.train.clone()
        })
        .map_err(|error| Error::config(format!("the settings: {error}"), "give finite numbers"))?;
        if let Some(train) = train.as_object_mut() {
            for axis in ["path", "coupling", "seed"] {
                train.remove(axis);
            }
        }
        let ot_batch = self.couplings.iter().find_map(|coupling| match coupling {
            Coupling::MinibatchOt { ot_batch } | Coupling::Sinkhorn { ot_batch, .. } => Some(*ot_batch),
            _ => None,
        });
        Ok(serde_json::json!({
            "format": FORMAT,
            "tasks": tasks,
            "fresh": self.fresh,
            "ot_batch": ot_batch.unwrap_or(0),
            "train": train,
            "validation": self.validation,
            "rows": self.rows,
            "transport_rows": self.transport_rows,
            "solver_steps": self.solver_steps,
            "quality_steps": self.quality_steps,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_a_seed_come_before_the_next() {
        let plan = Plan { tasks: vec![Task::new("moons", Some("8gaussians:100"))], ..Plan::default() };
        let cells = plan.cells();
        assert_eq!(cells.len(), plan.paths.len() * plan.couplings.len() * 3);
        assert!(cells.windows(2).all(|pair| pair[0].seed <= pair[1].seed));
        assert_eq!(cells[0].name(), "8gaussians-to-moons-ot-independent-0");
        assert_eq!(cells[0].describe(), "8gaussians→moons · ot · independent · seed 0");
        assert_eq!(Task::new("some/points.npy", None).name, "points");
    }
}
