// The gradients of all layers over a whole batch, where gradient_unrolled.wgsl has left what goes into every layer, X, and
// dL/dz of it: dW = dZᵀ·X, db = Σ_rows dZ. Their squares are summed on the way, for the gradient's norm.
//
// An invocation computes TILE_OUT × TILE_IN values of a dW: y of the grid is the layer, x runs over its tiles, first
// along its outputs. Rows are added four at a time, in order. Padded rows of dZ are zero. After every FOLD rows the textures
// begin a new column of rows.

//#include "shared/chunk.wgsl"
//#include "shared/table.wgsl"
//#include "shared/folded.wgsl"

const TILE_OUT: u32 = 8u;
const TILE_IN: u32 = 16u;
const DELTA_QUADS: u32 = TILE_OUT / 4u;
const TILE_QUADS: u32 = TILE_IN / 4u;
const LANES: u32 = 8u;
const FOLD: u32 = 4096u;  // as in gradient_unrolled.wgsl

@group(0) @binding(0) var<uniform> chunk: Chunk;
@group(0) @binding(1) var<uniform> network: Network;
@group(0) @binding(2) var inputs: texture_storage_2d<rgba32float, read>;   // X [FOLD, folds, inputs of all layers / 4]
@group(0) @binding(3) var deltas: texture_storage_2d<rgba32float, read>;   // dZ [FOLD, folds, outputs of all layers / 4]
@group(0) @binding(4) var gradient: texture_storage_2d<rgba32float, write>;  // [parameters / 4]: shared/folded.wgsl
@group(0) @binding(5) var<storage, read_write> squares: array<f32>;        // [workgroups]

var<workgroup> lane_squares: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let shape = network.shape[group.y];
    let outputs = network.outputs[group.y];
    let tiles_out = shape.y / TILE_OUT;
    let tile = group.x * LANES + lane;
    let out = tile % tiles_out * DELTA_QUADS;
    let quad = tile / tiles_out * TILE_QUADS;
    var square = vec4f(0.0);
    if (quad < shape.x) {
        var sums: array<vec4f, TILE_OUT * TILE_QUADS>;
        var bias: array<vec4f, DELTA_QUADS>;
        let last = network.layers - 1u;
        let across_in = network.outputs[last].z + network.shape[last].x;
        let across_out = network.outputs[last].w + network.shape[last].y / 4u;
        for (var place = 0u; place < chunk.rows; place += 4u) {
            let fold = place / FOLD;
            let row = place % FOLD;
            var x: array<vec4f, 4u * TILE_QUADS>;
            for (var r = 0u; r < 4u; r++) { //#unroll
                for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
                    // A tile may end beyond the layer: what it finds there is not stored.
                    let column = fold * across_in + outputs.z + min(quad + q, shape.x - 1u);
                    x[r * TILE_QUADS + q] = textureLoad(inputs, vec2u(column, row + r));
                }
            }
            for (var j = 0u; j < DELTA_QUADS; j++) { //#unroll
                let column = fold * across_out + outputs.w + out + j;
                let d0 = textureLoad(deltas, vec2u(column, row));
                let d1 = textureLoad(deltas, vec2u(column, row + 1u));
                let d2 = textureLoad(deltas, vec2u(column, row + 2u));
                let d3 = textureLoad(deltas, vec2u(column, row + 3u));
                bias[j] += (d0 + d1) + (d2 + d3);
                for (var i = 0u; i < 4u; i++) { //#unroll
                    for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
                        sums[(4u * j + i) * TILE_QUADS + q] += (d0[i] * x[q] + d1[i] * x[TILE_QUADS + q])
                            + (d2[i] * x[2u * TILE_QUADS + q] + d3[i] * x[3u * TILE_QUADS + q]);
                    }
                }
            }
        }
        for (var j = 0u; j < DELTA_QUADS; j++) { //#unroll
            for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
                if (quad + q < shape.x) {
                    for (var i = 0u; i < 4u; i++) { //#unroll
                        let sum = sums[(4u * j + i) * TILE_QUADS + q];
                        square += sum * sum;
                        textureStore(gradient, folded(shape.z + (4u * (out + j) + i) * shape.x + quad + q), sum);
                    }
                }
            }
            if (quad == 0u) {
                square += bias[j] * bias[j];
                textureStore(gradient, folded(shape.w + out + j), bias[j]);
            }
        }
    }
    lane_squares[lane] = (square.x + square.y) + (square.z + square.w);
    for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if (lane < stride) {
            lane_squares[lane] += lane_squares[lane + stride];
        }
    }
    if (lane == 0u) {
        squares[group.y * groups.x + group.x] = lane_squares[0];
    }
}
