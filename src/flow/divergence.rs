//! The divergence of a velocity field, tr ∂v/∂x, which the change of variables (eq. 4) integrates along the flow.

use crate::{Error, Result};

/// How the divergence is found: by forward-mode derivatives along probes ε, as a sum or a mean of εᵀ·J·ε.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Divergence {
    /// Along all d unit vectors.
    #[default]
    Exact,
    /// Hutchinson's estimate: along random probes, the same ones all along a path.
    Hutchinson {
        /// How many; the standard error falls with their root.
        probes: u32,
        /// Of the probes' entries.
        distribution: ProbeDistribution,
    },
}

/// What a probe's entries are drawn from: mean 0, variance 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProbeDistribution {
    /// ±1 with equal chance: the smallest variance.
    #[default]
    Rademacher,
    /// N(0, 1).
    Gaussian,
}

/// The names of the estimators, each with a line of help.
pub static DIVERGENCES: &[(&str, &str)] = &[
    ("exact", "all d directions: for dimensions up to some hundreds"),
    ("hutchinson", "a few random directions, with a standard error (Hutchinson 1989; Grathwohl et al. 2019)"),
];

/// The names of the probes' distributions, each with a line of help.
pub static PROBE_DISTRIBUTIONS: &[(&str, ProbeDistribution, &str)] = &[
    ("rademacher", ProbeDistribution::Rademacher, "±1 with equal chance: the smallest variance"),
    ("gaussian", ProbeDistribution::Gaussian, "standard normals"),
];

impl std::str::FromStr for ProbeDistribution {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        PROBE_DISTRIBUTIONS.iter().find(|entry| entry.0 == name).map(|entry| entry.1).ok_or_else(|| {
            let names: Vec<&str> = PROBE_DISTRIBUTIONS.iter().map(|entry| entry.0).collect();
            Error::config(
                format!("no distribution of probes is called `{name}`"),
                format!("there are {}", names.join(", ")),
            )
        })
    }
}

impl Divergence {
    /// The most probes.
    pub const MOST_PROBES: u32 = 1024;

    /// Checks the number of probes.
    ///
    /// # Errors
    /// [`Error::Config`] naming the flag.
    pub fn validate(self) -> Result<()> {
        match self {
            Self::Hutchinson { probes, .. } if probes == 0 || probes > Self::MOST_PROBES => {
                Err(Error::config(
                    format!("--probes {probes} is out of range"),
                    format!("it takes 1 to {}", Self::MOST_PROBES),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Directions in which the network is differentiated.
    pub(crate) fn directions(self, dim: usize) -> usize {
        match self {
            Self::Exact => dim,
            Self::Hutchinson { probes, .. } => probes as usize,
        }
    }

    /// Integrals that a particle carries with it: one, or one for each probe.
    pub(crate) fn accumulators(self) -> usize {
        match self {
            Self::Exact => 1,
            Self::Hutchinson { probes, .. } => probes as usize,
        }
    }

    /// The file under `shaders/shared/probe/`.
    pub(crate) fn part(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Hutchinson { distribution: ProbeDistribution::Rademacher, .. } => "rademacher",
            Self::Hutchinson { distribution: ProbeDistribution::Gaussian, .. } => "gaussian",
        }
    }
}
