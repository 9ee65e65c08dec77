//! Conditional paths and their velocities (eq. 10–13).

use super::statistics::{largest, norm};
use super::{Outcome, Verifier};
use crate::Result;
use crate::data::Dataset;
use crate::flow::{Coupling, Expression, Marginal, Path};
use crate::train::{Batch, BatchOptions};

/// Rows of a batch: times over all of [0, 1).
const ROWS: usize = 4096;
/// float32 leaves 1e-6 with sines and exponentials to 2⁻²¹, as GPUs have them.
pub(super) const ROUNDING: f64 = 1e-5;

/// Theorem 3 on every path.
pub(super) fn velocities(verifier: &Verifier) -> Result<Vec<Outcome>> {
    let mut outcomes = vec![];
    for path in Path::examples() {
        verifier.go_on()?;
        let formulas = path.formulas()?;
        let name = match path.family().name {
            "custom" => format!("a = {}", formulas[0]),
            _ => format!("`{}`", path.name()),
        };
        let error = theorem_3(verifier, &path, &formulas)?;
        outcomes.push(Outcome::within(
            format!("u_t of {name} against dx_t/dt by dual numbers"),
            error,
            0.0,
            ROUNDING,
        ));
    }
    let error = equation_13(verifier, Path::SIGMA_MIN.into())?;
    outcomes.push(Outcome::within("u_t of `ot` against eq. 13", error, 0.0, ROUNDING));
    Ok(outcomes)
}

/// The moons' pairs of a path: another one for every row, each at its own time.
fn drawn(verifier: &Verifier, path: &Path) -> Result<(Dataset, Batch)> {
    let data = Dataset::open_seeded("moons:64", verifier.seed)?;
    let options = BatchOptions {
        path: path.clone(),
        coupling: Coupling::Independent,
        batch: ROWS,
        seed: verifier.seed,
        standardize: false,
        step: 0,
    };
    let batch = Batch::draw(&verifier.device, &data, None, &options)?;
    Ok((data, batch))
}

/// Rows of d numbers, in double precision.
fn row(values: &[f32], dim: usize, index: usize) -> Vec<f64> {
    values[index * dim..][..dim].iter().map(|&x| f64::from(x)).collect()
}

/// p·x + q·y.
fn combine(p: f64, x: &[f64], q: f64, y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| p * x + q * y).collect()
}

fn distance(got: &[f32], want: &[f64]) -> f64 {
    norm(got.iter().zip(want).map(|(got, want)| f64::from(*got) - want))
}

/// The largest error of what the device computes for a path: of x_t and of both forms of u_t, the Lagrangian one of
/// a training batch and the Eulerian one at given points, against x_t = b·x0 + a·x1 and its derivative, in which a
/// and b are the formulas and the derivative is that of dual numbers. Each relative to the terms of its sum.
pub(super) fn theorem_3(verifier: &Verifier, path: &Path, [a, b]: &[Expression; 2]) -> Result<f64> {
    let (data, batch) = drawn(verifier, path)?;
    let dim = data.dim();
    let lagrangian = batch.t.iter().enumerate().map(|(index, &t)| {
        let ((a, da), (b, db)) = (a.evaluate_dual(t.into()), b.evaluate_dual(t.into()));
        let (x0, x1) = (row(&batch.x0, dim, index), row(&batch.x1, dim, index));
        let error = |got: &[f32], p: f64, q: f64| {
            let scale = (p * norm(x0.iter().copied())).abs() + (q * norm(x1.iter().copied())).abs();
            distance(&got[index * dim..][..dim], &combine(p, &x0, q, &x1)) / scale
        };
        error(&batch.xt, b, a).max(error(&batch.ut, db, da))
    });
    let lagrangian = largest(lagrangian);
    let Towards { x1, points, times, velocities } = Towards::new(verifier, path, &data, &batch)?;
    let eulerian = times.iter().enumerate().map(|(index, &t)| {
        let ((a, da), (b, db)) = (a.evaluate_dual(t), b.evaluate_dual(t));
        // The particle that is at this very point, which float32 has rounded.
        let x0 = combine(1.0 / b, &row(&points, dim, index), -a / b, &x1);
        let scale = (db * norm(x0.iter().copied())).abs() + (da * norm(x1.iter().copied())).abs();
        distance(&velocities[index * dim..][..dim], &combine(db, &x0, da, &x1)) / scale
    });
    Ok(largest([lagrangian, largest(eulerian)]))
}

/// The largest error of the field towards one point of the path `ot` against eq. 13, relative to its terms.
pub(super) fn equation_13(verifier: &Verifier, sigma_min: f64) -> Result<f64> {
    let path = Path::default();
    let (data, batch) = drawn(verifier, &path)?;
    let dim = data.dim();
    let Towards { x1, points, times, velocities } = Towards::new(verifier, &path, &data, &batch)?;
    let keep = 1.0 - sigma_min;
    Ok(largest(times.iter().enumerate().map(|(index, &t)| {
        let x = row(&points, dim, index);
        let b = 1.0 - keep * t;
        let wanted = combine(1.0 / b, &x1, -keep / b, &x);
        let scale = keep / b * norm(combine(1.0, &x, -t, &x1)) + norm(x1.iter().copied());
        distance(&velocities[index * dim..][..dim], &wanted) / scale
    })))
}

