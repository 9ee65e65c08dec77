//! What each dispatch of a plan takes.

use std::time::{Duration, Instant};

use super::device::{Buffer, BufferCopy, Device, Purpose};
use super::plan::{Dispatch, Work};
use crate::{Error, Result};

/// How time is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The device's own, read at the beginning and at the end of a pass with that one dispatch.
    Timestamps,
    /// The host's, over a submission of one dispatch again and again: what launching it costs is in it.
    Host,
}

impl Clock {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Timestamps => "timestamps",
            Self::Host => "host",
        }
    }
}

/// What one dispatch took.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The kernel's file, without extension.
    pub kernel: &'static str,
    /// Its variant and grid, for people.
    pub variant: String,
    /// What it has to do.
    pub work: Work,
    /// Of each repeat.
    pub seconds: Vec<f64>,
}

/// What the dispatches of a plan took, in its order.
#[derive(Clone, Debug)]
pub struct Profile {
    /// How time was taken.
    pub clock: Clock,
    /// One for each dispatch.
    pub timings: Vec<Timing>,
}

/// The most dispatches of a submission: a set of queries holds 4096 timestamps.
const MOST: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;
/// Of a submission of one dispatch again and again, where the host keeps the time.
const HOST_TIME: Duration = Duration::from_millis(10);
const MOST_COPIES: u32 = 4096;

impl Device {
    /// The best clock that the device has.
    #[must_use]
    pub fn clock(&self) -> Clock {
        if self.inner.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            Clock::Timestamps
        } else {
            Clock::Host
        }
    }

    /// Runs a plan `repeats` times and says what each of its dispatches took. The buffers are as after that many runs of
    /// the plan; with the host's clock, dispatches run more often than that, and out of turn.
    ///
    /// A submission of the plan is cut where its dispatches' operations are more than the habits allow for one. `stop`
    /// is asked between submissions whether to break off.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if `stop` says so, [`Error::Device`] or [`Error::DeviceLost`].
    pub fn profile(
        &self,
        clock: Clock,
        plan: &[Dispatch],
        repeats: usize,
        stop: fn() -> bool,
    ) -> Result<Profile> {
        let mut timings: Vec<Timing> = plan
            .iter()
            .map(|dispatch| Timing {
                kernel: dispatch.kernel(),
                variant: dispatch.describe(),
                work: dispatch.work(),
                seconds: Vec::with_capacity(repeats),
            })
            .collect();
        let go_on = || if stop() { Err(Error::Interrupted) } else { Ok(()) };
        match clock {
            Clock::Timestamps => {
                let queries = Queries::new(self, plan.len().min(MOST))?;
                for _ in 0..repeats {
                    let mut first = 0;
                    for part in parts(plan, self.habits().dispatch_flops) {
                        go_on()?;
                        for (timing, seconds) in timings[first..].iter_mut().zip(queries.run(self, part)?) {
                            timing.seconds.push(seconds);
                        }
                        first += part.len();
                    }
                }
            }
            Clock::Host => {
                for (dispatch, timing) in plan.iter().zip(&mut timings) {
                    let mut copies = 1;
                    // Once without being counted: the first time, the driver may still be compiling.
                    self.timed(dispatch, 1)?;
                    while timing.seconds.len() < repeats {
                        go_on()?;
                        let taken = self.timed(dispatch, copies)?;
                        if taken < HOST_TIME && copies < MOST_COPIES {
                            copies *= 2;
                        } else {
                            timing.seconds.push(taken.as_secs_f64() / f64::from(copies));
                        }
                    }
                }
            }
        }
        Ok(Profile { clock, timings })
    }

    /// A submission of so many times the same dispatch, by the host's clock.
    fn timed(&self, dispatch: &Dispatch, copies: u32) -> Result<Duration> {
        let begun = Instant::now();
        let submission = self.submit((0..copies).map(|_| dispatch), &[])?;
        self.wait(Some(&submission))?;
        Ok(begun.elapsed())
    }
}

/// A plan in parts of bounded work.
fn parts(plan: &[Dispatch], most_flops: u64) -> Vec<&[Dispatch]> {
    let mut parts = vec![];
    let (mut from, mut flops) = (0, 0);
    for (at, dispatch) in plan.iter().enumerate() {
        if at > from && (flops + dispatch.flops() > most_flops || at - from == MOST) {
            parts.push(&plan[from..at]);
            (from, flops) = (at, 0);
        }
        flops += dispatch.flops();
    }
    if from < plan.len() {
        parts.push(&plan[from..]);
    }
    parts
}

/// Timestamps of so many dispatches.
struct Queries {
    set: wgpu::QuerySet,
    resolved: Buffer,
    landing: Buffer,
}

impl Queries {
    fn new(device: &Device, dispatches: usize) -> Result<Self> {
        let count = 2 * u32::try_from(dispatches.max(1)).unwrap_or(u32::MAX);
        let set = device.inner.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("timestamps"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let bytes = 8 * u64::from(count);
        let purpose = Purpose { what: "timestamps", flag: "--batch" };
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        Ok(Self { set, resolved: device.allocate(bytes, usage, purpose)?, landing: device.landing(bytes)? })
    }

    /// Runs the dispatches, each in a pass of its own, and returns their times in seconds.
    fn run(&self, device: &Device, plan: &[Dispatch]) -> Result<Vec<f64>> {
        let inner = &device.inner;
        let mut encoder = inner.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (at, dispatch) in (0u32..).zip(plan) {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(dispatch.kernel()),
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &self.set,
                    beginning_of_pass_write_index: Some(2 * at),
                    end_of_pass_write_index: Some(2 * at + 1),
                }),
            });
            dispatch.record(&mut pass);
        }
        let count = 2 * u32::try_from(plan.len()).unwrap_or(u32::MAX);
        encoder.resolve_query_set(&self.set, 0..count, &self.resolved.raw, 0);
        let bytes = 8 * u64::from(count);
        let copy = BufferCopy { from: &self.resolved, range: 0..bytes, to: &self.landing, at: 0 };
        let submission = device.finish(encoder, &[copy])?;
        device.wait(Some(&submission))?;
        let ticks: Vec<u64> = device.fetch(&self.landing, 0..bytes)?;
        let period = f64::from(inner.queue.get_timestamp_period()) * 1e-9;
        // A clock that was set back in between says nothing: no time.
        Ok(ticks.chunks_exact(2).map(|pair| pair[1].saturating_sub(pair[0]) as f64 * period).collect())
    }
}
