// The gradient passed down through one layer: dX = (dZ·W) ⊙ act'(z of the layer below).
//
// An invocation computes TILE_ROWS × TILE_COLUMNS values of dX: x of the grid runs over tiles of rows, y over tiles
// of columns, so that a workgroup shares its weights. dZ is contiguous along n, W along k: broadcast times vector.

const WIDTH_IN: u32 = 8u;    // K, padded: columns of dX
const WIDTH_OUT: u32 = 8u;   // N, padded: columns of dZ
const TILE_ROWS: u32 = 8u;
const TILE_COLUMNS: u32 = 8u;
const TILE_QUADS: u32 = TILE_COLUMNS / 4u;
const LANES: u32 = 16u;

struct Rows {
    count: u32,  // padded rows
}

@group(0) @binding(0) var<uniform> rows: Rows;
@group(0) @binding(1) var<storage, read> delta: array<vec4f>;               // dZ [rows, WIDTH_OUT / 4]
@group(0) @binding(2) var<storage, read> layer: array<vec4f>;               // W [WIDTH_OUT, WIDTH_IN / 4], then b
@group(0) @binding(3) var<storage, read> slope: array<vec4f>;               // act'(z) of the layer below [rows, WIDTH_IN / 4]
@group(0) @binding(4) var<storage, read_write> delta_below: array<vec4f>;   // [rows, WIDTH_IN / 4]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    let row = id.x * TILE_ROWS;
    if (row >= rows.count) {
        return;
    }
    let quads_in = WIDTH_IN / 4u;
    let quads_out = WIDTH_OUT / 4u;
    let quad = group.y * TILE_QUADS;

    var sums: array<vec4f, TILE_ROWS * TILE_QUADS>;
    for (var n = 0u; n < quads_out; n++) {
        var d: array<vec4f, TILE_ROWS>;
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            d[r] = delta[(row + r) * quads_out + n];
        }
        for (var i = 0u; i < 4u; i++) { //#unroll
            for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
                let w = layer[(4u * n + i) * quads_in + quad + q];
                for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                    sums[r * TILE_QUADS + q] += d[r][i] * w;
                }
            }
        }
    }
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
            let at = (row + r) * quads_in + quad + q;
            delta_below[at] = sums[r * TILE_QUADS + q] * slope[at];
        }
    }
}
