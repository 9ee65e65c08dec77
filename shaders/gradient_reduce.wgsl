// Adds the slices of the gradient, in order, into the first one, and leaves each workgroup's sum of squares for the
// gradient's norm. One invocation a group of four parameters.

const SLICES: u32 = 1u;
const QUADS: u32 = 64u;  // parameters / 4, padded
const LANES: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> gradient: array<vec4f>;      // [SLICES, QUADS]
@group(0) @binding(1) var<storage, read_write> squares: array<f32>;         // [workgroups]

var<workgroup> sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let workgroup = group.y * groups.x + group.x;
    let at = workgroup * LANES + lane;
    var g = vec4f(0.0);
    if (at < QUADS) {
        g = gradient[at];
        for (var s = 1u; s < SLICES; s++) {
            g += gradient[s * QUADS + at];
        }
        if (SLICES > 1u) {
            gradient[at] = g;
        }
    }
    let square = g * g;
    sums[lane] = (square.x + square.y) + (square.z + square.w);
    for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if (lane < stride) {
            sums[lane] += sums[lane + stride];
        }
    }
    if (lane == 0u && workgroup * LANES < QUADS) {
        squares[workgroup] = sums[0];
    }
}
