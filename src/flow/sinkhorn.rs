//! Entropic optimal transport on the device, and permutations drawn from its plan.
//!
//! The plan P that minimises Σ P_ij·c_ij + ε·KL(P | 1/n²) among all couplings of two sets of n points is
//! exp((f_i + g_j − c_ij)/ε)/n², and Sinkhorn's iterations find f and g (Cuturi 2013, "Sinkhorn distances"). They stream:
//! no n×n matrix is kept. A permutation is drawn from P point by point; sweeps of heat-bath exchanges then make it a
//! sample of P(π) ∝ exp(−Σ_i c_iπ(i)/ε), the plan's law among permutations (Harchaoui, Liu and Pal 2020, "Asymptotics of
//! discrete Schrödinger bridges via chaos decomposition").

use std::time::Duration;

use bytemuck::{Pod, Zeroable};

use super::assignment::{check_points, pair_cost};
use crate::gpu::{Binding, Buffer, BufferCopy, Device, Dispatch, Habits, Purpose, Variant};
use crate::{Error, Result};

/// The most points of an entropic problem.
pub const MOST_ENTROPIC_POINTS: usize = 1 << 20;
/// ε in units of the mean cost, where nobody says otherwise.
pub const DEFAULT_EPSILON: f32 = 0.02;
/// The smallest: below it, float32 does not hold the exponents.
pub const LEAST_EPSILON: f32 = 1e-3;
/// L1 error of the marginals.
const TOLERANCE: f32 = 1e-4;
/// Iterations, at most.
const MOST_ITERATIONS: u32 = 2000;
/// Rounds of drawing, at most. Each leaves about a third of the points.
const ROUNDS: u32 = 24;
/// Sweeps of exchanges. One brings the mean cost to the plan's within a hundredth.
const SWEEPS: u32 = 2;
/// The largest dimension whose points an invocation keeps in registers.
const NARROW_DIM: usize = 8;
const LANES: u32 = 64;
const WORKGROUP: u32 = 256;
/// Pairs of a round of exchanges from which on several workgroups share them, and how many each of them has then.
const SHARED_PAIRS: u32 = 2048;
const PAIR_TILE: u32 = 256;
/// Workgroups that keep a device busy, at least. One alone is a small part of it.
const BUSY: u64 = 16;
/// Problems that are solved at once, at most.
const MOST_PROBLEMS: usize = 4096;

/// `Entropic` of shaders/shared/sinkhorn.wgsl: where a problem stands between two dispatches.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Entropic {
    /// Of the next iteration, in units of the cost.
    pub epsilon: f32,
    /// Where it ends.
    pub wanted: f32,
    /// 1: plain iterations.
    pub relaxation: f32,
    /// Of the marginals, after the last one.
    pub error: f32,
    /// Of the one before it; while relaxed, of the last look at the rate.
    pub before: f32,
    /// Of the two.
    pub ratio: f32,
    /// Of all pairs.
    pub mean_cost: f32,
    /// In all.
    pub iterations: u32,
    /// Relaxed ones since the last look at the rate.
    pub since: u32,
    /// 0: iterating, 1: drawing.
    pub stage: u32,
    /// Rows without a partner.
    pub free: u32,
    /// Of the drawing.
    pub round: u32,
    /// 1: the tolerance was not met.
    pub missed: u32,
    /// 1: the costs are beyond float32.
    pub failed: u32,
}

/// `Drawing` of shaders/shared/drawing.wgsl: which random numbers a problem gets.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Drawing {
    /// Low and high word of the seed.
    pub seed: [u32; 2],
    /// Of the first problem.
    pub number: u32,
    /// From one problem's number to the next one's.
    pub stride: u32,
}

/// How an entropic problem is solved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SinkhornOptions {
    /// ε in units of the mean cost of all pairs, from 10⁻³ on. Towards infinity every permutation is as likely as any
    /// other; the smaller, the nearer to the optimal assignment.
    pub epsilon: f32,
    /// L1 error of the marginals at which iterations end.
    pub tolerance: f32,
    /// Iterations after which they end in any case.
    pub most_iterations: u32,
    /// Of the permutations.
    pub seed: u64,
}

