//! The folder that a training run leaves.
//!
//! | file | what it is |
//! | --- | --- |
//! | `model.safetensors` | the weights to sample with, as of the last checkpoint |
//! | `checkpoint.safetensors` | all that exact resumption needs |
//! | `metrics.csv` | the history: one [`Row`] for every so many steps |
//! | `config.toml` | every setting, resolved: a [`RunConfig`] |
//! | `pairs-x0.npy`, `pairs-x1.npy` | the pairs that it learned, of a round of rectified flow |
//! | `tensorboard/` | the history as event files, where they were asked for: [`Events`](super::Events) |
//! | `loss.png`, `samples.png`, `field.png`, `trajectories.png` | pictures, as far as they fit the data |
//!
//! Every file is replaced as a whole. `metrics.csv` is always written before the checkpoint of the same moment, so
//! whatever interrupts the two, the history reaches at least as far as the checkpoint.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::files::{write_atomically, write_bytes, write_error};
use crate::gpu::AdapterRecord;
use crate::measure::evaluate::{LIVE, LiveValues};
use crate::model::Model;
use crate::train::{ExactLoss, Record, Schedule, TrainOptions};
use crate::{Error, Result};

/// The version of `config.toml` that this program writes, and the newest that it reads.
pub const CONFIG_FORMAT: u32 = 1;

/// The files by which a folder is known to hold a run.
const OWN: [&str; 4] = ["config.toml", "checkpoint.safetensors", "metrics.csv", "model.safetensors"];
/// The pictures that a run may leave.
const PICTURES: [&str; 4] = ["loss.png", "samples.png", "field.png", "trajectories.png"];

/// The pairs that a round of rectified flow learns.
const PAIRS: [&str; 2] = ["pairs-x0.npy", "pairs-x1.npy"];

/// The folder of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// The folder `path`, which need not be there yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file `name` in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// `model.safetensors`.
    #[must_use]
    pub fn model(&self) -> PathBuf {
        self.file("model.safetensors")
    }

    /// `checkpoint.safetensors`.
    #[must_use]
    pub fn checkpoint(&self) -> PathBuf {
        self.file("checkpoint.safetensors")
    }

    /// `metrics.csv`.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.file("metrics.csv")
    }

    /// `config.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.file("config.toml")
    }

    /// `tensorboard`, the folder of event files.
    #[must_use]
    pub fn tensorboard(&self) -> PathBuf {
        self.file("tensorboard")
    }

    /// Whether a run has left anything here.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        OWN.iter().any(|name| self.file(name).exists())
    }

    /// Removes the files of an earlier run, and nothing else.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn clear(&self) -> Result<()> {
        for name in PICTURES.iter().chain(&PAIRS).chain(&OWN) {
            let file = self.file(name);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", file, error));
                }
                _ => {}
            }
        }
        let events = self.tensorboard();
        for entry in fs::read_dir(&events).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(super::tensorboard::PREFIX) {
                fs::remove_file(entry.path()).map_err(|error| Error::io("remove", entry.path(), error))?;
            }
        }
        // If it holds anything else, it stays.
        let _ = fs::remove_dir(events);
        Ok(())
    }

    /// Removes what a killed program was in the middle of writing: its temporary files.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read; a file that cannot be removed does no harm.
    pub fn sweep(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).map_err(|error| Error::io("read", &self.path, error))? {
            let Ok(entry) = entry else { continue };
            if crate::files::is_temporary(&entry.file_name()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// The names of a run's files that are here.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let names = ["model.safetensors", "checkpoint.safetensors", "metrics.csv", "config.toml"];
        names
            .iter()
            .chain(&PAIRS)
            .chain(&PICTURES)
            .chain(&["tensorboard"])
            .filter(|name| self.file(name).exists())
            .map(ToString::to_string)
            .collect()
    }
}

/// Which data a run is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRecord {
    /// The source as it was asked for.
    pub source: String,
    /// Its rows.
    pub rows: usize,
    /// Its columns, by name.
    pub columns: Vec<String>,
    /// Its content, by [`Dataset::fingerprint`].
    pub fingerprint: String,
}

