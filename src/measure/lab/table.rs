//! Means over the seeds, and what they say.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cell::{Cell, Trajectories};
use super::plan::Plan;
use super::suite::{PUBLISHED, Suite};
use crate::measure::evaluate::Interval;

/// A combination of a task, a path and a coupling over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The name of the task.
    pub task: String,
    /// The name of the path.
    pub path: String,
    /// The name of the coupling.
    pub coupling: String,
    /// The seeds that are done.
    pub seeds: Vec<u64>,
    /// By their names, as in [`Cell::measures`]: those that all seeds have.
    pub measures: BTreeMap<String, Interval>,
    /// What two test sets of the same size are apart.
    pub floors: BTreeMap<String, Interval>,
    /// The curve of the crossing energy.
    pub crossing: Vec<CrossingAt>,
    /// W₂ against the number of Euler steps.
    pub quality: Vec<QualityAt>,
    /// Seconds of a cell.
    pub seconds: Interval,
    /// Those of the first seed.
    #[serde(skip)]
    pub trajectories: Option<Trajectories>,
}

/// A time of the curve of the crossing energy; in the network's coordinates, squared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrossingAt {
    /// The time.
    pub t: f64,
    /// E ‖u_t(x | x1) − u_t(x)‖², where the exact field is known.
    pub exact: Option<Interval>,
    /// E ‖v(x, t) − u_t(x | x1)‖² of the model.
    pub cfm: Interval,
}

/// The quality of samples of a number of Euler steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QualityAt {
    /// Steps, and evaluations of the velocity.
    pub steps: u32,
    /// W₂ from test points.
    pub wasserstein2: Interval,
}

/// A column of the table.
#[derive(Debug)]
pub struct Column {
    /// What stands above it.
    pub heading: &'static str,
    /// What it is, for people.
    pub help: &'static str,
    /// Its value in a row.
    pub value: fn(&Row) -> Option<&Interval>,
}

/// The columns of the table on a terminal, in their order; the files have all measures.
pub static COLUMNS: &[Column] = &[
    Column { heading: "W2", help: "W₂ of samples and test points", value: |row| row.measures.get("W2") },
    Column { heading: "floor", help: "W₂ of two test sets", value: |row| row.floors.get("W2") },
    Column { heading: "W2, 1 step", help: "W₂ after a single Euler step", value: |row| row.after(1) },
    Column { heading: "4 steps", help: "W₂ after 4 Euler steps", value: |row| row.after(4) },
    Column { heading: "NPE", help: "normalised path energy", value: |row| row.measures.get("NPE") },
    Column {
        heading: "S",
        help: "straightness of the flow; 0 is straight",
        value: |row| row.measures.get("straightness"),
    },
    Column {
        heading: "C",
        help: "crossing energy of the conditional paths, where the exact field is known",
        value: |row| row.measures.get("crossing energy"),
    },
    Column { heading: "L_CFM", help: "the model's loss: C and L_FM", value: |row| row.measures.get("L_CFM") },
    Column {
        heading: "NFE",
        help: "evaluations of dopri5 at 1e-5",
        value: |row| row.measures.get("NFE 1e-5"),
    },
];

impl Row {
    /// W₂ after so many Euler steps.
    #[must_use]
    pub fn after(&self, steps: u32) -> Option<&Interval> {
        self.quality.iter().find(|at| at.steps == steps).map(|at| &at.wasserstein2)
    }

    fn of(cells: &[&Cell]) -> Option<Self> {
        let first = cells.first()?;
        let over = |of: &dyn Fn(&Cell) -> Option<f64>| -> Option<Interval> {
            cells.iter().map(|cell| of(cell)).collect::<Option<Vec<f64>>>().map(Interval::of)
        };
        let all = |of: fn(&Cell) -> &BTreeMap<String, f64>| -> BTreeMap<String, Interval> {
            let names = of(first).keys();
            names
                .filter_map(|name| Some((name.clone(), over(&|cell| of(cell).get(name).copied())?)))
                .collect()
        };
        let crossing = (0..first.crossing.len()).filter_map(|place| {
            Some(CrossingAt {
                t: first.crossing[place].t,
                exact: over(&|cell| cell.crossing.get(place)?.exact),
                cfm: over(&|cell| Some(cell.crossing.get(place)?.cfm))?,
            })
        });
        let quality = (0..first.quality.len()).filter_map(|place| {
            Some(QualityAt {
                steps: first.quality[place].steps,
                wasserstein2: over(&|cell| cell.quality.get(place)?.wasserstein2)?,
            })
        });
        Some(Self {
            task: first.task.clone(),
            path: first.path.clone(),
            coupling: first.coupling.clone(),
            seeds: cells.iter().map(|cell| cell.seed).collect(),
            measures: all(|cell| &cell.measures),
            floors: all(|cell| &cell.floors),
            crossing: crossing.collect(),
            quality: quality.collect(),
            seconds: Interval::of(cells.iter().map(|cell| cell.seconds).collect()),
            trajectories: first.trajectories.clone(),
        })
    }
}

