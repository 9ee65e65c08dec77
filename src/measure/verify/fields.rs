//! Marginal densities and fields of data sets (eq. 5, 6).

use super::statistics::{largest, slope};
use super::{Outcome, Verifier};
use crate::Result;
use crate::data::Dataset;
use crate::flow::{Coupling, Field, Marginal, Path};
use crate::train::{Batch, BatchOptions};

/// Corners of a square, far apart for every σ_min below.
const CORNERS: [f32; 8] = [1.0, 1.0, -1.0, 1.0, 1.0, -1.0, -1.0, -1.0];

/// Over four deviations of r, a relative error of 1e-6 in log p moves the width by less than 1e-5.
pub(super) const WIDTH: f64 = 2e-5;

/// The widths of the densities at t = 1.
pub(super) fn widths(verifier: &Verifier) -> Result<Vec<Outcome>> {
    let mut outcomes = vec![];
    let mut worst: f64 = 0.0;
    for sigma_min in [0.1, 0.01, 1e-3, Path::SIGMA_MIN] {
        let (width, error) = width(verifier, sigma_min, sigma_min)?;
        outcomes.push(Outcome::within(
            format!("width around a data point over σ_min = {sigma_min:e}, less 1"),
            width - 1.0,
            0.0,
            WIDTH,
        ));
        worst = largest([worst, error]);
    }
    outcomes.push(Outcome::within("log p_1 against log N(x1, σ_min²·I)/N, largest error", worst, 0.0, WIDTH));
    Ok(outcomes)
}

/// The width of p_1 around a data point of a path with `sigma_min`, over the `claimed` one, and the largest error of
/// log p_1 against that of the claimed Gaussian.
///
/// log p_1 is a straight line over r², of slope −1/(2σ²).
#[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
pub(super) fn width(verifier: &Verifier, sigma_min: f32, claimed: f32) -> Result<(f64, f64)> {
    let data = Dataset::from_rows("corners", CORNERS.to_vec(), 2)?;
    let path = Path::default().with("sigma_min", sigma_min)?;
    let noise = noise(verifier, &data, 512)?.x0;
    let points: Vec<f32> = noise
        .iter()
        .zip(CORNERS[..2].iter().cycle())
        .map(|(&z, &x1)| (f64::from(x1) + f64::from(sigma_min) * f64::from(z)) as f32)
        .collect();
    let field = Marginal::new(&verifier.device, &data, None, &path)?.field(&points, 1.0)?;
    let claimed = f64::from(claimed);
    // The points are taken as float32 has rounded them.
    let line: Vec<(f64, f64)> = points
        .chunks_exact(2)
        .zip(&field.log_densities)
        .map(|(x, &log)| {
            let square: f64 =
                x.iter().zip(CORNERS).map(|(&x, x1)| (f64::from(x) - f64::from(x1)).powi(2)).sum();
            (square / (claimed * claimed), log)
        })
        .collect();
    let at_the_point = -4f64.ln() - (std::f64::consts::TAU * claimed * claimed).ln();
    let error = largest(line.iter().map(|(square, log)| (log - (at_the_point - square / 2.0)).abs()));
    Ok(((-0.5 / slope(&line).value).sqrt(), error))
}

/// Pairs (x0, x1) as training draws them.
fn noise(verifier: &Verifier, data: &Dataset, rows: usize) -> Result<Batch> {
    let options = BatchOptions {
        path: Path::default(),
        coupling: Coupling::Independent,
        batch: rows,
        seed: verifier.seed,
        standardize: false,
        step: 1,
    };
    Batch::draw(&verifier.device, data, None, &options)
}

/// The spacings at which the order of the residual is measured, in units of b(t): truncation is a hundred times as
/// large as rounding.
const SPACINGS: [f64; 4] = [0.25, 0.2, 0.16, 0.125];
/// Where the residual is smallest.
pub(super) const FINEST: f64 = 0.1;
/// The order of the differences.
const ORDER: f64 = 4.0;
/// Central differences of that order: offsets and weights.
const DIFFERENCES: [(f64, f64); 4] =
    [(-2.0, 1.0 / 12.0), (-1.0, -2.0 / 3.0), (1.0, 2.0 / 3.0), (2.0, -1.0 / 12.0)];

/// The most of it there; rounding leaves a tenth of that, and truncation the rest.
pub(super) const RESIDUAL: f64 = 1e-3;