impl Default for SinkhornOptions {
    fn default() -> Self {
        Self { epsilon: DEFAULT_EPSILON, tolerance: TOLERANCE, most_iterations: MOST_ITERATIONS, seed: 0 }
    }
}

impl SinkhornOptions {
    /// Checks every setting by itself.
    ///
    /// # Errors
    /// [`Error::Config`] naming the flag.
    pub fn validate(&self) -> Result<()> {
        if !(LEAST_EPSILON..=1e6).contains(&self.epsilon) {
            return Err(Error::config(
                format!("--epsilon {} is out of range", self.epsilon),
                format!("it takes a number from {LEAST_EPSILON} to 1e6, in units of the mean cost"),
            ));
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return Err(Error::config(
                format!("a tolerance of {} is out of range", self.tolerance),
                "it takes a number between 0 and 1",
            ));
        }
        if self.most_iterations == 0 || self.most_iterations > 1 << 20 {
            return Err(Error::config(
                format!("at most {} iterations is out of range", self.most_iterations),
                "it takes 1 to 2^20",
            ));
        }
        Ok(())
    }
}

/// The entropic optimal transport plan between n points x0 and n points x1, and a permutation drawn from it.
///
/// # Examples
/// ```
/// use windfield::flow::{Sinkhorn, SinkhornOptions};
/// use windfield::gpu::{Device, DeviceOptions};
///
/// let device = Device::open(&DeviceOptions::default())?;
/// let (x0, x1) = ([0.0, 1.0, 5.0], [5.1, 0.2, 0.9]);
/// let options = SinkhornOptions { epsilon: 1e-3, ..SinkhornOptions::default() };
/// let plan = Sinkhorn::solve(&device, &x0, &x1, 1, options)?;
/// assert_eq!(plan.partners, [2, 0, 1]);
/// assert!(plan.converged && plan.error < 1e-4);
/// # Ok::<(), windfield::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sinkhorn {
    /// For each point of x1 the one of x0 that it is paired with: a permutation of 0..n, drawn from the plan.
    pub partners: Vec<u32>,
    /// Σ ‖x1_i − x0_π(i)‖².
    pub cost: f64,
    /// n·Σ_ij P_ij·‖x1_i − x0_j‖²: what `cost` is on average, about.
    pub plan_cost: f64,
    /// f of x1 and g of x0, in units of the cost: P_ij = exp((f_i + g_j − c_ij)/ε)/n².
    pub potentials: [Vec<f32>; 2],
    /// ε in units of the cost.
    pub epsilon: f64,
    /// Σ_j |Σ_i P_ij − 1/n| after the rows' last update. The columns' last one makes these sums exact, and leaves the
    /// rows' within the same error.
    pub error: f64,
    /// Iterations made.
    pub iterations: u32,
    /// Whether the error is within the tolerance. The permutation is one in any case.
    pub converged: bool,
}

impl Sinkhorn {
    /// Couples the rows of x0 and x1, both row-major `[n, dim]`, n up to [`MOST_ENTROPIC_POINTS`].
    ///
    /// # Errors
    /// [`Error::Config`] where the points are not as many, not finite, or too far apart for float32, or for options out
    /// of range; [`Error::Limit`] or [`Error::OutOfMemory`] where they do not fit the device.
    pub fn solve(
        device: &Device,
        x0: &[f32],
        x1: &[f32],
        dim: usize,
        options: SinkhornOptions,
    ) -> Result<Self> {
        let rows = x0.len() / dim.max(1);
        let mut solved = Self::solve_many(device, x0, x1, rows, dim, options)?;
        solved.pop().ok_or_else(|| unsolved("no problem came back"))
    }

