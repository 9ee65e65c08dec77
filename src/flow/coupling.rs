//! Couplings: which x0 meets which x1.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A coupling of source and data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Coupling {
    /// Every x0 may meet every x1: q(x0)·q(x1).
    #[default]
    Independent,
}

/// All couplings, with their names and a line of help.
pub static COUPLINGS: &[(&str, Coupling, &str)] =
    &[("independent", Coupling::Independent, "x0 and x1 are drawn independently of each other")];

impl std::str::FromStr for Coupling {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        COUPLINGS.iter().find(|entry| entry.0 == name).map(|entry| entry.1).ok_or_else(|| {
            let names: Vec<&str> = COUPLINGS.iter().map(|entry| entry.0).collect();
            Error::config(format!("no coupling is called `{name}`"), format!("there is {}", names.join(", ")))
        })
    }
}
