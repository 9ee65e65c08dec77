// The gradient of one layer's parameters over the rows of a part of the batch: dW = dZᵀ·X, db = Σ_rows dZ.
//
// An invocation computes TILE_OUT × TILE_IN values of dW for one slice of the rows: y of the grid runs over tiles of
// outputs n, x over tiles of inputs k, z over slices. Slices are summed afterwards, in order (gradient_reduce.wgsl).
// Rows are added four at a time, in order. Padded rows of dZ are zero; slices are whole groups of four rows.
//
// With SUBGROUPS a workgroup is a subgroup of eight lanes, and each of them brings another part of X, of four rows and two
// groups of columns: every lane then reads them from the registers of the others.
//
// Variants: ACCUMULATE  adds to what an earlier part of the batch left
//           SQUARES     where there is one slice: leaves the sum of squares of what each invocation stores, for the
//                       gradient's norm, which gradient_reduce.wgsl would have to read everything for
//           TEXTURES    dZ and X are textures (src/gpu/matrix.rs says when)
//           FOLDED_GRADIENT  so is the gradient
//           SUBGROUPS   LANES is 8 and the size of a subgroup, all along the outputs; TILE_IN a multiple of 8

const WIDTH_IN: u32 = 8u;    // K, padded
const WIDTH_OUT: u32 = 8u;   // N, padded
const TILE_OUT: u32 = 4u;
const TILE_IN: u32 = 8u;
const TILE_QUADS: u32 = TILE_IN / 4u;
const LANES: u32 = 16u;
const LANES_IN: u32 = 1u;    // so many of them side by side along the inputs, where outputs are too few for all

//#include "shared/rows.wgsl"
//#if FOLDED_GRADIENT
//#include "shared/folded.wgsl"
//#end

@group(0) @binding(0) var<uniform> rows: Rows;
//#if TEXTURES
@group(0) @binding(1) var delta: texture_storage_2d<rgba32float, read>;     // dZ [rows, WIDTH_OUT / 4]
@group(0) @binding(2) var input: texture_storage_2d<rgba32float, read>;     // X [rows, WIDTH_IN / 4]
//#else
@group(0) @binding(1) var<storage, read> delta: array<vec4f>;               // dZ [rows, WIDTH_OUT / 4]
@group(0) @binding(2) var<storage, read> input: array<vec4f>;               // X [rows, WIDTH_IN / 4]
//#end
// Per slice: dW [WIDTH_OUT, WIDTH_IN / 4], db [WIDTH_OUT / 4].
//#if FOLDED_GRADIENT
//#if ACCUMULATE
@group(0) @binding(3) var gradient: texture_storage_2d<rgba32float, read_write>;   // of all layers; this one's from rows.first_gradient
//#else
@group(0) @binding(3) var gradient: texture_storage_2d<rgba32float, write>;
//#end
//#else
@group(0) @binding(3) var<storage, read_write> gradient: array<vec4f>;
//#end
//#if SQUARES
@group(0) @binding(4) var<storage, read_write> squares: array<f32>;         // [invocations]
//#end

fn delta_at(row: u32, quad: u32) -> vec4f {
//#if TEXTURES
    return textureLoad(delta, vec2u(quad, row));
//#else
    return delta[row * (WIDTH_OUT / 4u) + quad];
//#end
}

fn input_at(row: u32, quad: u32) -> vec4f {
//#if TEXTURES
    return textureLoad(input, vec2u(quad, row));
//#else
    return input[row * (WIDTH_IN / 4u) + quad];
//#end
}

// Stores a part of it, and returns what stands there then.
fn put(at: u32, part: vec4f) -> vec4f {
    var sum = part;
//#if FOLDED_GRADIENT
    let place = folded(rows.first_gradient + at);
//#if ACCUMULATE
    sum += textureLoad(gradient, place);
//#end
    textureStore(gradient, place, sum);
//#else
//#if ACCUMULATE
    sum += gradient[at];
//#end
    gradient[at] = sum;
//#end
    return sum;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let tile = group.y * (LANES / LANES_IN) + lane / LANES_IN;
    let quads_in = WIDTH_IN / 4u;
    let quad = (group.x * LANES_IN + lane % LANES_IN) * TILE_QUADS;
//#if SUBGROUPS
    // Lanes beyond the last output have columns of X to bring: they compute the last tile once more, and store nothing.
    let out = min(tile * TILE_OUT, WIDTH_OUT - TILE_OUT);
//#else
    let out = tile * TILE_OUT;
    if (out >= WIDTH_OUT || quad >= quads_in) {
        return;
    }
//#end
    let first = group.z * rows.slice_rows;
    let last = min(first + rows.slice_rows, rows.count);

    var sums: array<vec4f, TILE_OUT * TILE_QUADS>;
    var bias: array<vec4f, TILE_OUT / 4u>;
    for (var m = first; m < last; m += 4u) {
        var x: array<vec4f, 4u * TILE_QUADS>;
//#if SUBGROUPS
        var brought: array<vec4f, TILE_IN / LANES>;
        for (var i = 0u; i < TILE_IN / LANES; i++) { //#unroll
            brought[i] = input_at(m + lane % 4u, quad + (i * LANES + lane) / 4u);
        }
//#end
        for (var r = 0u; r < 4u; r++) { //#unroll
            for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
//#if SUBGROUPS
                x[r * TILE_QUADS + q] = subgroupBroadcast(brought[4u * q / LANES], 4u * q % LANES + r);
//#else
                x[r * TILE_QUADS + q] = input_at(m + r, quad + q);
//#end
            }
        }
        // Four products at once: a sum that does not fit a register is fetched and stored a quarter as often.
        for (var j = 0u; j < TILE_OUT / 4u; j++) { //#unroll
            let d0 = delta_at(m, out / 4u + j);
            let d1 = delta_at(m + 1u, out / 4u + j);
            let d2 = delta_at(m + 2u, out / 4u + j);
            let d3 = delta_at(m + 3u, out / 4u + j);
            bias[j] += (d0 + d1) + (d2 + d3);
            for (var i = 0u; i < 4u; i++) { //#unroll
                for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
                    sums[(4u * j + i) * TILE_QUADS + q] += (d0[i] * x[q] + d1[i] * x[TILE_QUADS + q])
                        + (d2[i] * x[2u * TILE_QUADS + q] + d3[i] * x[3u * TILE_QUADS + q]);
                }
            }
        }
    }
//#if SUBGROUPS
    if (tile * TILE_OUT >= WIDTH_OUT) {
        return;
    }
//#end
    let base = group.z * rows.slice_stride;
//#if SQUARES
    var square = vec4f(0.0);
//#end
    for (var n = 0u; n < TILE_OUT; n++) { //#unroll
        for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
            let at = base + (out + n) * quads_in + quad + q;
            let sum = put(at, sums[n * TILE_QUADS + q]);
//#if SQUARES
            square += sum * sum;
//#end
        }
    }
    if (quad == 0u) {
        for (var j = 0u; j < TILE_OUT / 4u; j++) { //#unroll
            let at = base + WIDTH_OUT * quads_in + out / 4u + j;
            let sum = put(at, bias[j]);
//#if SQUARES
            square += sum * sum;
//#end
        }
    }
//#if SQUARES
    squares[(group.y * groups.x + group.x) * LANES + lane] = (square.x + square.y) + (square.z + square.w);
//#end
}
