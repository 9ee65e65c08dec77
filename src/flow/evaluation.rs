//! What one evaluation of the network becomes: the velocity of the model itself, of another schedule, the drift of a
//! stochastic flow, or one of the quantities that a velocity stands for. All of them are α·x + β·v(c·x, t).

use super::Path;
use crate::data::Standardization;
use crate::{Error, Result};

/// α·x + β·v(c·x, t), in double precision on the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// The model's time.
    pub t: f64,
    /// c: what x is multiplied by on its way into the network.
    pub scale: f64,
    /// α.
    pub alpha: f64,
    /// β.
    pub beta: f64,
}

/// a·x1 + b·x0 = x and a'·x1 + b'·x0 = v have the determinant D = a·b' − a'·b; it is zero nowhere on a path that moves.
fn determinant([a, b, da, db]: [f64; 4]) -> f64 {
    a * db - da * b
}

impl Evaluation {
    /// The velocity as it is.
    #[must_use]
    pub fn velocity(t: f64) -> Self {
        Self { t, scale: 1.0, alpha: 0.0, beta: 1.0 }
    }

    /// The velocity, at time `s` of the path `to`, of a model that was trained on the path `from`.
    ///
    /// Two Gaussian paths with the same ratio a/b differ by a scale alone: x̄ = c·x with c = |(ā, b̄)| / |(a, b)| at
    /// the time t of `from` where a(t)/b(t) = ā(s)/b̄(s). Hence ū(x̄, s) = (c'/c)·x̄ + c·t'(s)·v(x̄/c, t).
    /// (Karras et al. 2022, appendix B, for diffusion's schedules; Pokle et al. 2023 for flows.)
    #[must_use]
    pub fn through(from: &Path, to: &Path, s: f64) -> Self {
        let s = s.min(to.t_max());
        let target @ [ta, tb, tda, tdb] = to.schedule(s);
        let angle = ta.atan2(tb);
        let (mut low, mut high) = (0.0, from.t_max());
        // a/b rises from 0 on: atan2(a, b) does so without a pole. 60 halvings are beyond double precision.
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            let [a, b, ..] = from.schedule(middle);
            if a.atan2(b) < angle { low = middle } else { high = middle }
        }
        let t = f64::midpoint(low, high);
        let own @ [a, b, da, db] = from.schedule(t);
        let (norm, target_norm) = (a.hypot(b), ta.hypot(tb));
        let c = target_norm / norm;
        let dt = determinant(target) / (determinant(own) * c * c);
        let dc = (ta * tda + tb * tdb) / (target_norm * target_norm) - dt * (a * da + b * db) / (norm * norm);
        Self { t, scale: 1.0 / c, alpha: dc, beta: c * dt }
    }

    /// The same, followed by α·x + β·(…) of another quantity.
    fn then(self, alpha: f64, beta: f64) -> Self {
        Self { alpha: alpha + beta * self.alpha, beta: beta * self.beta, ..self }
    }

    /// The drift of the stochastic flow with diffusion `g` and the same marginals: v + g²/2·score.
    /// (Song et al. 2021, eq. 13; Albergo et al. 2023.) `schedule` is that of the path at this time.
    #[must_use]
    pub fn with_diffusion(self, schedule: [f64; 4], g: f64) -> Self {
        if g == 0.0 {
            return self;
        }
        let (alpha, beta) = Quantity::Score.factors(schedule);
        let half = g * g / 2.0;
        self.then(half * alpha, 1.0 + half * beta)
    }
}

/// What a velocity stands for at a point of a Gaussian path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quantity {
    /// v(x, t) = E[a'·x1 + b'·x0 | x].
    #[default]
    Velocity,
    /// ∇ log p_t(x) = −E[x0 | x] / b.
    Score,
    /// E[x1 | x]: the denoised point.
    Denoised,
    /// E[x0 | x]: the noise.
    Noise,
}

/// All quantities, with their names and formulas; D = a·b' − a'·b.
pub static QUANTITIES: &[(&str, Quantity, &str)] = &[
    ("velocity", Quantity::Velocity, "v(x, t)"),
    ("score", Quantity::Score, "∇ log p_t(x) = (a'·x − a·v)/(b·D)"),
    ("denoised", Quantity::Denoised, "E[x1 | x] = (b'·x − b·v)/D"),
    ("noise", Quantity::Noise, "E[x0 | x] = (a·v − a'·x)/D"),
];

