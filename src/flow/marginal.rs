//! The exact marginal density and velocity field of a data set (eq. 5, 6): what a network is trained to find.
//!
//! With q the empirical distribution of rows x1_1 … x1_N, a path `p_t(x | x1) = N(a·x1, b²·I)` and independent
//! coupling,
//!
//! ```text
//! p_t(x) = 1/N Σ_i N(x | a·x1_i, b²·I)        w_i = softmax_i(−‖x − a·x1_i‖²/(2b²))
//! u_t(x) = Σ_i w_i·u_t(x | x1_i) = b'/b·Σ_i w_i·(x − a·x1_i) + a'·Σ_i w_i·x1_i
//! ```
//!
//! The data stream through the device in slices of [`SLICE_ROWS`] rows, as keys and values do in flash attention (Dao
//! et al. 2022): no matrix of queries by rows is ever made, and one dispatch is bounded in time whatever N is. Slices
//! are added in the order of the data, in runs of runs, so that neither the number of rows nor where dispatches are cut
//! shows in the sums.

use std::ops::Range;
use std::time::Duration;

use bytemuck::{Pod, Zeroable};

use super::evaluation::Quantity;
use super::path::Path;
use crate::data::{Dataset, Standardization};
use crate::gpu::{Binding, Buffer, Device, Dispatch, Habits, Purpose, Variant, widened};
use crate::{Error, Result};

/// Rows of a slice, as in shaders/shared/slices.wgsl.
pub const SLICE_ROWS: usize = 256;
/// The largest dimension for which one invocation keeps everything in registers.
const SMALL_DIM: usize = 16;
/// Queries are padded to a multiple of this: of every kernel's tile.
const TILE_QUERIES: usize = 8;
/// Rows of a tile of `marginal_logits`.
const TILE_ROWS: u32 = 8;
/// Rows between two rescalings in `marginal`.
const ROWS_AT_ONCE: u32 = 4;
const LANES: u32 = 64;
/// Bytes of what passes between the kernels of one dispatch, at most.
const SCRATCH: u64 = 64 << 20;
/// Slices of one dispatch, at most: `marginal_merge` has a loop over them.
const MOST_SLICES: usize = 4096;
/// Numbers of the data that are brought to the device at once.
const PIECE: usize = 1 << 22;
/// Sums that `marginal_merge` keeps.
const LEVELS: usize = 3;
/// Where b(t) is below this, the density is that of points.
const SMALLEST_B: f64 = 1e-12;
/// A top that no weight was above.
const NO_WEIGHT: f32 = -1e38;

/// `Slices` of shaders/shared/slices.wgsl: the part of the data that one dispatch goes over.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Slices {
    /// The first row in the buffer.
    pub first_row: u32,
    /// Rows.
    pub rows: u32,
    /// Slices.
    pub count: u32,
    /// Padded to a multiple of the kernels' tiles.
    pub queries: u32,
    /// 0: nothing came before.
    pub begun: u32,
    /// The number of the first slice among those of all data.
    pub first_slice: u32,
    /// Zero.
    pub padding: [u32; 2],
}

