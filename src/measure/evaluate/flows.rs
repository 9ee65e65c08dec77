//! What trajectories and pairs of points tell of a flow: its path energy, how straight it is, and where its conditional
//! paths cross.

use crate::data::Stream;
use crate::flow::{Marginal, Path};
use crate::sample::{Sampler, Start};
use crate::{Error, Result};

/// Floats of trajectories that are on the host at once, about.
const TRAJECTORY_FLOATS: usize = 1 << 22;

/// What the trajectories z of a flow have in the mean, in the coordinates in which they were given.
///
/// A step from `z_k` to `z_k+1` counts as one of the constant velocity (z_k+1 − z_k)/h: with Euler's method that is the
/// velocity itself, with others it is off by O(h²). So `straightness` is `path_energy − displacement`, exactly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kinetics {
    /// PE = E ∫ ‖v(z_t, t)‖² dt.
    pub path_energy: f64,
    /// S = E ∫ ‖(z_1 − z_0) − v(z_t, t)‖² dt; 0 is straight at constant speed.
    pub straightness: f64,
    /// E ‖z_1 − z_0‖².
    pub displacement: f64,
    /// E [ℓ/‖z_1 − z_0‖] with the length ℓ of the trajectory; 1 is straight. Particles that come back to where they
    /// began have none and are left out; one that never moves is straight.
    pub curvature: f64,
    /// Where the trajectories end: `[n, d]`.
    pub ends: Vec<f32>,
}

/// The path energy, the straightness and the curvature of a model's flow from given points `[n, d]`, in the network's
/// coordinates, with the sampler's solver and steps. The integrals go over the sampler's interval, which is taken to be
/// of length 1.
///
/// # Errors
/// As of [`Sampler::flow`]; [`Error::Config`] if a trajectory is not finite.
///
/// # Examples
/// ```
/// # use windfield::model::{Activation, Architecture, Model};
/// use windfield::gpu::{Device, DeviceOptions};
/// use windfield::measure::evaluate::kinetics;
/// use windfield::sample::{SampleOptions, Sampler};
///
/// let device = Device::open(&DeviceOptions::default())?;
/// // v(x, t) = 2: every particle goes straight.
/// # let activation = Activation::default();
/// # let architecture = Architecture { dim: 1, hidden: vec![], activation, time_frequencies: 0, condition_features: 0 };
/// # let model = Model::new(architecture, vec![(vec![0.0, 0.0], vec![2.0])]);
/// let mut sampler = Sampler::new(&device, &model, None, SampleOptions::default())?;
/// let found = kinetics(&mut sampler, &[-1.0, 0.0, 1.0])?;
/// assert!((found.path_energy - 4.0).abs() < 1e-4 && found.straightness < 1e-4);
/// # Ok::<(), windfield::Error>(())
/// ```
pub fn kinetics(sampler: &mut Sampler, points: &[f32]) -> Result<Kinetics> {
    let dim = sampler.model().architecture.dim;
    let rows = points.len() / dim;
    let steps = sampler.options().steps as usize;
    let times = sampler.times();
    let chunk = sampler.trajectory_rows().min(TRAJECTORY_FLOATS / ((steps + 1) * dim)).max(1);
    let mut sums = Sums::default();
    let mut ends = Vec::with_capacity(points.len());
    for (place, points) in points.chunks(chunk * dim).enumerate() {
        let start = Start::Points { first: (place * chunk) as u64, values: points };
        let flow = sampler.flow(start, true)?;
        for states in flow.trajectory.chunks_exact((steps + 1) * dim) {
            let states: Vec<f64> = states.iter().map(|&x| x.into()).collect();
            sums.add(&states, dim, &times);
        }
        finite(&flow.points, dim, place * chunk)?;
        ends.extend(flow.points);
    }
    Ok(sums.finish(rows, ends))
}

fn square(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// Each state of a trajectory `[steps + 1, d]` with the next one.
fn pairs(states: &[f64], dim: usize) -> impl Iterator<Item = (&[f64], &[f64])> {
    states.windows(2 * dim).step_by(dim).map(move |pair| pair.split_at(dim))
}

/// How much a trajectory `[steps + 1, d]` bends: its length over the distance of its ends, 1 if it is straight or never
/// moves. `None` if it comes back to where it began, or has no state.
#[must_use]
pub fn curvature(states: &[f64], dim: usize) -> Option<f64> {
    if dim == 0 || states.len() < dim {
        return None;
    }
    let length: f64 = pairs(states, dim).map(|(from, to)| square(from, to).sqrt()).sum();
    let displacement = square(&states[..dim], &states[states.len() - dim..]);
    if displacement > 0.0 { Some(length / displacement.sqrt()) } else { (length == 0.0).then_some(1.0) }
}

/// Sums over trajectories.
#[derive(Debug, Default)]
struct Sums {
    energy: f64,
    displacement: f64,
    curvature: f64,
    moved: usize,
}

impl Sums {
    /// The states of one particle at the times.
    fn add(&mut self, states: &[f64], dim: usize, times: &[f64]) {
        let energy = pairs(states, dim).zip(times.windows(2));
        self.energy +=
            energy.map(|((from, to), step)| square(from, to) / (step[1] - step[0]).abs()).sum::<f64>();
        self.displacement += square(&states[..dim], &states[states.len() - dim..]);
        if let Some(curvature) = curvature(states, dim) {
            self.curvature += curvature;
            self.moved += 1;
        }
    }

    fn finish(&self, rows: usize, ends: Vec<f32>) -> Kinetics {
        let n = rows as f64;
        Kinetics {
            path_energy: self.energy / n,
            // Not below 0 but by rounding.
            straightness: ((self.energy - self.displacement) / n).max(0.0),
            displacement: self.displacement / n,
            curvature: self.curvature / self.moved as f64,
            ends,
        }
    }
}

/// An error if a point is not finite.
pub(super) fn finite(points: &[f32], dim: usize, first: usize) -> Result<()> {
    match points.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(place) => Err(Error::config(
            format!(
                "sample {} of the model is {} in coordinate {}",
                first + place / dim,
                points[place],
                place % dim
            ),
            "its flow diverges: take more --steps, or train the model for longer",
        )),
    }
}

