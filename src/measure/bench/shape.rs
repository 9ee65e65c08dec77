//! The size of what is measured.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::Architecture;
use crate::{Error, Result};

/// A network and how many rows go through it: `DIM:LAYERSxWIDTH:ROWS`, such as `2:3x64:256`.
///
/// The network has inputs (x, t) of dimension `dim` + 1, `layers` hidden layers of `width` with the default activation,
/// and `dim` outputs. `rows` is the batch of a training step, or the number of particles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// d.
    pub dim: usize,
    /// Hidden layers.
    pub layers: usize,
    /// Of each of them.
    pub width: usize,
    /// Of a batch, or particles.
    pub rows: usize,
}

impl Shape {
    /// The network.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        Architecture {
            dim: self.dim,
            hidden: vec![self.width; self.layers],
            activation: crate::model::Activation::default(),
            time_frequencies: 0,
            condition_features: 0,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}x{}:{}", self.dim, self.layers, self.width, self.rows)
    }
}

impl FromStr for Shape {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let mut parts = text.split(':');
            let (dim, network, rows) = (parts.next()?, parts.next()?, parts.next()?);
            let (layers, width) = network.split_once(['x', '×'])?;
            let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number > 0);
            let shape = Self {
                dim: number(dim)?,
                layers: number(layers)?,
                width: number(width)?,
                rows: number(rows)?,
            };
            // Far beyond any device, and far from where products of them would overflow.
            let bounded = [shape.dim, shape.layers, shape.width].iter().all(|number| *number <= 1 << 20)
                && shape.rows <= 1 << 30;
            (parts.next().is_none() && bounded).then_some(shape)
        };
        parse().ok_or_else(|| {
            Error::config(
                format!("`{}` is no shape", text.escape_debug()),
                "give DIM:LAYERSxWIDTH:ROWS, such as 2:3x64:256",
            )
        })
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_as_they_are_written() {
        for text in ["2:3x64:256", "784:3x512:256", "1:1x1:1"] {
            assert_eq!(text.parse::<Shape>().unwrap().to_string(), text);
        }
        let shape: Shape = "2:3x64:256".parse().unwrap();
        assert_eq!(shape, Shape { dim: 2, layers: 3, width: 64, rows: 256 });
        assert_eq!(shape.architecture().hidden, [64; 3]);
    }

    #[test]
    fn what_is_no_shape_is_told() {
        for text in [
            "",
            "2",
            "2:3x64",
            "2:3x64:",
            "0:3x64:256",
            "2:3:256",
            "2:3x64:256:1",
            "2:3x64:-1",
            "2:3x64:9999999999",
        ] {
            let error = text.parse::<Shape>().unwrap_err().to_string();
            assert!(error.contains("DIM:LAYERSxWIDTH:ROWS"), "{text}: {error}");
        }
    }
}
