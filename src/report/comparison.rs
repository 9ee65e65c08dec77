//! Two runs of the same settings beside each other: do their bits agree, and if not, how far they are apart and what
//! may be the reason.

use serde::Serialize;

use super::run::{Metrics, RunConfig, RunFolder};
use crate::flow::Coupling;
use crate::model::Model;
use crate::train::Schedule;
use crate::{Error, Result};

/// What is between the models of two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Whether all weights have the same bits.
    pub same: bool,
    /// The weights of both, by [`Model::fingerprint`].
    pub fingerprints: [String; 2],
    /// How many weights and biases there are.
    pub parameters: usize,
    /// How many of them differ.
    pub differing: usize,
    /// The largest difference between two of them.
    pub largest: f64,
    /// `‖w − w'‖/‖w‖` over all of them.
    pub relative: f64,
    /// The first step whose row of the two histories differs, if one does.
    pub first_step: Option<u64>,
    /// What may be the reason of differences, a phrase each: what the runs did not have in common.
    pub reasons: Vec<String>,
}

impl Comparison {
    /// Compares the run in `second` with the one in `first`, which it repeats.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Input`] if a file of either cannot be read, [`Error::Input`] if the networks are not of
    /// the same shape.
    pub fn of(first: &RunFolder, second: &RunFolder) -> Result<Self> {
        let models = [Model::load(first.model())?, Model::load(second.model())?];
        let configs = [RunConfig::load(first.config())?, RunConfig::load(second.config())?];
        let [a, b] = &models;
        if a.architecture != b.architecture {
            return Err(Error::input(
                second.path().display().to_string(),
                format!("its network has another shape than that of {}", first.path().display()),
                "compare runs of the same settings",
            ));
        }
        let values = |model: &Model| -> Vec<f32> {
            model.weights.iter().flat_map(|(weight, bias)| weight.iter().chain(bias)).copied().collect()
        };
        let (x, y) = (values(a), values(b));
        let (mut differing, mut largest, mut apart, mut length) = (0, 0.0_f64, 0.0, 0.0);
        for (x, y) in x.iter().zip(&y) {
            differing += usize::from(x.to_bits() != y.to_bits());
            let (x, y) = (f64::from(*x), f64::from(*y));
            largest = largest.max((x - y).abs());
            apart += (x - y) * (x - y);
            length += x * x;
        }
        Ok(Self {
            same: differing == 0,
            fingerprints: [a.fingerprint(), b.fingerprint()],
            parameters: x.len(),
            differing,
            largest,
            relative: if apart == 0.0 { 0.0 } else { (apart / length).sqrt() },
            first_step: first_difference(first, second)?,
            reasons: reasons(&configs[0], &configs[1]),
        })
    }
}

/// The first step of which both histories have a row, with other numbers. Times are not compared.
fn first_difference(first: &RunFolder, second: &RunFolder) -> Result<Option<u64>> {
    // A history may have been removed, which says nothing of the weights.
    if !first.metrics().exists() || !second.metrics().exists() {
        return Ok(None);
    }
    let rows = |folder: &RunFolder| Metrics::rows(folder.metrics());
    let later: std::collections::BTreeMap<u64, [u32; 3]> = rows(second)?.into_iter().collect();
    Ok(rows(first)?
        .into_iter()
        .find(|(step, row)| later.get(step).is_some_and(|other| other != row))
        .map(|row| row.0))
}

