//! The linear assignment problem on the device: which point of x0 goes to which point of x1, so that the sum of the
//! squared distances is the least there is. The optimal-transport coupling of two batches is one.
//!
//! A short auction (Bertsekas 1988, "The auction algorithm") finds prices near the optimal ones; shortest augmenting
//! paths (Jonker and Volgenant 1987, "A shortest augmenting path algorithm for dense and sparse linear assignment
//! problems") make the rest exact. Many problems are solved side by side, one workgroup each.

use std::time::Duration;

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Binding, Buffer, BufferCopy, Device, Dispatch, Habits, Purpose, Variant};
use crate::{Error, Result};

/// The most points of a problem: 256 lanes with 64 columns each.
pub const MOST_POINTS: usize = 16_384;
/// The largest dimension for which squared distances are computed whenever they are wanted; beyond, a matrix holds them.
const DIRECT_DIM: usize = 8;
const BEGIN_LANES: u32 = 256;
const COST_LANES: u32 = 64;
/// Sections of a problem's memory, as in shaders/assignment.wgsl.
const SECTIONS: usize = 9;
/// Scans of a round.
const ROUND: u32 = 16;
/// Problems that are solved at once, at most.
const MOST_PROBLEMS: usize = 4096;

/// `Problem` of shaders/shared/assignment.wgsl: where a problem stands between two dispatches.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Problem {
    /// A cost of 1 is that many units.
    pub scale: f32,
    /// 4: done.
    pub stage: u32,
    /// Of the auction.
    pub phase: u32,
    /// Of that phase.
    pub epsilon: i32,
    /// Whose costs are scanned next.
    pub row: u32,
    /// Added to its reduced costs.
    pub base: i32,
    /// 1: distances of earlier scans are forgotten.
    pub fresh: u32,
    /// The column that the last scan has changed.
    pub column: u32,
    /// By how much its price rises, or the length of the path just found.
    pub amount: i32,
    /// Rows taken from the queue.
    pub popped: u32,
    /// Rows put there.
    pub pushed: u32,
    /// In this phase.
    pub bids: u32,
    /// The free row from which paths are sought.
    pub start: u32,
    /// Columns reached so far.
    pub tree: u32,
    /// In all.
    pub scans: u32,
    /// Of the primal over the dual objective, in units.
    pub excess: u32,
    /// 1: the costs are beyond float32.
    pub failed: u32,
}

const DONE: u32 = 4;
/// No cost has more units.
const LARGEST: u32 = 1 << 28;

/// An optimal assignment of n points x0 to n points x1.
///
/// # Examples
/// ```
/// use windfield::flow::Assignment;
/// use windfield::gpu::{Device, DeviceOptions};
///
/// let device = Device::open(&DeviceOptions::default())?;
/// let (x0, x1) = ([0.0, 1.0, 5.0], [5.1, 0.2, 0.9]);
/// let assignment = Assignment::solve(&device, &x0, &x1, 1)?;
/// assert_eq!(assignment.partners, [2, 0, 1]);
/// assert!((assignment.cost - 0.06).abs() < 1e-6);
/// assert!(assignment.gap < 1e-6);
/// # Ok::<(), windfield::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// For each point of x1 the one of x0 that it is paired with: a permutation of 0..n.
    pub partners: Vec<u32>,
    /// Σ ‖x1_i − x0_π(i)‖².
    pub cost: f64,
    /// How much lower the cost of another permutation can be, at most: `cost` less the dual objective
    /// Σ_i min_j (c_ij − v_j) + Σ_j v_j, which no permutation's cost is below. All roundings are in it.
    pub gap: f64,
    /// Rows of costs that were gone over.
    pub scans: u32,
}

