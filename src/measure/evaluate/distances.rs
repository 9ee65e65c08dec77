//! Distances between two samples of points, each with its definition and source in [`MEASURES`](super::MEASURES).

use bytemuck::{Pod, Zeroable};

use crate::data::Stream;
use crate::flow::Assignment;
use crate::gpu::{Binding, Device, Habits, Purpose, Variant, Work, widened};
use crate::{Error, Result};

/// Directions of [`sliced_wasserstein2`].
pub const PROJECTIONS: usize = 128;
/// The points whose distances give the bandwidth of [`mmd`], at most: as many of each sample.
const BANDWIDTH_POINTS: usize = 512;
const LANES: u32 = 64;
/// Terms that are added one by one, as in shaders/pairs.wgsl.
const BLOCK: u32 = 16;
/// The rows of b that an invocation goes over, at most.
const SLICE: u32 = 256;
/// The most slices of a dispatch.
const SLICES: usize = 64;
/// Workgroups of rows of a dispatch, at most.
const GROUPS: u64 = 16_384;

/// `Part` of shaders/pairs.wgsl: what one dispatch goes over.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Part {
    /// The first row of a.
    pub first_row: u32,
    /// One beyond the last.
    pub last_row: u32,
    /// The first row of b.
    pub first_column: u32,
    /// One beyond the last.
    pub last_column: u32,
    /// 1/(2σ²).
    pub scale: f32,
    /// Zero.
    pub padding: [u32; 3],
}

/// The exact 2-Wasserstein distance of two samples of equally many points, `[n, dim]`: the root of the mean squared
/// distance of the best pairs, which an [`Assignment`] finds.
///
/// # Errors
/// [`Error::Config`] where the samples are not as large, not finite, or too far apart for float32; [`Error::Limit`] for
/// more than [`MOST_POINTS`](crate::flow::MOST_POINTS) points.
///
/// # Examples
/// ```
/// use windfield::gpu::{Device, DeviceOptions};
/// use windfield::measure::evaluate::wasserstein2;
///
/// let device = Device::open(&DeviceOptions::default())?;
/// let (a, b) = ([0.0, 1.0, 2.0], [5.0, 3.0, 4.0]);
/// assert!((wasserstein2(&device, &a, &b, 1)? - 3.0).abs() < 1e-6);
/// # Ok::<(), windfield::Error>(())
/// ```
pub fn wasserstein2(device: &Device, a: &[f32], b: &[f32], dim: usize) -> Result<f64> {
    let solved = Assignment::solve(device, a, b, dim)?;
    Ok((solved.cost / (a.len() / dim.max(1)) as f64).sqrt())
}

/// [`wasserstein2`] of many pairs of samples of `n` points side by side: a and b are `[pairs, n, dim]`.
pub(super) fn wasserstein2_many(
    device: &Device,
    a: &[f32],
    b: &[f32],
    n: usize,
    dim: usize,
) -> Result<Vec<f64>> {
    let solved = Assignment::solve_many(device, a, b, n, dim)?;
    Ok(solved.iter().map(|solved| (solved.cost / n as f64).sqrt()).collect())
}

/// The sliced 2-Wasserstein distance of two samples of equally many points, `[n, dim]`: the root of the mean over
/// `projections` random directions θ of W₂²(θ·a, θ·b), which sorting gives (Rabin et al. 2011; Bonneel et al. 2015).
/// On the host, in float64. In one dimension it is W₂ itself.
///
/// # Errors
/// [`Error::Config`] where the samples are not as large or not finite, or there are no projections.
pub fn sliced_wasserstein2(a: &[f32], b: &[f32], dim: usize, projections: usize, seed: u64) -> Result<f64> {
    let n = whole(a, dim, "a")?;
    if n != whole(b, dim, "b")? {
        return Err(Error::config(
            format!("W₂ of {n} points and {}", b.len() / dim),
            "give samples of the same size",
        ));
    }
    if projections == 0 {
        return Err(Error::config("no projections", "give at least one"));
    }
    let mut stream = Stream::new("projections", seed);
    let project = |points: &[f32], direction: &[f64]| {
        let mut line: Vec<f64> = points
            .chunks_exact(dim)
            .map(|x| x.iter().zip(direction).map(|(&x, d)| f64::from(x) * d).sum())
            .collect();
        line.sort_by(f64::total_cmp);
        line
    };
    let mut sum = 0.0;
    for _ in 0..projections {
        let mut direction: Vec<f64> = (0..dim).map(|_| stream.normal()).collect();
        let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
        // Of length 0 with a chance of none.
        for d in &mut direction {
            *d /= length.max(f64::MIN_POSITIVE);
        }
        let (a, b) = (project(a, &direction), project(b, &direction));
        sum += a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / n as f64;
    }
    Ok((sum / projections as f64).sqrt())
}

