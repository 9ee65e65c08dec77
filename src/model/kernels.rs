//! Which kernels evaluate a network: the table, and how each lays a device out.

use serde::{Deserialize, Serialize};

use super::architecture::Layout;
use super::network::textures;
use super::tiled;
use crate::gpu::{Device, Habits, Matrices};
use crate::{Error, Result};

/// Which kernels evaluate a network. Results agree up to rounding; the same ones give the same bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kernels {
    /// The best for the device and the network.
    #[default]
    Auto,
    /// Many layers and steps in one dispatch.
    Fused,
    /// Layer by layer, by the best of the following.
    Layered,
    /// Layer by layer; matrices in buffers, tiles in registers.
    Buffers,
    /// Layer by layer; matrices in textures, tiles in registers.
    Textures,
    /// Layer by layer; matrices in buffers, tiles in the memory of workgroups.
    Tiled,
}

/// All of them: name, a line of help, and when `auto` takes them.
pub static KERNELS: &[(&str, Kernels, &str, &str)] = &[
    ("auto", Kernels::Auto, "the best for the device and the network", ""),
    ("fused", Kernels::Fused, "the whole network in one dispatch", "sampling, widths up to 64"),
    ("layered", Kernels::Layered, "layer by layer, by the best of the following", "all others"),
    (
        "buffers",
        Kernels::Buffers,
        "matrices in buffers, a tile in the registers of every invocation",
        "where neither of the others fits",
    ),
    (
        "textures",
        Kernels::Textures,
        "the same with matrices in textures",
        "software drivers, as far as the matrices fit",
    ),
    ("tiled", Kernels::Tiled, "matrices in buffers, a tile in the memory of every workgroup", "GPUs"),
];

impl std::str::FromStr for Kernels {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        KERNELS.iter().find(|entry| entry.0 == name).map(|entry| entry.1).ok_or_else(|| {
            let names: Vec<&str> = KERNELS.iter().map(|entry| entry.0).collect();
            Error::config(
                format!("no kernels are called `{name}`"),
                format!("there are {}", names.join(", ")),
            )
        })
    }
}

impl Kernels {
    /// Their name.
    #[must_use]
    pub fn name(self) -> &'static str {
        KERNELS.iter().find(|entry| entry.1 == self).map_or("auto", |entry| entry.0)
    }

    /// The device, laid out for these kernels of layers; for all others as it is.
    ///
    /// # Errors
    /// [`Error::Config`] if they do not fit the device or the network.
    pub(crate) fn lay_out(self, device: &Device, layout: &Layout) -> Result<Device> {
        let matrices = match self {
            Self::Auto | Self::Fused | Self::Layered => return Ok(device.clone()),
            Self::Buffers => Matrices::Buffers,
            Self::Textures => Matrices::Textures,
            Self::Tiled => Matrices::Tiled,
        };
        let device = device.with_habits(Habits { matrices, ..*device.habits() });
        if Self::of_layers(&device, layout) == self {
            return Ok(device);
        }
        Err(Error::config(
            format!("--kernels {} does not fit this network on {}", self.name(), device.info().name),
            "use --kernels auto",
        ))
    }

    /// The kernels of layers that a device laid out in this way takes for a network.
    pub(crate) fn of_layers(device: &Device, layout: &Layout) -> Self {
        match device.habits().matrices {
            Matrices::Textures if textures(device, layout) => Self::Textures,
            Matrices::Tiled if tiled::fits(device.habits(), layout) => Self::Tiled,
            _ => Self::Buffers,
        }
    }
}
