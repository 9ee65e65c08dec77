//! Finding the adapters of this machine and choosing one.

use serde::{Deserialize, Serialize};
use wgpu::{AdapterInfo, Backends, DeviceType};

use super::device::Device;
use crate::{Error, Result};

/// Which adapter to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The fastest: a discrete GPU before an integrated one, hardware before software.
    #[default]
    Fastest,
    /// By its place in the list of `windfield devices`.
    Index(usize),
    /// By a part of its name, in any case.
    Name(String),
}

impl std::str::FromStr for AdapterChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Index))
    }
}

/// An adapter as files and reports name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterRecord {
    /// Its name.
    pub name: String,
    /// Vulkan, Metal, DX12 or GL, in lower case.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Whether the processor does the work.
    pub software: bool,
}

impl AdapterRecord {
    /// That of an open device.
    #[must_use]
    pub fn of(device: &Device) -> Self {
        let info = device.info();
        Self {
            name: info.name.clone(),
            backend: info.backend.to_string(),
            driver: [info.driver.as_str(), info.driver_info.as_str()].join(" ").trim().to_owned(),
            software: device.habits().software,
        }
    }
}

/// What to install when there is no adapter at all.
pub const INSTALL_HINT: &str = "install a Vulkan driver: the GPU's own, or Mesa's software one \
    (Debian, Ubuntu: apt install mesa-vulkan-drivers; Fedora: dnf install mesa-vulkan-drivers; Arch: pacman -S vulkan-swrast); \
    in a container, pass the GPU through (--gpus all with the graphics capability)";

/// The adapters of this machine, in the order that their indices follow.
#[derive(Debug)]
pub struct Adapters {
    backends: Backends,
    list: Vec<wgpu::Adapter>,
}

impl Adapters {
    /// Asks Vulkan, Metal and DX12, and GL if they find nothing. `WGPU_BACKEND` (vulkan, metal, dx12, gl) says which
    /// backends to ask instead, as in other programs built on wgpu; the driver's own variables, such as
    /// `VK_DRIVER_FILES`, narrow the search as well.
    #[must_use]
    pub fn find() -> Self {
        if let Some(backends) = Backends::from_env() {
            return Self::ask(backends);
        }
        // GL reaches the same GPUs as the others do, with less.
        let found = Self::ask(Backends::all() - Backends::GL);
        if found.list.is_empty() { Self::ask(Backends::all()) } else { found }
    }

    fn ask(backends: Backends) -> Self {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        // Debug builds would switch on validation layers and turn off DX12's shader optimiser.
        descriptor.flags = wgpu::InstanceFlags::empty();
        let mut descriptor = descriptor.with_env();
        descriptor.backends = backends;
        let instance = wgpu::Instance::new(descriptor);
        let mut list = pollster::block_on(instance.enumerate_adapters(backends));
        list.retain(|adapter| {
            adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
        });
        // One GPU may be reached by several backends; a stable order: by kind, GL last.
        list.sort_by_key(|adapter| rank(&adapter.get_info()));
        Self { backends, list }
    }

    /// What is known of each adapter, the default one first.
    pub fn iter(&self) -> impl Iterator<Item = &wgpu::Adapter> {
        self.list.iter()
    }

    /// The place in the list of the adapter that `choice` names.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when there is none, or none that matches, naming those that there are.
    pub fn position(&self, choice: &AdapterChoice) -> Result<usize> {
        if self.list.is_empty() {
            return Err(Error::NoAdapter {
                what: format!("{} found none that can compute", backend_names(self.backends)),
                remedy: INSTALL_HINT.to_owned(),
            });
        }
        // WGPU_ADAPTER_NAME is what wgpu's own examples read.
        let from_environment = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
        let choice = match (choice, from_environment) {
            (AdapterChoice::Fastest, Some(name)) => AdapterChoice::Name(name),
            (choice, _) => choice.clone(),
        };
        let (place, asked) = match &choice {
            AdapterChoice::Fastest => (Some(0), String::new()),
            AdapterChoice::Index(index) => {
                (Some(*index).filter(|index| *index < self.list.len()), format!("none has the index {index}"))
            }
            AdapterChoice::Name(name) => {
                let lower = name.to_lowercase();
                let named = |adapter: &wgpu::Adapter| adapter.get_info().name.to_lowercase().contains(&lower);
                (self.list.iter().position(named), format!("no name contains `{name}`"))
            }
        };
        place.ok_or_else(|| {
            let names: Vec<String> = self
                .iter()
                .enumerate()
                .map(|(index, adapter)| format!("{index}: {}", adapter.get_info().name))
                .collect();
            Error::NoAdapter { what: asked, remedy: format!("use one of these: {}", names.join(", ")) }
        })
    }

    /// The adapter that `choice` names.
    ///
    /// # Errors
    /// As of [`Adapters::position`].
    pub fn choose(mut self, choice: &AdapterChoice) -> Result<wgpu::Adapter> {
        let place = self.position(choice)?;
        Ok(self.list.swap_remove(place))
    }
}

fn rank(info: &AdapterInfo) -> (u32, bool) {
    let kind = match info.device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::Other => 2,
        DeviceType::VirtualGpu => 3,
        DeviceType::Cpu => 4,
    };
    // GL reports software renderers and GPUs alike; whatever Vulkan, Metal or DX12 offers goes before it.
    (kind + if info.backend == wgpu::Backend::Gl { 5 } else { 0 }, info.backend == wgpu::Backend::Gl)
}

fn backend_names(backends: Backends) -> String {
    let names: Vec<&str> = [
        (Backends::VULKAN, "Vulkan"),
        (Backends::METAL, "Metal"),
        (Backends::DX12, "DX12"),
        (Backends::GL, "GL"),
    ]
    .into_iter()
    .filter(|(backend, _)| {
        backends.contains(*backend) && wgpu::Instance::enabled_backend_features().contains(*backend)
    })
    .map(|(_, name)| name)
    .collect();
    if names.is_empty() {
        "no backend of this build was searched (see WGPU_BACKEND), which".to_owned()
    } else {
        names.join(", ")
    }
}
