// The gradient passed down through one layer: dX = (dZ·W) ⊙ act'(z of the layer below).
//
// An invocation computes TILE_ROWS × TILE_COLUMNS values of dX: x of the grid runs over tiles of rows, y over tiles
// of columns: a workgroup shares its weights, and so do those next to each other. The other way round, as forward, the
// optimiser takes a sixth longer after it on two cores of a processor, though not on one.
// dZ is contiguous along n, W along k: broadcast times vector.
//
// With SUBGROUPS a workgroup is a subgroup of eight lanes, and each of them brings other weights, of four rows of W and
// two groups of its columns: every lane then reads them from the registers of the others.
//
// Variants: TEXTURES   all matrices are textures (src/gpu/matrix.rs says when)
//           SUBGROUPS  LANES is 8 and the size of a subgroup, TILE_COLUMNS a multiple of 8

const WIDTH_IN: u32 = 8u;    // K, padded: columns of dX
const WIDTH_OUT: u32 = 8u;   // N, padded: columns of dZ
const TILE_ROWS: u32 = 8u;
const TILE_COLUMNS: u32 = 8u;
const TILE_QUADS: u32 = TILE_COLUMNS / 4u;
const LANES: u32 = 16u;

//#include "shared/rows.wgsl"

@group(0) @binding(0) var<uniform> rows: Rows;
//#if TEXTURES
@group(0) @binding(3) var slope: texture_storage_2d<rgba32float, read>;          // act'(z) of the layer below [rows, WIDTH_IN / 4]
@group(0) @binding(1) var delta: texture_storage_2d<rgba32float, read>;          // dZ [rows, WIDTH_OUT / 4]
@group(0) @binding(2) var weights: texture_storage_2d<rgba32float, read>;        // all layers; this one's from rows.first_weight
@group(0) @binding(4) var delta_below: texture_storage_2d<rgba32float, write>;   // [rows, WIDTH_IN / 4]
//#else
@group(0) @binding(3) var<storage, read> slope: array<vec4f>;               // act'(z) of the layer below [rows, WIDTH_IN / 4]
@group(0) @binding(1) var<storage, read> delta: array<vec4f>;               // dZ [rows, WIDTH_OUT / 4]
@group(0) @binding(2) var<storage, read> layer: array<vec4f>;               // W [WIDTH_OUT, WIDTH_IN / 4], then b
@group(0) @binding(4) var<storage, read_write> delta_below: array<vec4f>;   // [rows, WIDTH_IN / 4]
//#end

fn delta_at(row: u32, quad: u32) -> vec4f {
//#if TEXTURES
    return textureLoad(delta, vec2u(quad, row));
//#else
    return delta[row * (WIDTH_OUT / 4u) + quad];
//#end
}

fn weight_at(row: u32, quad: u32) -> vec4f {
//#if TEXTURES
    return textureLoad(weights, vec2u(quad, rows.first_weight + row));
//#else
    return layer[row * (WIDTH_IN / 4u) + quad];
//#end
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3u,
) {
    let tile = group.x * LANES + lane;
//#if SUBGROUPS
    // Lanes beyond the last row have weights to bring: they compute the last tile once more, and store nothing.
    let row = min(tile * TILE_ROWS, rows.count - TILE_ROWS);
//#else
    let row = tile * TILE_ROWS;
    if (row >= rows.count) {
        return;
    }
//#end
    let quads_out = WIDTH_OUT / 4u;
    let quad = group.y * TILE_QUADS;

    var sums: array<vec4f, TILE_ROWS * TILE_QUADS>;
    for (var n = 0u; n < quads_out; n++) {
        var d: array<vec4f, TILE_ROWS>;
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            d[r] = delta_at(row + r, n);
        }
//#if SUBGROUPS
        var brought: array<vec4f, TILE_COLUMNS / LANES>;
        for (var i = 0u; i < TILE_COLUMNS / LANES; i++) { //#unroll
            brought[i] = weight_at(4u * n + lane % 4u, quad + (i * LANES + lane) / 4u);
        }
//#end
        var w: array<vec4f, TILE_COLUMNS>;
        for (var c = 0u; c < TILE_COLUMNS; c++) { //#unroll
//#if SUBGROUPS
            w[c] = subgroupBroadcast(brought[c / LANES], c % LANES);
//#else
            w[c] = weight_at(4u * n + c % 4u, quad + c / 4u);
//#end
        }
        // One row after the other: its four numbers stay in registers, and products take the weights from where they lie.
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
                var sum = sums[r * TILE_QUADS + q];
                sum += d[r].x * w[4u * q];
                sum += d[r].y * w[4u * q + 1u];
                sum += d[r].z * w[4u * q + 2u];
                sum += d[r].w * w[4u * q + 3u];
                sums[r * TILE_QUADS + q] = sum;
            }
        }
    }
//#if SUBGROUPS
    if (tile * TILE_ROWS >= rows.count) {
        return;
    }
//#end
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
            let sum = sums[r * TILE_QUADS + q];
//#if TEXTURES
            let at = vec2u(quad + q, row + r);
            textureStore(delta_below, at, sum * textureLoad(slope, at));
//#else
            let at = (row + r) * (WIDTH_IN / 4u) + quad + q;
            delta_below[at] = sum * slope[at];
//#end
        }
    }
}