    /// Solves problems side by side: x0 and x1 are `[problems, n, dim]`. Problem k draws other numbers than problem 0;
    /// how many are solved at once changes nothing.
    ///
    /// # Errors
    /// As of [`solve`](Self::solve).
    pub fn solve_many(
        device: &Device,
        x0: &[f32],
        x1: &[f32],
        n: usize,
        dim: usize,
        options: SinkhornOptions,
    ) -> Result<Vec<Self>> {
        options.validate()?;
        check_points(x0, x1, n, dim)?;
        let all = x0.len() / (n * dim);
        let mut solver = SinkhornSolver::new(device, n, dim, all, "the number of points", options)?;
        let at_once = solver.problems * n * dim;
        let mut solved = Vec::with_capacity(all);
        for (x0, x1) in x0.chunks(at_once).zip(x1.chunks(at_once)) {
            let count = x0.len() / (n * dim);
            device.write(&solver.x0, x0)?;
            device.write(&solver.x1, x1)?;
            let records = solver.solve(count, word(solved.len()), 1, || false)?;
            let costs = solver.plan_costs(count)?;
            let partners: Vec<u32> = device.read(&solver.partners, 0..4 * (count * n) as u64)?;
            let potentials: Vec<f32> = device.read(&solver.potentials, 0..8 * (count * n) as u64)?;
            for (k, record) in records.iter().enumerate() {
                let partners = partners[k * n..(k + 1) * n].to_vec();
                let at = k * n * dim..(k + 1) * n * dim;
                solved.push(Self {
                    cost: pair_cost(&x0[at.clone()], &x1[at], &partners, dim),
                    partners,
                    plan_cost: costs[k * n..(k + 1) * n].iter().map(|&cost| f64::from(cost)).sum(),
                    potentials: [0, 1].map(|side| potentials[(2 * k + side) * n..][..n].to_vec()),
                    epsilon: record.wanted.into(),
                    error: record.error.into(),
                    iterations: record.iterations,
                    converged: record.missed == 0,
                });
            }
        }
        Ok(solved)
    }
}

fn unsolved(reason: &str) -> Error {
    Error::Device { what: "an entropic coupling".to_owned(), reason: reason.to_owned() }
}

/// How a problem is laid over invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    points: usize,
    dim: usize,
    queries: u32,
    split: u32,
    block: u32,
}

/// What a streaming kernel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// f
    Rows,
    /// g
    Columns,
    Costs,
    Draw,
}

impl Shape {
    fn new(habits: &Habits, points: usize, dim: usize) -> Result<Self> {
        let wide = dim > NARROW_DIM;
        let queries = if wide { 4 } else { (habits.marginal_coordinates / word(dim)).clamp(2, 16) };
        let split = if habits.software { 1 } else { 16 };
        let loops = u64::from(habits.loop_iterations) / 2;
        let mut block = 1024;
        while block > 16 && u64::from(block) * (if wide { dim as u64 + 2 } else { 2 }) / 4 > loops {
            block /= 2;
        }
        if wide && u64::from(block) * (dim as u64 + 2) / 4 > loops {
            return Err(Error::config(
                format!("an entropic coupling of dimension {dim} is out of range"),
                format!("it takes up to {loops} / 4 columns on this device"),
            ));
        }
        Ok(Self { points, dim, queries, split, block })
    }

    fn is_wide(&self) -> bool {
        self.dim > NARROW_DIM
    }

    fn queries(&self, pass: Pass) -> u32 {
        if pass == Pass::Draw { self.queries.min(4) } else { self.queries }
    }

    fn groups(&self, pass: Pass) -> usize {
        self.points.div_ceil(self.queries(pass) as usize)
    }

    fn variant(&self, pass: Pass) -> Variant {
        Variant::new("sinkhorn")
            .with("N", word(self.points))
            .with("DIM", word(self.dim))
            .with("QUERIES", self.queries(pass))
            .with("SPLIT", self.split)
            .with("BLOCK", self.block)
            .with("LANES", LANES)
            .with("OWN", u32::from(pass == Pass::Columns))
            .flag("SPLIT_LANES", self.split > 1)
            .flag("WIDE", self.is_wide())
            .flag("COST", pass == Pass::Costs)
            .flag("DRAW", pass == Pass::Draw)
    }

    fn begin(&self) -> Variant {
        let variant = Variant::new("sinkhorn_begin").with("N", word(self.points));
        variant.with("DIM", word(self.dim)).with("LANES", WORKGROUP)
    }

    fn check(&self) -> Variant {
        Variant::new("sinkhorn_check").with("N", word(self.points)).with("LANES", WORKGROUP)
    }

