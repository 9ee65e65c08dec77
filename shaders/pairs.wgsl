// Sums over pairs of points of two functions of their distance r = ‖a_i − b_j‖: r itself, of which the energy distance
// is made (Székely and Rizzo 2013), and a kernel, of which the maximum mean discrepancy is made (Gretton et al. 2012):
//
//     Σ_ij r        Σ_ij k(r),  k(r) = 1/5·Σ_c exp(−r²/(2c²σ²)),  c = 1/4, 1/2, 1, 2, 4
//
// No matrix of pairs is made. One invocation takes a row of a and a slice of SLICE rows of b, whose terms it adds in blocks
// of BLOCK; a workgroup adds its rows pairwise, in a fixed order. The host adds the partial sums.
//
// Variants: none but the sizes.

//#include "shared/exponential.wgsl"

const QUADS: u32 = 1u;    // d / 4, rounded up; what is beyond d is zero on both sides
const SLICE: u32 = 256u;  // a multiple of BLOCK
const BLOCK: u32 = 16u;
const LANES: u32 = 64u;

struct Part {
    first_row: u32,     // of a, of this dispatch
    last_row: u32,      // one beyond
    first_column: u32,  // of b, of this dispatch
    last_column: u32,   // one beyond
    scale: f32,         // 1/(2σ²)
    padding0: u32,
    padding1: u32,
    padding2: u32,
}

@group(0) @binding(0) var<uniform> part: Part;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;                // [rows, QUADS]
@group(0) @binding(2) var<storage, read> b: array<vec4f>;                // [columns, QUADS]
@group(0) @binding(3) var<storage, read_write> partials: array<vec2f>;   // (Σ r, Σ k) [slices, workgroups of rows]

var<workgroup> sums: array<vec2f, LANES>;

fn pair(i: u32, j: u32) -> vec2f {
    var squares = vec4f(0.0);
    for (var q = 0u; q < QUADS; q++) {
        let difference = a[i * QUADS + q] - b[j * QUADS + q];
        squares += difference * difference;
    }
    let square = (squares.x + squares.y) + (squares.z + squares.w);
    let x = -part.scale * square;
    let near = exponential(16.0 * x) + exponential(4.0 * x);
    let far = exponential(0.25 * x) + exponential(0.0625 * x);
    return vec2f(sqrt(square), 0.2 * (near + (exponential(x) + far)));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let i = part.first_row + group.x * LANES + lane;
    let begin = part.first_column + group.y * SLICE;
    var total = vec2f(0.0);
    if (i < part.last_row) {
        for (var block = 0u; block < SLICE / BLOCK; block++) {
            var sum = vec2f(0.0);
            for (var k = 0u; k < BLOCK; k++) {
                let j = begin + block * BLOCK + k;
                if (j < part.last_column) {
                    sum += pair(i, j);
                }
            }
            total += sum;
        }
    }
    sums[lane] = total;
    for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if (lane < stride) {
            sums[lane] += sums[lane + stride];
        }
    }
    if (lane == 0u) {
        partials[group.y * groups.x + group.x] = sums[0];
    }
}
