// The gradient of one layer's parameters over the rows of a part of the batch, by tiles in the workgroup's memory:
// dW = dZᵀ·X, db = Σ_rows dZ. The same as linear_backward_weight.wgsl for GPUs; shared/tile.wgsl tells how.
//
// A workgroup computes a tile of dW for one slice of the rows: x of the grid runs over tiles of outputs n, y over tiles of
// inputs k, z over slices. Slices are summed afterwards, in order (gradient_reduce.wgsl). Rows are added one after the
// other, in order. Padded rows of dZ are zero.
//
// Variants: ACCUMULATE  adds to what an earlier part of the batch left

//#include "shared/rows.wgsl"
//#include "shared/tile.wgsl"

const WIDTH_IN: u32 = 8u;    // K, padded
const WIDTH_OUT: u32 = 8u;   // N, padded
const LEFT_ALONG: bool = false;
const RIGHT_ALONG: bool = false;

@group(0) @binding(0) var<uniform> rows: Rows;
@group(0) @binding(1) var<storage, read> delta: array<vec4f>;               // dZ [rows, WIDTH_OUT / 4]
@group(0) @binding(2) var<storage, read> input: array<vec4f>;               // X [rows, WIDTH_IN / 4]
@group(0) @binding(3) var<storage, read_write> gradient: array<vec4f>;      // per slice: dW [WIDTH_OUT, WIDTH_IN / 4], db [WIDTH_OUT / 4]

fn left_square(i: u32, l: u32, end: u32) -> mat4x4f {
    var d: mat4x4f;
    for (var m = 0u; m < 4u; m++) { //#unroll
        if (4u * i < WIDTH_OUT && l + m < end) {
            d[m] = delta[(l + m) * (WIDTH_OUT / 4u) + i];
        }
    }
    return d;
}

fn right_square(j: u32, l: u32, end: u32) -> mat4x4f {
    var x: mat4x4f;
    for (var m = 0u; m < 4u; m++) { //#unroll
        if (4u * j < WIDTH_IN && l + m < end) {
            x[m] = input[(l + m) * (WIDTH_IN / 4u) + j];
        }
    }
    return x;
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
    let origin = vec2u(group.x * ROW_QUADS, group.y * COLUMN_QUADS);
    let quads_in = WIDTH_IN / 4u;
    let quads_out = WIDTH_OUT / 4u;
    let place = lane_place(lane);
    let first = group.z * rows.slice_rows;
    let last = min(first + rows.slice_rows, rows.count);
    var sums: array<vec4f, SUMS>;
    var bias = vec4f(0.0);
    product(lane, origin, first, last, &sums, &bias);

    let base = group.z * rows.slice_stride;
    for (var r = 0u; r < QUADS_Y; r++) { //#unroll
        for (var i = 0u; i < 4u; i++) { //#unroll
            let out = 4u * (origin.x + place.y + r * LANES_Y) + i;
            for (var c = 0u; c < QUADS_X; c++) { //#unroll
                let quad = origin.y + place.x + c * LANES_X;
                if (out < WIDTH_OUT && quad < quads_in) {
                    let at = base + out * quads_in + quad;
//#if ACCUMULATE
                    gradient[at] += sums[(4u * r + i) * QUADS_X + c];
//#else
                    gradient[at] = sums[(4u * r + i) * QUADS_X + c];
//#end
                }
            }
        }
    }
    if (group.y == 0u && lane < ROW_QUADS && origin.x + lane < quads_out) {
        let at = base + WIDTH_OUT * quads_in + origin.x + lane;
//#if ACCUMULATE
        gradient[at] += bias;
//#else
        gradient[at] = bias;
//#end
    }
}