    fn settle(&self, last: bool) -> Variant {
        let variant = Variant::new("sinkhorn_settle").with("N", word(self.points));
        variant.with("LANES", WORKGROUP).flag("LAST", last)
    }

    fn swap(&self) -> Variant {
        Variant::new("sinkhorn_swap")
            .with("N", word(self.points))
            .with("TILE", self.tile())
            .with("DIM", word(self.dim))
            .with("LANES", WORKGROUP)
            .flag("WIDE", self.is_wide())
    }

    fn span(&self) -> u32 {
        word(self.points).next_power_of_two()
    }

    /// Pairs of a round of exchanges that a workgroup has.
    fn tile(&self) -> u32 {
        let pairs = (self.span() / 2).max(1);
        if pairs < SHARED_PAIRS { pairs } else { PAIR_TILE }
    }

    /// Workgroups of a problem's exchanges.
    fn parts(&self) -> u32 {
        (self.span() / 2).max(1) / self.tile()
    }

    /// The round after the last one that a dispatch may make, from `first` on: where several workgroups share the pairs,
    /// they have the same rows up to the next multiple of the tile.
    fn rounds_end(&self, first: u32, most: u32) -> u32 {
        let end = first.saturating_add(most).min(self.span());
        if self.parts() == 1 { end } else { end.min((first / self.tile() + 1) * self.tile()) }
    }

    /// Floating-point operations of a pair, roughly.
    fn pair_flops(&self) -> u64 {
        3 * self.dim as u64 + 20
    }

    /// Columns that one dispatch may go over.
    fn columns(&self, habits: &Habits) -> usize {
        // In sixteenths of an iteration.
        let each = if self.is_wide() { 4 * (self.dim as u64 + 1) + 2 } else { 6 };
        let most = u64::from(habits.loop_iterations) * 15 / each;
        let block = u64::from(self.block * self.split);
        let most = most * u64::from(self.split) / block * block;
        usize::try_from(most.max(block)).unwrap_or(usize::MAX)
    }

    /// Rounds of exchanges that one dispatch may make, for so many problems.
    fn rounds(&self, habits: &Habits, count: usize) -> u32 {
        let pairs = (self.span() / 2).max(1);
        let each =
            self.tile().div_ceil(WORKGROUP) * (1 + if self.is_wide() { word(self.dim) } else { 0 }) + 1;
        let flops = u64::from(pairs) * (6 * self.dim as u64 + 150) * count as u64;
        let busy = (u64::from(self.parts()) * count as u64).min(BUSY);
        let by_time = habits.dispatch_flops * busy / BUSY / flops.max(1);
        (habits.loop_iterations / each).min(u32::try_from(by_time).unwrap_or(u32::MAX)).max(1)
    }
}

/// The kernels for problems of a size.
pub(crate) fn sinkhorn_variants(habits: &Habits, points: usize, dim: usize) -> Vec<Variant> {
    let Ok(shape) = Shape::new(habits, points, dim) else { return vec![] };
    let passes = [Pass::Rows, Pass::Columns, Pass::Costs, Pass::Draw].map(|pass| shape.variant(pass));
    let others = [shape.begin(), shape.check(), shape.settle(false), shape.settle(true), shape.swap()];
    passes.into_iter().chain(others).collect()
}

/// The device's memory for problems of one size, and what solves them.
#[derive(Debug)]
pub(crate) struct SinkhornSolver {
    device: Device,
    shape: Shape,
    options: SinkhornOptions,
    /// How many there is room for.
    pub problems: usize,
    /// [problems, n, d]
    pub x0: Buffer,
    /// [problems, n, d]
    pub x1: Buffer,
    /// π of each: [problems, n]
    pub partners: Buffer,
    records: Buffer,
    potentials: Buffer,
    partials: Buffer,
    changes: Buffer,
    lists: Buffer,
    drawing: Buffer,
    rounds: Buffer,
    begin: Dispatch,
    check: Dispatch,
    /// A round's end, and the end of the last one.
    settle: [Dispatch; 2],
    swap: Dispatch,
    landing: Buffer,
    /// The passes over so many problems.
    laid: Option<Laid>,
    /// Operations of a submission.
    budget: u64,
}

