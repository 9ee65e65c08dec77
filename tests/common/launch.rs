//! One kernel by itself: a variant, its buffers, its grid.

use std::collections::BTreeMap;

use bytemuck::Pod;
use windfield::gpu::{Binding, Buffer, Device, Matrix, Purpose, Variant};

use super::report::Report;

/// What lies before and after every storage buffer: a NaN, as a float, and a large number, as an integer. A kernel
/// that reads beyond its buffers makes NaN of it, and one that writes there is caught.
const GUARD: u32 = 0x7fc0_dead;
/// Bytes before: the alignment that any device accepts.
const BEFORE: usize = 256;
/// Bytes after.
const AFTER: usize = 1024;
/// Columns and rows of it beside and below a matrix in a texture.
const BESIDE: usize = 8;
const BELOW: usize = 3;

const PURPOSE: Purpose<'static> = Purpose { what: "a test", flag: "the test" };

/// A kernel with what it is given. It runs without the shader compiler's checks and with them, and must give the same
/// bits: this is what the module without checks rests on.
pub struct Launch {
    variant: Variant,
    uniforms: Vec<(u32, Upload)>,
    /// Binding, content, whether the kernel writes to it.
    storage: Vec<(u32, Vec<u8>, bool)>,
    /// Binding, content, width, whether the kernel writes to it.
    textures: Vec<(u32, Vec<f32>, usize, bool)>,
    repeats: usize,
}

/// Puts a value on a device.
type Upload = Box<dyn Fn(&Device) -> windfield::Result<Buffer>>;

/// What the read-write bindings hold afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs(BTreeMap<u32, Vec<u8>>);

impl Outputs {
    /// The values at `@binding(slot)`.
    pub fn get<T: Pod>(&self, slot: u32) -> Vec<T> {
        bytemuck::pod_collect_to_vec(&self.0[&slot])
    }
}

impl Launch {
    pub fn new(variant: Variant) -> Self {
        Self { variant, uniforms: vec![], storage: vec![], textures: vec![], repeats: 1 }
    }

    /// What is launched.
    pub fn variant(&self) -> &Variant {
        &self.variant
    }

    /// `var<uniform>` at a binding.
    pub fn uniform<T: Pod>(mut self, slot: u32, value: &T) -> Self {
        let value = *value;
        self.uniforms.push((slot, Box::new(move |device| device.uniform(&value))));
        self
    }

    /// `var<storage, read>` at a binding.
    pub fn input<T: Pod>(mut self, slot: u32, values: &[T]) -> Self {
        self.storage.push((slot, bytemuck::cast_slice(values).to_vec(), false));
        self
    }

    /// `var<storage, read_write>` at a binding, with what it holds before.
    pub fn output<T: Pod>(mut self, slot: u32, before: &[T]) -> Self {
        self.storage.push((slot, bytemuck::cast_slice(before).to_vec(), true));
        self
    }

    /// A matrix [rows, width] that the kernel reads, in a buffer or in a texture.
    pub fn matrix(mut self, slot: u32, values: &[f32], width: usize, texture: bool) -> Self {
        if !texture {
            return self.input(slot, values);
        }
        self.textures.push((slot, values.to_vec(), width, false));
        self
    }

    /// A matrix that the kernel writes.
    pub fn output_matrix(mut self, slot: u32, before: &[f32], width: usize, texture: bool) -> Self {
        if !texture {
            return self.output(slot, before);
        }
        self.textures.push((slot, before.to_vec(), width, true));
        self
    }

    /// A long list that the kernel reads, in a buffer or folded into a texture.
    pub fn list(self, slot: u32, values: &[f32], texture: bool) -> Self {
        let (folded, width) = fold(values);
        if texture { self.matrix(slot, &folded, width, true) } else { self.input(slot, values) }
    }

    /// A long list that it writes. A texture comes back whole, with what fills its last row.
    pub fn output_list(self, slot: u32, before: &[f32], texture: bool) -> Self {
        let (folded, width) = fold(before);
        if texture { self.output_matrix(slot, &folded, width, true) } else { self.output(slot, before) }
    }

    /// Dispatches it that often, one after the other.
    pub fn repeat(mut self, times: usize) -> Self {
        self.repeats = times;
        self
    }

    /// Runs it on both devices. What the checks change, and every touch of a byte outside of a buffer, goes to the
    /// report.
    pub fn run(&self, report: &mut Report, groups: [u32; 3]) -> Outputs {
        let [trusted, checked] = self.run_both(report, groups);
        for (slot, got) in &trusted.0 {
            let words = |bytes: &[u8]| bytemuck::pod_collect_to_vec::<u8, u32>(bytes);
            let name =
                format!("{} @binding({slot}) without checks against with checks", self.variant.label());
            report.equal(&name, &words(got), &words(&checked.0[slot]));
        }
        trusted
    }

