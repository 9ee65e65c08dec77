// The optimiser's constants and the learning rate as a function of the step. Mirrors `Schedule` in
// src/train/layout.rs.

//#include "shared/turns.wgsl"

struct Schedule {
    learning_rate: f32,
    warmup: u32,          // steps of linear warm-up
    steps: u32,           // where the cosine reaches zero
    cosine: u32,          // 0: constant
    beta1: f32,
    one_minus_beta1: f32, // worked out in double precision on the host
    beta2: f32,
    one_minus_beta2: f32,
    epsilon: f32,
    weight_decay: f32,
    clip: f32,            // largest norm of the gradient; 0: off
    average_decay: f32,   // of the weight average
    batch: u32,
    loss_partials: u32,
    square_partials: u32,
    ring: u32,            // records in the ring
}

// The rate of update `step` (counted from 0).
fn learning_rate(step: u32) -> f32 {
    if (step < schedule.warmup) {
        return schedule.learning_rate * f32(step + 1u) / f32(schedule.warmup);
    }
    if (schedule.cosine == 0u) {
        return schedule.learning_rate;
    }
    let length = max(schedule.steps, schedule.warmup + 1u) - schedule.warmup;
    // (1 + cos(πp))/2 = sin²(π(1 − p)/2), which keeps its relative precision towards the end
    let left = length - min(step - schedule.warmup, length);
    let s = sin_cos_turns(vec2f(0.25 * f32(left) / f32(length))).x;
    return schedule.learning_rate * s * s;
}
