// One layer forward: h = act(x·Wᵀ + b), and in training act'(z) beside it, so that the backward pass needs
// neither z nor a second exponential.
//
// An invocation computes TILE_ROWS × TILE_COLUMNS outputs: y of the grid runs over tiles of rows, x over tiles of
// columns. So all lanes of a workgroup read the same weights (one load serves them all) and each its own rows; workgroups
// next to each other have these in common, of which there may be more than a cache holds.
// Both operands are contiguous along k: four terms of every sum at a time.
//
// With SUBGROUPS a workgroup is a subgroup of eight lanes, and each of them brings another row of W: one load for eight
// rows instead of eight loads of the same row in all lanes. Every lane then reads them from the registers of the others.
//
// Variants: TRAINING  writes slope
//           TANGENT   forward-mode derivative: h' = act'(z)·(W·x'), without b; slope is read, by rows.period rows
//           LINEAR    with TANGENT: the last layer, which has no slope
//           TEXTURES        x and W are textures (src/gpu/matrix.rs says when)
//           OUTPUT_TEXTURE  so are h and the slopes of a hidden layer
//           SUBGROUPS       LANES is 8 and the size of a subgroup, TILE_COLUMNS a multiple of 8
// Rows are padded to a multiple of TILE_ROWS, widths to a multiple of TILE_COLUMNS: no guards are needed inside.

//#include "shared/activation/{ACTIVATION}.wgsl"

const WIDTH_IN: u32 = 8u;    // K, padded
const WIDTH_OUT: u32 = 8u;   // padded
const OUTPUTS: u32 = 8u;     // true number of outputs: columns beyond it are written as zero
const TILE_ROWS: u32 = 8u;
const TILE_COLUMNS: u32 = 8u;
const TILE_QUADS: u32 = TILE_COLUMNS / 4u;
const LANES: u32 = 16u;

//#include "shared/rows.wgsl"

@group(0) @binding(0) var<uniform> rows: Rows;
//#if TEXTURES
@group(0) @binding(1) var input: texture_storage_2d<rgba32float, read>;      // [rows, WIDTH_IN / 4]
@group(0) @binding(5) var weights: texture_storage_2d<rgba32float, read>;    // all layers; this one's from rows.first_weight
//#if !TANGENT
@group(0) @binding(2) var<storage, read> layer: array<vec4f>;          // W [WIDTH_OUT, WIDTH_IN / 4], then b [WIDTH_OUT / 4]
//#end
//#else
@group(0) @binding(2) var<storage, read> layer: array<vec4f>;          // W [WIDTH_OUT, WIDTH_IN / 4], then b [WIDTH_OUT / 4]
@group(0) @binding(1) var<storage, read> input: array<vec4f>;          // [rows, WIDTH_IN / 4]
//#end
//#if OUTPUT_TEXTURE
@group(0) @binding(3) var output: texture_storage_2d<rgba32float, write>;    // [rows, WIDTH_OUT / 4]
//#else
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;   // [rows, WIDTH_OUT / 4]
//#end
//#if TRAINING
//#if OUTPUT_TEXTURE
@group(0) @binding(4) var slope: texture_storage_2d<rgba32float, write>;     // [rows, WIDTH_OUT / 4]
//#else
@group(0) @binding(4) var<storage, read_write> slope: array<vec4f>;    // [rows, WIDTH_OUT / 4]
//#end
//#end
//#if TANGENT
//#if !LINEAR
//#if OUTPUT_TEXTURE
@group(0) @binding(4) var slope: texture_storage_2d<rgba32float, read>;      // [rows.period, WIDTH_OUT / 4]
//#else
@group(0) @binding(4) var<storage, read> slope: array<vec4f>;          // [rows.period, WIDTH_OUT / 4]
//#end
//#end
//#end