/// The dispatches of an iteration and of a round of drawing, for a number of problems.
#[derive(Debug)]
struct Laid {
    count: usize,
    iteration: Vec<Dispatch>,
    draw: Vec<Dispatch>,
    costs: Vec<Dispatch>,
}

impl SinkhornSolver {
    /// Reserves memory for up to `problems` problems, fewer if the device has no room for as many. `options` are as they
    /// were checked, but that ε is smaller where costs have a part that it is not to count.
    pub fn new(
        device: &Device,
        points: usize,
        dim: usize,
        problems: usize,
        flag: &str,
        options: SinkhornOptions,
    ) -> Result<Self> {
        let purpose = Purpose { what: "an entropic coupling", flag };
        let habits = device.habits();
        // The loop of `sinkhorn_begin`.
        let most = habits.loop_iterations as usize / 2 * WORKGROUP as usize / dim.max(1);
        let most = most.min(MOST_ENTROPIC_POINTS);
        if points > most {
            return Err(Error::config(
                format!("an entropic coupling of {points} points of dimension {dim} is out of range"),
                format!("lower {flag} to {most} or fewer"),
            ));
        }
        let shape = Shape::new(habits, points, dim)?;
        let widest = 4 * (4 * points).max(points * dim) as u64;
        device.fits(widest, purpose)?;
        let room = usize::try_from(device.largest_binding() / widest).unwrap_or(usize::MAX);
        let problems = problems.clamp(1, room.clamp(1, MOST_PROBLEMS));
        let reserve = |words: usize| device.buffer(4 * (problems * words) as u64, purpose);
        let (x0, x1) = (reserve(points * dim)?, reserve(points * dim)?);
        let (partners, changes) = (reserve(points)?, reserve(points)?);
        let (potentials, partials, lists) =
            (reserve(2 * points)?, reserve(4 * points)?, reserve(4 * points)?);
        let records = reserve(size_of::<Entropic>() / 4)?;
        let drawing = device.uniform(&Drawing::default())?;
        let rounds = device.uniform(&[0u32; 4])?;
        let aim = device.uniform(&[options.epsilon, 0.0, 0.0, 0.0])?;
        let rule = device.uniform(&[options.tolerance.to_bits(), options.most_iterations, 0, 0])?;
        let one = [1, 1, 1];
        let begin = [
            Binding::whole(0, &aim),
            Binding::whole(1, &x0),
            Binding::whole(2, &x1),
            Binding::whole(3, &records),
            Binding::whole(4, &potentials),
            Binding::whole(5, &lists),
        ];
        let begin = device.dispatch(&shape.begin(), &begin, one)?;
        let check = [Binding::whole(0, &rule), Binding::whole(1, &records), Binding::whole(2, &changes)];
        let check = device.dispatch(&shape.check(), &check, one)?;
        let settle = [Binding::whole(0, &records), Binding::whole(1, &lists), Binding::whole(2, &partners)];
        let settle = [
            device.dispatch(&shape.settle(false), &settle, one)?,
            device.dispatch(&shape.settle(true), &settle, one)?,
        ];
        let swap = [
            Binding::whole(0, &rounds),
            Binding::whole(1, &drawing),
            Binding::whole(2, &records),
            Binding::whole(3, &x0),
            Binding::whole(4, &x1),
            Binding::whole(5, &partners),
        ];
        let swap = device.dispatch(&shape.swap(), &swap, one)?;
        let landing = device.landing(records.bytes())?;
        Ok(Self {
            device: device.clone(),
            shape,
            options,
            problems,
            x0,
            x1,
            partners,
            records,
            potentials,
            partials,
            changes,
            lists,
            drawing,
            rounds,
            begin,
            check,
            settle,
            swap,
            landing,
            laid: None,
            budget: habits.dispatch_flops,
        })
    }

    /// n, the points of each side.
    pub fn points(&self) -> usize {
        self.shape.points
    }

    /// Operations of a pair in an iteration, about: its cost, and an exponential.
    pub fn pair_flops(&self) -> u64 {
        self.shape.pair_flops()
    }

    /// d.
    pub fn dim(&self) -> usize {
        self.shape.dim
    }