impl DataRecord {
    /// What is to be remembered of `data`.
    #[must_use]
    pub fn of(data: &Dataset) -> Self {
        Self {
            source: data.name().to_owned(),
            rows: data.rows(),
            columns: data.columns().to_vec(),
            fingerprint: data.fingerprint(),
        }
    }
}

/// Which model a run began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Its file, as it was named.
    pub file: String,
    /// Its weights, by [`Model::fingerprint`].
    pub fingerprint: String,
}

impl ModelRecord {
    /// What is to be remembered of `model`, read from `file`.
    #[must_use]
    pub fn of(file: impl AsRef<Path>, model: &Model) -> Self {
        Self { file: file.as_ref().display().to_string(), fingerprint: model.fingerprint() }
    }
}

/// What was in force until a run was resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resumption {
    /// The step that it went on from.
    pub step: u64,
    /// The total of steps that it was on its way to.
    pub steps: u64,
    /// The version of the program.
    pub version: String,
    /// The adapter, as [`RunConfig::adapter`].
    pub adapter: String,
    /// The kernels, as [`RunConfig::kernels`].
    pub kernels: String,
}

/// `config.toml`: every setting of a run, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// [`CONFIG_FORMAT`].
    pub format: u32,
    /// The program's version.
    pub version: String,
    /// The adapter, as [`Device::describe`](crate::gpu::Device::describe) puts it.
    pub adapter: String,
    /// The kernels at work, as [`Trainer::kernels`](crate::train::Trainer::kernels) tells.
    #[serde(default)]
    pub kernels: String,
    /// Whether `auto` found them in a [`Tuning`](crate::model::Tuning). The options name them then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tuned: bool,
    /// Every so many steps there is a row of metrics.
    pub log_every: u64,
    /// Every so many steps the measures of [`LIVE`] are taken; 0: never.
    #[serde(default)]
    pub measure_every: u64,
    /// The adapter and its driver, by their parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<AdapterRecord>,
    /// What was asked for, by the names of the flags: `windfield train --config` takes it from here. All else is
    /// resolved.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub flags: toml::Table,
    /// The model whose weights it began with, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<ModelRecord>,
    /// What was in force until the run was resumed, for each time that something changed which the result depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<Resumption>,
    /// The data.
    pub data: DataRecord,
    /// The data set that replaced the Gaussian, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<DataRecord>,
    /// The settings.
    pub options: TrainOptions,
}

