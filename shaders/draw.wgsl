// Draws the batch of a training step: the pair (x0, x1), the time t, the point x_t on the conditional path and
// the velocity u_t that the network has to learn (shared/pair.wgsl).
//
// One invocation makes four columns of one row: x = column block, y = row. Everything it needs comes out of
// Philox by address (shared/philox.wgsl), so the batch of step n depends on the seed and n alone.
//
// Variants: COUPLED  x0 is that of another row: of the one that the wave's permutation names, perhaps at another step
//           SOURCE   x0 is a row of a source data set instead of N(0, I)
//           PAIRED   it is the row of the same number as x1's
//           GATHERED the rows of the data, and of the source, were gathered for the steps of a wave (gather.wgsl)
//           NOISY    there is noise around the path
//           CONDITIONED the features of the row's condition follow those of the time
//           TEXTURES the features are a texture (src/gpu/matrix.rs says when)
//           EXPORT   x0, x1, t and the row picked are written as well, for the command `batch`

//#include "shared/pair.wgsl"

const WIDTH_IN: u32 = 8u;   // features of a row, padded
const WIDTH_OUT: u32 = 8u;  // d, padded
const LANES: u32 = 64u;

@group(0) @binding(0) var<uniform> chunk: Chunk;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> data: array<f32>;                   // [N, DIM]; GATHERED: [rows of the wave, DIM]
//#if TEXTURES
@group(0) @binding(3) var features: texture_storage_2d<rgba32float, write>;  // [rows padded, WIDTH_IN / 4]
//#else
@group(0) @binding(3) var<storage, read_write> features: array<vec4f>;       // [rows padded, WIDTH_IN / 4]
//#end
@group(0) @binding(4) var<storage, read_write> velocity: array<vec4f>;       // [rows padded, WIDTH_OUT / 4]
//#if SOURCE
@group(0) @binding(5) var<storage, read> source: array<f32>;                 // [source rows, DIM]; GATHERED: [rows of the wave, DIM]
//#end
//#if EXPORT
// One buffer, of bits: with all variants together there is no place for another one below the limit of eight.
@group(0) @binding(6) var<storage, read_write> exported: array<vec4u>;       // [rows padded, 2·WIDTH_OUT / 4 + 1]: x0, x1, (row of the data, t, 0, 0)
//#end
//#if CONDITIONED
@group(0) @binding(12) var<storage, read> labels: array<u32>;                // [3·C + N·L]: shared/conditions.wgsl
//#end
//#if COUPLED
@group(0) @binding(8) var<uniform> wave: Wave;
@group(0) @binding(9) var<storage, read> partners: array<u32>;               // [problems, wave.steps, B]
//#else
//#if GATHERED
@group(0) @binding(8) var<uniform> wave: Wave;
//#end
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
    let picked = pick(address);
    let columns = pair_columns(address, picked, path_schedule(picked.t), block);
//#if TEXTURES
    textureStore(features, vec2u(block, row), columns.feature);
//#else
    features[row * blocks + block] = columns.feature;
//#end
    let out_blocks = WIDTH_OUT / 4u;
    if (block < out_blocks) {
        velocity[row * out_blocks + block] = columns.velocity;
    }
//#if EXPORT
    let exported_row = row * (2u * out_blocks + 1u);
    if (block < out_blocks) {
        exported[exported_row + block] = bitcast<vec4u>(columns.x0);
        exported[exported_row + out_blocks + block] = bitcast<vec4u>(columns.x1);
    }
    if (block == 0u) {
        exported[exported_row + 2u * out_blocks] = vec4u(picked.row, bitcast<u32>(picked.t), 0u, 0u);
    }
//#end
}
