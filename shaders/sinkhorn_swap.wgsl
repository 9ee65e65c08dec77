// Heat-bath exchanges. A permutation π of probability
//
//     P(π) ∝ exp(−Σ_i ‖x1_i − x0_π(i)‖²/ε)
//
// is what a sample of the entropic plan is that uses every point once. Of two rows a, b and the columns that they have,
// given all else, the odds of having them the other way round are exp(−Δ/ε) with
//
//     Δ = 2·(x1_a − x1_b)·(x0_π(a) − x0_π(b))
//
// Drawing from these two ways leaves P as it is (Gibbs sampling). Rows that differ by the bits m meet in round m: all
// pairs of a round are apart, and in a sweep of rounds 1, 2, …, SPAN − 1 every pair meets once.
//
// One workgroup a problem; a dispatch makes some rounds.
//
// Loops: (SPAN/2 / LANES + 1)·rounds iterations of an invocation, WIDE: SPAN/2 / LANES·DIM·rounds more.
//
// Variants: WIDE  for higher dimensions

//#include "shared/sinkhorn.wgsl"
//#include "shared/philox.wgsl"
//#include "shared/drawing.wgsl"

const N: u32 = 8u;
const SPAN: u32 = 8u;    // the least power of two that is no less than N
const DIM: u32 = 2u;
const LANES: u32 = 64u;

struct Rounds {
    first: u32,  // 1 and more
    end: u32,
    sweep: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> rounds: Rounds;
@group(0) @binding(1) var<uniform> drawing: Drawing;
@group(0) @binding(2) var<storage, read> problems: array<Entropic>;
@group(0) @binding(3) var<storage, read> x0: array<f32>;              // [problems, N, DIM]
@group(0) @binding(4) var<storage, read> x1: array<f32>;              // [problems, N, DIM]
@group(0) @binding(5) var<storage, read_write> partners: array<u32>;  // [problems, N]: π

const STREAM_SWAP: u32 = 6u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let home = group.x * N;
    let sharpness = 2.0 * LOG2_E / problems[group.x].wanted;
    let number = drawing.number + group.x * drawing.stride;
    for (var round = rounds.first; round < rounds.end; round++) {
        let top = firstLeadingBit(round);
        for (var pair = lane; pair < SPAN / 2u; pair += LANES) {
            // The one of the two rows whose bit is 0 there.
            let a = ((pair >> top) << (top + 1u)) | (pair & ((1u << top) - 1u));
            let b = a ^ round;
            if (max(a, b) < N) {
                let p = partners[home + a];
                let q = partners[home + b];
                var product = 0.0;
//#if WIDE
                for (var k = 0u; k < DIM; k++) {
//#else
                for (var k = 0u; k < DIM; k++) { //#unroll
//#end
                    product += (x1[(home + a) * DIM + k] - x1[(home + b) * DIM + k])
                        * (x0[(home + p) * DIM + k] - x0[(home + q) * DIM + k]);
                }
                let words = philox4x32(vec4u(a, round, number, STREAM_SWAP | (rounds.sweep << 8u)), drawing.seed);
                // 1/(1 + 2^(Δ·log2(e)/ε))
                let odds = exp2(clamp(product * sharpness, -100.0, 100.0));
                if (uniform01(words.x) * (1.0 + odds) < 1.0) {
                    partners[home + a] = q;
                    partners[home + b] = p;
                }
            }
        }
        storageBarrier();
    }
}