impl Assignment {
    /// Pairs the rows of x0 and x1, both row-major `[n, dim]`, n up to [`MOST_POINTS`].
    ///
    /// Costs are integers of at least 2⁻²⁸ of the largest distance squared that the points' bounding boxes allow, and
    /// the assignment is exactly optimal for those. Among equal ones the same is found on every device.
    ///
    /// # Errors
    /// [`Error::Config`] where the points are not as many, not finite, or too far apart for float32; [`Error::Limit`] or
    /// [`Error::OutOfMemory`] where they do not fit the device.
    pub fn solve(device: &Device, x0: &[f32], x1: &[f32], dim: usize) -> Result<Self> {
        let rows = x0.len() / dim.max(1);
        let mut solved = Self::solve_many(device, x0, x1, rows, dim)?;
        solved.pop().ok_or_else(|| unsolved("no problem came back"))
    }

    /// Solves problems side by side: x0 and x1 are `[problems, n, dim]`. The results are those of
    /// [`solve`](Self::solve).
    ///
    /// # Errors
    /// As of [`solve`](Self::solve).
    pub fn solve_many(device: &Device, x0: &[f32], x1: &[f32], n: usize, dim: usize) -> Result<Vec<Self>> {
        check_points(x0, x1, n, dim)?;
        let all = x0.len() / (n * dim);
        let mut assigner = Assigner::new(device, n, dim, all, "the number of points")?;
        let at_once = assigner.problems * n * dim;
        let mut solved = Vec::with_capacity(all);
        for (x0, x1) in x0.chunks(at_once).zip(x1.chunks(at_once)) {
            let count = x0.len() / (n * dim);
            device.write(&assigner.x0, x0)?;
            device.write(&assigner.x1, x1)?;
            let problems = assigner.solve(count, || false)?;
            let partners: Vec<u32> = device.read(&assigner.partners, 0..4 * (count * n) as u64)?;
            let words = SECTIONS * assigner.shape.padded();
            for (k, problem) in problems.iter().enumerate() {
                let section = |number: usize| {
                    let at = (k * words + number * assigner.shape.padded()) as u64;
                    device.read::<i32>(&assigner.memory, 4 * at..4 * (at + n as u64))
                };
                let dual: i64 = [section(0)?, section(4)?].iter().flatten().map(|&x| i64::from(x)).sum();
                let partners = partners[k * n..(k + 1) * n].to_vec();
                let at = k * n * dim..(k + 1) * n * dim;
                let cost = pair_cost(&x0[at.clone()], &x1[at], &partners, dim);
                // Its roundings are looked at in `certified`.
                let gap = (cost - dual as f64 / f64::from(problem.scale)).max(0.0);
                solved.push(Self { partners, cost, gap, scans: problem.scans });
            }
        }
        Ok(solved)
    }
}

/// Whether these are problems of n points on either side, all finite.
///
/// # Errors
/// [`Error::Config`] if not.
pub(super) fn check_points(x0: &[f32], x1: &[f32], n: usize, dim: usize) -> Result<()> {
    if n == 0 || dim == 0 || x0.is_empty() || !x0.len().is_multiple_of(n * dim) || x0.len() != x1.len() {
        return Err(Error::config(
            format!(
                "a coupling of {} numbers to {}, in batches of {n} points of dimension {dim}",
                x0.len(),
                x1.len()
            ),
            "give as many points x0 as x1, at least one",
        ));
    }
    for (name, points) in [("x0", x0), ("x1", x1)] {
        if let Some(place) = points.iter().position(|x| !x.is_finite()) {
            return Err(Error::config(
                format!("coordinate {} of point {} of {name} is {}", place % dim, place / dim, points[place]),
                "give finite points",
            ));
        }
    }
    Ok(())
}

/// Σ ‖x1_i − x0_π(i)‖².
pub(crate) fn pair_cost(x0: &[f32], x1: &[f32], partners: &[u32], dim: usize) -> f64 {
    let pairs = partners.iter().zip(x1.chunks_exact(dim));
    pairs
        .map(|(&partner, x1)| {
            let at = partner as usize * dim;
            let squares = x0[at..at + dim].iter().zip(x1);
            squares.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>()
        })
        .sum()
}

fn unsolved(reason: &str) -> Error {
    Error::Device { what: "an assignment".to_owned(), reason: reason.to_owned() }
}

/// How a problem is laid over a workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    points: usize,
    dim: usize,
    lanes: u32,
    columns: u32,
}