/// A measured figure beside a published one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Versus {
    /// The name of the task.
    pub task: String,
    /// The path.
    pub path: String,
    /// The name of the coupling.
    pub coupling: String,
    /// The name of the measure.
    pub measure: &'static str,
    /// Ours: the mean over the seeds.
    pub mean: f64,
    /// Ours: the standard deviation over the seeds; none of a single one.
    pub deviation: Option<f64>,
    /// How many seeds these are.
    pub seeds: usize,
    /// The published mean.
    pub published: f64,
    /// The published standard deviation.
    pub published_deviation: f64,
    /// What two test sets are apart: no flow can be expected to do better.
    pub floor: Option<f64>,
    /// W₂ after a single Euler step.
    pub one_step: Option<f64>,
    /// Whether ours is at most the published mean and its standard deviation.
    pub reached: bool,
}

/// All combinations of which a cell is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// In the order of the plan.
    pub rows: Vec<Row>,
}

impl Table {
    /// The means over the seeds of the cells that a plan asks for.
    #[must_use]
    pub fn of(plan: &Plan, cells: &[Cell]) -> Self {
        let ids = plan.cells();
        let mut rows = vec![];
        for id in ids.iter().filter(|id| Some(&id.seed) == plan.seeds.first()) {
            let mut same: Vec<&Cell> = ids
                .iter()
                .filter(|other| {
                    other.task == id.task && other.path == id.path && other.coupling == id.coupling
                })
                .filter_map(|other| cells.iter().find(|cell| other.is_of(cell)))
                .collect();
            same.sort_by_key(|cell| cell.seed);
            rows.extend(Row::of(&same));
        }
        Self { rows }
    }

