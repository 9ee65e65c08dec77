// The variance-preserving diffusion path (Song et al. 2021, eq. 11, as in Lipman et al. 2022, eq. 18), noise at t = 0:
// with s = 1 − t, β(s) = β_min + (β_max − β_min)·s and its integral T = β_min·s + (β_max − β_min)·s²/2,
// a(t) = exp(−T/2), b(t) = √(1 − exp(−T)); a' = a·β/2, b' = −a·a'/b. b vanishes at t = 1 like √(β_min·s), where b' is
// singular: times end before it.

//#include "shared/exponential.wgsl"

const BETA_MIN: f32 = 0.1;
const BETA_MAX: f32 = 20.0;

// (a, b, a', b') at time t
fn path_schedule(t: f32) -> vec4f {
    let s = 1.0 - t;
    let rest = BETA_MIN * t + BETA_MAX * s;  // β(s), as a mean of the two
    let integral = 0.5 * s * (BETA_MIN + rest);
    let a = exponential(-0.5 * integral);
    let b = sqrt(-expm1(-integral));
    let slope = 0.5 * a * rest;
    return vec4f(a, b, slope, -a * slope / b);
}
