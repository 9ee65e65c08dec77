// The rows that the batches of many steps pick, out of one block of a data set that is larger than what a kernel can see
// at once. With every block the wave is complete:
//
//     gathered[s·B + r] = table[row that row r of the batch of step s picks]
//
// One invocation makes SPAN columns of one row of the wave, if the row picked lies in the block, and nothing otherwise:
// so that a row is picked once for many columns, and many lanes share a wide one.
//
// Variants: SOURCE  the rows of a source data set, which stand for x0; where they are paired with x1's, without it

//#include "shared/philox.wgsl"
//#include "shared/chunk.wgsl"
//#include "shared/wave.wgsl"

const DIM: u32 = 2u;
const SPAN: u32 = 64u;
const LANES: u32 = 64u;

// Mirrors `Block` in src/train/layout.rs.
struct Block {
    first_row: u32,  // in the data set
    rows: u32,
    padding0: u32,
    padding1: u32,
}

@group(0) @binding(0) var<uniform> chunk: Chunk;
@group(0) @binding(1) var<uniform> wave: Wave;
@group(0) @binding(2) var<uniform> within: Block;
@group(0) @binding(3) var<storage, read> table: array<f32>;             // [within.rows, DIM]
@group(0) @binding(4) var<storage, read_write> gathered: array<f32>;    // [wave.rows, DIM]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let spans = (DIM + SPAN - 1u) / SPAN;
    let index = id.y * (groups.x * LANES) + id.x;
    let row = index / spans;
    if (row >= wave.rows) {
        return;
    }
    let step = wave.first_step + row / chunk.batch;
//#if SOURCE
    let words = philox4x32(vec4u(row % chunk.batch, 0u, step, STREAM_SOURCE), chunk.seed);
    let picked = pick_row(words.x, words.y, chunk.source_rows);
//#else
    let words = philox4x32(vec4u(row % chunk.batch, 0u, step, STREAM_PICK), chunk.seed);
    let picked = pick_row(words.x, words.y, chunk.data_rows);
//#end
    // Rows before the block wrap around, and are beyond it too.
    let place = picked - within.first_row;
    if (place >= within.rows) {
        return;
    }
    let begin = (index % spans) * SPAN;
    let end = min(begin + SPAN, DIM);
    for (var column = begin; column < end; column++) {
        gathered[row * DIM + column] = table[place * DIM + column];
    }
}