    /// The row of a combination.
    #[must_use]
    pub fn row(&self, task: &str, path: &str, coupling: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.task == task && row.path == path && row.coupling == coupling)
    }

    /// The published figures of a suite's comparison beside ours, of one path after the other.
    #[must_use]
    pub fn versus(&self, suite: &Suite) -> Vec<Versus> {
        let figures = PUBLISHED.iter().filter(|figure| figure.comparison == suite.comparison);
        figures
            .flat_map(|figure| {
                let is_of = |row: &&Row| row.task == figure.task && row.coupling == figure.coupling;
                self.rows.iter().filter(is_of).map(move |row| (figure, row))
            })
            .filter_map(|(figure, row)| {
                let ours = row.measures.get(figure.measure)?;
                Some(Versus {
                    task: row.task.clone(),
                    path: row.path.clone(),
                    coupling: row.coupling.clone(),
                    measure: figure.measure,
                    mean: ours.mean,
                    deviation: deviation(ours),
                    seeds: ours.values.len(),
                    published: figure.mean,
                    published_deviation: figure.deviation,
                    floor: row.floors.get(figure.measure).map(|floor| floor.mean),
                    one_step: row.after(1).filter(|_| figure.measure == "W2").map(|one| one.mean),
                    reached: ours.mean <= figure.mean + figure.deviation,
                })
            })
            .collect()
    }

    /// All figures as a table of comma-separated values with a header row: for each measure its mean and the half width
    /// of its interval, which is empty for a single seed.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut names: Vec<String> = vec![];
        let rows: Vec<(&Row, BTreeMap<String, &Interval>)> = self
            .rows
            .iter()
            .map(|row| {
                let measures = row.measures.iter().map(|(name, value)| (name.clone(), value));
                let floors = row.floors.iter().map(|(name, value)| (format!("{name} floor"), value));
                let quality =
                    row.quality.iter().map(|at| (format!("W2 after {} steps", at.steps), &at.wasserstein2));
                let cells: Vec<(String, &Interval)> = measures.chain(floors).chain(quality).collect();
                names.extend(cells.iter().map(|(name, _)| name.clone()));
                (row, cells.into_iter().collect())
            })
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        let quoted = |text: &str| {
            if text.contains([',', '"']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.to_owned()
            }
        };
        let mut lines = vec!["task,path,coupling,seeds".to_owned()];
        for name in &names {
            lines[0].extend([",", name, ",", name, " ±"]);
        }
        for (row, cells) in rows {
            let mut line =
                format!("{},{},{},{}", quoted(&row.task), quoted(&row.path), row.coupling, row.seeds.len());
            for name in &names {
                let cell = cells.get(name);
                let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
                let (mean, half_width) =
                    (number(cell.map(|cell| cell.mean)), number(cell.and_then(|cell| cell.half_width)));
                line.extend([",", &mean, ",", &half_width]);
            }
            lines.push(line);
        }
        lines.join("\n") + "\n"
    }

    /// What was measured, in sentences: whether the conditional paths cross, how much the flow bends, what a coupling
    /// and another path change. Nothing is called a difference that is within the intervals.
    #[must_use]
    pub fn conclusion(&self) -> Vec<String> {
        let mut tasks: Vec<&str> = self.rows.iter().map(|row| row.task.as_str()).collect();
        tasks.dedup();
        tasks.iter().flat_map(|task| self.conclusion_of(task)).collect()
    }

    fn conclusion_of(&self, task: &str) -> Vec<String> {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| row.task == task).collect();
        let Some(base) = rows.iter().find(|row| row.coupling == "independent").or(rows.first()) else {
            return vec![];
        };
        let mut sentences = vec![];
        let straightness = |row: &Row| row.measures.get("straightness").cloned();
        if let Some(bend) = straightness(base) {
            let crossing = match (base.measures.get("crossing energy"), base.measures.get("transport")) {
                (Some(crossing), Some(transport)) => format!(
                    "the conditional paths cross: C = {}, {:.0} % of their energy {}",
                    with_interval(crossing),
                    100.0 * crossing.mean / transport.mean,
                    three_digits(transport.mean)
                ),
                _ => match base.measures.get("L_CFM") {
                    Some(cfm) => {
                        format!("the conditional paths cross by at most L_CFM = {}", with_interval(cfm))
                    }
                    None => "the crossing was not measured".to_owned(),
                },
            };
            let curvature = base.measures.get("curvature");
            let curvature = curvature
                .map_or_else(String::new, |curvature| format!(", curvature {}", with_interval(curvature)));
            let bends = match bend.half_width {
                Some(half_width) if bend.mean <= half_width => "does not bend beyond the interval, S",
                _ => "bends by S",
            };
            sentences.push(format!(
                "{task}, path {}, {} pairs: {crossing}; the learned flow {bends} = {}{curvature}.",
                base.path,
                base.coupling,
                with_interval(&bend)
            ));
        }
        let others = rows.iter().filter(|row| row.path == base.path && row.coupling != base.coupling);
        let least = others.filter_map(|row| Some((row, straightness(row)?)));
        if let (Some((row, s)), Some(bend)) =
            (least.min_by(|a, b| a.1.mean.total_cmp(&b.1.mean)), straightness(base))
        {
            let of = |row: &Row, name: &str| row.measures.get(name).cloned();
            let mut changes = vec![change("S", &bend, &s)];
            for (name, (before, after)) in [
                ("L_CFM", (of(base, "L_CFM"), of(row, "L_CFM"))),
                ("W₂ after one Euler step", (base.after(1).cloned(), row.after(1).cloned())),
                ("W₂ in the end", (of(base, "W2"), of(row, "W2"))),
            ] {
                if let (Some(before), Some(after)) = (before, after) {
                    changes.push(change(name, &before, &after));
                }
            }
            let floor = base
                .floors
                .get("W2")
                .map_or_else(String::new, |floor| format!(" (two test sets: {})", with_interval(floor)));
            sentences.push(format!("{task}: {} instead {}{floor}.", row.coupling, changes.join(", ")));
        }
        let paths: Vec<&&Row> = rows.iter().filter(|row| row.coupling == base.coupling).collect();
        let at_four: Option<Vec<(&str, Interval)>> =
            paths.iter().map(|row| Some((row.path.as_str(), row.after(4)?.clone()))).collect();
        if let Some(mut at_four) = at_four.filter(|paths| paths.len() > 1) {
            at_four.sort_by(|a, b| a.1.mean.total_cmp(&b.1.mean));
            let all: Vec<String> =
                at_four.iter().map(|(path, w2)| format!("{path} {}", with_interval(w2))).collect();
            let clear = differ(&at_four[0].1, &at_four[1].1) == Some(true);
            let verdict = if clear {
                format!("{} is the best of the paths", at_four[0].0)
            } else {
                "no path is the best beyond doubt".to_owned()
            };
            sentences.push(format!(
                "{task}: in four Euler steps from {} pairs {verdict}, by W₂: {}.",
                base.coupling,
                all.join(", ")
            ));
        }
        sentences
    }
}

