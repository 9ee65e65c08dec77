// One layer forward, by tiles in the workgroup's memory: h = act(x·Wᵀ + b), and in training act'(z) beside it. The same
// as linear_forward.wgsl for GPUs; shared/tile.wgsl tells how.
//
// A workgroup computes a tile of h: x of the grid runs over tiles of rows, y over tiles of outputs. Rows and widths need
// be no multiples of a tile.
//
// Variants: TRAINING  writes slope
//           TANGENT   forward-mode derivative: h' = act'(z)·(W·x'), without b; slope is read, by rows.period rows
//           LINEAR    with TANGENT: the last layer, which has no slope

//#include "shared/activation/{ACTIVATION}.wgsl"
//#include "shared/rows.wgsl"
//#include "shared/tile.wgsl"

const WIDTH_IN: u32 = 8u;    // K, padded
const WIDTH_OUT: u32 = 8u;   // padded
const OUTPUTS: u32 = 8u;     // true number of outputs: columns beyond it are written as zero
const LEFT_ALONG: bool = true;
const RIGHT_ALONG: bool = true;

@group(0) @binding(0) var<uniform> rows: Rows;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;          // [rows, WIDTH_IN / 4]
@group(0) @binding(2) var<storage, read> layer: array<vec4f>;          // W [WIDTH_OUT, WIDTH_IN / 4], then b [WIDTH_OUT / 4]
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;   // [rows, WIDTH_OUT / 4]
//#if TRAINING
@group(0) @binding(4) var<storage, read_write> slope: array<vec4f>;    // [rows, WIDTH_OUT / 4]
//#end
//#if TANGENT
//#if !LINEAR
@group(0) @binding(4) var<storage, read> slope: array<vec4f>;          // [rows.period, WIDTH_OUT / 4]
//#end
//#end

fn left_square(i: u32, l: u32, end: u32) -> mat4x4f {
    var x: mat4x4f;
    for (var r = 0u; r < 4u; r++) { //#unroll
        if (4u * i + r < rows.count && l < end) {
            x[r] = input[(4u * i + r) * (WIDTH_IN / 4u) + l / 4u];
        }
    }
    return transpose(x);
}

fn right_square(j: u32, l: u32, end: u32) -> mat4x4f {
    var w: mat4x4f;
    // widths are multiples of four
    if (4u * j < WIDTH_OUT && l < end) {
        for (var r = 0u; r < 4u; r++) { //#unroll
            w[r] = layer[(4u * j + r) * (WIDTH_IN / 4u) + l / 4u];
        }
    }
    return transpose(w);
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
    let origin = vec2u(group.x * ROW_QUADS, group.y * COLUMN_QUADS);
    let quads_out = WIDTH_OUT / 4u;
    let place = lane_place(lane);
    var sums: array<vec4f, SUMS>;
    product(lane, origin, 0u, WIDTH_IN, &sums);
    for (var c = 0u; c < QUADS_X; c++) { //#unroll
        let quad = origin.y + place.x + c * LANES_X;
        if (quad < quads_out) {
            // act(0) need not be 0 (softplus): padded columns must stay zero for the gradients of the next layer
            let inside = vec4u(4u * quad) + vec4u(0u, 1u, 2u, 3u) < vec4u(OUTPUTS);
//#if !TANGENT
            let bias = layer[WIDTH_OUT * (WIDTH_IN / 4u) + quad];
//#end
            for (var r = 0u; r < QUADS_Y; r++) { //#unroll
                for (var i = 0u; i < 4u; i++) { //#unroll
                    let row = 4u * (origin.x + place.y + r * LANES_Y) + i;
                    if (row < rows.count) {
//#if TANGENT
                        var h = sums[(4u * r + i) * QUADS_X + c];
//#if !LINEAR
                        h *= slope[(row % rows.period) * quads_out + quad];
//#end
                        output[row * quads_out + quad] = select(vec4f(0.0), h, inside);
//#else
                        let z = sums[(4u * r + i) * QUADS_X + c] + bias;
                        output[row * quads_out + quad] = select(vec4f(0.0), activation(z), inside);
//#end
//#if TRAINING
                        slope[row * quads_out + quad] = activation_slope(z);
//#end
                    }
                }
            }
        }
    }
}
