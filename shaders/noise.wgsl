// Fills the sampler's state with x0: Gaussian noise, or rows of a source data set. The address of a number is the
// row's place among all the samples asked for, so the samples do not depend on how they are cut into chunks.
// One invocation a block of four columns of one row.
//
// Variants: SOURCE   x0 is a row of a source data set instead of N(0, I)

//#include "shared/philox.wgsl"

const DIM: u32 = 2u;
const EXTRA: u32 = 0u;   // accumulators behind x, which begin at zero
const LANES: u32 = 64u;
const STATE: u32 = DIM + EXTRA;

// Mirrors `Noise` in src/sample/layout.rs.
struct Noise {
    seed: vec2u,
    first_row: u32,    // of this chunk among all samples
    rows: u32,
    source_rows: u32,
    deviation: f32,    // of the noise
    block_first: u32,  // the first row of the source that is bound
    block_rows: u32,   // how many are
}

@group(0) @binding(0) var<uniform> noise: Noise;
@group(0) @binding(1) var<storage, read_write> points: array<f32>;   // [rows, STATE]
//#if SOURCE
@group(0) @binding(2) var<storage, read> source: array<f32>;         // [noise.block_rows, DIM]
//#end

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let blocks = (STATE + 3u) / 4u;
    let index = id.y * (groups.x * LANES) + id.x;
    let row = index / blocks;
    let block = index % blocks;
    if (row >= noise.rows) {
        return;
    }
    let address = noise.first_row + row;
//#if SOURCE
    let words = philox4x32(vec4u(address, 0u, 0u, STREAM_SAMPLE), noise.seed);
    // Of a source in several blocks, the others' dispatches bring their rows. Rows before this block wrap around.
    let place = pick_row(words.x, words.y, noise.source_rows) - noise.block_first;
//#else
    let x0 = normals(philox4x32(vec4u(address, block, 0u, STREAM_SAMPLE), noise.seed));
//#end
    for (var i = 0u; i < 4u; i++) { //#unroll
        let column = 4u * block + i;
        if (column < DIM) {
//#if SOURCE
            if (place < noise.block_rows) {
                points[row * STATE + column] = source[place * DIM + column];
            }
//#else
            points[row * STATE + column] = noise.deviation * x0[i];
//#end
        } else if (column < STATE) {
            points[row * STATE + column] = 0.0;
        }
    }
}
