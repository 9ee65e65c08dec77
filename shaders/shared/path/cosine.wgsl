// The cosine path (Albergo & Vanden-Eijnden 2023, the trigonometric interpolant): a quarter of a circle,
// a(t) = sin(πt/2), b(t) = cos(πt/2); a' = (π/2)·b, b' = −(π/2)·a. A quarter of t in turns is exact, and so is what
// remains of it after whole quarters: b keeps its digits where it is small.

//#include "shared/turns.wgsl"

const QUARTER_TURN: f32 = 1.5707963267948966;

// (a, b, a', b') at time t
fn path_schedule(t: f32) -> vec4f {
    let wave = sin_cos_turns(vec2f(0.25 * t));
    return vec4f(wave.x, wave.z, QUARTER_TURN * wave.z, -QUARTER_TURN * wave.x);
}
