// The device's own peak of multiplications and additions: chains
//
//     x ← a·x + b
//
// that do not wait for each other and never leave the registers. One invocation CHAINS chains of four, UNROLLED steps an
// iteration; at the end it adds its chains up. With |a| < 1 a chain tends to b/(1 − a), whatever it began with.

const CHAINS: u32 = 2u;
const UNROLLED: u32 = 16u;
const LANES: u32 = 64u;

// Mirrors `Chains` in src/measure/bench/peak.rs.
struct Chains {
    iterations: u32,
    a: f32,
    b: f32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> chains: Chains;
@group(0) @binding(1) var<storage, read_write> sums: array<vec4f>;   // [invocations]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let a = chains.a;
    let b = vec4f(chains.b);
    var x: array<vec4f, CHAINS>;
    for (var c = 0u; c < CHAINS; c++) { //#unroll
        // no two alike, and all of them exact
        x[c] = vec4f(0.0, 0.25, 0.5, 0.75) + f32(c) + f32(id.x % 64u) / 256.0;
    }
    for (var i = 0u; i < chains.iterations; i++) {
        for (var k = 0u; k < UNROLLED; k++) { //#unroll
            for (var c = 0u; c < CHAINS; c++) { //#unroll
                x[c] = a * x[c] + b;
            }
        }
    }
    var sum = vec4f(0.0);
    for (var c = 0u; c < CHAINS; c++) { //#unroll
        sum += x[c];
    }
    sums[id.x] = sum;
}