/// The exact marginals of a data set on a device.
///
/// The path is laid from N(0, I) to the data, or to the standardised data where a standardisation is given. Points,
/// velocities and densities are in the units of the data, or, after [`in_network_units`](Self::in_network_units), in
/// the coordinates in which the path is laid, which are those of a network.
///
/// # Accuracy
/// Where the path arrives at the data, x − a·x1 is a small difference of large numbers, and its error has to be small
/// next to b. The kernels compute it as `a·(c − x1)/std + g` from data in their own units, times a power of 2 (std is 1
/// without a standardisation): c is what x1 would be on average, given x, if the data were normal, rounded to float32,
/// and g makes up for the rest, and for every rounding of c, a, the points and the standardisation, in float64. For the
/// rows that count c − x1 is then exact, or off by a rounding of what is itself of the order of b; g is no larger; and
/// `E[x1 | x] = c − E[c − x1 | x]` is as accurate. So no path and no time loses anything; the weights carry a relative
/// error of some `(4 + d/8)·2⁻²⁴·‖x − a·x1‖²/b²`. Held against float64 at 200 points drawn from the path `ot`
/// (σ_min = 1e-5), on Mesa's software rasterizer, the largest errors were
///
/// | t | 0 | 0.5 | 0.9 | 0.99 | 0.999 | 1 − 1e-4 | 1 |
/// | --- | --- | --- | --- | --- | --- | --- | --- |
/// | log p, 3000 rows of `moons`, d = 2 | 3e-7 | 4e-7 | 4e-7 | 6e-7 | 5e-7 | 4e-7 | 3e-7 |
/// | the same, standardised | 4e-7 | 4e-7 | 3e-7 | 3e-7 | 7e-7 | 5e-7 | 6e-7 |
/// | velocity, next to the largest one | 5e-8 | 1e-7 | 1e-7 | 1e-7 | 4e-8 | 4e-8 | 4e-8 |
/// | the same, standardised | 5e-8 | 1e-7 | 9e-8 | 2e-7 | 2e-7 | 4e-8 | 3e-8 |
/// | log p, 300 rows of `digits`, d = 64 | 7e-6 | 6e-6 | 1e-5 | 9e-6 | 8e-6 | 7e-6 | 8e-6 |
/// | the same, standardised | 7e-6 | 1e-5 | 7e-6 | 8e-6 | 8e-6 | 7e-6 | 9e-6 |
/// | velocity, next to the largest one | 2e-7 | 5e-8 | 5e-8 | 5e-8 | 5e-8 | 5e-8 | 5e-8 |
/// | the same, standardised | 1e-7 | 3e-7 | 2e-8 | 3e-8 | 2e-8 | 2e-8 | 1e-8 |
///
/// for the float32 data and points as they are. A point itself is a rounding: half a last bit of a coordinate just
/// below 1 is 3e-8, which is 1/3700 of b at t = 1 − 1e-4 and 1/340 of it at t = 1. A network is trained on standardised
/// data that float32 has rounded; whoever wants the field of those gives them, and no standardisation.
///
/// # Examples
/// ```
/// use windfield::data::Dataset;
/// use windfield::flow::{Marginal, Path};
/// use windfield::gpu::{Device, DeviceOptions};
///
/// let device = Device::open(&DeviceOptions::default())?;
/// // One point alone: the flow goes straight there.
/// let data = Dataset::from_rows("a point", vec![2.0, 1.0], 2)?;
/// let marginal = Marginal::new(&device, &data, None, &Path::default())?;
/// let field = marginal.field(&[0.0, 0.0, 1.0, 1.0], 0.0)?;
/// for (velocity, wanted) in field.velocities.iter().zip([2.0, 1.0, 1.0, 0.0]) {
///     assert!((velocity - wanted).abs() < 1e-4);
/// }
/// // At t = 0 it is the standard normal.
/// assert!((field.log_densities[0] + (2.0 * std::f64::consts::PI).ln()).abs() < 1e-6);
/// # Ok::<(), windfield::Error>(())
/// ```
#[derive(Debug)]
pub struct Marginal {
    device: Device,
    path: Path,
    dim: usize,
    rows: usize,
    kernels: Kernels,
    columns: Vec<Column>,
    /// Points and answers are in the path's coordinates, not in data units.
    network_units: bool,
    /// 1/std of the columns, as the kernels expect them.
    scales: Buffer,
    /// The data on the device, in order.
    blocks: Vec<Block>,
    /// The rest of the data, where the device has no room for all of them: rows as the kernels expect them, and the
    /// buffer through which they pass.
    streamed: Option<(Vec<f32>, Buffer)>,
    /// Rows of a block.
    block_rows: usize,
    stop: fn() -> bool,
}

/// A column of the data.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// The path is laid in the coordinate (x1 − mean)/std.
    mean: f64,
    /// See there.
    std: f64,
    /// The mean of the data in that coordinate.
    centre: f64,
    /// Their variance.
    variance: f64,
    /// What data are multiplied by on the device: a power of 2, which rounds nothing, next to 1/std, so that float32
    /// holds whatever is made of them.
    unit: f64,
}

/// What the kernels know of a coordinate x of a point: that (x − a·x1) = a·(c − x1) + g, in the path's coordinate.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// c as it is on the device.
    centre: f32,
    /// The same number in the path's coordinate.
    exact: f64,
    /// g.
    offset: f64,
}

impl Column {
    /// The coordinate of a number in data units.
    fn coordinate(&self, x: f32) -> f64 {
        (f64::from(x) - self.mean) / self.std
    }

    /// `x` is in the path's coordinate.
    ///
    /// c is what x1 would be on average, given x, if the data were normal. Wherever the path is narrow next to the
    /// data that is x/a nearly, and c − x1 the residual itself; wherever it is wide, that is their mean nearly. So
    /// neither a·(c − x1) nor g nor c − E[x1 | x] is much larger than b or than what x1 is uncertain by.
    #[allow(clippy::cast_possible_truncation, reason = "g makes up for the rounding")]
    fn frame(&self, x: f64, a: f64, b: f64) -> Frame {
        let gain = a * self.variance / (a * a * self.variance + b * b);
        let guess = self.centre + gain * (x - a * self.centre);
        let centre = ((self.mean + self.std * guess) * self.unit) as f32;
        let exact = (f64::from(centre) / self.unit - self.mean) / self.std;
        Frame { centre, exact, offset: x - a * exact }
    }
}

/// Whole rows of the data.
#[derive(Debug)]
struct Block {
    buffer: Buffer,
    rows: usize,
}

/// Velocities and densities at given points.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// u_t(x), `[n, d]`.
    pub velocities: Vec<f32>,
    /// log p_t(x) in nats, `[n]`.
    pub log_densities: Vec<f64>,
}

/// How uncertain the velocity is at given points, and how likely they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// V(x, t), `[n]`.
    pub variances: Vec<f64>,
    /// log p_t(x) in nats, `[n]`.
    pub log_densities: Vec<f64>,
}

