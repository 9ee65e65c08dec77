//! What the device can do at most: two small kernels that do nothing but arithmetic, and nothing but reading and
//! writing.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

use super::Bench;
use crate::Result;
use crate::gpu::{Binding, Dispatch, Habits, Matrices, Matrix, Purpose, Variant, Work};

/// `Chains` of shaders/peak_flops.wgsl.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Chains {
    /// Of the loop.
    pub iterations: u32,
    /// The factor.
    pub a: f32,
    /// The summand.
    pub b: f32,
    /// Zero.
    pub padding: u32,
}

/// What the device can do at most, as far as small kernels can show it: the best of several widths of the workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Multiplications and additions a second, in f32, as drivers make them of `a·x + b`.
    pub flops: f64,
    /// Bytes a second to and from memory: the better of the two below.
    pub bytes_per_s: f64,
    /// Of a copy from one buffer to another.
    pub copy_bytes_per_s: f64,
    /// Of reading alone.
    pub read_bytes_per_s: f64,
}

/// Lanes, chains, and steps of an iteration of peak_flops: of software drivers, whose registers hold few, and of GPUs.
/// Compilers may put the steps of one chain behind one another, and few enough of them have to be in sight of the
/// processor at once for other chains to be there as well.
const CHAINS: [&[(u32, u32, u32)]; 2] = [
    &[(8, 1, 16), (8, 2, 16), (16, 2, 16), (16, 3, 16), (8, 2, 3), (8, 3, 2), (8, 3, 3), (8, 4, 4)],
    &[(64, 2, 16), (64, 4, 16), (256, 4, 16), (256, 8, 16)],
];
/// Invocations of peak_flops: all that a device can have at work, several times over.
const INVOCATIONS: [u32; 2] = [1 << 12, 1 << 20];
/// Lanes and groups of four of peak_bandwidth.
const QUADS: [&[(u32, u32)]; 2] = [&[(8, 8), (64, 8), (64, 32)], &[(64, 4), (256, 4), (256, 16)]];
/// The same where sums are read from a texture.
const TEXELS: &[(u32, u32)] = &[(8, 64), (16, 64), (64, 32)];
/// Bytes of a buffer that no cache holds.
const BUFFER: [u64; 2] = [64 << 20, 256 << 20];

/// Which of these are for an adapter.
fn kind(habits: &Habits) -> usize {
    usize::from(!habits.software)
}

fn flops_variant((lanes, chains, steps): (u32, u32, u32)) -> Variant {
    Variant::new("peak_flops").with("CHAINS", chains).with("UNROLLED", steps).with("LANES", lanes)
}

/// How memory is gone over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Copy,
    Sum,
    SumOfTexture,
}

fn bandwidth_variant((lanes, quads): (u32, u32), pass: Pass) -> Variant {
    Variant::new("peak_bandwidth")
        .with("QUADS", quads)
        .with("LANES", lanes)
        .flag("SUM", pass != Pass::Copy)
        .flag("TEXTURES", pass == Pass::SumOfTexture)
}

/// The ways of going over memory, with lanes and groups of four.
fn passes(habits: &Habits) -> Vec<((u32, u32), Pass)> {
    let buffers = QUADS[kind(habits)].iter().flat_map(|tiles| [(*tiles, Pass::Copy), (*tiles, Pass::Sum)]);
    let textures = TEXELS
        .iter()
        .filter(|_| habits.matrices == Matrices::Textures)
        .map(|tiles| (*tiles, Pass::SumOfTexture));
    buffers.chain(textures).collect()
}

/// The kernels of an adapter.
pub(crate) fn peak_variants(habits: &Habits) -> Vec<Variant> {
    let flops = CHAINS[kind(habits)].iter().map(|tiles| flops_variant(*tiles));
    flops.chain(passes(habits).into_iter().map(|(tiles, pass)| bandwidth_variant(tiles, pass))).collect()
}

impl Bench {
    /// Measures the device's peak.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted), [`Error::OutOfMemory`](crate::Error::OutOfMemory), and whatever
    /// else the device refuses.
    pub fn peak(&self) -> Result<Peak> {
        let kind = kind(self.device.habits());
        let mut flops: f64 = 0.0;
        for tiles in CHAINS[kind] {
            if self.fits(tiles.0) {
                flops = flops.max(self.peak_flops(*tiles, INVOCATIONS[kind])?);
            }
        }
        let bytes = BUFFER[kind].min(self.device.largest_binding());
        let (mut copy_bytes_per_s, mut read_bytes_per_s) = (0f64, 0f64);
        for (tiles, pass) in passes(self.device.habits()) {
            if self.fits(tiles.0) {
                let rate = self.peak_bandwidth(tiles, bytes, pass)?;
                let best = if pass == Pass::Copy { &mut copy_bytes_per_s } else { &mut read_bytes_per_s };
                *best = best.max(rate);
            }
        }
        let bytes_per_s = copy_bytes_per_s.max(read_bytes_per_s);
        Ok(Peak { flops, bytes_per_s, copy_bytes_per_s, read_bytes_per_s })
    }

