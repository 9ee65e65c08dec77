//! What each kernel takes, and how near that is to what the device can do.

use serde::{Deserialize, Serialize};

use super::throughput::chunk;
use super::{Bench, Peak, Shape, Spread};
use crate::Result;
use crate::gpu::{Clock, Dispatch, Timing, Work};
use crate::model::Kernels;
use crate::sample::Sampler;

/// The kernels of a task, each with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// "training", "sampling" or "likelihood".
    pub of: String,
    /// The network, and the rows that went through it at once.
    pub shape: Shape,
    /// The kernels asked for, of [`KERNELS`](crate::model::KERNELS).
    pub asked: String,
    /// The kernels at work.
    pub kernels: String,
    /// How time was taken: [`Clock::name`].
    pub clock: String,
    /// Of one step: all kernels, one after the other.
    pub seconds: f64,
    /// Of the least time that the peak allows for all of them. Beyond 1 where data stay in caches.
    pub share: f64,
    /// Each kernel, in the order in which they begin.
    pub rows: Vec<KernelTime>,
}

/// What a kernel takes in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelTime {
    /// Its file, without extension.
    pub kernel: String,
    /// Dispatches a step; one of many steps is a part of one.
    pub calls: f64,
    /// Of all of them.
    pub seconds: Spread,
    /// Operations a second, of those that its [`Work`] counts.
    pub flops_per_s: f64,
    /// Bytes a second of those.
    pub bytes_per_s: f64,
    /// "arithmetic" or "memory": which of both the peak would take longer for.
    pub bound: String,
    /// Of the least time that the peak allows.
    pub share: f64,
}

/// Runs that each kernel is timed over, at the least.
const REPEATS: usize = 5;
/// And at the most.
const MOST_REPEATS: usize = 200;

impl Bench {
    /// The kernels of a training step.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn training_kernels(&self, shape: &Shape, asked: Kernels, peak: &Peak) -> Result<Roofline> {
        let trainer = self.trainer(&self.data(shape.dim)?, shape, asked)?;
        self.roofline("training", (shape, asked, trainer.kernels()), (trainer.plan(), 1), peak)
    }

    /// The kernels of an Euler step of a chunk of particles.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn sampling_kernels(&self, shape: &Shape, asked: Kernels, peak: &Peak) -> Result<Roofline> {
        self.integrator("sampling", (shape, asked), self.euler_sampler(shape, asked)?, peak)
    }

    /// The kernels of an Euler step back from a chunk of data, with the exact divergence.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn likelihood_kernels(&self, shape: &Shape, asked: Kernels, peak: &Peak) -> Result<Roofline> {
        self.integrator("likelihood", (shape, asked), self.likelihood_sampler(shape, asked)?, peak)
    }

    fn integrator(
        &self,
        of: &str,
        (shape, asked): (&Shape, Kernels),
        mut sampler: Sampler,
        peak: &Peak,
    ) -> Result<Roofline> {
        let rows = chunk(shape.rows, sampler.chunk_rows());
        let (plan, steps) = sampler.plan(rows)?;
        let shape = Shape { rows, ..*shape };
        self.roofline(of, (&shape, asked, sampler.kernels()), (&plan, steps), peak)
    }

    /// Times a plan of so many steps.
    fn roofline(
        &self,
        of: &str,
        (shape, asked, kernels): (&Shape, Kernels, Kernels),
        (plan, steps): (&[Dispatch], u32),
        peak: &Peak,
    ) -> Result<Roofline> {
        let clock = self.device.clock();
        let profile = |repeats| self.device.profile(clock, plan, repeats, self.stop);
        // Not counted: caches fill, and drivers finish what they put off.
        profile(1)?;
        let once: f64 = profile(1)?.timings.iter().flat_map(|timing| &timing.seconds).sum();
        let wanted = self.time.as_secs_f64() / once.max(1e-9);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to a small count"
        )]
        let repeats = wanted.clamp(REPEATS as f64, MOST_REPEATS as f64) as usize;
        let rows = summed(&profile(repeats)?.timings, repeats, f64::from(steps), peak);
        let seconds: f64 = rows.iter().map(|row| row.seconds.median).sum();
        let least: f64 = rows.iter().map(|row| row.share * row.seconds.median).sum();
        Ok(Roofline {
            of: of.to_owned(),
            shape: *shape,
            asked: asked.name().to_owned(),
            kernels: kernels.name().to_owned(),
            clock: Clock::name(clock).to_owned(),
            seconds,
            share: least / seconds,
            rows,
        })
    }
}

/// The dispatches of each kernel together, for one of so many steps.
fn summed(timings: &[Timing], repeats: usize, steps: f64, peak: &Peak) -> Vec<KernelTime> {
    let mut kernels: Vec<&'static str> = vec![];
    for timing in timings {
        if !kernels.contains(&timing.kernel) {
            kernels.push(timing.kernel);
        }
    }
    let row = |kernel: &'static str| {
        let of: Vec<&Timing> = timings.iter().filter(|timing| timing.kernel == kernel).collect();
        let all = |repeat: usize| of.iter().filter_map(|timing| timing.seconds.get(repeat)).sum::<f64>();
        let seconds = Spread::of((0..repeats).map(|repeat| all(repeat) / steps).collect());
        let work: Work = of.iter().map(|timing| timing.work).sum();
        let (flops, bytes) = (work.flops as f64 / steps, work.bytes as f64 / steps);
        let (arithmetic, memory) = (flops / peak.flops, bytes / peak.bytes_per_s);
        // A clock may be too coarse for a small kernel.
        let taken = seconds.median.max(1e-9);
        KernelTime {
            kernel: kernel.to_owned(),
            calls: of.len() as f64 / steps,
            seconds,
            flops_per_s: flops / taken,
            bytes_per_s: bytes / taken,
            bound: if arithmetic >= memory { "arithmetic" } else { "memory" }.to_owned(),
            share: arithmetic.max(memory) / taken,
        }
    };
    kernels.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_a_kernel_are_added_up() {
        let timing = |kernel, flops, bytes, seconds: [f64; 3]| Timing {
            kernel,
            variant: String::new(),
            work: Work { flops, bytes },
            seconds: seconds.to_vec(),
        };
        let timings = [
            timing("product", 600, 10, [1.0, 2.0, 3.0]),
            timing("copy", 0, 100, [4.0, 4.0, 4.0]),
            timing("product", 200, 10, [1.0, 1.0, 9.0]),
        ];
        let peak = Peak { flops: 400.0, bytes_per_s: 50.0, copy_bytes_per_s: 50.0, read_bytes_per_s: 40.0 };
        let rows = summed(&timings, 3, 2.0, &peak);
        assert_eq!(rows.len(), 2);
        let (product, copy) = (&rows[0], &rows[1]);
        assert_eq!((product.kernel.as_str(), product.calls), ("product", 1.0));
        // 2, 3 and 12 seconds for two steps
        assert_eq!(product.seconds, Spread { median: 1.5, min: 1.0, max: 6.0, rounds: 3 });
        // 400 operations a step take 1 s at the peak, 10 bytes a fifth of it
        assert_eq!((product.bound.as_str(), product.share), ("arithmetic", 1.0 / 1.5));
        assert_eq!((product.flops_per_s, product.bytes_per_s), (400.0 / 1.5, 10.0 / 1.5));
        assert_eq!((copy.kernel.as_str(), copy.bound.as_str(), copy.share), ("copy", "memory", 0.5));
    }
}