    /// Runs it without the checks and with them; whoever asks compares. A driver may round differently in the two: WGSL
    /// lets it reorder sums, and a loop that is bounded is compiled in another way than one that is not.
    pub fn run_both(&self, report: &mut Report, groups: [u32; 3]) -> [Outputs; 2] {
        [super::device(), super::checked_device()].map(|device| self.run_on(device, report, groups))
    }

    fn run_on(&self, device: &Device, report: &mut Report, groups: [u32; 3]) -> Outputs {
        let fault = |error: windfield::Error| -> ! { panic!("{}: {error}", self.variant.label()) };
        let uniforms: Vec<Buffer> = (self.uniforms.iter())
            .map(|(_, upload)| upload(device).unwrap_or_else(|error| fault(error)))
            .collect();
        let storage: Vec<Buffer> = (self.storage.iter())
            .map(|(_, bytes, _)| {
                let guard = |bytes: usize| GUARD.to_ne_bytes().into_iter().cycle().take(bytes);
                let guarded: Vec<u8> =
                    guard(BEFORE).chain(bytes.iter().copied()).chain(guard(AFTER)).collect();
                device.upload(&guarded, PURPOSE).unwrap_or_else(|error| fault(error))
            })
            .collect();
        let textures: Vec<Matrix> = (self.textures.iter())
            .map(|(_, values, width, _)| {
                let (rows, guarded) = (values.len() / width + BELOW, width + BESIDE);
                let mut all = vec![f32::from_bits(GUARD); rows * guarded];
                for (to, from) in all.chunks_exact_mut(guarded).zip(values.chunks_exact(*width)) {
                    to[..*width].copy_from_slice(from);
                }
                let matrix =
                    Matrix::new(device, rows, guarded, true, PURPOSE).unwrap_or_else(|error| fault(error));
                matrix.write(device, &all, guarded).unwrap_or_else(|error| fault(error));
                matrix
            })
            .collect();
        let mut bindings: Vec<Binding<'_>> = (self.uniforms.iter().zip(&uniforms))
            .map(|((slot, _), buffer)| Binding::whole(*slot, buffer))
            .collect();
        bindings.extend((self.storage.iter().zip(&storage)).map(|((slot, bytes, _), buffer)| {
            Binding::part(*slot, buffer, BEFORE as u64..(BEFORE + bytes.len()) as u64)
        }));
        bindings.extend(
            (self.textures.iter().zip(&textures)).map(|((slot, ..), matrix)| Binding::matrix(*slot, matrix)),
        );
        let dispatch = device.dispatch(&self.variant, &bindings, groups).unwrap_or_else(|error| fault(error));
        // Bounded submissions, as everywhere.
        let mut left = self.repeats;
        while left > 0 {
            let now = left.min(500);
            let submission =
                device.submit((0..now).map(|_| &dispatch), &[]).unwrap_or_else(|error| fault(error));
            device.wait(Some(&submission)).unwrap_or_else(|error| fault(error));
            left -= now;
        }
        let mut outputs = BTreeMap::new();
        for ((slot, bytes, written), buffer) in self.storage.iter().zip(&storage) {
            if !written {
                continue;
            }
            let all: Vec<u32> = device.read(buffer, 0..buffer.bytes()).unwrap_or_else(|error| fault(error));
            let (before, rest) = all.split_at(BEFORE / 4);
            let (inside, after) = rest.split_at(bytes.len() / 4);
            report.holds(before.iter().chain(after).all(|word| *word == GUARD), || {
                format!("{} @binding({slot}): a write outside of the buffer", self.variant.label())
            });
            outputs.insert(*slot, bytemuck::cast_slice(inside).to_vec());
        }
        for ((slot, values, width, written), matrix) in self.textures.iter().zip(&textures) {
            if !written {
                continue;
            }
            let (rows, guarded) = (values.len() / width, width + BESIDE);
            let all = matrix.read(device, rows + BELOW, guarded).unwrap_or_else(|error| fault(error));
            let (beside, below) = all.split_at(rows * guarded);
            let untouched = beside.chunks_exact(guarded).flat_map(|row| &row[*width..]).chain(below);
            report.holds(untouched.into_iter().all(|value| value.to_bits() == GUARD), || {
                format!("{} @binding({slot}): a write outside of the matrix", self.variant.label())
            });
            let inside: Vec<f32> =
                beside.chunks_exact(guarded).flat_map(|row| &row[..*width]).copied().collect();
            outputs.insert(*slot, bytemuck::cast_slice(&inside).to_vec());
        }
        Outputs(outputs)
    }
}

/// A list as the texture that holds it, rows of 1024 groups of four, and the width of that.
fn fold(values: &[f32]) -> (Vec<f32>, usize) {
    let width = values.len().min(4 * 1024);
    let mut texture = values.to_vec();
    texture.resize(values.len().next_multiple_of(width), 0.0);
    (texture, width)
}
