// The tangents that go into the network for the divergence: TANGENTS probes, one matrix below the other. One invocation
// a block of four columns of one row of one of them.
//
// Variants: TEXTURES  the tangents are a texture (src/gpu/matrix.rs says when)

//#include "shared/philox.wgsl"
//#include "shared/stage.wgsl"
//#include "shared/probe/{PROBE}.wgsl"

const DIM: u32 = 2u;
const WIDTH_IN: u32 = 8u;   // features, padded
const TANGENTS: u32 = 1u;
const LANES: u32 = 64u;

@group(0) @binding(0) var<uniform> stage: Stage;
//#if TEXTURES
@group(0) @binding(1) var tangents: texture_storage_2d<rgba32float, write>;   // [TANGENTS, rows padded, WIDTH_IN / 4]
//#else
@group(0) @binding(1) var<storage, read_write> tangents: array<vec4f>;    // [TANGENTS, rows padded, WIDTH_IN / 4]
//#end

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let blocks = WIDTH_IN / 4u;
    let index = id.y * (groups.x * LANES) + id.x;
    let line = index / blocks;
    let block = index % blocks;
    // the padding as well, so that every tile holds numbers
    if (line >= TANGENTS * stage.period) {
        return;
    }
    let row = line % stage.period;
    let epsilon = probe(stage.seed, stage.first_row + row, stage.first_probe + line / stage.period, block);
//#if TEXTURES
    textureStore(tangents, vec2u(block, line), epsilon);
//#else
    tangents[line * blocks + block] = epsilon;
//#end
}
