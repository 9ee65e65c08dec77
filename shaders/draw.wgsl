// Draws the batch of a training step: the pair (x0, x1), the time t, the point x_t on the conditional path and
// the velocity u_t that the network has to learn (eq. 11–13, in the Lagrangian form, which has no division):
//
//     x_t = b(t)·x0 + a(t)·x1          u_t = b'(t)·x0 + a'(t)·x1
//
// One invocation makes four columns of one row: x = column block, y = row. Everything it needs comes out of
// Philox by address (shared/philox.wgsl), so the batch of step n depends on the seed and n alone.
//
// Variants: COUPLED  x0 is that of another row: of the one that the wave's permutation names, perhaps at another step
//           SOURCE   x0 is a row of a source data set instead of N(0, I)
//           TEXTURES the features are a texture (src/gpu/matrix.rs says when)
//           EXPORT   x0, x1, t and the row picked are written as well, for the command `batch`

//#include "shared/endpoints.wgsl"
//#include "shared/features.wgsl"
//#include "shared/path/{PATH}.wgsl"
//#include "shared/wave.wgsl"
//#include "shared/state.wgsl"

const WIDTH_IN: u32 = 8u;   // features of a row, padded
const WIDTH_OUT: u32 = 8u;  // d, padded
const LANES: u32 = 64u;
const T_MAX: f32 = 1.0;     // times are uniform on [0, T_MAX)

@group(0) @binding(0) var<uniform> chunk: Chunk;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> data: array<f32>;                   // [N, DIM]
//#if TEXTURES
@group(0) @binding(3) var features: texture_storage_2d<rgba32float, write>;  // [rows padded, WIDTH_IN / 4]
//#else
@group(0) @binding(3) var<storage, read_write> features: array<vec4f>;       // [rows padded, WIDTH_IN / 4]
//#end
@group(0) @binding(4) var<storage, read_write> velocity: array<vec4f>;       // [rows padded, WIDTH_OUT / 4]
//#if SOURCE
@group(0) @binding(5) var<storage, read> source: array<f32>;                 // [source rows, DIM]
//#end
//#if EXPORT
@group(0) @binding(6) var<storage, read_write> endpoints: array<vec4f>;      // [rows padded, 2, WIDTH_OUT / 4]: x0, x1
@group(0) @binding(7) var<storage, read_write> picks: array<vec2u>;          // [rows padded]: row of the data, bits of t
//#end
//#if COUPLED
@group(0) @binding(8) var<uniform> wave: Wave;
@group(0) @binding(9) var<storage, read> partners: array<u32>;               // [problems, wave.steps, B]
//#end

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let blocks = WIDTH_IN / 4u;
    let index = id.y * (groups.x * LANES) + id.x;
    let row = index / blocks;
    let block = index % blocks;
    if (row >= chunk.rows) {
        return;
    }
    let address = chunk.first_row + row;
    let words = philox4x32(vec4u(address, 0u, state.step, STREAM_PICK), chunk.seed);
    let picked = pick_row(words.x, words.y, chunk.data_rows);
    let t = T_MAX * uniform01(words.z);
    let schedule = path_schedule(t);

    let column = 4u * block;
    var x0 = vec4f(0.0);
    var x1 = vec4f(0.0);
    if (column < DIM) {
        x1 = data_columns(picked, block);
//#if COUPLED
        let offset = state.step - wave.first_step;
        let partner = partners[offset * chunk.batch + address];
        let begin = state.step - offset % wave.steps;
        x0 = source_columns(partner % chunk.batch, begin + partner / chunk.batch, block);
//#else
        x0 = source_columns(address, state.step, block);
//#end
    }
    // Columns beyond DIM are zero here, so velocity is padded with zeros; in features the time follows.
    var feature = schedule.y * x0 + schedule.x * x1;
    for (var i = 0u; i < 4u; i++) { //#unroll
        if (column + i >= DIM) {
            feature[i] = time_feature(column + i, t);
        }
    }
//#if TEXTURES
    textureStore(features, vec2u(block, row), feature);
//#else
    features[row * blocks + block] = feature;
//#end
    let out_blocks = WIDTH_OUT / 4u;
    if (block < out_blocks) {
        velocity[row * out_blocks + block] = schedule.w * x0 + schedule.z * x1;
    }
//#if EXPORT
    if (block < out_blocks) {
        endpoints[2u * row * out_blocks + block] = x0;
        endpoints[(2u * row + 1u) * out_blocks + block] = x1;
    }
    if (block == 0u) {
        picks[row] = vec2u(picked, bitcast<u32>(t));
    }
//#end
}