impl Shape {
    fn new(habits: &Habits, points: usize, dim: usize) -> Self {
        let wanted = word(points.div_ceil(habits.assignment_columns as usize)).next_power_of_two();
        let lanes = wanted.clamp(habits.assignment_lanes, 256);
        Self { points, dim, lanes, columns: word(points).div_ceil(lanes) }
    }

    fn padded(&self) -> usize {
        (self.columns * self.lanes) as usize
    }

    fn is_direct(&self) -> bool {
        self.dim <= DIRECT_DIM
    }

    /// `assignment_begin`, `assignment`, and `assignment_costs` where there is a matrix.
    fn variants(&self) -> Vec<Variant> {
        let (n, dim) = (word(self.points), word(self.dim));
        let begin = Variant::new("assignment_begin")
            .with("N", n)
            .with("DIM", dim)
            .with("LANES", BEGIN_LANES)
            .with("MEMORY", word(SECTIONS * self.padded()));
        let solve = Variant::new("assignment")
            .with("N", n)
            .with("DIM", dim)
            .with("LANES", self.lanes)
            .with("COLUMNS", self.columns)
            .with("LEVELS", self.lanes.ilog2().div_ceil(3))
            .with("MOST_BIDS", n.saturating_mul(32))
            .flag("MATRIX", !self.is_direct());
        let mut variants = vec![begin, solve.clone().flag("BIDS", true), solve];
        if !self.is_direct() {
            let costs = Variant::new("assignment_costs");
            let padded = word(self.padded());
            variants
                .push(costs.with("N", n).with("DIM", dim).with("PADDED", padded).with("LANES", COST_LANES));
        }
        variants
    }

    /// Tiles of the matrix of a problem.
    fn tiles(&self) -> u64 {
        self.padded() as u64 / 4 * self.points.div_ceil(4) as u64
    }

    /// Floating-point operations of a tile, roughly.
    fn tile_flops(&self) -> u64 {
        48 * self.dim as u64 + 100
    }

    /// Of a round.
    fn round_flops(&self) -> u64 {
        let cost = if self.is_direct() { 3 * self.dim } else { 10 };
        u64::from(ROUND) * self.padded() as u64 * (cost as u64 + 20)
    }

    /// The rounds of a dispatch, at most: 17 iterations of a round for all lanes; two loops of lane 0 in each scan, which
    /// software drivers enter even where they do nothing; and what these go over, which is all that is scanned, and a
    /// tree from before.
    fn most_rounds(&self, habits: &Habits) -> u32 {
        let loops = habits.loop_iterations.saturating_sub(2 * word(self.points) + 64);
        (loops / (17 + 4 * ROUND)).max(1)
    }

    /// Scans that a problem takes, at most: all bids, a greedy one and a certificate for each row, and a path of all
    /// columns for each row.
    fn most_scans(&self) -> u64 {
        let n = self.points as u64;
        4 * 32 * n + 2 * n + n * n
    }
}

/// The kernels for problems of a size.
pub(crate) fn assignment_variants(habits: &Habits, points: usize, dim: usize) -> Vec<Variant> {
    Shape::new(habits, points, dim).variants()
}

/// The device's memory for problems of one size, and what solves them.
#[derive(Debug)]
pub(crate) struct Assigner {
    device: Device,
    shape: Shape,
    /// How many there is room for.
    pub problems: usize,
    /// [problems, n, d]
    pub x0: Buffer,
    /// [problems, n, d]
    pub x1: Buffer,
    /// π of each: [problems, n]
    pub partners: Buffer,
    records: Buffer,
    memory: Buffer,
    begin: Dispatch,
    costs: Option<Costs>,
    /// The auction, and what comes after it.
    solve: [Dispatch; 2],
    task: Buffer,
    landing: Buffer,
    /// Of the next dispatch.
    rounds: u32,
    most_rounds: u32,
}

