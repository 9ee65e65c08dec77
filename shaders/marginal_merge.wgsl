// Adds the slices of a dispatch, one after the other, to what came before them, each brought to the common maximum
// (as flash attention does: Dao et al. 2022, § 3.1). The order is that of the data, so where dispatches are cut
// does not matter to the bits.
//
//     top' = max(top, top_s)    sum' = 2^(top − top')·sum + 2^(top_s − top')·sum_s    (moments likewise)
//
// One invocation takes four columns of one query; each group of columns keeps its own copy of top and sum, so that
// no invocation reads what another one writes.

//#include "shared/slices.wgsl"

const QUADS: u32 = 1u;    // d / 4, rounded up
const LANES: u32 = 64u;

@group(0) @binding(0) var<uniform> slices: Slices;
@group(0) @binding(1) var<storage, read> sums: array<vec2f>;                   // [slices, queries]: top, sum
@group(0) @binding(2) var<storage, read> moments: array<vec4f>;                // [slices, 2, queries, QUADS]
@group(0) @binding(3) var<storage, read_write> total_sums: array<vec2f>;       // [queries, QUADS]
@group(0) @binding(4) var<storage, read_write> total_moments: array<vec4f>;    // [2, queries, QUADS]: of x1, of r

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let index = id.y * (groups.x * LANES) + id.x;
    let stride = slices.queries * QUADS;
    if (index >= stride) {
        return;
    }
    let query = index / QUADS;
    var top = LOWEST;
    var sum = 0.0;
    var mean = vec4f(0.0);
    var residual = vec4f(0.0);
    if (slices.begun != 0u) {
        top = total_sums[index].x;
        sum = total_sums[index].y;
        mean = total_moments[index];
        residual = total_moments[stride + index];
    }
    for (var s = 0u; s < slices.count; s++) {
        let slice = sums[s * slices.queries + query];
        let higher = max(top, slice.x);
        let keep = weight(top - higher);
        let take = weight(slice.x - higher);
        top = higher;
        sum = keep * sum + take * slice.y;
        mean = keep * mean + take * moments[2u * s * stride + index];
        residual = keep * residual + take * moments[(2u * s + 1u) * stride + index];
    }
    total_sums[index] = vec2f(top, sum);
    total_moments[index] = mean;
    total_moments[stride + index] = residual;
}
