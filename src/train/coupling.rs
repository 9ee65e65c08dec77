//! The coupling's permutations on the device, for waves of steps: since a batch depends on the seed and its step alone,
//! the pairs of the steps to come are known, and their problems are solved side by side before the steps are handed
//! over.

use std::time::Instant;

use super::batch::{DeviceData, conditions};
use super::layout::Wave;
use super::wave::Gather;
use crate::Result;
use crate::flow::{Assigner, Coupling, SinkhornOptions, SinkhornSolver, pair_cost};
use crate::gpu::{Binding, Buffer, Device, Dispatch, Variant};
use crate::model::to_u32;

const LANES: u32 = 64;
/// Coordinates of a wave's points, at most.
const ROOM: usize = 1 << 24;
/// How much longer than a submission a wave may take.
const SUBMISSIONS: u64 = 3;

/// The variant of `endpoints`.
pub(crate) fn endpoints_variant(
    dim: usize,
    source: bool,
    gathered: bool,
    (features, labels): (usize, u32),
) -> Variant {
    Variant::new("endpoints")
        .with_all(conditions(features, labels, 0))
        .flag("CONDITIONED", labels > 0)
        .with("DIM", to_u32(dim))
        .with("LANES", LANES)
        .flag("SOURCE", source)
        .flag("GATHERED", gathered)
}

/// What finds the permutations.
#[derive(Debug)]
pub(crate) enum PairSolver {
    Assignment(Box<Assigner>),
    Sinkhorn(Box<SinkhornSolver>),
}

impl PairSolver {
    /// Reserves memory for up to `most` problems of so many points; `flag` says where their number is from. None for a
    /// coupling that solves nothing.
    pub fn new(
        device: &Device,
        coupling: Coupling,
        (points, dim): (usize, usize),
        most: usize,
        flag: &str,
        seed: u64,
    ) -> Result<Option<Self>> {
        Ok(match coupling {
            Coupling::Independent | Coupling::Reflow { .. } => None,
            Coupling::MinibatchOt { .. } => {
                Some(Self::Assignment(Box::new(Assigner::new(device, points, dim, most, flag)?)))
            }
            Coupling::Sinkhorn { epsilon, .. } => {
                let options = SinkhornOptions { epsilon, seed, ..SinkhornOptions::default() };
                let solver = SinkhornSolver::new(device, points, dim, most, flag, options)?;
                Some(Self::Sinkhorn(Box::new(solver)))
            }
        })
    }

    /// How many problems there is room for.
    pub fn problems(&self) -> usize {
        match self {
            Self::Assignment(solver) => solver.problems,
            Self::Sinkhorn(solver) => solver.problems,
        }
    }

    fn dim(&self) -> usize {
        match self {
            Self::Assignment(solver) => solver.dim(),
            Self::Sinkhorn(solver) => solver.dim(),
        }
    }

    /// Operations of looking at a pair, about: its cost, and what comes of it.
    pub fn pair_flops(&self) -> u64 {
        match self {
            Self::Assignment(solver) => solver.pair_flops(),
            Self::Sinkhorn(solver) => solver.pair_flops(),
        }
    }

    /// x0 and x1: [problems, n, d].
    pub fn points(&self) -> [&Buffer; 2] {
        match self {
            Self::Assignment(solver) => [&solver.x0, &solver.x1],
            Self::Sinkhorn(solver) => [&solver.x0, &solver.x1],
        }
    }

    fn partners(&self) -> &Buffer {
        match self {
            Self::Assignment(solver) => &solver.partners,
            Self::Sinkhorn(solver) => &solver.partners,
        }
    }

    /// Finds `count` permutations, the first of which is of the problem that begins at step `first`.
    pub fn solve(
        &mut self,
        count: usize,
        first: u64,
        steps: u64,
        stop: impl Fn() -> bool,
        news: &mut CouplingReport,
    ) -> Result<()> {
        match self {
            Self::Assignment(solver) => {
                let scans =
                    solver.solve(count, stop)?.iter().map(|problem| u64::from(problem.scans)).sum::<u64>();
                news.pairs += scans * solver.points() as u64;
            }
            Self::Sinkhorn(solver) => {
                let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
                for problem in solver.solve(count, narrow(first), narrow(steps), stop)? {
                    news.missed += u64::from(problem.missed);
                    news.worst_error = Some(news.worst_error.unwrap_or(0.0).max(problem.error.into()));
                    news.most_iterations = Some(news.most_iterations.unwrap_or(0).max(problem.iterations));
                    news.pairs += 2 * u64::from(problem.iterations) * (solver.points() as u64).pow(2);
                }
            }
        }
        news.problems += count as u64;
        Ok(())
    }
}

