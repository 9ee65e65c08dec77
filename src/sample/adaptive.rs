//! What both integrators have in common where every particle chooses its own steps: its record, and its end.

use super::layout::{Particle, Tableau};
use super::sampler::Particles;
use crate::gpu::{Binding, Buffer, Device, Purpose};
use crate::model::to_u32;
use crate::{Error, Result};

/// The control of an adaptive solver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Error of a step that is accepted, relative to the state.
    pub relative: f32,
    /// The same, absolute.
    pub absolute: f32,
    /// Steps that a particle may try.
    pub most_steps: u32,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { relative: 1e-4, absolute: 1e-4, most_steps: 10_000 }
    }
}

impl Tolerance {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] naming the flag.
    pub fn validate(&self) -> Result<()> {
        for (flag, value) in [("--rtol", self.relative), ("--atol", self.absolute)] {
            if !(1e-7..=1.0).contains(&value) {
                return Err(Error::config(
                    format!("{flag} {value} is out of range"),
                    "it takes 1e-7 to 1: float32 has no more digits than that",
                ));
            }
        }
        if self.most_steps == 0 || self.most_steps > 1 << 24 {
            return Err(Error::config(
                format!("--max-steps {} is out of range", self.most_steps),
                "it takes 1 to 2^24",
            ));
        }
        Ok(())
    }
}

/// The particles' records on the device.
#[derive(Debug)]
pub(crate) struct Records {
    pub particles: Buffer,
    /// How many are still on their way after a dispatch.
    pub unfinished: Buffer,
    outputs: Option<Outputs>,
}

/// Where the states of trajectories go.
#[derive(Debug)]
struct Outputs {
    /// When.
    times: Buffer,
    /// [rows, outputs, d]
    states: Buffer,
    /// Floats of a particle.
    each: usize,
}

impl Records {
    pub fn new(particles: &Particles<'_>) -> Result<Self> {
        let Particles { device, rows, outputs, .. } = *particles;
        let purpose = Purpose { what: "the particles' records", flag: "the chunk" };
        let outputs = outputs
            .map(|times| {
                let what = Purpose { what: "the states of a trajectory", flag: "--steps" };
                let bytes = 4 * (rows * times.len() * particles.architecture.dim) as u64;
                let each = times.len() * particles.architecture.dim;
                Ok::<_, Error>(Outputs {
                    times: device.upload(times, what)?,
                    states: device.buffer(bytes, what)?,
                    each,
                })
            })
            .transpose()?;
        Ok(Self {
            particles: device.buffer((rows * size_of::<Particle>()) as u64, purpose)?,
            unfinished: device.buffer(4, purpose)?,
            outputs,
        })
    }

    /// Puts `rows` particles at the beginning.
    pub fn reset(&self, device: &Device, rows: usize, t0: f32) -> Result<()> {
        device.write(&self.particles, &vec![Particle::at(t0); rows])
    }

    /// The bindings of what is there for trajectories, from `slot` on.
    pub fn output_bindings(&self, slot: u32) -> Vec<Binding<'_>> {
        match &self.outputs {
            Some(Outputs { times, states, .. }) => {
                vec![Binding::whole(slot, times), Binding::whole(slot + 1, states)]
            }
            None => vec![],
        }
    }

    /// The states of `rows` particles at the outputs: [rows, outputs, d]; none if none were asked for.
    pub fn trajectory(&self, device: &Device, rows: usize) -> Result<Vec<f32>> {
        match &self.outputs {
            Some(Outputs { states, each, .. }) => device.read(states, 0..4 * (rows * each) as u64),
            None => Ok(vec![]),
        }
    }

    /// The records of particles that are all done; an error if one of them gave up.
    pub fn finish(&self, device: &Device, rows: usize, tableau: &Tableau) -> Result<Vec<Particle>> {
        let bytes = (rows * size_of::<Particle>()) as u64;
        let particles: Vec<Particle> = device.read(&self.particles, 0..bytes)?;
        match particles.iter().position(|particle| particle.status != 1) {
            None => Ok(particles),
            Some(at) => Err(gave_up(&particles[at], u64::from(tableau.first_row) + at as u64, tableau)),
        }
    }
}

/// Why a particle did not arrive.
fn gave_up(particle: &Particle, row: u64, tableau: &Tableau) -> Error {
    let Particle { t, accepted, rejected, status, .. } = *particle;
    if status == 2 {
        return Error::config(
            format!(
                "particle {row} is at t = {t} after {} steps ({rejected} of them rejected), the most that \
                 --max-steps {} allows",
                accepted + rejected,
                tableau.most_steps
            ),
            "raise --max-steps, or loosen --rtol and --atol",
        );
    }
    Error::config(
        format!("particle {row} is stuck at t = {t} after {accepted} steps: no step is small enough there"),
        "loosen --rtol and --atol; if that does not help, the velocity is not finite there",
    )
}

/// The tableau with what an adaptive solver is told.
pub(crate) fn tableau(
    base: &Tableau,
    tolerance: &Tolerance,
    interval: (f32, f32),
    outputs: usize,
) -> Tableau {
    Tableau {
        t0: interval.0,
        t1: interval.1,
        relative: tolerance.relative,
        absolute: tolerance.absolute,
        most_steps: tolerance.most_steps,
        outputs: to_u32(outputs),
        ..*base
    }
}