fn input_at(row: u32, quad: u32) -> vec4f {
//#if TEXTURES
    return textureLoad(input, vec2u(quad, row));
//#else
    return input[row * (WIDTH_IN / 4u) + quad];
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
    let tile = group.y * LANES + lane;
//#if SUBGROUPS
    // Lanes beyond the last row have rows of W to bring: they compute the last tile once more, and store nothing.
    let row = min(tile * TILE_ROWS, rows.count - TILE_ROWS);
//#else
    let row = tile * TILE_ROWS;
    if (row >= rows.count) {
        return;
    }
//#end
    let quads_in = WIDTH_IN / 4u;
    let quads_out = WIDTH_OUT / 4u;
    let column = group.x * TILE_COLUMNS;

    var sums: array<vec4f, TILE_ROWS * TILE_QUADS>;
//#if SUBGROUPS
//#if !TANGENT
    let brought_bias = layer[WIDTH_OUT * quads_in + group.x * TILE_QUADS + lane % TILE_QUADS];
//#end
//#end
    for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
//#if TANGENT
        let bias = vec4f(0.0);
//#else
//#if SUBGROUPS
        let bias = subgroupBroadcast(brought_bias, q);
//#else
        let bias = layer[WIDTH_OUT * quads_in + group.x * TILE_QUADS + q];
//#end
//#end
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            sums[r * TILE_QUADS + q] = bias;
        }
    }
    for (var k = 0u; k < quads_in; k++) {
        var x: array<vec4f, TILE_ROWS>;
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            x[r] = input_at(row + r, k);
        }
//#if SUBGROUPS
        var brought: array<vec4f, TILE_COLUMNS / LANES>;
        for (var i = 0u; i < TILE_COLUMNS / LANES; i++) { //#unroll
            brought[i] = weight_at(column + i * LANES + lane, k);
        }
//#end
        var w: array<vec4f, TILE_COLUMNS>;
        for (var c = 0u; c < TILE_COLUMNS; c++) { //#unroll
//#if SUBGROUPS
            w[c] = subgroupBroadcast(brought[c / LANES], c % LANES);
//#else
            w[c] = weight_at(column + c, k);
//#end
        }
        // One row after the other: its four numbers stay in registers, and products take the weights from where they lie.
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
                let c = 4u * q;
                var sum = sums[r * TILE_QUADS + q];
                sum += vec4f(w[c].x, w[c + 1u].x, w[c + 2u].x, w[c + 3u].x) * x[r].x;
                sum += vec4f(w[c].y, w[c + 1u].y, w[c + 2u].y, w[c + 3u].y) * x[r].y;
                sum += vec4f(w[c].z, w[c + 1u].z, w[c + 2u].z, w[c + 3u].z) * x[r].z;
                sum += vec4f(w[c].w, w[c + 1u].w, w[c + 2u].w, w[c + 3u].w) * x[r].w;
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
            let z = sums[r * TILE_QUADS + q];
            let quad = group.x * TILE_QUADS + q;
            // act(0) need not be 0 (softplus): padded columns must stay zero for the gradients of the next layer
            let inside = vec4u(column + 4u * q) + vec4u(0u, 1u, 2u, 3u) < vec4u(OUTPUTS);
//#if TANGENT
            var h = z;
//#if !LINEAR
            let primal = (row + r) % rows.period;
//#if OUTPUT_TEXTURE
            h *= textureLoad(slope, vec2u(quad, primal));
//#else
            h *= slope[primal * quads_out + quad];
//#end
//#end
            h = select(vec4f(0.0), h, inside);
//#else
            let h = select(vec4f(0.0), activation(z), inside);
//#end
//#if OUTPUT_TEXTURE
            textureStore(output, vec2u(quad, row + r), h);
//#else
            output[(row + r) * quads_out + quad] = h;
//#end
//#if TRAINING
//#if OUTPUT_TEXTURE
            textureStore(slope, vec2u(quad, row + r), activation_slope(z));
//#else
            slope[(row + r) * quads_out + quad] = activation_slope(z);
//#end
//#end
        }
    }
}
