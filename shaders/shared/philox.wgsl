// Philox4x32-10, the counter-based generator of Random123 (Salmon et al. 2011, "Parallel random numbers:
// as easy as 1, 2, 3"), and what the engine draws from its words.
//
// key     = the 64-bit seed as (low, high)
// counter = (row, block, step, stream): every number of a run has an address, so none has to be stored.
// The integer core is exact on every adapter.

//#include "shared/turns.wgsl"

const STREAM_PICK: u32 = 0u;    // block 0: words 0, 1 pick the row of the data; word 2 is the time,
                                // word 3 says whether the row is told its condition
const STREAM_SOURCE: u32 = 1u;  // block j: x0 in columns 4j..4j+3; or, in block 0, the row of a source data set
const STREAM_SAMPLE: u32 = 2u;  // block j: noise of the sampler in columns 4j..4j+3; step = 0
const STREAM_PROBE: u32 = 3u;   // block j: probe number `step` of the divergence in columns 4j..4j+3
const STREAM_DIFFUSION: u32 = 4u;  // block j: noise of a step of a stochastic flow in columns 4j..4j+3
const STREAM_PATH: u32 = 6u;    // block j: noise around the path in columns 4j..4j+3

// (low, high) words of a·b. WGSL has no 64-bit integers: four products of 16-bit halves.
fn multiply_wide(a: u32, b: u32) -> vec2u {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let low = a_low * b_low;
    let middle = a_high * b_low + (low >> 16u);  // at most (2^16 − 1)² + 2^16 − 1: no overflow
    let cross = a_low * b_high + (middle & 0xffffu);
    return vec2u(a * b, a_high * b_high + (middle >> 16u) + (cross >> 16u));
}

fn philox_round(c: vec4u, k: vec2u) -> vec4u {
    let p0 = multiply_wide(0xD2511F53u, c.x);
    let p1 = multiply_wide(0xCD9E8D57u, c.z);
    return vec4u(p1.y ^ c.y ^ k.x, p1.x, p0.y ^ c.w ^ k.y, p0.x);
}

fn philox4x32(counter: vec4u, key: vec2u) -> vec4u {
    let bump = vec2u(0x9E3779B9u, 0xBB67AE85u);
    var c = counter;
    var k = key;
    for (var i = 0u; i < 10u; i++) { //#unroll
        c = philox_round(c, k + i * bump);
    }
    return c;
}

// Uniform on [0, 1): the upper 24 bits, which a float holds exactly.
fn uniform01(word: u32) -> f32 {
    return f32(word >> 8u) * 0x1p-24;
}

// Four standard normals by Box–Muller; the radius takes u in (0, 1], so its logarithm is finite. Around u = 1 drivers
// owe the logarithm an absolute error of 2^−21 only: it may come out positive there, and its root as NaN.
fn normals(words: vec4u) -> vec4f {
    let u = vec2f(vec2u(words.x >> 8u, words.z >> 8u) + 1u) * 0x1p-24;
    let radius = sqrt(max(-2.0 * log(u), vec2f(0.0)));
    let angle = sin_cos_turns(vec2f(uniform01(words.y), uniform01(words.w)));
    return vec4f(radius.x * angle.z, radius.x * angle.x, radius.y * angle.w, radius.y * angle.y);
}

// floor((w0·2^32 + w1)·n / 2^64): a uniform row of n, without a bias that 32 bits would show.
fn pick_row(w0: u32, w1: u32, n: u32) -> u32 {
    let upper = multiply_wide(w0, n);
    let lower = multiply_wide(w1, n);
    let carry = select(0u, 1u, upper.x + lower.y < upper.x);
    return upper.y + carry;
}
