// The weighted sum of each slice, from the weights of marginal_weights.wgsl:
//
//     Σ_j w_j·(c − x1_j)
//
// One invocation takes four columns of QUERIES queries over one slice. Invocations run over columns first, then over
// tiles of queries, then over slices.
//
// Variants: SQUARES   the sums are those of (c − x1)², coordinate by coordinate

//#include "shared/slices.wgsl"

const QUADS: u32 = 4u;    // d / 4, rounded up
const QUERIES: u32 = 8u;  // a multiple of 4
const LANES: u32 = 64u;

@group(0) @binding(0) var<uniform> slices: Slices;
@group(0) @binding(1) var<storage, read> data: array<vec4f>;               // [N, QUADS]
@group(0) @binding(2) var<storage, read> centres: array<vec4f>;            // [queries, QUADS]: c
@group(0) @binding(3) var<storage, read> weights: array<vec4f>;            // [slices·SLICE_ROWS, queries / 4]
@group(0) @binding(4) var<storage, read_write> moments: array<vec4f>;      // [slices, queries, QUADS]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let index = id.y * (groups.x * LANES) + id.x;
    let tiles = slices.queries / QUERIES;
    let slice = index / (QUADS * tiles);
    if (slice >= slices.count) {
        return;
    }
    let column = index % QUADS;
    let first = (index / QUADS % tiles) * QUERIES;
    let begin = slice * SLICE_ROWS;
    let rows = min(SLICE_ROWS, slices.rows - begin);

    var centre: array<vec4f, QUERIES>;
    var moment: array<vec4f, QUERIES>;
    for (var q = 0u; q < QUERIES; q++) { //#unroll
        centre[q] = centres[(first + q) * QUADS + column];
        moment[q] = vec4f(0.0);
    }
    for (var j = 0u; j < rows; j++) {
        let y = data[(slices.first_row + begin + j) * QUADS + column];
        for (var h = 0u; h < QUERIES / 4u; h++) { //#unroll
            let w = weights[(begin + j) * (slices.queries / 4u) + first / 4u + h];
            for (var i = 0u; i < 4u; i++) { //#unroll
                let away = centre[4u * h + i] - y;
//#if SQUARES
                moment[4u * h + i] += w[i] * (away * away);
//#else
                moment[4u * h + i] += w[i] * away;
//#end
            }
        }
    }
    for (var q = 0u; q < QUERIES; q++) { //#unroll
        moments[(slice * slices.queries + first + q) * QUADS + column] = moment[q];
    }
}