impl Assigner {
    /// Reserves memory for up to `problems` problems, fewer if the device has no room for as many.
    pub fn new(device: &Device, points: usize, dim: usize, problems: usize, flag: &str) -> Result<Self> {
        let purpose = Purpose { what: "an assignment", flag };
        if points > MOST_POINTS {
            return Err(Error::config(
                format!("an assignment of {points} points is out of range"),
                format!("lower {flag} to {MOST_POINTS} or fewer"),
            ));
        }
        let habits = device.habits();
        // The loop of `assignment_begin`.
        let most = habits.loop_iterations as usize / 2 * BEGIN_LANES as usize;
        if points.saturating_mul(dim) > most {
            return Err(Error::config(
                format!("an assignment of {points} points of dimension {dim} is out of range"),
                format!("lower {flag} to {} or fewer", most / dim),
            ));
        }
        let shape = Shape::new(habits, points, dim);
        let words = SECTIONS * shape.padded();
        let matrix = if shape.is_direct() { 0 } else { points * shape.padded() };
        let widest = words.max(points * dim).max(matrix) as u64;
        let room = usize::try_from(device.largest_binding() / (4 * widest)).unwrap_or(usize::MAX);
        device.fits(4 * widest, purpose)?;
        let problems = problems.clamp(1, room.clamp(1, MOST_PROBLEMS));
        let reserve = |words: usize| device.buffer(4 * problems as u64 * words as u64, purpose);
        let (x0, x1) = (reserve(points * dim)?, reserve(points * dim)?);
        let (partners, memory) = (reserve(points)?, reserve(words)?);
        let records = reserve(size_of::<Problem>() / 4)?;
        let task = device.uniform(&[0u32; 4])?;
        let variants = shape.variants();
        let begin = device.dispatch(
            &variants[0],
            &[
                Binding::whole(0, &x0),
                Binding::whole(1, &x1),
                Binding::whole(2, &records),
                Binding::whole(3, &memory),
            ],
            [1, 1, 1],
        )?;
        let mut bindings = vec![
            Binding::whole(0, &task),
            Binding::whole(1, &records),
            Binding::whole(2, &memory),
            Binding::whole(3, &partners),
        ];
        let costs = if shape.is_direct() { None } else { Some(reserve(matrix)?) };
        match &costs {
            Some(costs) => bindings.push(Binding::whole(4, costs)),
            None => bindings.extend([Binding::whole(4, &x0), Binding::whole(5, &x1)]),
        }
        let paths = device.dispatch(&variants[2], &bindings, [1, 1, 1])?;
        // No pair yet.
        bindings.retain(|binding| binding.slot != 3);
        let bids = device.dispatch(&variants[1], &bindings, [1, 1, 1])?;
        let solve = [bids, paths];
        let costs = match &costs {
            Some(costs) => Some(Costs::new(device, &shape, &variants[3], [&x0, &x1, costs], problems)?),
            None => None,
        };
        let landing = device.landing(records.bytes())?;
        let most_rounds = shape.most_rounds(habits);
        let rounds = habits.dispatch_flops / (8 * shape.round_flops() * problems as u64).max(1);
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX).clamp(1, most_rounds);
        Ok(Self {
            device: device.clone(),
            shape,
            problems,
            x0,
            x1,
            partners,
            records,
            memory,
            begin,
            costs,
            solve,
            task,
            landing,
            rounds,
            most_rounds,
        })
    }

    /// n, the points of each side.
    pub fn points(&self) -> usize {
        self.shape.points
    }

    /// Operations of a pair in a scan: its cost, unless it is read from a matrix; scaled, less the price, and five to
    /// compare it.
    pub fn pair_flops(&self) -> u64 {
        7 + if self.shape.is_direct() { 3 * self.shape.dim as u64 - 1 } else { 0 }
    }

    /// d.
    pub fn dim(&self) -> usize {
        self.shape.dim
    }

    /// Solves the first `count` problems, whose points are in the buffers; `partners` holds the permutations then. The
    /// host waits for bounded submissions until all are solved; what was submitted before is done by then.
    ///
    /// # Errors
    /// [`Error::Config`] if the points are too far apart; [`Error::Interrupted`] if `stop` says so; [`Error::Device`]
    /// where a problem is not solved within the number of scans that always suffices, or its certificate fails.
    pub fn solve(&mut self, count: usize, stop: impl Fn() -> bool) -> Result<Vec<Problem>> {
        let device = &self.device;
        let groups = [word(count), 1, 1];
        device.submit([&self.begin.clone().with_groups(groups)], &[])?;
        if let Some(costs) = &self.costs {
            costs.make(device, count as u64 * self.shape.tiles())?;
        }
        let solve = self.solve.clone().map(|dispatch| dispatch.with_groups(groups));
        let bytes = (count * size_of::<Problem>()) as u64;
        let target = Duration::from_millis(device.habits().submission_ms).as_secs_f64();
        let (mut scans, most_scans) = (0, self.shape.most_scans());
        device.wait(None)?;
        loop {
            if stop() {
                return Err(Error::Interrupted);
            }
            device.write(&self.task, &[self.rounds, 0, 0, 0])?;
            let copy = BufferCopy { from: &self.records, range: 0..bytes, to: &self.landing, at: 0 };
            let submission = device.submit(&solve, &[copy])?;
            device.wait(Some(&submission))?;
            let taken = submission.elapsed().as_secs_f64();
            let problems: Vec<Problem> = device.fetch(&self.landing, 0..bytes)?;
            if problems.iter().any(|problem| problem.failed != 0) {
                return Err(Error::config(
                    "the distances between the points of an assignment are beyond float32",
                    "bring the data to moderate values: scale them, or leave out --no-standardize",
                ));
            }
            let (rounds, most) = (u64::from(self.rounds), u64::from(self.most_rounds));
            if problems.iter().all(|problem| problem.stage == DONE) {
                return self.certified(problems);
            }
            scans += rounds * u64::from(ROUND);
            if scans > most_scans + rounds * u64::from(ROUND) {
                return Err(unsolved(&format!("it is not solved after {scans} scans")));
            }
            let wanted = if taken > target * 1.5 {
                rounds / 2
            } else if taken < target / 2.0 {
                rounds * 2
            } else {
                rounds
            };
            self.rounds = u32::try_from(wanted.clamp(1, most)).unwrap_or(1);
        }
    }

    /// The problems, if all are as near to their dual objectives as roundings allow.
    fn certified(&self, problems: Vec<Problem>) -> Result<Vec<Problem>> {
        // A row's lowered costs are at most that much lower, and its own cost is cut to whole units.
        let slack = f64::from(LARGEST) * f64::from(word(self.shape.dim) + 8) * 2f64.powi(-24) + 1.0;
        let allowed = slack * self.shape.points as f64;
        match problems.iter().find(|problem| f64::from(problem.excess) > allowed) {
            Some(problem) => Err(unsolved(&format!(
                "its cost is {} units above its lower bound, where rounding explains {allowed}",
                problem.excess
            ))),
            None => Ok(problems),
        }
    }
}

