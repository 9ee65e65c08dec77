// The integrator's arithmetic for networks too wide to keep a particle on the chip: between two evaluations of the
// network (linear_forward.wgsl) it forms x + h·Σ_j c_j·k_j. One invocation a block of four columns of one row.
//
// Variants: UPDATE    writes the sum back to x: the end of a step. Otherwise it writes the features of the stage.
//           TEXTURES  the features are a texture (src/gpu/matrix.rs says when)

//#include "shared/features.wgsl"

const WIDTH_IN: u32 = 8u;   // features, padded
const WIDTH_OUT: u32 = 8u;  // d, padded
const LANES: u32 = 64u;

// Mirrors `Stage` in src/sample/layout.rs.
struct Stage {
    t: f32,
    h: f32,
    terms: u32,          // how many of the k_j enter
    rows: u32,
    stride: u32,         // distance between k_j and k_{j+1}, in vec4
    padding0: u32,
    padding1: u32,
    padding2: u32,
    coefficients: array<vec4f, 2>,
}

@group(0) @binding(0) var<uniform> stage: Stage;
@group(0) @binding(1) var<storage, read> slopes: array<vec4f>;            // k [stages, rows padded, WIDTH_OUT / 4]
//#if UPDATE
@group(0) @binding(2) var<storage, read_write> points: array<f32>;        // x [rows, DIM]
//#else
@group(0) @binding(2) var<storage, read> points: array<f32>;              // x [rows, DIM]
//#if TEXTURES
@group(0) @binding(3) var features: texture_storage_2d<rgba32float, write>;   // [rows padded, WIDTH_IN / 4]
//#else
@group(0) @binding(3) var<storage, read_write> features: array<vec4f>;    // [rows padded, WIDTH_IN / 4]
//#end
//#end

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let blocks = WIDTH_IN / 4u;
    let quads_out = WIDTH_OUT / 4u;
    let index = id.y * (groups.x * LANES) + id.x;
    let row = index / blocks;
    let block = index % blocks;
    if (row >= stage.rows) {
        return;
    }
    var sum = vec4f(0.0);
    if (block < quads_out) {
        for (var j = 0u; j < stage.terms; j++) {
            sum += stage.coefficients[j / 4u][j % 4u] * slopes[j * stage.stride + row * quads_out + block];
        }
    }
    var feature = stage.h * sum;
    for (var i = 0u; i < 4u; i++) { //#unroll
        let column = 4u * block + i;
        if (column < DIM) {
            feature[i] += points[row * DIM + column];
        }
    }
//#if UPDATE
    for (var i = 0u; i < 4u; i++) { //#unroll
        let column = 4u * block + i;
        if (column < DIM) {
            points[row * DIM + column] = feature[i];
        }
    }
//#else
    for (var i = 0u; i < 4u; i++) { //#unroll
        if (4u * block + i >= DIM) {
            feature[i] = time_feature(4u * block + i, stage.t);
        }
    }
//#if TEXTURES
    textureStore(features, vec2u(block, row), feature);
//#else
    features[row * blocks + block] = feature;
//#end
//#end
}