impl std::str::FromStr for Quantity {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        QUANTITIES.iter().find(|entry| entry.0 == name).map(|entry| entry.1).ok_or_else(|| {
            let names: Vec<&str> = QUANTITIES.iter().map(|entry| entry.0).collect();
            Error::config(
                format!("no quantity is called `{name}`"),
                format!("there are {}", names.join(", ")),
            )
        })
    }
}

impl Quantity {
    /// (α, β) with which it is α·x + β·v, from the path's (a, b, a', b') at that time. D = a·b' − a'·b.
    #[must_use]
    pub fn factors(self, schedule @ [a, b, da, db]: [f64; 4]) -> (f64, f64) {
        let d = determinant(schedule);
        match self {
            Self::Velocity => (0.0, 1.0),
            Self::Score => (da / (b * d), -a / (b * d)),
            Self::Denoised => (db / d, -b / d),
            Self::Noise => (-da / d, a / d),
        }
    }

    /// From the network's coordinates to data units, in place: velocities are scaled, denoised points moved as well,
    /// scores scaled the other way, and noise is what it is.
    #[allow(clippy::cast_possible_truncation, reason = "float32 is what is given back")]
    pub fn to_data_units(self, values: &mut [f32], standardization: &Standardization) {
        for row in values.chunks_mut(standardization.dim().max(1)) {
            let columns = standardization.mean.iter().zip(&standardization.std);
            for (value, (&mean, &std)) in row.iter_mut().zip(columns) {
                *value = self.in_data_units(f64::from(*value), mean, std) as f32;
            }
        }
    }

    /// The same for one value, of a column with that mean and deviation.
    #[must_use]
    pub fn in_data_units(self, value: f64, mean: f64, std: f64) -> f64 {
        match self {
            Self::Velocity => value * std,
            Self::Score => value / std,
            Self::Denoised => value * std + mean,
            Self::Noise => value,
        }
    }

    /// What it is of the marginals of a data set, by factors of r = E[x − a·x1 | x] and of m = E[x1 | x] (eq. 6).
    #[must_use]
    pub fn of_moments(self, [_, b, da, db]: [f64; 4]) -> (f64, f64) {
        match self {
            Self::Velocity => (db / b, da),
            Self::Score => (-1.0 / (b * b), 0.0),
            Self::Denoised => (0.0, 1.0),
            Self::Noise => (1.0 / b, 0.0),
        }
    }

    /// The evaluation that gives it at time `t` of a model of that path.
    ///
    /// # Errors
    /// [`Error::Config`] where it is not finite, such as the score at t = 1.
    pub fn at(self, path: &Path, t: f64) -> Result<Evaluation> {
        let (alpha, beta) = self.factors(path.schedule(t));
        if alpha.is_finite() && beta.is_finite() {
            return Ok(Evaluation { alpha, beta, ..Evaluation::velocity(t) });
        }
        Err(Error::config(
            format!("the {self:?} is not finite at t = {t} of the path `{}`", path.family().name)
                .to_lowercase(),
            "ask for a time a little further from the end",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_through_itself_changes_nothing() {
        let path = Path::default();
        for i in 0..=10 {
            let s = f64::from(i) / 10.0;
            let same = Evaluation::through(&path, &path, s);
            for (got, want) in [(same.t, s), (same.scale, 1.0), (same.alpha, 0.0), (same.beta, 1.0)] {
                assert!((got - want).abs() < 1e-9, "at {s}: {same:?}");
            }
        }
    }

    #[test]
    fn quantities_undo_the_path() {
        let schedule @ [a, b, da, db] = Path::default().schedule(0.3);
        let (x0, x1) = (0.7, -1.9);
        let (x, v) = (b * x0 + a * x1, db * x0 + da * x1);
        for (quantity, want) in [
            (Quantity::Velocity, v),
            (Quantity::Score, -x0 / b),
            (Quantity::Denoised, x1),
            (Quantity::Noise, x0),
        ] {
            let (alpha, beta) = quantity.factors(schedule);
            assert!((alpha * x + beta * v - want).abs() < 1e-12, "{quantity:?}");
            let (of_r, of_m) = quantity.of_moments(schedule);
            assert!((of_r * (x - a * x1) + of_m * x1 - want).abs() < 1e-12, "{quantity:?} of moments");
        }
    }
}
