// The softmax weights of the data at given points, and the weighted sums that make up the marginal density and field
// of a data set (eq. 5, 6), slice by slice, for small dimensions. For a query x with a = a(t), b = b(t), the rows x1_j
// of a slice of the data, and the coordinates (x1 − mean)/std in which the path is laid:
//
//     r_j = (x − mean)/std − a·(x1_j − mean)/std = a·(c − x1_j)/std + g
//     l_j = −‖r_j‖²·log2(e)/(2b²)           top = max_j l_j            sum = Σ_j 2^(l_j − top)
//     moments = Σ_j 2^(l_j − top)·(c − x1_j)
//
// The host has chosen c near those x1 from which a path is likely to pass x, and g to go with it (`Marginal` says how).
// Differences of numbers that are near to each other are exact, and what c does not say of x is small: so r_j is
// accurate next to b, however small that becomes, from data in their own units. Both moments of eq. 6 follow from the
// one of c − x1.
//
// One invocation takes QUERIES queries over the rows of one slice, ROWS at a time with one common rescaling, and
// keeps everything in registers. Invocations run over tiles of queries first, then over slices.
//
// Variants: SQUARES   the moments are those of (c − x1)², coordinate by coordinate, of which the variance of x1 is made

//#include "shared/slices.wgsl"

const DIM: u32 = 2u;
const QUADS: u32 = 1u;    // DIM / 4, rounded up
const QUERIES: u32 = 4u;
const ROWS: u32 = 4u;     // divides SLICE_ROWS
const LANES: u32 = 64u;

@group(0) @binding(0) var<uniform> slices: Slices;
@group(0) @binding(1) var<storage, read> data: array<f32>;                 // [N, DIM]
@group(0) @binding(2) var<storage, read> centres: array<f32>;              // [queries, DIM]: c
@group(0) @binding(3) var<storage, read> offsets: array<f32>;              // [queries, DIM]: g
@group(0) @binding(4) var<storage, read> schedule: array<vec2f>;           // [queries]: a, log2(e)/(2b²)
@group(0) @binding(5) var<storage, read> columns: array<f32>;              // [DIM]: 1/std
@group(0) @binding(6) var<storage, read_write> sums: array<vec2f>;         // [slices, queries]: top, sum
@group(0) @binding(7) var<storage, read_write> moments: array<vec4f>;      // [slices, queries, QUADS]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let index = id.y * (groups.x * LANES) + id.x;
    let tiles = slices.queries / QUERIES;
    let slice = index / tiles;
    if (slice >= slices.count) {
        return;
    }
    let first = (index % tiles) * QUERIES;
    let begin = slices.first_row + slice * SLICE_ROWS;
    let end = min(begin + SLICE_ROWS, slices.first_row + slices.rows);

    var centre: array<f32, QUERIES * DIM>;
    var slope: array<f32, QUERIES * DIM>;
    var offset: array<f32, QUERIES * DIM>;
    var sharpness: array<f32, QUERIES>;
    var top: array<f32, QUERIES>;
    var sum: array<f32, QUERIES>;
    var moment: array<f32, QUERIES * DIM>;
    for (var q = 0u; q < QUERIES; q++) { //#unroll
        let entry = schedule[first + q];
        sharpness[q] = entry.y;
        top[q] = LOWEST;
        sum[q] = 0.0;
        for (var k = 0u; k < DIM; k++) { //#unroll
            centre[q * DIM + k] = centres[(first + q) * DIM + k];
            slope[q * DIM + k] = entry.x * columns[k];
            offset[q * DIM + k] = offsets[(first + q) * DIM + k];
            moment[q * DIM + k] = 0.0;
        }
    }
    for (var row = begin; row < end; row += ROWS) {
        var y: array<f32, ROWS * DIM>;
        for (var j = 0u; j < ROWS; j++) { //#unroll
            for (var k = 0u; k < DIM; k++) { //#unroll
                y[j * DIM + k] = data[min(row + j, end - 1u) * DIM + k];
            }
        }
        for (var q = 0u; q < QUERIES; q++) { //#unroll
            var w: array<f32, ROWS>;
            let before = top[q];
            for (var j = 0u; j < ROWS; j++) { //#unroll
                var square = 0.0;
                for (var k = 0u; k < DIM; k++) { //#unroll
                    let r = slope[q * DIM + k] * (centre[q * DIM + k] - y[j * DIM + k]) + offset[q * DIM + k];
                    square += r * r;
                }
                // A row beyond the end weighs nothing.
                w[j] = select(LOWEST, -square * sharpness[q], row + j < end);
                top[q] = max(top[q], w[j]);
            }
            let keep = weight(before - top[q]);
            var more = 0.0;
            for (var j = 0u; j < ROWS; j++) { //#unroll
                w[j] = weight(w[j] - top[q]);
                more += w[j];
            }
            sum[q] = sum[q] * keep + more;
            for (var k = 0u; k < DIM; k++) { //#unroll
                var m = 0.0;
                for (var j = 0u; j < ROWS; j++) { //#unroll
                    let away = centre[q * DIM + k] - y[j * DIM + k];
//#if SQUARES
                    m += w[j] * (away * away);
//#else
                    m += w[j] * away;
//#end
                }
                moment[q * DIM + k] = moment[q * DIM + k] * keep + m;
            }
        }
    }
    for (var q = 0u; q < QUERIES; q++) { //#unroll
        sums[slice * slices.queries + first + q] = vec2f(top[q], sum[q]);
        for (var quad = 0u; quad < QUADS; quad++) { //#unroll
            var m = vec4f(0.0);
            for (var i = 0u; i < 4u; i++) { //#unroll
                if (4u * quad + i < DIM) {
                    m[i] = moment[min(q * DIM + 4u * quad + i, QUERIES * DIM - 1u)];
                }
            }
            moments[(slice * slices.queries + first + q) * QUADS + quad] = m;
        }
    }
}
