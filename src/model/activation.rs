//! The activations of the hidden layers. Each is one entry here and one file of the same name under
//! `shaders/shared/activation/`, with its slope.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// An activation of [`ACTIVATIONS`], by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct Activation(usize);

/// All activations: name, formula, source.
pub static ACTIVATIONS: &[(&str, &str, &str)] = &[
    ("silu", "z / (1 + e^−z)", "Elfwing et al. 2018"),
    ("relu", "max(z, 0)", "Nair & Hinton 2010"),
    ("gelu", "z/2·(1 + tanh(√(2/π)·(z + 0.044715·z³)))", "Hendrycks & Gimpel 2016, the tanh form"),
    ("selu", "λ·z for z > 0, λ·α·(e^z − 1) otherwise", "Klambauer et al. 2017"),
    ("tanh", "tanh(z)", ""),
    ("softplus", "ln(1 + e^z)", "Dugas et al. 2000"),
];

impl Default for Activation {
    /// `silu`.
    fn default() -> Self {
        Self(0)
    }
}

impl Activation {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        ACTIVATIONS[self.0].0
    }
}

impl std::str::FromStr for Activation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        ACTIVATIONS.iter().position(|entry| entry.0 == name).map(Self).ok_or_else(|| {
            let names: Vec<&str> = ACTIVATIONS.iter().map(|entry| entry.0).collect();
            Error::config(
                format!("no activation is called `{name}`"),
                format!("there are {}", names.join(", ")),
            )
        })
    }
}

impl TryFrom<String> for Activation {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<Activation> for &'static str {
    fn from(activation: Activation) -> Self {
        activation.name()
    }
}