/// The continuity equation at points of every path.
pub(super) fn continuity(verifier: &Verifier) -> Result<Vec<Outcome>> {
    let data = Dataset::open_seeded("moons:16", verifier.seed)?;
    let mut worst = (0.0, String::new());
    for path in Path::examples() {
        verifier.go_on()?;
        let marginal = Marginal::new(&verifier.device, &data, None, &path)?;
        let residual = residual(verifier, &data, &path, FINEST, |x, t| marginal.field_at(x, t))?;
        if residual > worst.0 || residual.is_nan() {
            worst = (residual, path.name());
        }
    }
    let path = Path::default();
    let marginal = Marginal::new(&verifier.device, &data, None, &path)?;
    let mut line = vec![];
    for spacing in SPACINGS {
        verifier.go_on()?;
        let residual = residual(verifier, &data, &path, spacing, |x, t| marginal.field_at(x, t))?;
        line.push((spacing.ln(), residual.ln()));
    }
    let what = format!("∂p/∂t + div(p·u) over ∂p/∂t, the largest of all paths (`{}`)", worst.1);
    Ok(vec![
        Outcome::within(what, worst.0, 0.0, RESIDUAL),
        Outcome::within(
            "the order with which it falls with the spacing, `ot`",
            slope(&line).value,
            ORDER,
            0.3,
        ),
    ])
}

/// The root mean square of ∂p/∂t + div(p·u) next to that of ∂p/∂t, both over p, by differences with a spacing in units
/// of b, at points that are drawn from p_t at t = 1/2.
#[allow(clippy::cast_possible_truncation, reason = "the points are exact in float32")]
pub(super) fn residual(
    verifier: &Verifier,
    data: &Dataset,
    path: &Path,
    spacing: f64,
    field: impl Fn(&[f32], &[f64]) -> Result<Field>,
) -> Result<f64> {
    const T: f64 = 0.5;
    // Points and spacings on a grid, so that float32 does not move them.
    let snap = |x: f64| (x * 4096.0).round() / 4096.0;
    let dim = data.dim();
    let [a, b, da, db] = path.schedule(T);
    let h = snap(spacing * b);
    // Densities change faster with the time where a and b are curved, as those of `vp` are.
    let tau = 0.5 * h / (da.abs() + db.abs());
    let pairs = noise(verifier, data, 256)?;
    let rows = pairs.t.len();
    let place = |x0: &f32, x1: &f32| snap(b * f64::from(*x0) + a * f64::from(*x1));
    let points: Vec<f64> = pairs.x0.iter().zip(&pairs.x1).map(|(x0, x1)| place(x0, x1)).collect();
    // The point itself, then its neighbours in time, then those along every axis.
    let (mut queries, mut times) = (vec![], vec![]);
    for point in points.chunks_exact(dim) {
        queries.extend_from_slice(point);
        times.push(T);
        for (offset, _) in DIFFERENCES {
            queries.extend_from_slice(point);
            times.push(T + offset * tau);
        }
        for axis in 0..dim {
            for (offset, _) in DIFFERENCES {
                queries.extend_from_slice(point);
                let last = queries.len() - dim + axis;
                queries[last] += offset * h;
                times.push(T);
            }
        }
    }
    let queries: Vec<f32> = queries.into_iter().map(|x| x as f32).collect();
    let Field { velocities, log_densities } = field(&queries, &times)?;
    let each = times.len() / rows;
    let (mut squares, mut scale) = (0.0, 0.0);
    for (log, u) in log_densities.chunks_exact(each).zip(velocities.chunks_exact(each * dim)) {
        let density = |place: usize| (log[place] - log[0]).exp();
        let flux = |place: usize, axis: usize| density(place) * f64::from(u[place * dim + axis]);
        let derivative = |first: usize, spacing: f64, of: &dyn Fn(usize) -> f64| {
            let terms = DIFFERENCES.iter().enumerate().map(|(i, (_, weight))| weight * of(first + i));
            terms.sum::<f64>() / spacing
        };
        let change = derivative(1, tau, &density);
        let divergence: f64 =
            (0..dim).map(|axis| derivative(5 + 4 * axis, h, &|place| flux(place, axis))).sum();
        squares += (change + divergence).powi(2);
        scale += change * change;
    }
    Ok((squares / scale).sqrt())
}