    /// The dispatches of a pass over so many problems, each bounded in time and in its loops.
    fn pass(&self, pass: Pass, count: usize) -> Result<Vec<Dispatch>> {
        let (device, shape) = (&self.device, &self.shape);
        let habits = device.habits();
        let variant = shape.variant(pass);
        let columns = shape.columns(habits);
        let queries = shape.queries(pass);
        let each = columns.min(shape.points) as u64 * shape.pair_flops() * u64::from(queries);
        let across = LANES / shape.split;
        let all = count * shape.groups(pass);
        let most = usize::try_from(habits.dispatch_flops / each).unwrap_or(usize::MAX);
        let most = (most / across as usize).max(1) * across as usize;
        let (y, z) = if pass == Pass::Columns { (&self.x0, &self.x1) } else { (&self.x1, &self.x0) };
        let mut parts = vec![];
        for first_column in (0..shape.points).step_by(columns) {
            let end_column = (first_column + columns).min(shape.points);
            for first in (0..all).step_by(most) {
                let end = (first + most).min(all);
                let part = device.uniform(&[word(first), word(end), word(first_column), word(end_column)])?;
                let mut bindings = vec![
                    Binding::whole(0, &part),
                    Binding::whole(1, &self.records),
                    Binding::whole(2, y),
                    Binding::whole(3, z),
                    Binding::whole(4, &self.potentials),
                    Binding::whole(5, &self.partials),
                ];
                if pass == Pass::Draw {
                    bindings.extend([Binding::whole(6, &self.drawing), Binding::whole(7, &self.lists)]);
                } else {
                    bindings.push(Binding::whole(6, &self.changes));
                }
                let groups = device.groups((end - first) as u64 * u64::from(shape.split), LANES);
                let flops = (end - first) * (end_column - first_column) * queries as usize;
                let work = crate::gpu::Work::new(flops, 0).times(shape.pair_flops());
                parts.push(device.dispatch(&variant, &bindings, groups)?.with_work(work));
            }
        }
        Ok(parts)
    }

    fn lay(&mut self, count: usize) -> Result<Laid> {
        if let Some(laid) = self.laid.take().filter(|laid| laid.count == count) {
            return Ok(laid);
        }
        let groups = [word(count), 1, 1];
        let mut iteration = self.pass(Pass::Rows, count)?;
        iteration.extend(self.pass(Pass::Columns, count)?);
        iteration.push(self.check.clone().with_groups(groups));
        let mut draw = self.pass(Pass::Draw, count)?;
        draw.push(self.settle[0].clone().with_groups(groups));
        let costs = self.pass(Pass::Costs, count)?;
        Ok(Laid { count, iteration, draw, costs })
    }