/// What became of the coupling's problems.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct CouplingReport {
    /// Solved by this call.
    pub problems: u64,
    /// Entropic ones whose marginals were not within the tolerance when their iterations ended. Their pairs are
    /// permutations all the same.
    pub missed: u64,
    /// The largest L1 error of an entropic plan's marginals.
    pub worst_error: Option<f64>,
    /// Of an entropic problem.
    pub most_iterations: Option<u32>,
    /// Pairs of points that were looked at, some of them often: n in each scan of an assignment, 2n² in each iteration of
    /// an entropic problem.
    pub pairs: u64,
    /// What the pairs cost, where it was looked at.
    pub cost: Option<PairCost>,
}

/// The mean of ‖x1 − x0‖² over the pairs of the first problem of every wave, in the network's coordinates.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct PairCost {
    /// Problems that were looked at.
    pub problems: u64,
    /// As the coupling pairs the points.
    pub paired: f64,
    /// As they were drawn: independently.
    pub drawn: f64,
}

impl PairCost {
    /// With one more problem.
    fn and(self, paired: f64, drawn: f64) -> Self {
        let problems = self.problems + 1;
        let mean = |mean: f64, value: f64| mean + (value - mean) / problems as f64;
        Self { problems, paired: mean(self.paired, paired), drawn: mean(self.drawn, drawn) }
    }
}

/// What rearranges the pairs of steps to come.
#[derive(Debug)]
pub(crate) struct Coupler {
    device: Device,
    solver: PairSolver,
    /// Of the problems solved so far.
    pub report: CouplingReport,
    endpoints: Dispatch,
    /// The rows of the data, where a kernel cannot see all of them.
    pub gather: Option<Gather>,
    /// What `draw` is told.
    pub wave: Buffer,
    batch: usize,
    /// d; the solver's points have their conditions as well.
    dim: usize,
    /// Of a problem.
    steps: u64,
    /// Of the next wave.
    problems: usize,
    /// Steps whose permutations are on the device.
    covered: std::ops::Range<u64>,
}

impl Coupler {
    /// Reserves memory for waves of up to `most` problems; none where rows keep what they drew.
    pub fn new(
        device: &Device,
        coupling: Coupling,
        data: &DeviceData,
        dim: usize,
        seed: u64,
        batch: usize,
        most: usize,
    ) -> Result<Option<Self>> {
        let Some(steps) = coupling.steps(batch)? else { return Ok(None) };
        let points = steps * batch;
        // The ends go on with their conditions, and the cost with them.
        let told = data.labels.as_ref();
        let width = dim + told.map_or(0, |labels| labels.features);
        let coupling = match (coupling, told) {
            // ε is in units of the cost of the points alone.
            (Coupling::Sinkhorn { ot_batch, epsilon }, Some(labels)) => {
                Coupling::Sinkhorn { ot_batch, epsilon: epsilon * labels.share }
            }
            (coupling, _) => coupling,
        };
        let most = most.min(device.habits().assignments).min(ROOM / (points * width)).max(1);
        let flag = if steps == 1 { "--batch" } else { "--ot-batch" };
        let Some(solver) = PairSolver::new(device, coupling, (points, width), most, flag, seed)? else {
            return Ok(None);
        };
        let [x0, x1] = solver.points();
        let chunk = device.uniform(&data.chunk(seed, batch, 0, batch))?;
        let wave = device.uniform(&Wave::default())?;
        let gather = Gather::new(device, data, dim, (seed, batch), steps * solver.problems(), &wave)?;
        let (rows, source) = data.rows(gather.as_ref());
        let mut bindings = vec![
            Binding::whole(0, &chunk),
            Binding::whole(1, &wave),
            Binding::whole(2, rows),
            Binding::whole(3, x0),
            Binding::whole(4, x1),
        ];
        if let Some(source) = source {
            bindings.push(Binding::whole(5, source));
        }
        if let Some(labels) = told {
            bindings.push(Binding::whole(12, &labels.buffer));
        }
        let told = told.map_or((0, 0), |labels| (labels.features, to_u32(labels.columns)));
        let variant = endpoints_variant(dim, source.is_some(), gather.is_some(), told);
        let endpoints = device.dispatch(&variant, &bindings, [1, 1, 1])?;
        let problems = solver.problems().min(if device.habits().software { 4 } else { 128 });
        let steps = steps as u64;
        Ok(Some(Self {
            device: device.clone(),
            solver,
            report: CouplingReport::default(),
            endpoints,
            gather,
            wave,
            batch,
            dim,
            steps,
            problems,
            covered: 0..0,
        }))
    }

