//! Time grids: where a solver with fixed steps puts them, and where trajectories are asked for.

use crate::{Error, Result};

/// How the steps are spread over the interval from t0 to t1.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Grid {
    /// Steps of equal length.
    #[default]
    Uniform,
    /// t0 + (t1 − t0)·(1 − cos(πi/n))/2: short steps at both ends.
    Cosine,
    /// t0 + (t1 − t0)·(i/n)^p: short steps at t0 for p > 1, at t1 for p < 1.
    Power(f64),
    /// These times, from the first to the last.
    Times(Vec<f64>),
}

/// The names of the grids, each with its formula.
pub static GRIDS: &[(&str, &str)] = &[
    ("uniform", "steps of equal length"),
    ("cosine", "t0 + (t1 − t0)·(1 − cos(πi/n))/2: short steps at both ends"),
    ("power:p", "t0 + (t1 − t0)·(i/n)^p: short steps at t0 for p > 1, at t1 for p < 1"),
];

impl std::str::FromStr for Grid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "uniform" => Ok(Self::Uniform),
            None if text == "cosine" => Ok(Self::Cosine),
            Some(("power", p)) => match p.parse::<f64>() {
                Ok(p) if (0.05..=20.0).contains(&p) => Ok(Self::Power(p)),
                _ => Err(Error::config(
                    format!("the power `{p}` of the grid `{text}` is out of range"),
                    "power:p takes a p from 0.05 to 20",
                )),
            },
            _ => {
                let names: Vec<&str> = GRIDS.iter().map(|grid| grid.0).collect();
                Err(Error::config(
                    format!("no grid is called `{text}`"),
                    format!("there are {}, or a file with the times", names.join(", ")),
                ))
            }
        }
    }
}

impl std::fmt::Display for Grid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Cosine => f.write_str("cosine"),
            Self::Power(p) => write!(f, "power:{p}"),
            Self::Times(times) => write!(f, "{} given times", times.len()),
        }
    }
}

impl Grid {
    /// A grid of given times: at least two, each within [0, 1], all in one direction.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first time that does not fit.
    pub fn times(times: Vec<f64>) -> Result<Self> {
        if times.len() < 2 {
            return Err(Error::config(
                "a time grid of fewer than two times",
                "give where to begin and where to end",
            ));
        }
        if let Some(place) = times.iter().position(|t| !(0.0..=1.0).contains(t)) {
            return Err(Error::config(
                format!("time {} of the grid is {}", place + 1, times[place]),
                "times are from 0 (noise) to 1 (data)",
            ));
        }
        let forwards = times[1] > times[0];
        // On the device a time is a float32.
        #[allow(clippy::cast_possible_truncation, reason = "as on the device")]
        let out_of_order = |pair: &[f64]| {
            let (a, b) = (pair[0] as f32, pair[1] as f32);
            if forwards { b <= a } else { b >= a }
        };
        if let Some(place) = times.windows(2).position(out_of_order) {
            return Err(Error::config(
                format!("the grid goes from {} to {} at time {}", times[place], times[place + 1], place + 2),
                "times rise all the way, or fall all the way, by what a float32 can tell apart",
            ));
        }
        Ok(Self::Times(times))
    }

    /// The time after step `i` of `steps` from `t0` to `t1`, in double precision. (Given times are their own.)
    ///
    /// # Examples
    /// ```
    /// use windfield::flow::Grid;
    /// assert_eq!(Grid::Power(2.0).time(1, 2, 0.0, 1.0), 0.25);
    /// ```
    #[must_use]
    pub fn time(&self, i: u32, steps: u32, t0: f64, t1: f64) -> f64 {
        if let Self::Times(times) = self {
            return times[(i as usize).min(times.len() - 1)];
        }
        if i == 0 {
            return t0;
        }
        if i >= steps {
            return t1;
        }
        let share = f64::from(i) / f64::from(steps);
        let share = match self {
            Self::Cosine => (1.0 - (std::f64::consts::PI * share).cos()) / 2.0,
            Self::Power(p) => share.powf(*p),
            Self::Uniform | Self::Times(_) => share,
        };
        t0 + (t1 - t0) * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_begin_and_end_where_they_should() {
        for grid in [Grid::Uniform, Grid::Cosine, Grid::Power(3.0), Grid::Power(0.5)] {
            for (t0, t1) in [(0.0, 1.0), (1.0, 0.0), (0.2, 0.7)] {
                let times: Vec<f64> = (0..=10).map(|i| grid.time(i, 10, t0, t1)).collect();
                assert!(times[0].to_bits() == t0.to_bits() && times[10].to_bits() == t1.to_bits());
                assert!(Grid::times(times).is_ok(), "{grid} from {t0} to {t1}");
            }
            if let Ok(parsed) = grid.to_string().parse::<Grid>() {
                assert_eq!(parsed, grid);
            }
        }
        assert!((Grid::Cosine.time(1, 2, 0.0, 1.0) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn what_is_no_grid_is_refused() {
        for times in
            [vec![], vec![0.0], vec![0.0, 0.5, 0.5], vec![0.0, 0.6, 0.5], vec![0.0, f64::NAN], vec![0.0, 1.1]]
        {
            assert!(Grid::times(times.clone()).is_err(), "{times:?}");
        }
        for text in ["", "power", "power:", "power:-1", "power:nan", "linear", "cosine:2"] {
            assert!(text.parse::<Grid>().is_err(), "{text}");
        }
    }
}