/// The kernels for a dimension.
#[derive(Clone, Debug, PartialEq)]
enum Kernels {
    /// All in registers: `marginal`, then `marginal_merge`.
    Small { queries: u32 },
    /// `marginal_logits`, `marginal_weights`, `marginal_moments`, then `marginal_merge`.
    General,
}

impl Kernels {
    fn of(habits: &Habits, dim: usize) -> Self {
        if dim > SMALL_DIM {
            return Self::General;
        }
        // 1, 2, 4 or 8: divisors of TILE_QUERIES
        let queries = (habits.marginal_coordinates / word(dim)).clamp(1, word(TILE_QUERIES));
        Self::Small { queries: 1 << queries.ilog2() }
    }

    /// Numbers of a row as the kernels expect it.
    fn width(&self, dim: usize) -> usize {
        match self {
            Self::Small { .. } => dim,
            Self::General => dim.next_multiple_of(4),
        }
    }

    /// Floating-point operations for a query and a row, roughly; an exponential is twenty.
    fn flops(&self, dim: usize) -> u64 {
        match self {
            Self::Small { .. } => 8 * dim as u64 + 30,
            Self::General => 8 * dim.next_multiple_of(4) as u64 + 40,
        }
    }

    /// The kernels of a slice, in order. With `squares`, moments are of second order.
    fn variants(&self, dim: usize, squares: bool) -> Vec<Variant> {
        let quads = word(dim.div_ceil(4));
        let lanes = |kernel| Variant::new(kernel).with("LANES", LANES);
        match self {
            Self::Small { queries } => vec![
                lanes("marginal")
                    .with("DIM", word(dim))
                    .with("QUADS", quads)
                    .with("QUERIES", *queries)
                    .with("ROWS", ROWS_AT_ONCE)
                    .flag("SQUARES", squares),
            ],
            Self::General => vec![
                lanes("marginal_logits")
                    .with("QUADS", quads)
                    .with("QUERIES", word(TILE_QUERIES))
                    .with("ROWS", TILE_ROWS),
                lanes("marginal_weights"),
                lanes("marginal_moments")
                    .with("QUADS", quads)
                    .with("QUERIES", word(TILE_QUERIES))
                    .flag("SQUARES", squares),
            ],
        }
    }
}

