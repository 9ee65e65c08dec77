// The divergence from the tangents that came out of the network: k ← k + β·c·εᵀ·J·ε in the accumulators. One invocation
// a row, which goes over its tangents in order.

//#include "shared/philox.wgsl"
//#include "shared/stage.wgsl"
//#include "shared/probe/{PROBE}.wgsl"

const DIM: u32 = 2u;
const EXTRA: u32 = 1u;      // accumulators of the divergence
const WIDTH_OUT: u32 = 8u;  // d, padded
const TANGENTS: u32 = 1u;
const LANES: u32 = 64u;
const QUADS_STATE: u32 = (DIM + EXTRA + 3u) / 4u;
const QUADS_DATA: u32 = (DIM + 3u) / 4u;

@group(0) @binding(0) var<uniform> stage: Stage;
@group(0) @binding(1) var<storage, read> tangents: array<vec4f>;          // J·ε [TANGENTS, rows padded, WIDTH_OUT / 4]
@group(0) @binding(2) var<storage, read_write> slopes: array<vec4f>;      // k [stages, rows padded, QUADS_STATE]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let row = id.y * (groups.x * LANES) + id.x;
    if (row >= stage.rows) {
        return;
    }
    for (var j = 0u; j < TANGENTS; j++) {
        let index = stage.first_probe + j;
        var trace = 0.0;
        for (var block = 0u; block < QUADS_DATA; block++) {
            let tangent = tangents[(j * stage.period + row) * (WIDTH_OUT / 4u) + block];
            trace += dot(probe(stage.seed, stage.first_row + row, index, block), tangent);
        }
        if (accumulator(index) < EXTRA) {
            let column = DIM + accumulator(index);
            let here = vec4u(0u, 1u, 2u, 3u) == vec4u(column % 4u);
            slopes[stage.output * stage.stride + row * QUADS_STATE + column / 4u] +=
                select(vec4f(0.0), vec4f(stage.moment.y * stage.moment.w * trace), here);
        }
    }
}
