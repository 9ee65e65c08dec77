//! Dispatches as data: what can be submitted, and printed.

use std::ops::Range;
use std::sync::Arc;

use super::device::Buffer;
use super::matrix::{List, Matrix, Texture};
use super::memory::Share;

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

    /// A list, in the form that it has.
    #[must_use]
    pub fn list(slot: u32, list: &'a List) -> Self {
        Self::matrix(slot, &list.matrix)
    }

    /// A range of its bytes, where it lies in a buffer; a texture is bound whole.
    #[must_use]
    pub fn list_part(slot: u32, list: &'a List, range: Range<u64>) -> Self {
        match list.buffer() {
            Some(buffer) => Self::part(slot, buffer, range),
            None => Self::list(slot, list),
        }
    }

    /// A texture.
    #[must_use]
    pub fn texture(slot: u32, texture: &'a Texture) -> Self {
        Self { slot, resource: Resource::Texture(texture) }
    }
}

/// What a dispatch has to do at the least, by the shapes alone.
///
/// An addition, a multiplication, a comparison, a root, an exponential is one operation; a multiplication with an
/// addition is two. Products of matrices count 2·rows·inputs·outputs, and what is done once to each of their elements
/// (bias, activation, slope) is left out. A number that has to be read or written counts its bytes once, however often a
/// kernel reads it; matrices with their padding, as they lie on the device. So no kernel can do with less, and one that
/// reads everything many times over has the same work as one that does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes to and from memory.
    pub bytes: u64,
}

impl Work {
    /// Of so many operations, over so many numbers of four bytes.
    #[must_use]
    pub fn new(flops: usize, numbers: usize) -> Self {
        Self { flops: flops as u64, bytes: 4 * numbers as u64 }
    }

    /// That many times over.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { flops: self.flops.saturating_mul(count), bytes: self.bytes.saturating_mul(count) }
    }
}

impl std::ops::Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { flops: self.flops.saturating_add(other.flops), bytes: self.bytes.saturating_add(other.bytes) }
    }
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), std::ops::Add::add)
    }
}

/// A kernel with its buffers and its grid.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) bind_group: wgpu::BindGroup,
    pub(crate) groups: [u32; 3],
    pub(crate) work: Work,
    /// What it binds is in the device's memory for as long as it lives.
    pub(super) _shares: Arc<[Arc<Share>]>,
}

impl Dispatch {
    /// Notes what it has to do.
    #[must_use]
    pub fn with_work(mut self, work: Work) -> Self {
        self.work = work;
        self
    }

    /// The same with another grid, for kernels whose constants say how many rows there are.
    #[must_use]
    pub fn with_groups(mut self, groups: [u32; 3]) -> Self {
        self.groups = groups;
        self
    }

    /// What it has to do, where that was noted.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
    }

    /// The floating-point operations of that.
    #[must_use]
    pub fn flops(&self) -> u64 {
        self.work.flops
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

    /// Records it in a pass.
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.kernel.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        let [x, y, z] = self.groups;
        pass.dispatch_workgroups(x, y, z);
    }
}
