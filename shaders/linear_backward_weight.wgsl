// The gradient of one layer's parameters over the rows of a part of the batch: dW = dZᵀ·X, db = Σ_rows dZ.
//
// An invocation computes TILE_OUT × TILE_IN values of dW for one slice of the rows: x of the grid runs over tiles of
// outputs n, y over tiles of inputs k, z over slices. Slices are summed afterwards, in order (gradient_reduce.wgsl).
// Rows are added one after the other, in order. Padded rows of dZ are zero.
//
// Variants: ACCUMULATE  adds to what an earlier part of the batch left

const WIDTH_IN: u32 = 8u;    // K, padded
const WIDTH_OUT: u32 = 8u;   // N, padded
const TILE_OUT: u32 = 4u;
const TILE_IN: u32 = 8u;
const TILE_QUADS: u32 = TILE_IN / 4u;
const LANES: u32 = 16u;

struct Slices {
    rows: u32,         // padded rows
    slice_rows: u32,   // rows of a slice; the last may have fewer
    slice_stride: u32, // distance between slices of the gradients, in vec4
}

@group(0) @binding(0) var<uniform> slices: Slices;
@group(0) @binding(1) var<storage, read> delta: array<vec4f>;               // dZ [rows, WIDTH_OUT / 4]
@group(0) @binding(2) var<storage, read> input: array<vec4f>;               // X [rows, WIDTH_IN / 4]
@group(0) @binding(3) var<storage, read_write> gradient: array<vec4f>;      // per slice: dW [WIDTH_OUT, WIDTH_IN / 4], db [WIDTH_OUT / 4]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    let out = id.x * TILE_OUT;
    if (out >= WIDTH_OUT) {
        return;
    }
    let quads_in = WIDTH_IN / 4u;
    let quads_out = WIDTH_OUT / 4u;
    let quad = group.y * TILE_QUADS;
    let first = group.z * slices.slice_rows;
    let last = min(first + slices.slice_rows, slices.rows);

    var sums: array<vec4f, TILE_OUT * TILE_QUADS>;
    var bias: array<vec4f, TILE_OUT / 4u>;
    for (var m = first; m < last; m++) {
        for (var j = 0u; j < TILE_OUT / 4u; j++) { //#unroll
            let d = delta[m * quads_out + out / 4u + j];
            bias[j] += d;
            for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
                let x = input[m * quads_in + quad + q];
                for (var i = 0u; i < 4u; i++) { //#unroll
                    sums[(4u * j + i) * TILE_QUADS + q] += d[i] * x;
                }
            }
        }
    }
    let base = group.z * slices.slice_stride;
    for (var n = 0u; n < TILE_OUT; n++) { //#unroll
        for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
            let at = base + (out + n) * quads_in + quad + q;
//#if ACCUMULATE
            gradient[at] += sums[n * TILE_QUADS + q];
//#else
            gradient[at] = sums[n * TILE_QUADS + q];
//#end
        }
    }
    if (group.y == 0u) {
        for (var j = 0u; j < TILE_OUT / 4u; j++) { //#unroll
            let at = base + WIDTH_OUT * quads_in + out / 4u + j;
//#if ACCUMULATE
            gradient[at] += bias[j];
//#else
            gradient[at] = bias[j];
//#end
        }
    }
}
