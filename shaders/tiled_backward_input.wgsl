// The gradient passed down through one layer, by tiles in the workgroup's memory: dX = (dZ·W) ⊙ act'(z of the layer
// below). The same as linear_backward_input.wgsl for GPUs; shared/tile.wgsl tells how.
//
// A workgroup computes a tile of dX: x of the grid runs over tiles of rows, y over tiles of columns. Rows and widths need
// be no multiples of a tile.

//#include "shared/rows.wgsl"
//#include "shared/tile.wgsl"

const WIDTH_IN: u32 = 8u;    // K, padded: columns of dX
const WIDTH_OUT: u32 = 8u;   // N, padded: columns of dZ
const LEFT_ALONG: bool = true;
const RIGHT_ALONG: bool = false;

@group(0) @binding(0) var<uniform> rows: Rows;
@group(0) @binding(1) var<storage, read> delta: array<vec4f>;               // dZ [rows, WIDTH_OUT / 4]
@group(0) @binding(2) var<storage, read> layer: array<vec4f>;               // W [WIDTH_OUT, WIDTH_IN / 4], then b
@group(0) @binding(3) var<storage, read> slope: array<vec4f>;               // act'(z) of the layer below [rows, WIDTH_IN / 4]
@group(0) @binding(4) var<storage, read_write> delta_below: array<vec4f>;   // [rows, WIDTH_IN / 4]

fn left_square(i: u32, l: u32, end: u32) -> mat4x4f {
    var d: mat4x4f;
    for (var r = 0u; r < 4u; r++) { //#unroll
        if (4u * i + r < rows.count && l < end) {
            d[r] = delta[(4u * i + r) * (WIDTH_OUT / 4u) + l / 4u];
        }
    }
    return transpose(d);
}

fn right_square(j: u32, l: u32, end: u32) -> mat4x4f {
    var w: mat4x4f;
    // widths are multiples of four
    if (4u * j < WIDTH_IN && l < end) {
        for (var n = 0u; n < 4u; n++) { //#unroll
            w[n] = layer[(l + n) * (WIDTH_IN / 4u) + j];
        }
    }
    return w;
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
    let origin = vec2u(group.x * ROW_QUADS, group.y * COLUMN_QUADS);
    let quads_in = WIDTH_IN / 4u;
    let place = lane_place(lane);
    var sums: array<vec4f, SUMS>;
    product(lane, origin, 0u, WIDTH_OUT, &sums);
    for (var c = 0u; c < QUADS_X; c++) { //#unroll
        let quad = origin.y + place.x + c * LANES_X;
        for (var r = 0u; r < QUADS_Y; r++) { //#unroll
            for (var i = 0u; i < 4u; i++) { //#unroll
                let row = 4u * (origin.x + place.y + r * LANES_Y) + i;
                if (row < rows.count && quad < quads_in) {
                    let at = row * quads_in + quad;
                    delta_below[at] = sums[(4u * r + i) * QUADS_X + c] * slope[at];
                }
            }
        }
    }
}
