// Squared distances between the points of assignment problems:
//
//     costs[p, i, j] = ‖x1_p,i − x0_p,j‖²
//
// One invocation makes a tile of 4 rows and 4 columns; the coordinates are added in their order. Columns beyond N, which
// the solver does not look at, get the last column's value.

const N: u32 = 8u;
const DIM: u32 = 16u;
const PADDED: u32 = 8u;   // columns of the matrix, a multiple of 8
const LANES: u32 = 64u;

struct Tiles {
    first: u32,    // tile of this dispatch
    count: u32,    // of all problems: PADDED / 4 · (N / 4, rounded up) each
    padding0: u32,
    padding1: u32,
}

@group(0) @binding(0) var<uniform> tiles: Tiles;
@group(0) @binding(1) var<storage, read> x0: array<f32>;           // [problems, N, DIM]
@group(0) @binding(2) var<storage, read> x1: array<f32>;           // [problems, N, DIM]
@group(0) @binding(3) var<storage, read_write> costs: array<f32>;  // [problems, N, PADDED]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let tile = tiles.first + id.y * (groups.x * LANES) + id.x;
    if (tile >= tiles.count) {
        return;
    }
    let across = PADDED / 4u;
    let down = (N + 3u) / 4u;
    let problem = tile / (across * down);
    let i = 4u * (tile / across % down);
    let j = 4u * (tile % across);
    let own = vec4u(0u, 1u, 2u, 3u);
    let rows = (problem * N + min(vec4u(i) + own, vec4u(N - 1u))) * DIM;
    let columns = (problem * N + min(vec4u(j) + own, vec4u(N - 1u))) * DIM;
    var sums: array<vec4f, 4>;
    for (var r = 0u; r < 4u; r++) { //#unroll
        sums[r] = vec4f(0.0);
    }
    for (var k = 0u; k < DIM; k++) {
        let b = vec4f(x0[columns.x + k], x0[columns.y + k], x0[columns.z + k], x0[columns.w + k]);
        for (var r = 0u; r < 4u; r++) { //#unroll
            let difference = x1[rows[r] + k] - b;
            sums[r] += difference * difference;
        }
    }
    for (var r = 0u; r < 4u; r++) { //#unroll
        if (i + r < N) {
            for (var c = 0u; c < 4u; c++) { //#unroll
                costs[(problem * N + i + r) * PADDED + j + c] = sums[r][c];
            }
        }
    }
}