impl RunConfig {
    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let text =
            toml::to_string(self).map_err(|error| Error::io("write", path, std::io::Error::other(error)))?;
        write_bytes(path, text)
    }

    /// The configuration of a run that goes on from `step`, with what it began with, as `before` has it.
    #[must_use]
    pub fn continuing(mut self, before: Self, step: u64) -> Self {
        let Self { version, adapter, kernels, mut flags, init, mut resumed, options, .. } = before;
        if flags.contains_key("steps") || self.options.steps != options.steps {
            flags.extend(
                i64::try_from(self.options.steps).map(|steps| ("steps".to_owned(), steps.into())).ok(),
            );
        }
        // Where nothing has changed that the result depends on, the run is the uninterrupted one.
        let retimed = self.options.steps != options.steps && self.options.schedule != Schedule::Constant;
        if retimed || (&version, &adapter, &kernels) != (&self.version, &self.adapter, &self.kernels) {
            resumed.push(Resumption { step, steps: options.steps, version, adapter, kernels });
        }
        (self.flags, self.init, self.resumed) = (flags, init, resumed);
        self
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Input`] if it is no configuration, or a newer one.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        let broken = |error: toml::de::Error| {
            Error::input(
                path.display().to_string(),
                error.message().split_whitespace().collect::<Vec<_>>().join(" "),
                "restore the file that `windfield train` wrote, or begin a new run",
            )
        };
        let version: Version = toml::from_str(&text).map_err(broken)?;
        if version.format > CONFIG_FORMAT {
            return Err(Error::input(
                path.display().to_string(),
                format!("its format is {}, this program knows up to {CONFIG_FORMAT}", version.format),
                "use a newer windfield",
            ));
        }
        toml::from_str(&text).map_err(broken)
    }
}

/// A row of `metrics.csv`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// n, from 0.
    pub step: u64,
    /// The loss of batch n under the weights before update n.
    pub loss: f32,
    /// The learning rate of update n.
    pub learning_rate: f32,
    /// The gradient's norm before clipping.
    pub gradient_norm: f32,
    /// Seconds of training up to there, those before an interruption included.
    pub seconds: f64,
    /// The exact loss after update n, where it was measured.
    pub exact: Option<ExactLoss>,
    /// The measures of [`LIVE`] after update n, where they were taken.
    pub live: Option<LiveValues>,
}

impl Row {
    /// The columns that every run has.
    const HEADER: &str = "step,loss,learning_rate,gradient_norm,seconds";
    /// Further columns of a run that measures the exact loss.
    const EXACT: [&str; 2] = ["l_fm", "l_cfm"];

    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(',').collect();
        let (own, further) = fields.split_at_checked(5)?;
        // As many columns as no other choice of the two has.
        let (exact, live) = match further.len() {
            0 | 2 => (further, &[][..]),
            count if count == LIVE.len() => (&[][..], further),
            count if count == 2 + LIVE.len() => further.split_at(2),
            _ => return None,
        };
        let numbers = |fields: &[&str]| -> Option<Option<Vec<f64>>> {
            if fields.iter().all(|field| field.is_empty()) {
                return Some(None);
            }
            fields.iter().map(|field| field.parse().ok()).collect::<Option<Vec<f64>>>().map(Some)
        };
        Some(Self {
            step: own[0].parse().ok()?,
            loss: own[1].parse().ok()?,
            learning_rate: own[2].parse().ok()?,
            gradient_norm: own[3].parse().ok()?,
            seconds: own[4].parse().ok()?,
            exact: numbers(exact)?.map(|exact| ExactLoss { fm: exact[0], cfm: exact[1] }),
            live: numbers(live)?.and_then(|live| live.try_into().ok()),
        })
    }

    /// The row with the columns of the exact loss and of the live measures, as far as the run has them; empty where
    /// nothing was measured.
    fn with(&self, exact: bool, live: bool) -> String {
        use std::fmt::Write as _;
        let mut line = self.to_string();
        let mut further = |values: Option<&[f64]>, count: usize| {
            for place in 0..count {
                let _ = match values {
                    Some(values) => write!(line, ",{:?}", values[place]),
                    None => write!(line, ","),
                };
            }
        };
        if exact {
            let values = self.exact.map(|exact| [exact.fm, exact.cfm]);
            further(values.as_ref().map(<[f64; 2]>::as_slice), Self::EXACT.len());
        }
        if live {
            further(self.live.as_ref().map(<[f64; LIVE.len()]>::as_slice), LIVE.len());
        }
        line
    }
}

impl std::fmt::Display for Row {
    /// The columns that every run has. Floats are written in the fewest digits that read back to the same bits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { step, loss, learning_rate, gradient_norm, seconds, exact: _, live: _ } = self;
        write!(f, "{step},{loss:?},{learning_rate:?},{gradient_norm:?},{seconds:.3}")
    }
}

/// The history of a run on its way to `metrics.csv`.
///
/// Only the rows since the last [`flush`](Self::flush) are in memory; a flush replaces the file by one that is
/// longer by these.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    every: u64,
    /// Steps between measurements of the exact loss; 0: off.
    exact_every: u64,
    /// Steps between live measures; 0: off.
    live_every: u64,
    kept: Kept,
    pending: Vec<Row>,
    last: Option<Row>,
}

/// What the next flush takes over from the file that is there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    Nothing,
    /// The regular rows of earlier steps: what an uninterrupted run would have written.
    Below(u64),
    Everything,
}

impl Metrics {
    /// The history of a new run, with a row for every `every`-th step and for the last one.
    pub fn new(path: impl Into<PathBuf>, every: u64) -> Self {
        Self {
            path: path.into(),
            every: every.max(1),
            exact_every: 0,
            live_every: 0,
            kept: Kept::Nothing,
            pending: vec![],
            last: None,
        }
    }

    /// The same run measures the exact loss after every `every`-th step; 0: never. Steps after which it is measured
    /// have rows of their own, whatever [`new`](Self::new) says.
    #[must_use]
    pub fn with_exact(mut self, every: u64) -> Self {
        self.exact_every = every;
        self
    }

    /// The same run takes the measures of [`LIVE`] after every `every`-th step; 0: never. Likewise.
    #[must_use]
    pub fn with_live(mut self, every: u64) -> Self {
        self.live_every = every;
        self
    }

    /// Whether an uninterrupted run, however long, has a row of this step.
    fn is_regular(&self, step: u64) -> bool {
        step.is_multiple_of(self.every) || self.is_measured(step) || self.is_looked_at(step)
    }

    /// Whether an uninterrupted run, however long, has its live measures.
    fn is_looked_at(&self, step: u64) -> bool {
        self.live_every > 0 && (step + 1).is_multiple_of(self.live_every)
    }

    /// Whether an uninterrupted run, however long, has its exact loss.
    fn is_measured(&self, step: u64) -> bool {
        self.exact_every > 0 && (step + 1).is_multiple_of(self.exact_every)
    }

    /// The history of a run that goes on from `step`, and the seconds that it took to get there. Rows at and beyond
    /// that step will be made again.
    ///
    /// # Errors
    /// [`Error::Io`] if there is a file and it cannot be read.
    pub fn resume(path: impl Into<PathBuf>, every: u64, step: u64) -> Result<(Self, f64)> {
        let mut metrics = Self::new(path, every);
        let mut seconds = 0.0;
        if metrics.path.exists() {
            metrics.kept = Kept::Below(step);
            // If no step follows, the run ends where it ended before.
            let mut last = None;
            each_row(&metrics.path, |_, row| {
                if row.step < step {
                    seconds = row.seconds;
                }
                last = last.or_else(|| Some(*row).filter(|row| row.step + 1 == step));
                Ok(())
            })?;
            metrics.last = last;
        }
        Ok((metrics, seconds))
    }

    /// Takes a step's record in, `seconds` after the run began, with the exact loss where it was measured.
    ///
    /// Returns its row, if it is one of those that go into the file.
    pub fn push(
        &mut self,
        step: u64,
        record: &Record,
        seconds: f64,
        exact: Option<ExactLoss>,
    ) -> Option<Row> {
        let row = Row {
            step,
            loss: record.loss,
            learning_rate: record.learning_rate,
            gradient_norm: record.gradient_norm,
            seconds,
            exact,
            live: None,
        };
        if self.is_regular(step) {
            // That the run stopped here is no reason for a measurement: it may go on.
            let exact = exact.filter(|_| self.is_measured(step));
            self.pending.push(Row { exact, ..row });
        }
        self.last = Some(row);
        self.pending.last().filter(|row| row.step == step).copied()
    }

    /// Adds what was measured after the last step that was taken in, whose row is still in memory.
    pub fn look(&mut self, live: LiveValues) {
        let Some(last) = &mut self.last else { return };
        last.live = Some(live);
        let step = last.step;
        if self.is_looked_at(step)
            && let Some(row) = self.pending.last_mut().filter(|row| row.step == step)
        {
            row.live = Some(live);
        }
    }

    /// The last step's row.
    #[must_use]
    pub fn last(&self) -> Option<&Row> {
        self.last.as_ref()
    }

    /// How many rows are in memory.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Brings the file up to date.
    ///
    /// # Errors
    /// [`Error::Io`]; the rows are then still in memory, and the file as it was.
    pub fn flush(&mut self) -> Result<()> {
        let path = &self.path;
        write_atomically(path, |file| {
            let failed = |error| write_error(path, error);
            let (exact, live) = (self.exact_every > 0, self.live_every > 0);
            let mut columns = vec![Row::HEADER];
            columns.extend(Row::EXACT.iter().filter(|_| exact));
            columns.extend(LIVE.iter().map(|measure| measure.column).filter(|_| live));
            writeln!(file, "{}", columns.join(",")).map_err(failed)?;
            self.each_row(|row| writeln!(file, "{}", row.with(exact, live)).map_err(failed))
        })?;
        self.kept = Kept::Everything;
        self.pending.clear();
        Ok(())
    }

    /// As [`flush`](Self::flush), with the row of the last step, whichever it is: the run is done.
    ///
    /// # Errors
    /// As of [`flush`](Self::flush).
    pub fn finish(&mut self) -> Result<()> {
        if let Some(last) = self.last {
            self.pending.retain(|row| row.step < last.step);
            self.pending.push(last);
        }
        self.flush()
    }

    /// The rows of the present file that stay, and then the new ones, which replace any of the same steps.
    fn each_row(&self, mut each: impl FnMut(&Row) -> Result<()>) -> Result<()> {
        let new = self.pending.first().map_or(u64::MAX, |row| row.step);
        if self.kept != Kept::Nothing {
            each_row(&self.path, |_, row| {
                let row = match self.kept {
                    Kept::Nothing => return Ok(()),
                    Kept::Below(step) if row.step >= step || !self.is_regular(row.step) => return Ok(()),
                    Kept::Below(_) => Row {
                        exact: row.exact.filter(|_| self.is_measured(row.step)),
                        live: row.live.filter(|_| self.is_looked_at(row.step)),
                        ..*row
                    },
                    Kept::Everything => *row,
                };
                if row.step < new { each(&row) } else { Ok(()) }
            })?;
        }
        self.pending.iter().try_for_each(each)
    }

    /// The measurements of the exact loss in a history: `(step, loss)`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn exact(path: impl AsRef<Path>) -> Result<Vec<(u64, ExactLoss)>> {
        let mut losses = vec![];
        each_row(path.as_ref(), |_, row| {
            losses.extend(row.exact.map(|exact| (row.step, exact)));
            Ok(())
        })?;
        Ok(losses)
    }

    /// All rows of a history: `(step, the bits of loss, learning rate and gradient norm)`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn rows(path: impl AsRef<Path>) -> Result<Vec<(u64, [u32; 3])>> {
        let mut rows = vec![];
        each_row(path.as_ref(), |_, row| {
            rows.push((row.step, [row.loss, row.learning_rate, row.gradient_norm].map(f32::to_bits)));
            Ok(())
        })?;
        Ok(rows)
    }

    /// Steps a second over a whole history, where its times tell.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn speed(path: impl AsRef<Path>) -> Result<Option<f64>> {
        let mut last = None;
        each_row(path.as_ref(), |_, row| {
            last = Some(*row);
            Ok(())
        })?;
        #[allow(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
        let speed = |row: Row| (row.seconds > 0.0).then(|| (row.step + 1) as f64 / row.seconds);
        Ok(last.and_then(speed))
    }

    /// Reads a history in at most `most` rows, evenly thinned out, each with the loss smoothed over all rows before
    /// it: `(step, loss, smoothed)`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn curve(path: impl AsRef<Path>, most: usize) -> Result<Vec<(u64, f32, f64)>> {
        let path = path.as_ref();
        let mut rows = 0_usize;
        each_row(path, |_, _| {
            rows += 1;
            Ok(())
        })?;
        // Over a fiftieth of the run, so that the line shows the trend whatever the run's length.
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let mut smoothed = super::Smoothed::new(1.0 - 50.0 / (rows as f64).max(100.0));
        let stride = rows.div_ceil(most.max(1)).max(1);
        let mut curve = Vec::with_capacity(rows.min(most));
        let mut at = 0_usize;
        each_row(path, |_, row| {
            smoothed.push(row.loss.into());
            if at.is_multiple_of(stride) || at + 1 == rows {
                curve.push((row.step, row.loss, smoothed.value().unwrap_or_default()));
            }
            at += 1;
            Ok(())
        })?;
        Ok(curve)
    }
}

/// Calls `each` with every row of a history; lines that are none, such as the header, are passed over.
fn each_row(path: &Path, mut each: impl FnMut(&str, &Row) -> Result<()>) -> Result<()> {
    let failed = |error| Error::io("read", path, error);
    let mut file = BufReader::new(fs::File::open(path).map_err(failed)?);
    let mut line = String::new();
    loop {
        line.clear();
        if file.read_line(&mut line).map_err(failed)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        if let Some(row) = Row::parse(line) {
            each(line, &row)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::cast_precision_loss, reason = "small steps")]
    fn push(metrics: &mut Metrics, steps: std::ops::Range<u64>) {
        for step in steps {
            let record =
                Record { loss: 1.0 / (step + 3) as f32, learning_rate: 1e-3, gradient_norm: 1e-9, halted: 0 };
            // As if every run ended here.
            let exact = ExactLoss { fm: 1.0 / (step + 7) as f64, cfm: 1.0 };
            metrics.push(step, &record, step as f64, (metrics.exact_every > 0).then_some(exact));
        }
    }

    #[test]
    fn an_interrupted_history_is_that_of_a_whole_run() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, parts) = (folder.path().join("whole.csv"), folder.path().join("parts.csv"));
        let mut metrics = Metrics::new(&whole, 10);
        push(&mut metrics, 0..25);
        metrics.finish().unwrap();

        let mut metrics = Metrics::new(&parts, 10);
        push(&mut metrics, 0..8);
        metrics.finish().unwrap(); // a finished run of 8 steps, which has a row of step 7
        // A look at it changes nothing.
        Metrics::resume(&parts, 10, 8).unwrap().0.finish().unwrap();
        let (mut metrics, seconds) = Metrics::resume(&parts, 10, 8).unwrap();
        assert_eq!(metrics.last().map(|row| row.step), Some(7));
        assert!((seconds - 7.0).abs() < 1e-9, "kept or not, step 7 is the last one");
        push(&mut metrics, 8..22);
        metrics.flush().unwrap();
        // Killed here: the checkpoint is of step 15.
        let (mut metrics, seconds) = Metrics::resume(&parts, 10, 15).unwrap();
        assert!((seconds - 10.0).abs() < 1e-9);
        push(&mut metrics, 15..25);
        metrics.flush().unwrap();
        metrics.finish().unwrap();
        let whole = fs::read_to_string(whole).unwrap();
        assert_eq!(fs::read_to_string(parts).unwrap(), whole);
        let steps: Vec<&str> = whole.lines().map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(steps, ["step", "0", "10", "20", "24"]);
    }

    #[test]
    fn exact_losses_are_those_of_a_whole_run() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, parts) = (folder.path().join("whole.csv"), folder.path().join("parts.csv"));
        let mut metrics = Metrics::new(&whole, 10).with_exact(7);
        push(&mut metrics, 0..25);
        metrics.finish().unwrap();
        let mut metrics = Metrics::new(&parts, 10).with_exact(7);
        push(&mut metrics, 0..11);
        metrics.finish().unwrap(); // it ends with the regular row of step 10, which has a measurement of its own
        let end = |path: &Path| Metrics::exact(path).unwrap().last().map(|last| last.0);
        assert_eq!(end(&parts), Some(10));
        Metrics::resume(&parts, 10, 11).unwrap().0.with_exact(7).finish().unwrap();
        assert_eq!(end(&parts), Some(10), "a look at it changes nothing");
        let mut metrics = Metrics::resume(&parts, 10, 11).unwrap().0.with_exact(7);
        push(&mut metrics, 11..25);
        metrics.flush().unwrap();
        metrics.finish().unwrap();
        let whole_text = fs::read_to_string(&whole).unwrap();
        assert_eq!(fs::read_to_string(&parts).unwrap(), whole_text);
        assert!(whole_text.starts_with("step,loss,learning_rate,gradient_norm,seconds,l_fm,l_cfm\n"));
        let steps: Vec<u64> = Metrics::exact(&whole).unwrap().iter().map(|loss| loss.0).collect();
        assert_eq!(steps, [6, 13, 20, 24]);
        assert_eq!(Metrics::curve(&whole, 100).unwrap().len(), 6, "0, 6, 10, 13, 20, 24 and nothing twice");
    }

    #[test]
    fn live_measures_are_those_of_a_whole_run() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, parts) = (folder.path().join("whole.csv"), folder.path().join("parts.csv"));
        // As `train` does it: a look after every 8th step, and where the run ends.
        let go = |metrics: &mut Metrics, steps: std::ops::Range<u64>| {
            for step in steps.clone() {
                push(metrics, step..step + 1);
                if (step + 1).is_multiple_of(8) || step + 1 == steps.end {
                    metrics.look([step as f64; LIVE.len()]);
                }
            }
            metrics.finish().unwrap();
        };
        let with = |path: &Path| Metrics::new(path, 10).with_exact(7).with_live(8);
        go(&mut with(&whole), 0..25);
        go(&mut with(&parts), 0..11);
        let end = |path: &Path| {
            let mut last = None;
            each_row(path, |_, row| {
                last = row.live.map(|live| (row.step, live[0]));
                Ok(())
            })
            .unwrap();
            last
        };
        assert_eq!(end(&parts), Some((10, 10.0)), "the end of a run is looked at");
        go(&mut Metrics::resume(&parts, 10, 11).unwrap().0.with_exact(7).with_live(8), 11..25);
        let text = fs::read_to_string(&whole).unwrap();
        assert_eq!(fs::read_to_string(&parts).unwrap(), text);
        let mut looked = vec![];
        each_row(&whole, |_, row| {
            looked.extend(row.live.map(|_| row.step));
            Ok(())
        })
        .unwrap();
        assert_eq!(looked, [7, 15, 23, 24]);
        let columns: Vec<&str> = LIVE.iter().map(|measure| measure.column).collect();
        assert!(text.lines().next().unwrap().ends_with(&format!(",l_cfm,{}", columns.join(","))));
    }

    #[test]
    fn floats_read_back_to_the_same_bits() {
        for bits in [0x3eaa_aaab_u32, 0x0000_0001, 0x7f7f_ffff, 0x3f80_0000, 0x3f7f_ffff] {
            let x = f32::from_bits(bits);
            let exact = Some(ExactLoss { fm: f64::from(x) / 3.0, cfm: f64::from(x) });
            let live = Some([f64::from(x) / 7.0; LIVE.len()]);
            let none = Row {
                step: 1,
                loss: x,
                learning_rate: x,
                gradient_norm: x,
                seconds: 1.5,
                exact: None,
                live: None,
            };
            assert_eq!(Row::parse(&none.to_string()), Some(none));
            for row in [none, Row { exact, ..none }, Row { live, ..none }, Row { exact, live, ..none }] {
                for (with_exact, with_live) in [(true, true), (row.exact.is_some(), row.live.is_some())] {
                    assert_eq!(Row::parse(&row.with(with_exact, with_live)), Some(row));
                }
            }
        }
    }

    #[test]
    fn a_curve_is_thinned_to_its_length_and_keeps_the_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let mut metrics = Metrics::new(&path, 1);
        push(&mut metrics, 0..1000);
        metrics.finish().unwrap();
        let curve = Metrics::curve(&path, 100).unwrap();
        assert!(curve.len() <= 101, "{}", curve.len());
        assert_eq!((curve[0].0, curve[curve.len() - 1].0), (0, 999));
        assert!(
            curve.iter().all(|(_, loss, smoothed)| *smoothed + 1e-7 >= f64::from(*loss)),
            "the loss falls"
        );
    }

    #[test]
    fn a_configuration_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let data = Dataset::open("moons:10").unwrap();
        let config = RunConfig {
            kernels: "buffers".into(),
            tuned: false,
            format: CONFIG_FORMAT,
            version: "0".into(),
            adapter: "none".into(),
            log_every: 10,
            measure_every: 500,
            device: Some(AdapterRecord { name: "none".into(), ..AdapterRecord::default() }),
            flags: toml::Table::from_iter([("lr".to_owned(), toml::Value::Float(3e-4))]),
            init: Some(ModelRecord { file: "m".into(), fingerprint: "f".into() }),
            resumed: vec![Resumption {
                step: 5,
                steps: 10,
                version: "0".into(),
                adapter: "none".into(),
                kernels: "buffers".into(),
            }],
            data: DataRecord::of(&data),
            source: None,
            options: TrainOptions { seed: u64::from(u32::MAX) << 20, lr: 3e-4, ..TrainOptions::default() },
        };
        config.save(&path).unwrap();
        assert_eq!(RunConfig::load(&path).unwrap(), config);
        assert!(fs::read_to_string(&path).unwrap().contains("lr = 0.0003\n"));
        fs::write(&path, "format = 99").unwrap();
        assert!(RunConfig::load(&path).unwrap_err().to_string().contains("newer"));
        fs::write(&path, "format = 1\nlog_every = \"x\"").unwrap();
        assert_eq!(RunConfig::load(&path).unwrap_err().to_string().lines().count(), 1);
    }
}
