// The conditional flow-matching loss (eq. 14) and its gradient with respect to the network's output:
//
//     L = 1/B Σ_rows ‖v − u‖²          dL/dv = 2/B·(v − u)
//
// One invocation a row; a workgroup adds its rows pairwise, in a fixed order, into one partial sum (step.wgsl adds
// those). Padded rows get a zero gradient, padded columns are zero on both sides.
//
// Variants: TEXTURES  dL/dv is a texture (src/gpu/matrix.rs says when)

//#include "shared/chunk.wgsl"

const WIDTH_OUT: u32 = 8u;  // d, padded
const LANES: u32 = 64u;

@group(0) @binding(0) var<uniform> chunk: Chunk;
@group(0) @binding(1) var<storage, read> predicted: array<vec4f>;           // v [rows padded, WIDTH_OUT / 4]
@group(0) @binding(2) var<storage, read> velocity: array<vec4f>;            // u [rows padded, WIDTH_OUT / 4]
//#if TEXTURES
@group(0) @binding(3) var delta: texture_storage_2d<rgba32float, write>;    // dL/dv [rows padded, WIDTH_OUT / 4]
//#else
@group(0) @binding(3) var<storage, read_write> delta: array<vec4f>;         // dL/dv [rows padded, WIDTH_OUT / 4]
//#end
@group(0) @binding(4) var<storage, read_write> partials: array<f32>;        // [workgroups of the whole batch]

var<workgroup> sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
    let row = group.x * LANES + lane;
    let quads = WIDTH_OUT / 4u;
    let inside = row < chunk.rows;
    let scale = 2.0 / f32(chunk.batch);
    var total = vec4f(0.0);
    if (row * quads < arrayLength(&velocity)) {
        for (var q = 0u; q < quads; q++) {
            var difference = vec4f(0.0);
            if (inside) {
                difference = predicted[row * quads + q] - velocity[row * quads + q];
            }
            total += difference * difference;
//#if TEXTURES
            textureStore(delta, vec2u(q, row), scale * difference);
//#else
            delta[row * quads + q] = scale * difference;
//#end
        }
    }
    sums[lane] = (total.x + total.y) + (total.z + total.w);
    for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if (lane < stride) {
            sums[lane] += sums[lane + stride];
        }
    }
    if (lane == 0u) {
        partials[chunk.first_partial + group.x] = sums[0];
    }
}