    /// Whether a workgroup of so many lanes fits the device.
    fn fits(&self, lanes: u32) -> bool {
        lanes <= self.device.limits().max_compute_invocations_per_workgroup
    }

    fn peak_flops(&self, (lanes, chains, steps): (u32, u32, u32), invocations: u32) -> Result<f64> {
        let device = &self.device;
        let purpose = Purpose { what: "the sums of a measurement", flag: "--only" };
        let sums = device.buffer(16 * u64::from(invocations), purpose)?;
        let mut constants = Chains { iterations: 1, a: 0.5, b: 0.75, padding: 0 };
        let uniform = device.uniform(&constants)?;
        let bindings = [Binding::whole(0, &uniform), Binding::whole(1, &sums)];
        let dispatch = device.dispatch(
            &flops_variant((lanes, chains, steps)),
            &bindings,
            [invocations / lanes, 1, 1],
        )?;
        // Of an iteration of all invocations.
        let each = u64::from(invocations) * u64::from(8 * chains * steps);
        let habits = device.habits();
        let mut most = (habits.dispatch_flops / each).clamp(1, habits.loop_iterations.into());
        let target = 0.25e-3 * habits.submission_ms as f64;
        let (mut best, mut rounds) = (0f64, 0);
        // Longer and longer, until launching it is nothing.
        loop {
            constants.iterations = u32::try_from(most).unwrap_or(u32::MAX);
            device.write(&uniform, &[constants])?;
            let work = Work { flops: each * most, bytes: sums.bytes() };
            let seconds = self.shortest(&dispatch.clone().with_work(work))?;
            best = best.max(work.flops as f64 / seconds);
            if seconds >= target || most == u64::from(habits.loop_iterations) {
                rounds += 1;
                if rounds >= self.rounds {
                    return Ok(best);
                }
            } else {
                most = (2 * most).min(habits.loop_iterations.into());
            }
        }
    }

    fn peak_bandwidth(&self, (lanes, quads): (u32, u32), bytes: u64, pass: Pass) -> Result<f64> {
        let device = &self.device;
        let purpose = Purpose { what: "the buffers of a measurement", flag: "--only" };
        let group = 16 * u64::from(lanes * quads);
        let limits = device.limits();
        let texture = pass == Pass::SumOfTexture;
        let most = if texture {
            limits.max_texture_dimension_2d
        } else {
            limits.max_compute_workgroups_per_dimension
        };
        let groups = u32::try_from(bytes / group).unwrap_or(u32::MAX).min(most);
        let bytes = group * u64::from(groups);
        let written = if pass == Pass::Copy { bytes } else { bytes / u64::from(quads) };
        let source = Matrix::new(device, groups as usize, 4 * (lanes * quads) as usize, texture, purpose)?;
        let target = device.buffer(written, purpose)?;
        let bindings = [Binding::matrix(0, &source), Binding::whole(1, &target)];
        let dispatch =
            device.dispatch(&bandwidth_variant((lanes, quads), pass), &bindings, [groups, 1, 1])?;
        let dispatch = dispatch.with_work(Work { flops: 0, bytes: bytes + written });
        // Its first run is the memory's first use.
        self.shortest(&dispatch)?;
        let mut best = f64::INFINITY;
        for _ in 0..self.rounds {
            best = best.min(self.shortest(&dispatch)?);
        }
        Ok(dispatch.work().bytes as f64 / best)
    }

    /// The time of a dispatch, the shorter of two.
    fn shortest(&self, dispatch: &Dispatch) -> Result<f64> {
        let profile =
            self.device.profile(self.device.clock(), std::slice::from_ref(dispatch), 2, self.stop)?;
        let seconds = profile.timings.iter().flat_map(|timing| &timing.seconds);
        // No clock runs backwards, and none stands still over work of milliseconds.
        Ok(seconds.copied().filter(|seconds| *seconds > 0.0).fold(f64::INFINITY, f64::min))
    }
}
