// The logarithms (base 2) of the softmax weights of the data at given points, for any dimension (eq. 5, 6; see
// marginal.wgsl, which does all of it at once where the dimension is small):
//
//     l_j = −‖a·(c − x1_j)/std + g‖²·log2(e)/(2b²)
//
// One invocation computes a tile of QUERIES queries by ROWS rows of the data. Invocations run over tiles of queries
// first, then over tiles of rows. Rows beyond the end, up to the whole slice, get LOWEST.

//#include "shared/slices.wgsl"

const QUADS: u32 = 4u;    // d / 4, rounded up: columns beyond d are zero on both sides
const QUERIES: u32 = 8u;  // a multiple of 4
const ROWS: u32 = 4u;     // divides SLICE_ROWS
const LANES: u32 = 64u;

@group(0) @binding(0) var<uniform> slices: Slices;
@group(0) @binding(1) var<storage, read> data: array<vec4f>;               // [N, QUADS]
@group(0) @binding(2) var<storage, read> centres: array<vec4f>;            // [queries, QUADS]: c
@group(0) @binding(3) var<storage, read> offsets: array<vec4f>;            // [queries, QUADS]: g
@group(0) @binding(4) var<storage, read> schedule: array<vec2f>;           // [queries]: a, log2(e)/(2b²)
@group(0) @binding(5) var<storage, read> columns: array<vec4f>;            // [QUADS]: 1/std
@group(0) @binding(6) var<storage, read_write> logits: array<vec4f>;       // [slices·SLICE_ROWS, queries / 4]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let index = id.y * (groups.x * LANES) + id.x;
    let tiles = slices.queries / QUERIES;
    let row = (index / tiles) * ROWS;
    if (row >= slices.count * SLICE_ROWS) {
        return;
    }
    let first = (index % tiles) * QUERIES;
    let begin = slices.first_row + row;
    let last = slices.first_row + slices.rows - 1u;

    var slope: array<f32, QUERIES>;
    var squares: array<f32, QUERIES * ROWS>;
    for (var q = 0u; q < QUERIES; q++) { //#unroll
        slope[q] = schedule[first + q].x;
        for (var j = 0u; j < ROWS; j++) { //#unroll
            squares[q * ROWS + j] = 0.0;
        }
    }
    for (var k = 0u; k < QUADS; k++) {
        var y: array<vec4f, ROWS>;
        for (var j = 0u; j < ROWS; j++) { //#unroll
            y[j] = data[min(begin + j, last) * QUADS + k];
        }
        let column = columns[k];
        for (var q = 0u; q < QUERIES; q++) { //#unroll
            let centre = centres[(first + q) * QUADS + k];
            let offset = offsets[(first + q) * QUADS + k];
            let slopes = slope[q] * column;
            for (var j = 0u; j < ROWS; j++) { //#unroll
                let r = slopes * (centre - y[j]) + offset;
                squares[q * ROWS + j] += dot(r, r);
            }
        }
    }
    for (var j = 0u; j < ROWS; j++) { //#unroll
        for (var h = 0u; h < QUERIES / 4u; h++) { //#unroll
            var l = vec4f(LOWEST);
            for (var i = 0u; i < 4u; i++) { //#unroll
                l[i] = select(LOWEST, -squares[(4u * h + i) * ROWS + j] * schedule[first + 4u * h + i].y, begin + j <= last);
            }
            logits[(row + j) * (slices.queries / 4u) + first / 4u + h] = l;
        }
    }
}
