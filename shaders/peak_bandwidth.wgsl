// The device's own peak of reading and writing: goes once over a buffer that no cache holds,
//
//     to ← from        or, SUM, one Σ from of each invocation.
//
// One invocation QUADS groups of four numbers, a workgroup's width apart, so that neighbours read neighbours. There are
// as many invocations as the buffer has room for.
//
// Variants: SUM       reads alone
//           TEXTURES  with SUM, from a texture (src/gpu/matrix.rs says why)

const QUADS: u32 = 8u;
const LANES: u32 = 64u;

//#if TEXTURES
@group(0) @binding(0) var source: texture_storage_2d<rgba32float, read>;   // [workgroups, QUADS · LANES]
//#else
@group(0) @binding(0) var<storage, read> source: array<vec4f>;       // [workgroups, QUADS, LANES]
//#end
//#if SUM
@group(0) @binding(1) var<storage, read_write> sums: array<vec4f>;   // [workgroups, LANES]
//#else
@group(0) @binding(1) var<storage, read_write> copy: array<vec4f>;   // [workgroups, QUADS, LANES]
//#end

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
//#if !TEXTURES
    let first = group.x * QUADS * LANES + lane;
//#end
//#if SUM
    var sum = vec4f(0.0);
    for (var k = 0u; k < QUADS; k++) { //#unroll
//#if TEXTURES
        sum += textureLoad(source, vec2u(k * LANES + lane, group.x));
//#else
        sum += source[first + k * LANES];
//#end
    }
    sums[group.x * LANES + lane] = sum;
//#else
    for (var k = 0u; k < QUADS; k++) { //#unroll
        copy[first + k * LANES] = source[first + k * LANES];
    }
//#end
}
