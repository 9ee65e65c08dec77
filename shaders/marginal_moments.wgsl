// The weighted sums of each slice, from the weights of marginal_weights.wgsl:
//
//     Σ_j w_j·x1_j    and    Σ_j w_j·(x − a·x1_j),    x − a·x1_j = (x − s·x1_j) + (s − a)·x1_j
//
// One invocation takes four columns of QUERIES queries over one slice. Invocations run over columns first, then over
// tiles of queries, then over slices.

//#include "shared/slices.wgsl"

const QUADS: u32 = 4u;    // d / 4, rounded up
const QUERIES: u32 = 8u;  // a multiple of 4
const LANES: u32 = 64u;

@group(0) @binding(0) var<uniform> slices: Slices;
@group(0) @binding(1) var<storage, read> data: array<vec4f>;               // [N, QUADS]
@group(0) @binding(2) var<storage, read> points: array<vec4f>;             // [queries, QUADS]
@group(0) @binding(3) var<storage, read> schedule: array<vec4f>;           // [queries]: s, s − a, log2(e)/(2b²), 0
@group(0) @binding(4) var<storage, read> weights: array<vec4f>;            // [slices·SLICE_ROWS, queries / 4]
@group(0) @binding(5) var<storage, read_write> moments: array<vec4f>;      // [slices, 2, queries, QUADS]: of x1, of r

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

    var x: array<vec4f, QUERIES>;
    var near: array<f32, QUERIES>;
    var rest: array<f32, QUERIES>;
    var mean: array<vec4f, QUERIES>;
    var residual: array<vec4f, QUERIES>;
    for (var q = 0u; q < QUERIES; q++) { //#unroll
        x[q] = points[(first + q) * QUADS + column];
        near[q] = schedule[first + q].x;
        rest[q] = schedule[first + q].y;
        mean[q] = vec4f(0.0);
        residual[q] = vec4f(0.0);
    }
    for (var j = 0u; j < rows; j++) {
        let y = data[(slices.first_row + begin + j) * QUADS + column];
        for (var h = 0u; h < QUERIES / 4u; h++) { //#unroll
            let w = weights[(begin + j) * (slices.queries / 4u) + first / 4u + h];
            for (var i = 0u; i < 4u; i++) { //#unroll
                let r = (x[4u * h + i] - near[4u * h + i] * y) + rest[4u * h + i] * y;
                mean[4u * h + i] += w[i] * y;
                residual[4u * h + i] += w[i] * r;
            }
        }
    }
    for (var q = 0u; q < QUERIES; q++) { //#unroll
        moments[(2u * slice * slices.queries + first + q) * QUADS + column] = mean[q];
        moments[((2u * slice + 1u) * slices.queries + first + q) * QUADS + column] = residual[q];
    }
}
