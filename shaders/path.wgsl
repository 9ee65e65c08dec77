// The coefficients of a path at given times: (a, b, a', b'), one invocation a time.
//
// Variants: PATH  the path (shared/path/)

//#include "shared/path/{PATH}.wgsl"

const LANES: u32 = 64u;

@group(0) @binding(0) var<storage, read> times: array<f32>;                 // [N]
@group(0) @binding(1) var<storage, read_write> coefficients: array<vec4f>;  // [N]: a, b, a', b'

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let index = id.y * (groups.x * LANES) + id.x;
    if (index >= arrayLength(&times)) {
        return;
    }
    coefficients[index] = path_schedule(times[index]);
}
