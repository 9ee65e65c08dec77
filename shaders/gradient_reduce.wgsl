// Adds the slices of the gradient, in order, into the first one, and leaves each workgroup's sum of squares for the
// gradient's norm. One invocation a few groups of four parameters, a workgroup's width apart.

//#include "shared/gradient.wgsl"

const LANES: u32 = 64u;
const QUADS_PER_LANE: u32 = 8u;

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
    let first = workgroup * LANES * QUADS_PER_LANE;
    var square = vec4f(0.0);
    for (var i = 0u; i < QUADS_PER_LANE; i++) {
        let at = first + i * LANES + lane;
        if (at < QUADS) {
            let g = gradient_at(at);
            if (SLICES > 1u) {
                gradient[at] = g;
            }
            square += g * g;
        }
    }
    sums[lane] = (square.x + square.y) + (square.z + square.w);
    for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if (lane < stride) {
            sums[lane] += sums[lane + stride];
        }
    }
    if (lane == 0u && first < QUADS) {
        squares[workgroup] = sums[0];
    }
}