/// The exact marginal flow of data from given points `[n, d]` in the network's coordinates, by `steps` steps of the
/// midpoint method up to `end`.
#[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
pub(super) fn exact_kinetics(
    marginal: &Marginal,
    points: &[f32],
    steps: u32,
    end: f64,
    mut go_on: impl FnMut() -> Result<()>,
) -> Result<Kinetics> {
    let dim = marginal.dim();
    let rows = points.len() / dim;
    let h = end / f64::from(steps);
    let times: Vec<f64> = (0..=steps).map(|k| f64::from(k) * h).collect();
    let mut trajectories: Vec<Vec<f64>> =
        points.chunks_exact(dim).map(|x| x.iter().map(|&x| x.into()).collect()).collect();
    let mut state: Vec<f64> = points.iter().map(|&x| x.into()).collect();
    let narrow = |state: &[f64]| state.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    for step in 0..steps {
        go_on()?;
        let t = f64::from(step) * h;
        let slope = marginal.field(&narrow(&state), t)?.velocities;
        let middle: Vec<f64> = state.iter().zip(&slope).map(|(x, v)| x + 0.5 * h * f64::from(*v)).collect();
        let slope = marginal.field(&narrow(&middle), t + 0.5 * h)?.velocities;
        for (x, v) in state.iter_mut().zip(&slope) {
            *x += h * f64::from(*v);
        }
        for (trajectory, state) in trajectories.iter_mut().zip(state.chunks_exact(dim)) {
            trajectory.extend_from_slice(state);
        }
    }
    let mut sums = Sums::default();
    for trajectory in &trajectories {
        sums.add(trajectory, dim, &times);
    }
    Ok(sums.finish(rows, narrow(&state)))
}

/// Means over pairs (x0, x1) at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Slice {
    /// E ‖u_t(x | x1)‖².
    pub transport: f64,
    /// E ‖v(x_t, t) − u_t(x | x1)‖² of the model.
    pub cfm: f64,
    /// E ‖u_t(x | x1) − u_t(x)‖², where the exact field is known.
    pub crossing: Option<f64>,
    /// E ‖v(x_t, t) − u_t(x)‖², likewise.
    pub fm: Option<f64>,
}

/// Pairs on their conditional paths (eq. 11, 12), as many at each of the times: `x0` and `x1` are `[times, m, d]`, in the
/// network's coordinates.
#[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
pub(super) fn slices(
    path: &Path,
    pairs: (&[f32], &[f32]),
    times: &[f64],
    dim: usize,
    sampler: &mut Sampler,
    marginal: Option<&Marginal>,
) -> Result<Vec<Slice>> {
    let (x0, x1) = pairs;
    let each = x0.len() / times.len();
    // Around the path, where there is any.
    let (noise, mut stream) = (f64::from(path.noise()), Stream::new("path noise", 0));
    let (mut points, mut conditional) = (Vec::with_capacity(x0.len()), Vec::with_capacity(x0.len()));
    for ((x0, x1), &t) in x0.chunks_exact(each).zip(x1.chunks_exact(each)).zip(times) {
        let [a, b, da, db] = path.pair_schedule(t);
        for (x0, x1) in x0.iter().zip(x1) {
            let (x0, x1) = (f64::from(*x0), f64::from(*x1));
            let around = if noise > 0.0 { noise * stream.normal() } else { 0.0 };
            points.push((b * x0 + a * x1 + around) as f32);
            conditional.push(db * x0 + da * x1);
        }
    }
    let exact = match marginal {
        Some(marginal) => {
            let rows = each / dim;
            let of_points: Vec<f64> = times.iter().flat_map(|&t| std::iter::repeat_n(t, rows)).collect();
            Some(marginal.field_at(&points, &of_points)?.velocities)
        }
        None => None,
    };
    let rows = (each / dim) as f64;
    let mut slices = vec![];
    for (place, &t) in times.iter().enumerate() {
        let part = place * each..(place + 1) * each;
        let model = sampler.velocity(&points[part.clone()], t as f32)?;
        let u = &conditional[part.clone()];
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>() / rows;
        let exact = exact.as_ref().map(|exact| &exact[part]);
        slices.push(Slice {
            transport: square(&mut u.iter().copied()),
            cfm: square(&mut u.iter().zip(&model).map(|(u, v)| u - f64::from(*v))),
            crossing: exact.map(|exact| square(&mut u.iter().zip(exact).map(|(u, v)| u - f64::from(*v)))),
            fm: exact.map(|exact| {
                square(&mut model.iter().zip(exact).map(|(u, v)| f64::from(*u) - f64::from(*v)))
            }),
        });
    }
    Ok(slices)
}

/// Normalised path energy |PE − W₂²|/W₂² (Tong et al. 2023), with W₂² between where a flow begins and the data: 0 is
/// optimal transport.
#[must_use]
pub fn normalized_path_energy(path_energy: f64, wasserstein2: f64) -> f64 {
    let square = wasserstein2 * wasserstein2;
    (path_energy - square).abs() / square
}