/// u_t(x | x1) on the device (eq. 12): the marginal field of a data set of one point, x1, at the points where noise
/// has come to on its way there.
struct Towards {
    x1: Vec<f64>,
    /// x [n, d], as float32 has rounded it.
    points: Vec<f32>,
    times: Vec<f64>,
    /// u_t(x | x1) [n, d].
    velocities: Vec<f32>,
}

impl Towards {
    /// From the noise of a batch, at its times.
    #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
    fn new(verifier: &Verifier, path: &Path, data: &Dataset, batch: &Batch) -> Result<Self> {
        let dim = data.dim();
        let x1 = row(data.values(), dim, 0);
        let times: Vec<f64> = batch.t.iter().map(|&t| t.into()).collect();
        let points: Vec<f32> = times
            .iter()
            .enumerate()
            .flat_map(|(index, &t)| {
                let [a, b, ..] = path.schedule(t);
                combine(b, &row(&batch.x0, dim, index), a, &x1)
            })
            .map(|x| x as f32)
            .collect();
        let alone = Dataset::from_rows("one point", data.row(0).to_vec(), dim)?;
        let marginal = Marginal::new(&verifier.device, &alone, None, path)?;
        let velocities = marginal.field_at(&points, &times)?.velocities;
        Ok(Self { x1, points, times, velocities })
    }
}

/// How far the paths of a batch are from straight lines at constant speed, each row at its own time. Lengths are in
/// units of ‖x0‖ + ‖x1‖.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    /// | ‖u_t‖ − ‖chord‖ |.
    pub speed: Vec<f64>,
    /// Of u_t, across the chord.
    pub direction: Vec<f64>,
    /// From x_t to the chord.
    pub deviation: Vec<f64>,
}

/// Measured on the batches that training draws. The chord goes from a path's begin to its end.
pub(super) fn geometry(verifier: &Verifier, path: &Path) -> Result<Geometry> {
    let (data, batch) = drawn(verifier, path)?;
    let dim = data.dim();
    let mut geometry = Geometry { speed: vec![], direction: vec![], deviation: vec![] };
    for index in 0..batch.t.len() {
        let (x0, x1) = (row(&batch.x0, dim, index), row(&batch.x1, dim, index));
        let at = |t: f64| {
            let [a, b, ..] = path.schedule(t);
            combine(b, &x0, a, &x1)
        };
        let begin = at(0.0);
        let chord = combine(1.0 / path.t_max(), &at(path.t_max()), -1.0 / path.t_max(), &begin);
        let length = norm(chord.iter().copied());
        let scale = norm(x0.iter().copied()) + norm(x1.iter().copied());
        let across = |vector: &[f64]| {
            let along: f64 = vector.iter().zip(&chord).map(|(x, y)| x * y / length).sum();
            norm(combine(1.0, vector, -along / length, &chord)) / scale
        };
        let u = row(&batch.ut, dim, index);
        geometry.speed.push((norm(u.iter().copied()) - length).abs() / scale);
        geometry.direction.push(across(&u));
        geometry.deviation.push(across(&combine(1.0, &row(&batch.xt, dim, index), -1.0, &begin)));
    }
    Ok(geometry)
}

/// The first path is straight and of constant speed, the second one is neither.
pub(super) fn straightness(verifier: &Verifier) -> Result<Vec<Outcome>> {
    let mut outcomes = straight(&geometry(verifier, &Path::default())?, "ot");
    outcomes.extend(curved(&geometry(verifier, &Path::named("vp")?)?, "vp"));
    Ok(outcomes)
}

pub(super) fn straight(geometry: &Geometry, name: &str) -> Vec<Outcome> {
    let most = |what: &str, values: &[f64]| {
        Outcome::within(format!("`{name}`: {what}, largest"), largest(values.iter().copied()), 0.0, ROUNDING)
    };
    vec![
        most("change of speed", &geometry.speed),
        most("velocity across the chord", &geometry.direction),
        most("distance from the chord", &geometry.deviation),
    ]
}

/// The bounds are about a third of what the path `vp` has.
pub(super) fn curved(geometry: &Geometry, name: &str) -> Vec<Outcome> {
    let usual = |what: &str, values: &[f64], least: f64| {
        let mean = norm(values.iter().copied()) / (values.len() as f64).sqrt();
        Outcome::at_least(format!("`{name}`: {what}, root mean square"), mean, least)
    };
    vec![
        usual("change of speed", &geometry.speed, 0.2),
        usual("velocity across the chord", &geometry.direction, 0.1),
        usual("distance from the chord", &geometry.deviation, 0.02),
    ]
}
