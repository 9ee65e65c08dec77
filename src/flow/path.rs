//! Gaussian conditional probability paths: `p_t(x | x1) = N(a(t)·x1, b(t)²·I)` (eq. 10).
//!
//! A path is one entry of [`PATHS`] and one file of the same name under `shaders/shared/path/`.

use serde::{Deserialize, Serialize};

use crate::gpu::{Constant, Variant};
use crate::{Error, Result};

/// A family of paths.
#[derive(Debug)]
pub struct PathFamily {
    /// Its name on the command line, in model files, and as a WGSL file.
    pub name: &'static str,
    /// a(t), the factor of the data.
    pub a: &'static str,
    /// b(t), the factor of the noise.
    pub b: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// (a, b, a', b') at time t.
    schedule: fn(&Path, f64) -> [f64; 4],
}

/// All families.
pub static PATHS: &[PathFamily] = &[PathFamily {
    name: "ot",
    a: "t",
    b: "1 − (1 − σ_min)·t",
    help: "straight lines at constant speed from noise to data",
    source: "Lipman et al. 2022, eq. 20",
    schedule: |path, t| {
        let slope = 1.0 - f64::from(path.sigma_min);
        [t, 1.0 - slope * t, 1.0, -slope]
    },
}];

/// A path with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PathRecord", into = "PathRecord")]
pub struct Path {
    family: usize,
    sigma_min: f32,
}

/// How a path is written in model files.
#[derive(Clone, Serialize, Deserialize)]
struct PathRecord {
    name: String,
    #[serde(default = "default_sigma_min")]
    sigma_min: f32,
}

fn default_sigma_min() -> f32 {
    Path::SIGMA_MIN
}

impl TryFrom<PathRecord> for Path {
    type Error = Error;

    fn try_from(record: PathRecord) -> Result<Self> {
        Self::new(&record.name, record.sigma_min)
    }
}

impl From<Path> for PathRecord {
    fn from(path: Path) -> Self {
        Self { name: path.family().name.to_owned(), sigma_min: path.sigma_min }
    }
}

impl Default for Path {
    fn default() -> Self {
        Self { family: 0, sigma_min: Self::SIGMA_MIN }
    }
}

impl Path {
    /// The smallest standard deviation where nothing else is asked for.
    pub const SIGMA_MIN: f32 = 1e-5;

    /// The path of that name, with `sigma_min` the standard deviation around the data at t = 1.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown name or a `sigma_min` outside [0, 1).
    pub fn new(name: &str, sigma_min: f32) -> Result<Self> {
        let family = PATHS.iter().position(|family| family.name == name).ok_or_else(|| {
            let names: Vec<&str> = PATHS.iter().map(|family| family.name).collect();
            Error::config(format!("no path is called `{name}`"), format!("there is {}", names.join(", ")))
        })?;
        if !(0.0..1.0).contains(&sigma_min) {
            return Err(Error::config(format!("--sigma-min {sigma_min} is not in [0, 1)"), "1e-5 is usual"));
        }
        Ok(Self { family, sigma_min })
    }

    /// The table's entry.
    #[must_use]
    pub fn family(&self) -> &'static PathFamily {
        &PATHS[self.family]
    }

    /// σ_min.
    #[must_use]
    pub fn sigma_min(&self) -> f32 {
        self.sigma_min
    }

    /// (a, b, a', b') at time `t`, in double precision.
    #[must_use]
    pub fn schedule(&self, t: f64) -> [f64; 4] {
        (self.family().schedule)(self, t)
    }

    /// The last time that is drawn, in (0, 1]: 1, or a little less for a path whose b' or velocity is singular at
    /// t = 1. Times are drawn on [0, `t_max`].
    #[must_use]
    pub fn t_max(&self) -> f64 {
        1.0
    }

    /// The standard deviation of the Gaussian that the path starts from at t = 0, in the network's coordinates: b(0).
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    pub fn source_std(&self) -> f32 {
        self.schedule(0.0)[1] as f32
    }

    /// Bakes the path into a kernel.
    pub(crate) fn bake(&self, variant: Variant) -> Variant {
        variant.part("PATH", self.family().name).with_all([("SIGMA_MIN", Constant::Float(self.sigma_min))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_are_those_of_the_schedule() {
        for family in PATHS {
            let path = Path::new(family.name, 1e-3).unwrap();
            for i in 1..20 {
                let (t, h) = (f64::from(i) / 20.0, 1e-6);
                let [_, _, da, db] = path.schedule(t);
                let [a0, b0, ..] = path.schedule(t - h);
                let [a1, b1, ..] = path.schedule(t + h);
                assert!((da - (a1 - a0) / (2.0 * h)).abs() < 1e-6, "{} a' at {t}", family.name);
                assert!((db - (b1 - b0) / (2.0 * h)).abs() < 1e-6, "{} b' at {t}", family.name);
            }
        }
    }
}
