// Adds the network's part to the velocity of a stage: k ← k + β·v. What is there is α·y (stage.wgsl). One invocation a
// block of four columns of one row.

//#include "shared/stage.wgsl"

const DIM: u32 = 2u;
const EXTRA: u32 = 0u;      // accumulators of the divergence
const WIDTH_OUT: u32 = 8u;  // d, padded
const LANES: u32 = 64u;
const QUADS_STATE: u32 = (DIM + EXTRA + 3u) / 4u;
const QUADS_DATA: u32 = (DIM + 3u) / 4u;

@group(0) @binding(0) var<uniform> stage: Stage;
@group(0) @binding(1) var<storage, read> predicted: array<vec4f>;         // v [rows padded, WIDTH_OUT / 4]
@group(0) @binding(2) var<storage, read_write> slopes: array<vec4f>;      // k [stages, rows padded, QUADS_STATE]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let index = id.y * (groups.x * LANES) + id.x;
    let row = index / QUADS_DATA;
    let block = index % QUADS_DATA;
    if (row >= stage.rows) {
        return;
    }
    let is_data = vec4u(4u * block) + vec4u(0u, 1u, 2u, 3u) < vec4u(DIM);
    let v = select(vec4f(0.0), predicted[row * (WIDTH_OUT / 4u) + block], is_data);
    slopes[stage.output * stage.stride + row * QUADS_STATE + block] += stage.moment.w * v;
}
