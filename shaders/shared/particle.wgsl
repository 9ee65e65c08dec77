// What is remembered of a particle between attempts. Mirrors `Particle` in src/sample/layout.rs.
struct Particle {
    t: f32,
    h: f32,             // to be tried next, with its sign
    error: f32,         // of the last accepted step, not below 1e-4
    status: u32,
    accepted: u32,
    rejected: u32,
    output: u32,        // the next output
    after_rejection: u32,
}

const RUNNING: u32 = 0u;
const DONE: u32 = 1u;
const OUT_OF_STEPS: u32 = 2u;
const STUCK: u32 = 3u;              // the step no longer changes the time

// The step to be tried: the last one ends at t1 exactly.
fn fitted_step(particle: Particle, t1: f32) -> f32 {
    let left = t1 - particle.t;
    return select(particle.h, left, abs(left) <= 1.01 * abs(particle.h));
}
