//! Dispatches as data: what can be submitted, and printed.

use std::ops::Range;
use std::sync::Arc;

use super::device::Buffer;
use super::matrix::{Matrix, Texture};

/// A compiled kernel.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) name: &'static str,
    pub(crate) label: String,
    pub(crate) pipeline: wgpu::ComputePipeline,
}

/// A resource at one of a kernel's bindings.
#[derive(Clone, Debug)]
pub struct Binding<'a> {
    pub(crate) slot: u32,
    pub(crate) resource: Resource<'a>,
}

#[derive(Clone, Debug)]
pub(crate) enum Resource<'a> {
    Buffer(&'a Buffer, Option<Range<u64>>),
    Texture(&'a Texture),
}

impl<'a> Binding<'a> {
    /// The whole buffer at `@binding(slot)`.
    #[must_use]
    pub fn whole(slot: u32, buffer: &'a Buffer) -> Self {
        Self { slot, resource: Resource::Buffer(buffer, None) }
    }

    /// A range of bytes of it.
    #[must_use]
    pub fn part(slot: u32, buffer: &'a Buffer, range: Range<u64>) -> Self {
        Self { slot, resource: Resource::Buffer(buffer, Some(range)) }
    }

    /// A matrix, in the form that it has.
    #[must_use]
    pub fn matrix(slot: u32, matrix: &'a Matrix) -> Self {
        let resource = match matrix {
            Matrix::Buffer(buffer) => Resource::Buffer(buffer, None),
            Matrix::Texture(texture) => Resource::Texture(texture),
        };
        Self { slot, resource }
    }

    /// A texture.
    #[must_use]
    pub fn texture(slot: u32, texture: &'a Texture) -> Self {
        Self { slot, resource: Resource::Texture(texture) }
    }
}

/// A kernel with its buffers and its grid.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) bind_group: wgpu::BindGroup,
    pub(crate) groups: [u32; 3],
    pub(crate) flops: u64,
}

impl Dispatch {
    /// Notes how many floating-point operations it makes (a multiplication and an addition are two).
    #[must_use]
    pub fn with_flops(mut self, flops: u64) -> Self {
        self.flops = flops;
        self
    }

    /// The same with another grid, for kernels whose constants say how many rows there are.
    #[must_use]
    pub fn with_groups(mut self, groups: [u32; 3]) -> Self {
        self.groups = groups;
        self
    }

    /// The floating-point operations noted.
    #[must_use]
    pub fn flops(&self) -> u64 {
        self.flops
    }

    /// The kernel's file, without extension.
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        self.kernel.name
    }

    /// The kernel's variant and grid, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let [x, y, z] = self.groups;
        format!("{}  [{x} × {y} × {z}]", self.kernel.label)
    }
}