/// What the runs did not have in common.
fn reasons(first: &RunConfig, second: &RunConfig) -> Vec<String> {
    let mut reasons = vec![];
    let mut compare = |what: &str, first: &str, second: &str| {
        if first != second {
            reasons.push(format!("another {what}: {second} instead of {first}"));
        }
    };
    match (&first.device, &second.device) {
        (Some(first), Some(second)) => {
            compare("adapter", &first.name, &second.name);
            compare("interface", &first.backend, &second.backend);
            compare("driver", &first.driver, &second.driver);
        }
        _ => compare("adapter or driver", &first.adapter, &second.adapter),
    }
    compare("version of windfield", &first.version, &second.version);
    // A run of before they were noted has none.
    if !first.kernels.is_empty() {
        compare("choice of kernels", &first.kernels, &second.kernels);
    }
    if first.data.fingerprint != second.data.fingerprint
        && matches!(first.options.coupling, Coupling::Reflow { .. })
    {
        reasons.push("other pairs of the flow, which were made again".to_owned());
    }
    for resumption in &first.resumed {
        let step = resumption.step;
        let mut compare = |what: &str, before: &str, after: &str| {
            if before != after {
                reasons.push(format!(
                    "until step {step} of the first run, another {what}: {before} instead of {after}"
                ));
            }
        };
        compare("adapter or driver", &resumption.adapter, &first.adapter);
        compare("version of windfield", &resumption.version, &first.version);
        compare("choice of kernels", &resumption.kernels, &first.kernels);
        if first.options.schedule != Schedule::Constant {
            compare(
                "total of steps, which its schedule knew",
                &resumption.steps.to_string(),
                &first.options.steps.to_string(),
            );
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;
    use crate::model::Architecture;
    use crate::report::{CONFIG_FORMAT, DataRecord, Resumption};
    use crate::train::TrainOptions;

    fn config() -> RunConfig {
        RunConfig {
            format: CONFIG_FORMAT,
            version: "1".into(),
            adapter: "a".into(),
            kernels: "buffers".into(),
            tuned: false,
            log_every: 1,
            measure_every: 0,
            device: None,
            flags: toml::Table::new(),
            init: None,
            resumed: vec![],
            data: DataRecord::of(&Dataset::open("moons:10").unwrap()),
            source: None,
            options: TrainOptions { schedule: Schedule::Constant, ..TrainOptions::default() },
        }
    }

    #[test]
    fn a_changed_weight_is_found_and_measured() {
        let folder = tempfile::tempdir().unwrap();
        let runs = ["a", "b"].map(|name| RunFolder::at(folder.path().join(name)));
        let architecture = Architecture {
            dim: 2,
            hidden: vec![3],
            activation: crate::model::Activation::default(),
            time_frequencies: 0,
            condition_features: 0,
        };
        let mut model = Model::new(architecture.clone(), architecture.initialize(1));
        let history = ["step,loss\n0,1,1,1,0.5\n1,2,1,1,1\n", "step,loss\n0,1,1,1,0.7\n1,2.5,1,1,1\n"];
        for (run, history) in runs.iter().zip(history) {
            model.save(run.model()).unwrap();
            config().save(run.config()).unwrap();
            std::fs::write(run.metrics(), history).unwrap();
        }
        let comparison = Comparison::of(&runs[0], &runs[1]).unwrap();
        assert!(
            comparison.same && comparison.relative == 0.0 && comparison.reasons.is_empty(),
            "{comparison:?}"
        );
        assert_eq!(comparison.fingerprints[0], comparison.fingerprints[1]);
        assert_eq!(comparison.first_step, Some(1), "times do not count, losses do");

        model.weights[1].1[0] += 0.25;
        model.save(runs[1].model()).unwrap();
        let comparison = Comparison::of(&runs[0], &runs[1]).unwrap();
        assert_ne!(comparison.fingerprints[0], comparison.fingerprints[1]);
        assert_eq!((comparison.same, comparison.differing, comparison.parameters), (false, 1, 20));
        assert!((comparison.largest - 0.25).abs() < 1e-7 && comparison.relative > 0.0, "{comparison:?}");
    }

    #[test]
    fn reasons_are_what_the_runs_have_not_in_common() {
        let (first, mut second) = (config(), config());
        assert_eq!(reasons(&first, &second), Vec::<String>::new());
        second.adapter = "b".into();
        second.version = "2".into();
        assert_eq!(
            reasons(&first, &second),
            ["another adapter or driver: b instead of a", "another version of windfield: 2 instead of 1"]
        );
        let resumption = Resumption {
            step: 5,
            steps: 9,
            version: "1".into(),
            adapter: "a".into(),
            kernels: "buffers".into(),
        };
        let mut first = RunConfig { resumed: vec![resumption], ..config() };
        assert!(reasons(&first, &config()).is_empty(), "a constant schedule does not know the total");
        first.options.schedule = Schedule::Cosine;
        assert_eq!(reasons(&first, &config()).len(), 1);
    }
}