/// The standard deviation of an interval's values.
fn deviation(interval: &Interval) -> Option<f64> {
    let n = interval.values.len();
    let square: f64 = interval.values.iter().map(|value| (value - interval.mean).powi(2)).sum();
    (n > 1).then(|| (square / (n as f64 - 1.0)).sqrt())
}

/// Whether two means differ by more than both half widths together, as roots of squares; unknown of single seeds.
fn differ(a: &Interval, b: &Interval) -> Option<bool> {
    let width = a.half_width?.hypot(b.half_width?);
    Some((a.mean - b.mean).abs() > width)
}

/// "takes S from 1 ± 0.1 to 0.2 ± 0.1".
fn change(name: &str, before: &Interval, after: &Interval) -> String {
    let numbers = format!("{name} from {} to {}", with_interval(before), with_interval(after));
    match differ(before, after) {
        Some(false) => format!("leaves {numbers} (no difference beyond the intervals)"),
        _ => format!("takes {numbers}"),
    }
}

/// Mean and half width to three digits, as `0.281 ± 0.043`; the mean alone of a single seed.
#[must_use]
pub fn with_interval(interval: &Interval) -> String {
    match interval.half_width {
        Some(half_width) => format!("{} ± {}", three_digits(interval.mean), three_digits(half_width)),
        None => three_digits(interval.mean),
    }
}

/// A number to three digits.
#[must_use]
pub fn three_digits(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::super::cell::{Crossing, Quality};
    use super::*;
    use crate::measure::lab::{FORMAT, Task};

    fn cell(path: &str, coupling: &str, seed: u64, straightness: f64) -> Cell {
        Cell {
            format: FORMAT,
            task: "moons".into(),
            path: path.into(),
            coupling: coupling.into(),
            seed,
            adapter: String::new(),
            seconds: 1.0,
            training_seconds: 1.0,
            loss: None,
            measures: BTreeMap::from([("straightness".into(), straightness), ("W2".into(), 0.3)]),
            floors: BTreeMap::from([("W2".into(), 0.1)]),
            crossing: vec![Crossing { t: 0.5, exact: None, cfm: 1.0 }],
            quality: vec![Quality { steps: 4, wasserstein2: Some(straightness), energy: 0.0 }],
            evaluations: vec![],
            trajectories: None,
        }
    }

    #[test]
    fn means_are_over_the_seeds_of_a_combination() {
        let plan = Plan { tasks: vec![Task::new("moons", None)], ..Plan::default() };
        let cells = [
            cell("ot", "independent", 0, 1.0),
            cell("ot", "independent", 1, 1.2),
            cell("ot", "minibatch-ot", 0, 0.1),
            // of no seed that was asked for
            cell("ot", "independent", 9, 100.0),
        ];
        let table = Table::of(&plan, &cells);
        assert_eq!(table.rows.len(), 2);
        let row = table.row("moons", "ot", "independent").unwrap();
        assert_eq!(row.seeds, [0, 1]);
        assert!((row.measures["straightness"].mean - 1.1).abs() < 1e-12);
        assert!(table.row("moons", "vp", "independent").is_none());
    }

    #[test]
    fn nothing_within_the_intervals_is_called_a_difference() {
        let plan = Plan { tasks: vec![Task::new("moons", None)], ..Plan::default() };
        let of = |straight: [f64; 2]| {
            let cells = [
                cell("ot", "independent", 0, 1.0),
                cell("ot", "independent", 1, 1.02),
                cell("ot", "minibatch-ot", 0, straight[0]),
                cell("ot", "minibatch-ot", 1, straight[1]),
            ];
            Table::of(&plan, &cells).conclusion().join(" ")
        };
        assert!(of([0.1, 0.12]).contains("takes S from 1.01"), "{}", of([0.1, 0.12]));
        assert!(of([0.2, 1.7]).contains("leaves S from 1.01"), "{}", of([0.2, 1.7]));
        assert!(of([0.1, 0.12]).contains("bends by S = 1.01"), "{}", of([0.1, 0.12]));
        let straight = [cell("ot", "independent", 0, 0.001), cell("ot", "independent", 1, 0.02)];
        let text = Table::of(&plan, &straight).conclusion().join(" ");
        assert!(text.contains("does not bend beyond the interval"), "{text}");
        assert!(Table { rows: vec![] }.conclusion().is_empty());
    }
}