    /// π of the wave's problems, `[problems, steps, B]`.
    pub fn partners(&self) -> &Buffer {
        self.solver.partners()
    }

    /// Whether the permutation of `step` is on the device.
    pub fn covers(&self, step: u64) -> bool {
        self.covered.contains(&step)
    }

    /// Sees to it that the permutation of `step` is on the device, and says up to which step they are. Whatever was
    /// submitted before keeps those that it was given. `stop` is asked between submissions.
    ///
    /// # Errors
    /// As of the solver; [`Error::Interrupted`](crate::Error::Interrupted) if `stop` says so, and nothing is covered then.
    pub fn cover(&mut self, step: u64, end: u64, stop: impl Fn() -> bool) -> Result<u64> {
        if self.covers(step) {
            return Ok(self.covered.end);
        }
        self.covered = 0..0;
        let first = step - step % self.steps;
        let wanted = usize::try_from((end - first).div_ceil(self.steps)).unwrap_or(usize::MAX);
        let problems = self.problems.min(wanted).max(1);
        let points = self.batch * usize::try_from(self.steps).unwrap_or(1);
        let rows = problems * points;
        let wave = Wave {
            first_step: u32::try_from(first).unwrap_or(u32::MAX),
            steps: u32::try_from(self.steps).unwrap_or(u32::MAX),
            rows: to_u32(rows),
            padding: 0,
        };
        // Until the device is through with it, the steps before this wave read the old one.
        self.device.write(&self.wave, &[wave])?;
        if let Some(gather) = &self.gather {
            gather.fill(rows)?;
        }
        let items = rows as u64 * self.solver.dim().div_ceil(4) as u64;
        self.device.submit([&self.endpoints.clone().with_groups(self.device.groups(items, LANES))], &[])?;
        self.device.wait(None)?;
        let begun = Instant::now();
        self.solver.solve(problems, first, self.steps, stop, &mut self.report)?;
        let taken = begun.elapsed().as_secs_f64();
        self.look(points)?;
        let target = (SUBMISSIONS * self.device.habits().submission_ms) as f64 / 1e3;
        if taken > target * 1.5 {
            self.problems = (problems / 2).max(1);
        } else if taken < target / 2.0 && problems == self.problems {
            self.problems = (problems * 2).min(self.solver.problems());
        }
        self.covered = first..first + self.steps * problems as u64;
        Ok(self.covered.end)
    }

    /// Adds what the first problem's pairs cost to the report.
    fn look(&mut self, points: usize) -> Result<()> {
        let width = self.solver.dim();
        let read = |buffer: &Buffer| -> Result<Vec<f32>> {
            let rows: Vec<f32> = self.device.read(buffer, 0..4 * (points * width) as u64)?;
            Ok(rows.chunks_exact(width).flat_map(|row| &row[..self.dim]).copied().collect())
        };
        let [x0, x1] = self.solver.points();
        let (x0, x1) = (read(x0)?, read(x1)?);
        let partners: Vec<u32> = self.device.read(self.solver.partners(), 0..4 * points as u64)?;
        let drawn: Vec<u32> = (0..to_u32(points)).collect();
        let [paired, drawn] =
            [&partners, &drawn].map(|partners| pair_cost(&x0, &x1, partners, self.dim) / points as f64);
        self.report.cost = Some(self.report.cost.unwrap_or_default().and(paired, drawn));
        Ok(())
    }
}
