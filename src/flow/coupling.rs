//! Couplings: which x0 meets which x1.

use serde::{Deserialize, Serialize};

use super::assignment::MOST_POINTS;
use super::sinkhorn::{DEFAULT_EPSILON, MOST_ENTROPIC_POINTS, SinkhornOptions};
use crate::{Error, Result};

/// A coupling of source and data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Coupling {
    /// Every x0 may meet every x1: q(x0)·q(x1).
    #[default]
    Independent,
    /// The pairs of an independent batch, rearranged so that Σ ‖x1 − x0‖² is the least there is: a permutation, found
    /// exactly ([`Assignment`](super::Assignment)). As the batch grows this tends to the optimal transport plan.
    MinibatchOt {
        /// Rows that are rearranged together: a multiple of the training batch, whose batches are then slices of them.
        /// 0: the training batch.
        ot_batch: usize,
    },
    /// The same with a permutation that is drawn from the entropic plan ([`Sinkhorn`](super::Sinkhorn)).
    Sinkhorn {
        /// As of [`MinibatchOt`](Self::MinibatchOt).
        ot_batch: usize,
        /// ε in units of the mean cost of all pairs: 0.001 or more.
        epsilon: f32,
    },
    /// Row i of the source belongs to row i of the data, which a trained model has carried it to.
    Reflow {
        /// Pairs that were made before training.
        pairs: usize,
        /// The number of this rectification, from 1.
        round: u32,
        /// How many there will be.
        rounds: u32,
    },
}

/// Pairs that are made for `reflow`, where nobody says otherwise.
pub const DEFAULT_PAIRS: usize = 65_536;

/// An entry of [`COUPLINGS`].
#[derive(Debug)]
pub struct CouplingEntry {
    /// Its name on the command line.
    pub name: &'static str,
    /// The coupling, with its defaults.
    pub coupling: Coupling,
    /// One line of help.
    pub help: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}

/// All couplings.
pub static COUPLINGS: &[CouplingEntry] = &[
    CouplingEntry {
        name: "independent",
        coupling: Coupling::Independent,
        help: "x0 and x1 are drawn independently of each other",
        source: "Lipman et al. 2022",
    },
    CouplingEntry {
        name: "minibatch-ot",
        coupling: Coupling::MinibatchOt { ot_batch: 0 },
        help: "the pairs of a batch are rearranged by exact optimal transport",
        source: "Tong et al. 2023; Pooladian et al. 2023",
    },
    CouplingEntry {
        name: "sinkhorn",
        coupling: Coupling::Sinkhorn { ot_batch: 0, epsilon: DEFAULT_EPSILON },
        help: "the pairs of a batch are a permutation drawn from its entropic optimal transport plan",
        source: "Cuturi 2013; Tong et al. 2023",
    },
    CouplingEntry {
        name: "reflow",
        coupling: Coupling::Reflow { pairs: DEFAULT_PAIRS, round: 1, rounds: 1 },
        help: "x1 is where the model of --from-model carries x0",
        source: "Liu et al. 2022",
    },
];

impl Coupling {
    /// Its entry in the table.
    #[must_use]
    pub fn entry(&self) -> &'static CouplingEntry {
        let same =
            |entry: &&CouplingEntry| std::mem::discriminant(&entry.coupling) == std::mem::discriminant(self);
        COUPLINGS.iter().find(same).unwrap_or(&COUPLINGS[0])
    }

    /// Whether row i of the source belongs to row i of the data.
    #[must_use]
    pub fn is_paired(&self) -> bool {
        matches!(self, Self::Reflow { .. })
    }

    /// How many steps' batches are rearranged together: 1, or more where the batch of the coupling is larger than the
    /// training batch of `batch` rows. None where rows keep what they drew.
    ///
    /// # Errors
    /// [`Error::Config`] if the one is no multiple of the other, or too large.
    pub fn steps(&self, batch: usize) -> Result<Option<usize>> {
        let (ot_batch, most) = match *self {
            Self::Independent => return Ok(None),
            Self::MinibatchOt { ot_batch } => (ot_batch, MOST_POINTS),
            Self::Sinkhorn { ot_batch, epsilon } => {
                SinkhornOptions { epsilon, ..SinkhornOptions::default() }.validate()?;
                (ot_batch, MOST_ENTROPIC_POINTS)
            }
            Self::Reflow { pairs, round, rounds } => {
                if pairs == 0 || pairs > 1 << 30 {
                    return Err(Error::config(
                        format!("--reflow-pairs {pairs} is out of range"),
                        "it takes a number from 1 to 2^30",
                    ));
                }
                if round == 0 || round > rounds || rounds > 100 {
                    return Err(Error::config(
                        format!("round {round} of --rounds {rounds} is out of range"),
                        "it takes 1 to 100 rounds",
                    ));
                }
                return Ok(None);
            }
        };
        let ot_batch = if ot_batch == 0 { batch } else { ot_batch };
        if ot_batch > most {
            let flag = if ot_batch == batch { "--batch" } else { "--ot-batch" };
            return Err(Error::config(
                format!("{flag} {ot_batch} is out of range for --coupling {}", self.entry().name),
                format!("it takes up to {most} rows"),
            ));
        }
        if batch == 0 || !ot_batch.is_multiple_of(batch) {
            return Err(Error::config(
                format!("--ot-batch {ot_batch} is no multiple of --batch {batch}"),
                "training batches are slices of it",
            ));
        }
        Ok(Some(ot_batch / batch))
    }
}

impl std::str::FromStr for Coupling {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        COUPLINGS.iter().find(|entry| entry.name == name).map(|entry| entry.coupling).ok_or_else(|| {
            let names: Vec<&str> = COUPLINGS.iter().map(|entry| entry.name).collect();
            Error::config(
                format!("no coupling is called `{name}`"),
                format!("there are {}", names.join(", ")),
            )
        })
    }
}