    /// Submits dispatches in pieces of about the time that one submission may take, and waits for each.
    fn submit(
        &mut self,
        dispatches: &[&Dispatch],
        copies: &[BufferCopy<'_>],
        stop: &impl Fn() -> bool,
    ) -> Result<()> {
        let target = Duration::from_millis(self.device.habits().submission_ms).as_secs_f64();
        let mut begin = 0;
        while begin < dispatches.len() {
            if stop() {
                return Err(Error::Interrupted);
            }
            let (mut end, mut flops) = (begin, 0_u64);
            while end < dispatches.len() && (end == begin || flops + dispatches[end].flops() <= self.budget) {
                flops += dispatches[end].flops();
                end += 1;
            }
            let last = end == dispatches.len();
            let submission = self
                .device
                .submit(dispatches[begin..end].iter().copied(), if last { copies } else { &[] })?;
            self.device.wait(Some(&submission))?;
            let taken = submission.elapsed().as_secs_f64();
            if taken > target * 1.5 {
                self.budget = (self.budget / 2).max(1);
            } else if taken < target / 2.0 && flops > self.budget / 4 {
                self.budget = self.budget.saturating_mul(2);
            }
            begin = end;
        }
        Ok(())
    }

    /// Solves the first `count` problems, whose points are in the buffers, and draws their permutations into `partners`,
    /// problem k by the random numbers of `number + k·stride`. The host waits for bounded submissions.
    ///
    /// # Errors
    /// [`Error::Config`] if the points are too far apart; [`Error::Interrupted`] if `stop` says so; [`Error::Device`] if
    /// a marginal is not finite.
    pub fn solve(
        &mut self,
        count: usize,
        number: u32,
        stride: u32,
        stop: impl Fn() -> bool,
    ) -> Result<Vec<Entropic>> {
        let laid = self.lay(count)?;
        let solved = self.solve_laid(&laid, number, stride, &stop);
        self.laid = Some(laid);
        solved
    }

    fn solve_laid(
        &mut self,
        laid: &Laid,
        number: u32,
        stride: u32,
        stop: &impl Fn() -> bool,
    ) -> Result<Vec<Entropic>> {
        let count = laid.count;
        let groups = [word(count), 1, 1];
        #[allow(clippy::cast_possible_truncation, reason = "the two words of the seed")]
        let seed = [self.options.seed as u32, (self.options.seed >> 32) as u32];
        self.device.wait(None)?;
        self.device.write(&self.drawing, &[Drawing { seed, number, stride }])?;
        let records = self.records.clone();
        let landing = self.landing.clone();
        let bytes = (count * size_of::<Entropic>()) as u64;
        let copy = [BufferCopy { from: &records, range: 0..bytes, to: &landing, at: 0 }];
        let begin = self.begin.clone().with_groups(groups);
        self.submit(&[&begin], &[], stop)?;
        let each: u64 = laid.iteration.iter().map(Dispatch::flops).sum();
        let mut made = 0;
        let problems = loop {
            let at_once = (self.budget / each.max(1)).clamp(1, 16);
            let dispatches: Vec<&Dispatch> = (0..at_once).flat_map(|_| &laid.iteration).collect();
            self.submit(&dispatches, &copy, stop)?;
            made += at_once;
            let problems: Vec<Entropic> = self.device.fetch(&landing, 0..bytes)?;
            if problems.iter().any(|problem| problem.failed != 0) {
                return Err(Error::config(
                    "the distances between the points of an entropic coupling are beyond float32",
                    "bring the data to moderate values: scale them, or leave out --no-standardize",
                ));
            }
            if problems.iter().all(|problem| problem.stage != 0) {
                break problems;
            }
            if made > u64::from(self.options.most_iterations) + 16 {
                return Err(unsolved("its iterations do not end"));
            }
        };
        if problems.iter().any(|problem| !problem.error.is_finite()) {
            return Err(unsolved("a marginal is not finite"));
        }
        let mut rounds = 0;
        while rounds < ROUNDS {
            let at_once = if rounds == 0 { 8 } else { 4 };
            let dispatches: Vec<&Dispatch> = (0..at_once).flat_map(|_| &laid.draw).collect();
            self.submit(&dispatches, &copy, stop)?;
            rounds += at_once;
            let drawn: Vec<Entropic> = self.device.fetch(&landing, 0..bytes)?;
            if drawn.iter().all(|problem| problem.free == 0) {
                break;
            }
        }
        let last = self.settle[1].clone().with_groups(groups);
        self.submit(&[&last], &[], stop)?;
        self.exchange(count, stop)?;
        Ok(problems)
    }

    /// The sweeps of exchanges.
    fn exchange(&mut self, count: usize, stop: &impl Fn() -> bool) -> Result<()> {
        let swap = self.swap.clone().with_groups([self.shape.parts(), word(count), 1]);
        let span = self.shape.span();
        let each = self.shape.rounds(self.device.habits(), count);
        for sweep in 0..SWEEPS {
            let mut first = 1;
            while first < span {
                let end = self.shape.rounds_end(first, each);
                self.device.write(&self.rounds, &[first, end, sweep, 0])?;
                self.submit(&[&swap], &[], stop)?;
                first = end;
            }
        }
        Ok(())
    }

    /// Each row's mean cost under the plan: [count, n].
    fn plan_costs(&mut self, count: usize) -> Result<Vec<f32>> {
        let laid = self.lay(count)?;
        let dispatches: Vec<&Dispatch> = laid.costs.iter().collect();
        self.submit(&dispatches, &[], &|| false)?;
        let costs = self.device.read(&self.changes, 0..4 * (count * self.shape.points) as u64)?;
        self.laid = Some(laid);
        Ok(costs)
    }
}

fn word(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