/// The dispatches that make the matrices, each bounded in time.
#[derive(Debug)]
struct Costs {
    /// With the number of its first tile.
    parts: Vec<(u64, Dispatch)>,
}

impl Costs {
    fn new(
        device: &Device,
        shape: &Shape,
        variant: &Variant,
        [x0, x1, costs]: [&Buffer; 3],
        problems: usize,
    ) -> Result<Self> {
        let all = problems as u64 * shape.tiles();
        let each = (device.habits().dispatch_flops / shape.tile_flops()).max(1).min(all);
        let mut parts = vec![];
        let mut first = 0;
        while first < all {
            let count = each.min(all - first);
            let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
            let tiles = device.uniform(&[narrow(first), narrow(first + count), 0, 0])?;
            let bindings = [
                Binding::whole(0, &tiles),
                Binding::whole(1, x0),
                Binding::whole(2, x1),
                Binding::whole(3, costs),
            ];
            parts.push((first, device.dispatch(variant, &bindings, device.groups(count, COST_LANES))?));
            first += count;
        }
        Ok(Self { parts })
    }

    /// The first `tiles` tiles, and up to a dispatch more.
    fn make(&self, device: &Device, tiles: u64) -> Result<()> {
        for (_, part) in self.parts.iter().filter(|(first, _)| *first < tiles) {
            device.submit([part], &[])?;
        }
        Ok(())
    }
}

fn word(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