/// The energy distance of two samples, `[n, dim]` and `[m, dim]`: 2·E‖X − Y‖ − E‖X − X'‖ − E‖Y − Y'‖ over all pairs, a
/// point with itself among them (Székely and Rizzo 2013). Not negative, and 0 for equal samples alone. On the device.
///
/// # Errors
/// [`Error::Config`] for points that are not whole rows, not finite, or too far apart for float32; [`Error::Limit`],
/// [`Error::OutOfMemory`] or [`Error::Device`].
pub fn energy_distance(device: &Device, a: &[f32], b: &[f32], dim: usize) -> Result<f64> {
    let (a, b) = (Cloud::new(device, a, dim, 1.0)?, Cloud::new(device, b, dim, 1.0)?);
    Ok(a.discrepancies(device, &b)?.energy)
}

/// The maximum mean discrepancy of two samples, `[n, dim]` and `[m, dim]`: the root of E k(X, X') + E k(Y, Y') −
/// 2·E k(X, Y) over all pairs (Gretton et al. 2012), with the mean of five Gaussian kernels of deviations ¼, ½, 1, 2
/// and 4 times `bandwidth`; without one, [`median_distance`] of both samples. On the device.
///
/// # Errors
/// As of [`energy_distance`], and [`Error::Config`] for a bandwidth that is no positive number.
pub fn mmd(device: &Device, a: &[f32], b: &[f32], dim: usize, bandwidth: Option<f64>) -> Result<f64> {
    let bandwidth = match bandwidth {
        Some(bandwidth) => bandwidth,
        None => median_distance(a, b, dim)?,
    };
    let (a, b) = (Cloud::new(device, a, dim, bandwidth)?, Cloud::new(device, b, dim, bandwidth)?);
    Ok(a.discrepancies(device, &b)?.mmd)
}

/// The median distance between two of the points, at most 512 of each sample at even distances (Gretton et al. 2012, section
/// 8); 1 where that is 0.
///
/// # Errors
/// [`Error::Config`] for points that are not whole rows or not finite.
pub fn median_distance(a: &[f32], b: &[f32], dim: usize) -> Result<f64> {
    whole(a, dim, "a")?;
    whole(b, dim, "b")?;
    let some = |points: &[f32]| -> Vec<f64> {
        let every = (points.len() / dim).div_ceil(BANDWIDTH_POINTS);
        points.chunks_exact(dim).step_by(every).flatten().map(|&x| f64::from(x)).collect()
    };
    let points = [some(a), some(b)].concat();
    let mut squares = vec![];
    for (i, x) in points.chunks_exact(dim).enumerate() {
        for y in points.chunks_exact(dim).take(i) {
            squares.push(x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>());
        }
    }
    let middle = squares.len() / 2;
    let median = squares.select_nth_unstable_by(middle, f64::total_cmp).1.sqrt();
    Ok(if median > 0.0 { median } else { 1.0 })
}

/// Means over all pairs of two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Means {
    /// Of the distance.
    distance: f64,
    /// Of the kernel.
    kernel: f64,
}

/// How far two samples are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Discrepancies {
    pub energy: f64,
    pub mmd: f64,
}

/// A sample on the device with the means over its own pairs.
#[derive(Debug)]
pub(super) struct Cloud {
    points: crate::gpu::Buffer,
    rows: usize,
    dim: usize,
    bandwidth: f64,
    within: Means,
}

impl Cloud {
    pub fn new(device: &Device, points: &[f32], dim: usize, bandwidth: f64) -> Result<Self> {
        let rows = whole(points, dim, "a sample")?;
        if !(bandwidth.is_finite() && bandwidth > 0.0) {
            return Err(Error::config(
                format!("the bandwidth {bandwidth} is out of range"),
                "give a positive number, in the units of the points",
            ));
        }
        let purpose = Purpose { what: "the points of a sample", flag: "-n" };
        let padded = widened(points, dim, dim.next_multiple_of(4));
        let points = device.upload(&padded, purpose)?;
        let nothing = Means { distance: 0.0, kernel: 0.0 };
        let mut cloud = Self { points, rows, dim, bandwidth, within: nothing };
        cloud.within = cloud.means(device, &cloud)?;
        Ok(cloud)
    }

