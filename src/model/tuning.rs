//! Which kernels were measured to be the fastest on an adapter: what `auto` asks before it goes by rules.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::architecture::Architecture;
use super::kernels::Kernels;
use crate::flow::{Divergence, Solver};
use crate::gpu::{CacheFile, CachePurpose, Device};
use crate::{Error, Result};

/// What kernels are measured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Steps of training.
    Training,
    /// Samples in fixed steps.
    Sampling,
    /// The same with the exact divergence.
    Likelihood,
}

impl Task {
    /// What a sampler with these settings does, if that is anything that kernels are measured for.
    #[must_use]
    pub fn of(solver: &Solver, divergence: Option<Divergence>) -> Option<Self> {
        match divergence {
            _ if solver.is_adaptive() => None,
            None => Some(Self::Sampling),
            Some(Divergence::Exact) => Some(Self::Likelihood),
            Some(_) => None,
        }
    }

    /// The rows that count: a sampler carries no more particles at once than a chunk of the device has.
    #[must_use]
    pub fn rows(self, rows: usize, device: &Device) -> usize {
        match self {
            Self::Training => rows,
            Self::Sampling | Self::Likelihood => rows.min(device.habits().particles),
        }
    }
}

/// What was measured for one network and so many rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// What it was to do.
    pub task: Task,
    /// The widths of all layers: features, hidden units, outputs.
    pub widths: Vec<usize>,
    /// Rows of the batch, or particles of a chunk.
    pub rows: usize,
    /// The fastest: `auto` where nothing was clearly faster than what that comes to by its rules.
    pub kernels: Kernels,
    /// How much faster than those of the rules.
    pub gain: f64,
}

/// The fastest kernels of an adapter, as far as they were measured.
///
/// # Examples
/// ```
/// use windfield::model::{Activation, Architecture, Kernels, Task, Tuned, Tuning};
///
/// let activation = Activation::default();
/// let network = Architecture { dim: 2, hidden: vec![64; 3], activation, time_frequencies: 0, condition_features: 0 };
/// let mut tuning = Tuning::default();
/// tuning.insert(Tuned {
///     task: Task::Training,
///     widths: Tuning::widths(&network),
///     rows: 256,
///     kernels: Kernels::Layered,
///     gain: 1.2,
/// });
/// assert_eq!(tuning.choose(Task::Training, &network, 300), Some(Kernels::Layered));
/// assert_eq!(tuning.choose(Task::Sampling, &network, 300), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    entries: Vec<Tuned>,
}

impl Tuning {
    /// What a folder holds for an adapter: nothing if there is no file, or none that can be believed.
    #[must_use]
    pub fn load(folder: &Path, info: &wgpu::AdapterInfo) -> Self {
        let content = CacheFile::new(folder, CachePurpose::Tuning, info).read();
        content.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default()
    }

