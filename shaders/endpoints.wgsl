// The pairs of many steps, for a coupling to rearrange: the x0 and x1 that independent batches have there. Row r of a
// problem is row r mod B of the batch of its step r / B.
//
// In the variant CONDITIONED both ends go on with √w times the features of the condition that was drawn with them, so that
// the squared distance of a pair is ‖x0 − x1‖² + w·‖c0 − c1‖² (Cheng & Schwing 2025): x0 keeps to the condition that
// it was drawn with, and p(x0 | c) stays what p(x0) is.
//
// One invocation makes four columns of one row.
//
// Variants: SOURCE       x0 is a row of a source data set instead of N(0, I)
//           GATHERED     the rows of the data, and of the source, were gathered for the wave (gather.wgsl)
//           CONDITIONED  with the conditions, see above

//#include "shared/endpoints.wgsl"
//#include "shared/conditions.wgsl"

const DIM: u32 = 2u;
const LANES: u32 = 64u;
const WIDTH: u32 = DIM + CONDITIONS;  // of an end

@group(0) @binding(0) var<uniform> chunk: Chunk;
@group(0) @binding(1) var<uniform> wave: Wave;
@group(0) @binding(2) var<storage, read> data: array<f32>;           // [N, DIM]; GATHERED: [wave.rows, DIM]
@group(0) @binding(3) var<storage, read_write> all_x0: array<f32>;   // [wave.rows, WIDTH]
@group(0) @binding(4) var<storage, read_write> all_x1: array<f32>;   // [wave.rows, WIDTH]
//#if SOURCE
@group(0) @binding(5) var<storage, read> source: array<f32>;         // [source rows, DIM]; GATHERED: [wave.rows, DIM]
//#end
//#if CONDITIONED
@group(0) @binding(12) var<storage, read> labels: array<u32>;        // [3·C + N·L]: shared/conditions.wgsl
//#end

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let blocks = (WIDTH + 3u) / 4u;
    let index = id.y * (groups.x * LANES) + id.x;
    let row = index / blocks;
    let block = index % blocks;
    if (row >= wave.rows) {
        return;
    }
    let step = wave.first_step + row / chunk.batch;
    let address = row % chunk.batch;
    let words = philox4x32(vec4u(address, 0u, step, STREAM_PICK), chunk.seed);
    let picked = pick_row(words.x, words.y, chunk.data_rows);
    let x0 = source_columns(address, step, block);
    let x1 = data_columns(picked, address, step, block);
    for (var i = 0u; i < 4u; i++) { //#unroll
        if (4u * block + i < DIM) {
            all_x0[row * WIDTH + 4u * block + i] = x0[i];
            all_x1[row * WIDTH + 4u * block + i] = x1[i];
        }
    }
//#if CONDITIONED
    let begin = max(4u * block, DIM);
    let end = min(4u * block + 4u, WIDTH);
    for (var column = begin; column < end; column++) {
        let cost = condition_cost(column - DIM, picked);
        all_x0[row * WIDTH + column] = cost;
        all_x1[row * WIDTH + column] = cost;
    }
//#end
}
