// The variance-exploding diffusion path (Song et al. 2021, eq. 9, as in Lipman et al. 2022, eq. 16), noise at t = 0:
// with s = 1 − t, L = log(σ_max/σ_min) and E = exp(2·L·s) − 1,
// a(t) = 1, b(t) = σ_min·√E; a' = 0, b' = −σ_min·L·(E + 1)/√E. The source is N(0, b(0)²). b vanishes at t = 1 like √s,
// where b' is singular: times end before it.

//#include "shared/exponential.wgsl"

const SIGMA_MIN: f32 = 0.01;
const LOG_RATIO: f32 = 6.9077554;  // L

// (a, b, a', b') at time t
fn path_schedule(t: f32) -> vec4f {
    let growth = expm1(2.0 * LOG_RATIO * (1.0 - t));
    let root = sqrt(growth);
    return vec4f(1.0, SIGMA_MIN * root, 0.0, -SIGMA_MIN * LOG_RATIO * (growth + 1.0) / root);
}