    /// Both distances to another sample. Roundings can take what is 0 below it.
    pub fn discrepancies(&self, device: &Device, other: &Self) -> Result<Discrepancies> {
        let across = self.means(device, other)?;
        let energy = 2.0 * across.distance - self.within.distance - other.within.distance;
        let square = self.within.kernel + other.within.kernel - 2.0 * across.kernel;
        Ok(Discrepancies { energy: energy.max(0.0), mmd: square.max(0.0).sqrt() })
    }

    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    fn means(&self, device: &Device, other: &Self) -> Result<Means> {
        if self.dim != other.dim {
            return Err(Error::config(
                format!("the distance of points of dimension {} and {}", self.dim, other.dim),
                "give samples of one dimension",
            ));
        }
        let (variant, slice) = pairs_variant(device, self.dim)?;
        let flops = 3 * self.dim.next_multiple_of(4) as u64 + 150;
        let most = (device.habits().dispatch_flops / flops).max(1);
        let slices = usize::try_from(most / u64::from(LANES) / slice as u64).unwrap_or(SLICES);
        let columns = slice * slices.clamp(1, SLICES).min(other.rows.div_ceil(slice));
        let groups = (most / columns as u64 / u64::from(LANES)).clamp(1, GROUPS);
        let rows = LANES as usize * usize::try_from(groups).unwrap_or(1).min(self.rows.div_ceil(64));
        let purpose = Purpose { what: "sums over pairs of points", flag: "-n" };
        let partials = device.buffer((8 * (rows / LANES as usize) * (columns / slice)) as u64, purpose)?;
        let mut sums = [0.0f64; 2];
        for first_row in (0..self.rows).step_by(rows) {
            for first_column in (0..other.rows).step_by(columns) {
                let last_row = (first_row + rows).min(self.rows);
                let last_column = (first_column + columns).min(other.rows);
                let part = device.uniform(&Part {
                    first_row: word(first_row),
                    last_row: word(last_row),
                    first_column: word(first_column),
                    last_column: word(last_column),
                    scale: (0.5 / (self.bandwidth * self.bandwidth)) as f32,
                    padding: [0; 3],
                })?;
                let bindings = [
                    Binding::whole(0, &part),
                    Binding::whole(1, &self.points),
                    Binding::whole(2, &other.points),
                    Binding::whole(3, &partials),
                ];
                let across = (last_row - first_row).div_ceil(LANES as usize);
                let down = (last_column - first_column).div_ceil(slice);
                let pairs = (last_row - first_row) * (last_column - first_column);
                let numbers = (last_row - first_row + last_column - first_column) * self.dim;
                let work = Work::new(pairs * (3 * self.dim + 12), numbers);
                let dispatch =
                    device.dispatch(&variant, &bindings, [word(across), word(down), 1])?.with_work(work);
                device.submit([&dispatch], &[])?;
                let found: Vec<[f32; 2]> = device.read(&partials, 0..8 * (across * down) as u64)?;
                for [distance, kernel] in found {
                    sums[0] += f64::from(distance);
                    sums[1] += f64::from(kernel);
                }
            }
        }
        if !sums.iter().all(|sum| sum.is_finite()) {
            return Err(Error::config(
                "the distances between the points of two samples are beyond float32",
                "bring the points to moderate values",
            ));
        }
        let pairs = self.rows as f64 * other.rows as f64;
        Ok(Means { distance: sums[0] / pairs, kernel: sums[1] / pairs })
    }
}

/// The kernel for a dimension, and the rows of b that an invocation goes over.
fn pairs_variant(device: &Device, dim: usize) -> Result<(Variant, usize)> {
    variant_for(device.habits(), dim).ok_or_else(|| Error::Limit {
        what: "distances of points".to_owned(),
        asked: dim as u64,
        unit: "columns",
        limit_name: "the width that a kernel can go over",
        limit: u64::from(device.habits().loop_iterations / BLOCK) * 2,
        device: device.info().name.clone(),
        flag: "the number of the data's columns".to_owned(),
    })
}

fn variant_for(habits: &Habits, dim: usize) -> Option<(Variant, usize)> {
    let quads = word(dim.div_ceil(4));
    // A block has a loop, and so has each of its terms.
    let blocks = (habits.loop_iterations / (BLOCK * (quads.checked_add(1)?) + 1)).min(SLICE / BLOCK);
    let slice = BLOCK * blocks;
    let variant = Variant::new("pairs").with("QUADS", quads).with("SLICE", slice).with("LANES", LANES);
    (slice > 0).then_some((variant, slice as usize))
}

/// The kernel for a dimension, as the catalogue has it.
pub(crate) fn pairs_variants(habits: &Habits, dim: usize) -> Vec<Variant> {
    variant_for(habits, dim).map(|(variant, _)| variant).into_iter().collect()
}

/// How many points there are.
fn whole(points: &[f32], dim: usize, name: &str) -> Result<usize> {
    if dim == 0 || points.is_empty() || !points.len().is_multiple_of(dim) {
        return Err(Error::config(
            format!("{} numbers of {name} are no whole points of dimension {dim}", points.len()),
            "give [n, d] with n at least 1",
        ));
    }
    if let Some(place) = points.iter().position(|x| !x.is_finite()) {
        return Err(Error::config(
            format!("coordinate {} of point {} of {name} is {}", place % dim, place / dim, points[place]),
            "give finite points",
        ));
    }
    Ok(points.len() / dim)
}

fn word(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
