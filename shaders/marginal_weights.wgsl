// Turns the logarithms of marginal_logits.wgsl into weights next to the largest of each slice:
//
//     top = max_j l_j            w_j = 2^(l_j − top)            sum = Σ_j w_j
//
// One invocation takes four queries over one slice.

//#include "shared/slices.wgsl"

const LANES: u32 = 64u;

@group(0) @binding(0) var<uniform> slices: Slices;
@group(0) @binding(1) var<storage, read_write> weights: array<vec4f>;      // [slices·SLICE_ROWS, queries / 4]: l, then w
@group(0) @binding(2) var<storage, read_write> sums: array<vec2f>;         // [slices, queries]: top, sum

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let index = id.y * (groups.x * LANES) + id.x;
    let quads = slices.queries / 4u;
    let slice = index / quads;
    if (slice >= slices.count) {
        return;
    }
    let quad = index % quads;
    let begin = slice * SLICE_ROWS * quads + quad;
    var top = vec4f(LOWEST);
    for (var j = 0u; j < SLICE_ROWS; j++) {
        top = max(top, weights[begin + j * quads]);
    }
    var sum = vec4f(0.0);
    for (var j = 0u; j < SLICE_ROWS; j++) {
        let l = weights[begin + j * quads] - top;
        let w = vec4f(weight(l.x), weight(l.y), weight(l.z), weight(l.w));
        sum += w;
        weights[begin + j * quads] = w;
    }
    for (var i = 0u; i < 4u; i++) { //#unroll
        sums[slice * slices.queries + 4u * quad + i] = vec2f(top[i], sum[i]);
    }
}