    /// Keeps it in a folder for an adapter.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, folder: &Path, info: &wgpu::AdapterInfo) -> Result<()> {
        let file = CacheFile::new(folder, CachePurpose::Tuning, info);
        let content =
            serde_json::to_vec(self).map_err(|error| Error::io("write", file.path(), error.into()))?;
        file.write(&content)
    }

    /// All that was measured.
    #[must_use]
    pub fn entries(&self) -> &[Tuned] {
        &self.entries
    }

    /// How many have `auto` take other kernels than it would by its rules.
    #[must_use]
    pub fn gains(&self) -> usize {
        self.entries.iter().filter(|entry| entry.kernels != Kernels::Auto).count()
    }

    /// Adds a measurement, in the place of an earlier one of the same.
    pub fn insert(&mut self, tuned: Tuned) {
        let same = |entry: &Tuned| {
            (entry.task, &entry.widths, entry.rows) == (tuned.task, &tuned.widths, tuned.rows)
        };
        self.entries.retain(|entry| !same(entry));
        self.entries.push(tuned);
    }

    /// The widths by which a network is known here.
    #[must_use]
    pub fn widths(network: &Architecture) -> Vec<usize> {
        std::iter::once(network.features())
            .chain(network.hidden.iter().copied())
            .chain([network.dim])
            .collect()
    }

    /// The kernels that were clearly faster than those of the rules, where this very network was measured with a number
    /// of rows that differs by no more than a factor of two; of several, the nearest.
    #[must_use]
    pub fn choose(&self, task: Task, network: &Architecture, rows: usize) -> Option<Kernels> {
        let widths = Self::widths(network);
        let distance = |entry: &Tuned| (rows.max(1) as f64 / entry.rows.max(1) as f64).log2().abs();
        self.entries
            .iter()
            .filter(|entry| entry.task == task && entry.widths == widths && distance(entry) <= 1.0)
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .map(|entry| entry.kernels)
            .filter(|kernels| *kernels != Kernels::Auto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(width: usize) -> Architecture {
        let activation = crate::model::Activation::default();
        Architecture {
            dim: 2,
            hidden: vec![width; 3],
            activation,
            time_frequencies: 0,
            condition_features: 0,
        }
    }

    fn tuned(width: usize, rows: usize, kernels: Kernels) -> Tuned {
        let widths = Tuning::widths(&network(width));
        Tuned { task: Task::Training, widths, rows, kernels, gain: 1.5 }
    }

    #[test]
    fn the_nearest_measurement_counts() {
        let mut tuning = Tuning::default();
        tuning.insert(tuned(64, 256, Kernels::Buffers));
        tuning.insert(tuned(64, 1024, Kernels::Textures));
        tuning.insert(tuned(32, 256, Kernels::Auto));
        let choose = |width, rows| tuning.choose(Task::Training, &network(width), rows);
        for (rows, kernels) in [
            (127, None),
            (128, Some(Kernels::Buffers)),
            (500, Some(Kernels::Buffers)),
            (530, Some(Kernels::Textures)),
            (2048, Some(Kernels::Textures)),
            (2049, None),
            (0, None),
        ] {
            assert_eq!(choose(64, rows), kernels, "{rows}");
        }
        // Nothing was faster than the rules.
        assert_eq!(choose(32, 256), None);
        assert_eq!(choose(65, 256), None);
        let frequencies = Architecture { time_frequencies: 1, ..network(64) };
        assert_eq!(tuning.choose(Task::Training, &frequencies, 256), None);
    }

    #[test]
    fn a_later_measurement_takes_the_place_of_an_earlier_one() {
        let mut tuning = Tuning::default();
        tuning.insert(tuned(64, 256, Kernels::Buffers));
        tuning.insert(tuned(64, 256, Kernels::Tiled));
        assert_eq!(tuning.entries().len(), 1);
        assert_eq!(tuning.choose(Task::Training, &network(64), 256), Some(Kernels::Tiled));
    }

    #[test]
    fn a_broken_file_is_no_tuning() {
        let folder = tempfile::tempdir().unwrap();
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Vulkan);
        let load = || Tuning::load(folder.path(), &info);
        assert_eq!(load(), Tuning::default());
        let mut tuning = Tuning::default();
        tuning.insert(tuned(64, 256, Kernels::Buffers));
        tuning.save(folder.path(), &info).unwrap();
        assert_eq!(load(), tuning);
        let file = CacheFile::new(folder.path(), CachePurpose::Tuning, &info);
        let mut bytes = std::fs::read(file.path()).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(file.path(), bytes).unwrap();
        assert_eq!(load(), Tuning::default());
        // Whole, and no tuning: kernels that this program does not have.
        let unknown =
            br#"{"entries":[{"task":"training","widths":[3,2],"rows":1,"kernels":"abacus","gain":2.0}]}"#;
        file.write(unknown).unwrap();
        assert_eq!(load(), Tuning::default());
    }
}