fn with<'a>(bindings: &[Binding<'a>], more: &[Binding<'a>]) -> Vec<Binding<'a>> {
    [bindings, more].concat()
}

/// The kernels for a dimension, `marginal_merge` among them.
pub(crate) fn marginal_variants(habits: &Habits, dim: usize) -> Vec<Variant> {
    let kernels = Kernels::of(habits, dim);
    let mut variants = kernels.variants(dim, false);
    variants.extend(kernels.variants(dim, true));
    variants.push(merge_variant(dim));
    variants
}

fn merge_variant(dim: usize) -> Variant {
    Variant::new("marginal_merge").with("QUADS", word(dim.div_ceil(4))).with("LANES", LANES)
}

/// Sizes on the device are `u32`. Whatever does not fit was refused by a limit before it comes here.
fn word(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Marginal {
    /// Puts a data set on a device. Where it has no room for all of it, the rest passes through in blocks each time.
    ///
    /// # Errors
    /// [`Error::Limit`] if a row is too wide for the device, [`Error::OutOfMemory`] if it has no room for anything.
    pub fn new(
        device: &Device,
        data: &Dataset,
        standardization: Option<&Standardization>,
        path: &Path,
    ) -> Result<Self> {
        let kernels = Kernels::of(device.habits(), data.dim());
        let slice = 4 * (SLICE_ROWS * kernels.width(data.dim())) as u64;
        let purpose = Purpose { what: "a slice of the data set", flag: "the number of the data's columns" };
        device.fits(slice, purpose)?;
        let loops = device.habits().loop_iterations;
        if word(data.dim().div_ceil(4)) > loops {
            return Err(Error::Limit {
                what: "the marginal of a data set".to_owned(),
                asked: data.dim() as u64,
                unit: "columns",
                limit_name: "the width that a kernel can go over",
                limit: 4 * u64::from(loops),
                device: device.info().name.clone(),
                flag: "the number of the data's columns".to_owned(),
            });
        }
        let slices = usize::try_from(device.largest_binding() / slice).unwrap_or(usize::MAX);
        Self::in_blocks(device, data, standardization, path, slices.min(1 << 20) * SLICE_ROWS, usize::MAX)
    }

    /// The same in blocks of so many rows, a multiple of [`SLICE_ROWS`], no more than so many of which stay on the
    /// device.
    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    fn in_blocks(
        device: &Device,
        data: &Dataset,
        standardization: Option<&Standardization>,
        path: &Path,
        block_rows: usize,
        most: usize,
    ) -> Result<Self> {
        let dim = data.dim();
        let kernels = Kernels::of(device.habits(), dim);
        let purpose = Purpose { what: "the data set", flag: "the rows of --data" };
        let columns = columns(data, standardization);
        let scales: Vec<f32> =
            columns.iter().map(|column| (1.0 / (column.std * column.unit)) as f32).collect();
        let scales = device.upload(&kernels.padded(&scales, dim), purpose)?;
        let mut marginal = Self {
            device: device.clone(),
            path: path.clone(),
            dim,
            rows: data.rows(),
            kernels,
            columns,
            network_units: false,
            scales,
            blocks: vec![],
            streamed: None,
            block_rows,
            stop: || false,
        };
        let parts: Vec<&[f32]> = data.values().chunks(block_rows * dim).collect();
        let place = |part: &[f32]| {
            if standardization.is_none() {
                return marginal.kernels.padded(part, dim);
            }
            let units = marginal.columns.iter().map(|column| column.unit).cycle();
            let values: Vec<f32> =
                part.iter().zip(units).map(|(&x, unit)| (f64::from(x) * unit) as f32).collect();
            marginal.kernels.padded(&values, dim)
        };
        // In pieces, so that no second copy of the data is made on the way.
        let piece = (PIECE / dim).max(1) * dim;
        let upload = |part: &[f32]| -> Result<Buffer> {
            let width = marginal.kernels.width(dim);
            let buffer = device.buffer(4 * (part.len() / dim * width) as u64, purpose)?;
            for (index, values) in part.chunks(piece).enumerate() {
                device.write_at(&buffer, 4 * (index * piece / dim * width) as u64, &place(values))?;
            }
            Ok(buffer)
        };
        let mut blocks: Vec<Block> = vec![];
        for (index, part) in parts.iter().enumerate() {
            let uploaded = if index < most {
                upload(part)
            } else {
                Err(Error::OutOfMemory { what: String::new(), bytes: 0, flag: String::new() })
            };
            match uploaded {
                Ok(buffer) => blocks.push(Block { buffer, rows: part.len() / dim }),
                Err(error @ Error::OutOfMemory { .. }) => {
                    // The last block that found room is where the rest passes through.
                    let Some(last) = blocks.pop() else { return Err(error) };
                    let rest = parts[blocks.len()..].iter().flat_map(|part| place(part)).collect();
                    marginal.streamed = Some((rest, last.buffer));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        marginal.blocks = blocks;
        Ok(marginal)
    }

    /// Asks `stop` between dispatches, some ten times a second, whether to break off with [`Error::Interrupted`].
    pub fn stop_when(&mut self, stop: fn() -> bool) {
        self.stop = stop;
    }

    /// Takes points in the standardised coordinates in which a network is trained, and answers in them.
    #[must_use]
    pub fn in_network_units(mut self) -> Self {
        self.network_units = true;
        self
    }

    /// d.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// N.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The field and the density at points `[n, d]`, all at time `t`.
    ///
    /// # Errors
    /// [`Error::Config`] for a time outside [0, 1] or one at which the path has no density (b(t) = 0, or b'(t)/b(t)
    /// infinite), for points that are not whole rows or not finite, and for a point so far from all data that
    /// float32 does not hold its distance; [`Error::Limit`], [`Error::OutOfMemory`], [`Error::Device`] or
    /// [`Error::DeviceLost`].
    pub fn field(&self, points: &[f32], t: f64) -> Result<Field> {
        self.quantity(points, t, Quantity::Velocity)
    }

    /// Another quantity than the velocity: the exact score ∇ log p_t, the mean of the data E[x1 | x] or of the noise
    /// E[x0 | x], in the place of the velocities.
    ///
    /// # Errors
    /// As of [`field`](Self::field).
    pub fn quantity(&self, points: &[f32], t: f64, quantity: Quantity) -> Result<Field> {
        let schedule = self.schedule(t)?;
        self.evaluate(points, quantity, |_| schedule)
    }

    /// As [`field`](Self::field) with a time for each point, `[n]`.
    ///
    /// # Errors
    /// As of [`field`](Self::field), and [`Error::Config`] if there are not as many times as points.
    pub fn field_at(&self, points: &[f32], times: &[f64]) -> Result<Field> {
        if points.len() != times.len() * self.dim {
            return Err(Error::config(
                format!(
                    "{} times for {} numbers of points of dimension {}",
                    times.len(),
                    points.len(),
                    self.dim
                ),
                "give one time for each point",
            ));
        }
        let schedules = times.iter().map(|&t| self.schedule(t)).collect::<Result<Vec<_>>>()?;
        self.evaluate(points, Quantity::Velocity, |row| schedules[row])
    }

    /// The conditional variance of the velocity, at points `[n, d]`, all at time `t`: how much the conditional paths that
    /// meet there disagree,
    ///
    /// ```text
    /// V(x, t) = E[‖u_t(x | x1) − u_t(x)‖² | x_t = x] = (a' − a·b'/b)²·Σ_k Var(x1_k | x)
    /// ```
    ///
    /// Its mean over x and t is the crossing energy C, below which no conditional loss falls; it is in the same units after
    /// [`in_network_units`](Self::in_network_units), and in squared data units a squared unit of time otherwise. A
    /// variance is the mean of (c − x1)² less the square of that of c − x1: it is off by some 1e-6 of the former.
    ///
    /// # Errors
    /// As of [`field`](Self::field).
    ///
    /// # Examples
    /// ```
    /// use windfield::data::Dataset;
    /// use windfield::flow::{Marginal, Path};
    /// use windfield::gpu::{Device, DeviceOptions};
    ///
    /// let device = Device::open(&DeviceOptions::default())?;
    /// let data = Dataset::from_rows("two points", vec![2.0, -2.0], 1)?;
    /// let marginal = Marginal::new(&device, &data, None, &Path::default())?;
    /// // At t = 0 nothing is known of x1: u = x1 − x0 varies as x1 does.
    /// let spread = marginal.variance(&[0.5], 0.0)?;
    /// assert!((spread.variances[0] - 4.0).abs() < 1e-4);
    /// # Ok::<(), windfield::Error>(())
    /// ```
    pub fn variance(&self, points: &[f32], t: f64) -> Result<Spread> {
        let schedule = self.schedule(t)?;
        let [a, b, da, db] = schedule;
        let rows = self.whole(points)?;
        let mut work = Work::new(self, rows)?;
        let mut spread =
            Spread { variances: Vec::with_capacity(rows), log_densities: Vec::with_capacity(rows) };
        for chunk in points.chunks(work.queries * self.dim) {
            let schedules = vec![schedule; chunk.len() / self.dim];
            work.load(self, chunk, &schedules)?;
            let [means, squares] = [false, true].map(|squares| {
                work.squares = squares;
                self.stream(&mut work)?;
                self.totals(&work, schedules.len())
            });
            let (means, squares) = (means?, squares?);
            for (row, point) in chunk.chunks_exact(self.dim).enumerate() {
                let of_x1: f64 = (self.columns.iter().enumerate())
                    .map(|(index, column)| {
                        let at = row * self.dim + index;
                        let variance = (squares.means[at] - means.means[at].powi(2)).max(0.0);
                        variance
                            / if self.network_units { column.unit * column.std } else { column.unit }.powi(2)
                    })
                    .sum();
                let variance = (da - a * db / b).powi(2) * of_x1;
                if !(means.told(row) && variance.is_finite()) {
                    return Err(far(point));
                }
                spread.variances.push(variance);
                spread.log_densities.push(self.log_density(&means, row, schedule));
            }
        }
        Ok(spread)
    }

    /// (a, b, a', b') where the path has a density.
    fn schedule(&self, t: f64) -> Result<[f64; 4]> {
        if !(0.0..=1.0).contains(&t) {
            return Err(Error::config(format!("the time {t} is not in [0, 1]"), "0 is noise, 1 is data"));
        }
        let name = self.path.family().name;
        let schedule = self.path.schedule(t);
        let [a, b, da, db] = schedule;
        if b > SMALLEST_B && [a, b, da, db, db / b].into_iter().all(f64::is_finite) {
            return Ok(schedule);
        }
        let elsewhere = if t > 0.5 { self.path.t_max().min(t - 1e-4) } else { t + 1e-4 };
        let why = if b > SMALLEST_B { "its velocity is infinite" } else { "b(t) is 0" };
        Err(Error::config(
            format!("the path `{name}` has no marginal field at t = {t}, where {why}"),
            format!("ask for another time, such as {elsewhere}"),
        ))
    }

    /// How many points there are, if they are whole and finite.
    fn whole(&self, points: &[f32]) -> Result<usize> {
        let dim = self.dim;
        if points.is_empty() || !points.len().is_multiple_of(dim) {
            return Err(Error::config(
                format!("{} numbers are no whole points of dimension {dim}", points.len()),
                "give [n, d] with n at least 1",
            ));
        }
        if let Some(place) = points.iter().position(|x| !x.is_finite()) {
            return Err(Error::config(
                format!("coordinate {} of point {} is {}", place % dim, place / dim, points[place]),
                "give finite points",
            ));
        }
        Ok(points.len() / dim)
    }

    fn evaluate(
        &self,
        points: &[f32],
        quantity: Quantity,
        schedule: impl Fn(usize) -> [f64; 4],
    ) -> Result<Field> {
        let dim = self.dim;
        let rows = self.whole(points)?;
        let mut work = Work::new(self, rows)?;
        let mut field =
            Field { velocities: Vec::with_capacity(points.len()), log_densities: Vec::with_capacity(rows) };
        let mut first = 0;
        for chunk in points.chunks(work.queries * dim) {
            let schedules: Vec<[f64; 4]> = (first..first + chunk.len() / dim).map(&schedule).collect();
            work.load(self, chunk, &schedules)?;
            self.stream(&mut work)?;
            self.finish(&work, chunk, &schedules, quantity, &mut field)?;
            first += schedules.len();
        }
        Ok(field)
    }

    /// What the kernels know of a point.
    fn frames<'a>(&'a self, point: &'a [f32], [a, b, ..]: [f64; 4]) -> impl Iterator<Item = Frame> + 'a {
        self.columns.iter().zip(point).map(move |(column, &x)| {
            let x = if self.network_units { f64::from(x) } else { column.coordinate(x) };
            column.frame(x, a, b)
        })
    }

    /// All slices of the data for the queries that are loaded.
    fn stream(&self, work: &mut Work) -> Result<()> {
        let mut before = 0;
        for block in &self.blocks {
            self.pass(work, &block.buffer, block.rows, &mut before)?;
        }
        if let Some((rest, buffer)) = &self.streamed {
            let width = self.kernels.width(self.dim);
            for part in rest.chunks(self.block_rows * width) {
                self.device.write(buffer, part)?;
                self.pass(work, buffer, part.len() / width, &mut before)?;
            }
        }
        Ok(())
    }

    /// The rows of one buffer, as many slices at a time as the submission's time allows. `before` counts the slices
    /// that came before them.
    fn pass(&self, work: &mut Work, data: &Buffer, rows: usize, before: &mut usize) -> Result<()> {
        let target = Duration::from_millis(self.device.habits().submission_ms);
        let mut first = 0;
        while first < rows {
            if (self.stop)() {
                return Err(Error::Interrupted);
            }
            let now = (work.slices * SLICE_ROWS).min(rows - first);
            let dispatches = work.dispatches(self, data, first..first + now, *before)?;
            let submission = self.device.submit(&dispatches, &[])?;
            self.device.wait(Some(&submission))?;
            let taken = submission.elapsed();
            if taken > target * 3 / 2 {
                work.slices = (work.slices / 2).max(1);
            } else if taken < target / 2 {
                work.slices = (work.slices * 2).min(work.most_slices);
            }
            *before += now.div_ceil(SLICE_ROWS);
            first += now;
        }
        Ok(())
    }

    /// Weighted sums to velocities and densities. The few operations that are left are made in float64.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "float32 is what is given back"
    )]
    fn finish(
        &self,
        work: &Work,
        points: &[f32],
        schedules: &[[f64; 4]],
        quantity: Quantity,
        field: &mut Field,
    ) -> Result<()> {
        let dim = self.dim;
        let totals = self.totals(work, schedules.len())?;
        for (row, (&schedule, point)) in schedules.iter().zip(points.chunks_exact(dim)).enumerate() {
            let [a, ..] = schedule;
            let (of_r, of_m) = quantity.of_moments(schedule);
            let before = field.velocities.len();
            for (index, (frame, column)) in self.frames(point, schedule).zip(&self.columns).enumerate() {
                // E[c − x1 | x] in the path's coordinate
                let away = totals.means[row * dim + index] / (column.unit * column.std);
                let (r, m) = (a * away + frame.offset, frame.exact - away);
                let value = of_r * r + of_m * m;
                let value = if self.network_units {
                    value
                } else {
                    quantity.in_data_units(value, column.mean, column.std)
                };
                field.velocities.push(value as f32);
            }
            let told = totals.told(row) && field.velocities[before..].iter().all(|v| v.is_finite());
            if !told {
                return Err(far(point));
            }
            field.log_densities.push(self.log_density(&totals, row, schedule));
        }
        Ok(())
    }

    /// log p_t at a point, in nats.
    fn log_density(&self, totals: &Totals, row: usize, [_, b, ..]: [f64; 4]) -> f64 {
        let log_volume: f64 =
            if self.network_units { 0.0 } else { self.columns.iter().map(|column| column.std.ln()).sum() };
        let log_kernel = self.dim as f64 * (b.ln() + 0.5 * (2.0 * std::f64::consts::PI).ln());
        let log_sum = totals.tops[row] * std::f64::consts::LN_2 + totals.sums[row].ln();
        log_sum - (self.rows as f64).ln() - log_kernel - log_volume
    }

    /// The three levels of sums together, in float64.
    fn totals(&self, work: &Work, rows: usize) -> Result<Totals> {
        let (dim, quads) = (self.dim, self.dim.div_ceil(4));
        let stride = work.padded * quads;
        let sums: Vec<[f32; 2]> = self.device.read(&work.total_sums, 0..8 * (LEVELS * stride) as u64)?;
        let moments: Vec<[f32; 4]> =
            self.device.read(&work.total_moments, 0..16 * (LEVELS * stride) as u64)?;
        let mut totals = Totals { tops: vec![], sums: vec![], means: Vec::with_capacity(rows * dim) };
        for row in 0..rows {
            let tops: [f32; LEVELS] = std::array::from_fn(|level| sums[level * stride + row * quads][0]);
            let top = tops.into_iter().fold(f32::MIN, f32::max);
            let factors = tops.map(|level| f64::from(level - top).exp2());
            let total = |value: &dyn Fn(usize) -> f32| -> f64 {
                (0..LEVELS).map(|level| factors[level] * f64::from(value(level))).sum()
            };
            let sum = total(&|level| sums[level * stride + row * quads][1]);
            totals.tops.push(top.into());
            totals.sums.push(sum);
            totals.means.extend((0..dim).map(|index| {
                let at = row * quads + index / 4;
                total(&|level| moments[level * stride + at][index % 4]) / sum
            }));
        }
        Ok(totals)
    }
}

/// The sums over all data, query by query.
#[derive(Debug)]
struct Totals {
    /// The largest logarithm of a weight, to the base 2.
    tops: Vec<f64>,
    /// Of the weights next to it.
    sums: Vec<f64>,
    /// The weighted means of what the kernels add, `[queries, d]`.
    means: Vec<f64>,
}

impl Totals {
    /// Whether float32 held the weights of a query.
    fn told(&self, row: usize) -> bool {
        self.tops[row] > f64::from(NO_WEIGHT) && self.sums[row].is_finite()
    }
}

/// The coordinates in which the path is laid, and what is known of the data in them.
fn columns(data: &Dataset, standardization: Option<&Standardization>) -> Vec<Column> {
    if let Some(standardization) = standardization {
        let pairs = standardization.mean.iter().zip(&standardization.std);
        return pairs
            .map(|(&mean, &std)| {
                #[allow(clippy::cast_possible_truncation, reason = "exponents of float64 are below 1100")]
                let unit = 2f64.powi(-(std.log2().floor() as i32));
                Column { mean, std, centre: 0.0, variance: 1.0, unit }
            })
            .collect();
    }
    let known = data.standardization();
    let pairs = known.mean.iter().zip(&known.std);
    let plain = Column { mean: 0.0, std: 1.0, centre: 0.0, variance: 1.0, unit: 1.0 };
    pairs.map(|(&centre, &std)| Column { centre, variance: std * std, ..plain }).collect()
}

/// A point with which float32 has come to its end.
fn far(point: &[f32]) -> Error {
    let first: Vec<String> = point.iter().take(3).map(ToString::to_string).collect();
    let more = if point.len() > 3 { ", …" } else { "" };
    Error::config(
        format!(
            "the point ({}{more}) is so far from all data that float32 does not hold its density",
            first.join(", ")
        ),
        "give points nearer to the data",
    )
}

impl Kernels {
    /// Rows as the kernels expect them.
    fn padded(&self, values: &[f32], dim: usize) -> Vec<f32> {
        let width = self.width(dim);
        if width == dim { values.to_vec() } else { widened(values, dim, width) }
    }
}

/// The buffers of one call.
#[derive(Debug)]
struct Work {
    /// Queries of a chunk.
    queries: usize,
    /// Those that are loaded, padded.
    padded: usize,
    /// Of a dispatch.
    slices: usize,
    /// For which there is room.
    most_slices: usize,
    centres: Buffer,
    offsets: Buffer,
    schedule: Buffer,
    sums: Buffer,
    moments: Buffer,
    /// The moments are of second order.
    squares: bool,
    /// What the general kernels pass on: logits, then weights.
    weights: Option<Buffer>,
    total_sums: Buffer,
    total_moments: Buffer,
}

impl Work {
    fn new(marginal: &Marginal, rows: usize) -> Result<Self> {
        let device = &marginal.device;
        let habits = device.habits();
        let (dim, kernels) = (marginal.dim, &marginal.kernels);
        let quads = dim.div_ceil(4);
        let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let room = SCRATCH.min(device.largest_binding());
        // Of a query, for one slice.
        let moments = 16 * quads as u64;
        let weights = if *kernels == Kernels::General { 4 * SLICE_ROWS as u64 } else { 0 };
        let largest = moments.max(weights);
        let pairs = habits.dispatch_flops / kernels.flops(dim);
        let queries = habits
            .particles
            .min(count(room / largest.max(LEVELS as u64 * moments)))
            .min(count(pairs / SLICE_ROWS as u64))
            .min(rows.next_multiple_of(TILE_QUERIES));
        let queries = (queries / TILE_QUERIES).max(1) * TILE_QUERIES;
        let most_slices = count(room / (largest * queries as u64))
            .min(MOST_SLICES)
            .min(marginal.block_rows / SLICE_ROWS)
            .min(marginal.rows.div_ceil(SLICE_ROWS))
            .max(1);
        let slices = count(pairs / (SLICE_ROWS * queries) as u64).clamp(1, most_slices);
        let purpose = Purpose { what: "the weighted sums over the data", flag: "the number of points" };
        let buffer = |bytes: u64| device.buffer(bytes, purpose);
        let (n, s) = (queries as u64, most_slices as u64);
        Ok(Self {
            queries,
            padded: queries,
            slices,
            most_slices,
            squares: false,
            centres: buffer(4 * n * kernels.width(dim) as u64)?,
            offsets: buffer(4 * n * kernels.width(dim) as u64)?,
            schedule: buffer(8 * n)?,
            sums: buffer(8 * n * s)?,
            moments: buffer(moments * n * s)?,
            weights: if weights > 0 { Some(buffer(weights * n * s)?) } else { None },
            total_sums: buffer(8 * n * (LEVELS * quads) as u64)?,
            total_moments: buffer(moments * n * LEVELS as u64)?,
        })
    }

    /// Points and their schedules; padded queries have weights of 1, which nobody looks at.
    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    fn load(&mut self, marginal: &Marginal, points: &[f32], schedules: &[[f64; 4]]) -> Result<()> {
        self.padded = schedules.len().next_multiple_of(TILE_QUERIES);
        let (mut centres, mut offsets) = (vec![], vec![]);
        let mut entries: Vec<[f32; 2]> = vec![];
        for (point, &schedule) in points.chunks_exact(marginal.dim).zip(schedules) {
            let [a, b, ..] = schedule;
            // What rounding takes from a, it takes from every residual of the point: the two others give it back.
            let rounded = a as f32;
            let rest = if rounded == 0.0 { 1.0 } else { a / f64::from(rounded) };
            for frame in marginal.frames(point, schedule) {
                centres.push(frame.centre);
                offsets.push((frame.offset / rest) as f32);
            }
            let begun = centres.len() - marginal.dim;
            if !centres[begun..].iter().chain(&offsets[begun..]).all(|value| value.is_finite()) {
                return Err(far(point));
            }
            entries.push([rounded, (rest * rest * std::f64::consts::LOG2_E / (2.0 * b * b)) as f32]);
        }
        entries.resize(self.padded, [0.0; 2]);
        marginal.device.write(&self.schedule, &entries)?;
        for (buffer, values) in [(&self.centres, centres), (&self.offsets, offsets)] {
            let mut values = marginal.kernels.padded(&values, marginal.dim);
            values.resize(self.padded * marginal.kernels.width(marginal.dim), 0.0);
            marginal.device.write(buffer, &values)?;
        }
        Ok(())
    }

    /// The kernels over some rows of the data.
    fn dispatches(
        &self,
        marginal: &Marginal,
        data: &Buffer,
        rows: Range<usize>,
        before: usize,
    ) -> Result<Vec<Dispatch>> {
        let device = &marginal.device;
        let quads = marginal.dim.div_ceil(4);
        let slices = rows.len().div_ceil(SLICE_ROWS);
        let uniform = device.uniform(&Slices {
            first_row: word(rows.start),
            rows: word(rows.len()),
            count: word(slices),
            queries: word(self.padded),
            begun: u32::from(before > 0),
            first_slice: word(before),
            padding: [0; 2],
        })?;
        let groups = |items: usize| device.groups(items as u64, LANES);
        let variants = marginal.kernels.variants(marginal.dim, self.squares);
        let inputs = [
            Binding::whole(0, &uniform),
            Binding::whole(1, data),
            Binding::whole(2, &self.centres),
            Binding::whole(3, &self.offsets),
            Binding::whole(4, &self.schedule),
            Binding::whole(5, &marginal.scales),
        ];
        let mut dispatches = match (&marginal.kernels, &self.weights) {
            (Kernels::Small { queries }, _) => {
                let bindings =
                    with(&inputs, &[Binding::whole(6, &self.sums), Binding::whole(7, &self.moments)]);
                let items = slices * self.padded / *queries as usize;
                vec![device.dispatch(&variants[0], &bindings, groups(items))?]
            }
            (Kernels::General, Some(weights)) => {
                let tiles = self.padded / TILE_QUERIES;
                let between =
                    [Binding::whole(0, &uniform), Binding::whole(1, weights), Binding::whole(2, &self.sums)];
                let moments = [Binding::whole(3, weights), Binding::whole(4, &self.moments)];
                let moments = with(&inputs[..3], &moments);
                let logits = with(&inputs, &[Binding::whole(6, weights)]);
                vec![
                    device.dispatch(
                        &variants[0],
                        &logits,
                        groups(slices * tiles * SLICE_ROWS / TILE_ROWS as usize),
                    )?,
                    device.dispatch(&variants[1], &between, groups(slices * self.padded / 4))?,
                    device.dispatch(&variants[2], &moments, groups(slices * tiles * quads))?,
                ]
            }
            (Kernels::General, None) => vec![],
        };
        let merge = [
            Binding::whole(0, &uniform),
            Binding::whole(1, &self.sums),
            Binding::whole(2, &self.moments),
            Binding::whole(3, &self.total_sums),
            Binding::whole(4, &self.total_moments),
        ];
        dispatches.push(device.dispatch(
            &merge_variant(marginal.dim),
            &merge,
            groups(self.padded * quads),
        )?);
        Ok(dispatches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::DeviceOptions;

    /// Data that pass through the device in blocks give the bits of data that stay there.
    #[test]
    fn blocks_do_not_matter() {
        let device = Device::open(&DeviceOptions::default()).unwrap();
        for dim in [2, 20] {
            let values: Vec<f32> = (0..2000 * dim).map(|i| (i as f32 * 0.7).sin()).collect();
            let data = Dataset::from_rows("waves", values, dim).unwrap();
            let scale = data.standardization();
            let points: Vec<f32> = (0..30 * dim).map(|i| (i as f32).cos()).collect();
            let path = Path::default();
            let whole = Marginal::new(&device, &data, Some(&scale), &path).unwrap();
            assert!(whole.streamed.is_none() && whole.blocks.len() == 1);
            let whole = whole.field(&points, 0.8).unwrap();
            for (block_rows, most) in [(256, usize::MAX), (768, 1), (512, 3), (1 << 20, usize::MAX)] {
                let parts =
                    Marginal::in_blocks(&device, &data, Some(&scale), &path, block_rows, most).unwrap();
                assert_eq!(parts.streamed.is_some(), most < 2000_usize.div_ceil(block_rows));
                assert_eq!(parts.field(&points, 0.8).unwrap(), whole, "blocks of {block_rows}, {most} stay");
            }
            assert!(Marginal::in_blocks(&device, &data, None, &path, 256, 0).is_err());
        }
    }
}
