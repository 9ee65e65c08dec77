//! One report beside an earlier one.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Report, Roofline, SCHEMA, Spread};
use crate::{Error, Result};

/// A figure of a report, by its name.
#[derive(Clone, Debug, PartialEq)]
struct Figure {
    name: String,
    spread: Spread,
    /// Whether less of it is better: times, memory.
    less: bool,
}

/// A figure beside what it was before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Its name, such as `training 2:3x64:256 auto, steps/s`.
    pub figure: String,
    /// In the earlier report.
    pub before: Spread,
    /// In this one.
    pub now: Spread,
    /// How much better it is: the ratio of the medians, beyond 1 where it is faster or takes less.
    pub ratio: f64,
    /// The least that the measurements allow: the worst of this report against the best of the earlier one.
    pub at_least: f64,
    /// The most.
    pub at_most: f64,
}

impl Comparison {
    /// Whether no measurement of the one lies among those of the other.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.at_least > 1.0 || self.at_most < 1.0
    }
}

/// The part of a report that tells whether the rest can be understood.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

impl Report {
    /// Reads a report that `windfield bench --json` printed.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Input`] if it is no report, or one of another version.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        let refuse = |what: String| {
            Error::input(path.display().to_string(), what, "give what `windfield bench --json` printed")
        };
        let version: Version =
            serde_json::from_str(&text).map_err(|error| refuse(format!("it is no report ({error})")))?;
        if version.schema != SCHEMA {
            return Err(refuse(format!("it has schema {}, and this program's is {SCHEMA}", version.schema)));
        }
        serde_json::from_str(&text).map_err(|error| refuse(format!("it is no report of bench ({error})")))
    }

    /// The figures that both reports have, in this one's order.
    #[must_use]
    pub fn compare(&self, before: &Self) -> Vec<Comparison> {
        let earlier = before.figures();
        let compared = self.figures().into_iter().filter_map(|now| {
            let before = earlier.iter().find(|before| before.name == now.name)?;
            let (before, less) = (before.spread, now.less);
            let ratio = |now: f64, before: f64| if less { before / now } else { now / before };
            let now_best = if less { now.spread.min } else { now.spread.max };
            let now_worst = if less { now.spread.max } else { now.spread.min };
            let before_best = if less { before.min } else { before.max };
            let before_worst = if less { before.max } else { before.min };
            Some(Comparison {
                figure: now.name,
                before,
                now: now.spread,
                ratio: ratio(now.spread.median, before.median),
                at_least: ratio(now_worst, before_best),
                at_most: ratio(now_best, before_worst),
            })
        });
        compared.collect()
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = vec![];
        let mut add = |name: String, spread: Spread, less| figures.push(Figure { name, spread, less });
        if let Some(peak) = &self.peak {
            add("peak, FLOP/s".into(), Spread::of(vec![peak.flops]), false);
            add("peak, bytes/s".into(), Spread::of(vec![peak.bytes_per_s]), false);
        }
        for row in &self.training {
            add(format!("training {} {}, steps/s", row.shape, row.asked), row.steps_per_s, false);
        }
        for row in &self.sampling {
            add(format!("sampling {} {}, samples/s", row.shape, row.asked), row.samples_per_s, false);
        }
        for row in &self.likelihood {
            let name = format!("likelihood {} {}, likelihoods/s", row.shape, row.asked);
            add(name, row.likelihoods_per_s, false);
        }
        for row in &self.coupling {
            let name = format!("{} of {} points of dimension {}, solves/s", row.name, row.points, row.dim);
            add(name, row.solves_per_s, false);
        }
        for roofline in &self.kernels {
            for row in &roofline.rows {
                let Roofline { of, shape, asked, .. } = roofline;
                add(format!("{of} {shape} {asked}: {}, s", row.kernel), row.seconds, true);
            }
        }
        for scaling in &self.scaling {
            for point in &scaling.points {
                let name = format!("{} by {}, {}: {}, s", scaling.of, scaling.size, point.value, point.shape);
                add(name, point.seconds, true);
            }
        }
        if let Some(start) = &self.start {
            add(format!("start {}, cold, s", start.shape), start.cold_s, true);
            add(format!("start {}, warm, s", start.shape), start.warm_s, true);
        }
        if let Some(memory) = &self.memory {
            if let Some(bytes) = memory.host_bytes {
                add("memory of the host, bytes".into(), Spread::of(vec![bytes as f64]), true);
            }
            let bytes = memory.device_bytes as f64;
            add("memory of the device, bytes".into(), Spread::of(vec![bytes]), true);
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryUse, Training};
    use super::*;

    fn report(steps: [f64; 3], bytes: u64) -> Report {
        let training = |shape: &str| Training {
            shape: shape.parse().unwrap(),
            asked: "auto".into(),
            kernels: "buffers".into(),
            steps_per_s: Spread::of(steps.to_vec()),
            device_bytes: 1,
        };
        Report {
            training: vec![training("2:3x64:256")],
            memory: Some(MemoryUse { host_bytes: None, device_bytes: bytes }),
            ..Report::default()
        }
    }

    #[test]
    fn a_ratio_is_beyond_one_where_it_is_better() {
        let (before, now) = (report([90.0, 100.0, 120.0], 1000), report([150.0, 200.0, 210.0], 2000));
        let rows = now.compare(&before);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].figure, "training 2:3x64:256 auto, steps/s");
        assert_eq!((rows[0].ratio, rows[0].at_least, rows[0].at_most), (2.0, 1.25, 210.0 / 90.0));
        assert!(rows[0].is_clear());
        // Twice the memory is half as good.
        assert_eq!((rows[1].ratio, rows[1].at_least, rows[1].at_most), (0.5, 0.5, 0.5));
        let same = now.compare(&now);
        assert!((same[0].ratio - 1.0).abs() < 1e-12 && !same[0].is_clear());
        assert_eq!(Report::default().compare(&now), []);
    }

    #[test]
    fn what_is_no_report_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let told = |text: &str| {
            let path = folder.path().join("report.json");
            std::fs::write(&path, text).unwrap();
            Report::load(&path).map_err(|error| error.to_string())
        };
        let report = report([1.0, 2.0, 3.0], 5);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(told(&text).unwrap(), report);
        let newer = text.replacen("\"schema\":1", "\"schema\":2", 1);
        for (text, why) in [(newer.as_str(), "schema 2"), ("[]", "no report"), ("", "no report")] {
            let error = told(text).unwrap_err();
            assert!(
                error.contains(why) && error.contains("report.json") && error.lines().count() == 1,
                "{error}"
            );
        }
        let error = told(r#"{"schema": 1, "model": "x.safetensors"}"#).unwrap_err();
        assert!(error.contains("no report of bench"), "{error}");
        assert!(Report::load(folder.path().join("none")).unwrap_err().to_string().contains("cannot read"));
    }
}
