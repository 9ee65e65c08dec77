// A training step up to the gradient in one dispatch, for networks of narrow layers: the batch is drawn (draw.wgsl says
// how), goes through the network, leaves its loss (loss.wgsl), and its gradient comes back (linear_backward_*.wgsl),
// without an activation ever leaving the chip.
//
// A row group of LANES invocations takes TILE_ROWS rows of the batch at a time. A lane owns QUADS groups of four
// columns of every layer: for the weight gradient of W [outputs, inputs] these are outputs, on the way back inputs.
// The other operand is the same for all lanes of a product, one column after the other: it comes through the workgroup's
// memory.
//
// The last layer has few outputs, so there every lane adds up its own inputs, and forward, loss and backward are
// one loop over the outputs.
//
// Each row group adds its rows up in order, into a slice of its own: gradient_reduce.wgsl adds the slices, in order.
//
// Variants: TEXTURES   W is a texture (src/gpu/matrix.rs says when)
//           COUPLED, SOURCE, GATHERED, NOISY, CONDITIONED  as in draw.wgsl

//#include "shared/pair.wgsl"
//#include "shared/network.wgsl"
//#include "shared/activation/{ACTIVATION}.wgsl"

const WIDTH_IN: u32 = 8u;    // features of a row, padded
const WIDTH_OUT: u32 = 8u;   // d, padded
const HIDDEN: u32 = 1u;      // hidden layers
const LANES: u32 = 8u;       // of a row group: a power of two
const QUADS: u32 = 2u;       // 4·QUADS·LANES columns: at least the widest layer's but the last's
const TILE_ROWS: u32 = 16u;  // a multiple of four
const GROUPS: u32 = 1u;      // row groups of a workgroup
const QUADS_IN: u32 = WIDTH_IN / 4u;
const QUADS_OUT: u32 = WIDTH_OUT / 4u;
const TILE_QUADS: u32 = TILE_ROWS / 4u;
const CELLS: u32 = TILE_ROWS * QUADS;
const WEIGHTS: u32 = 4u * QUADS;
const WHOLE: u32 = 0u;       // 1: the lanes' columns are all layers'

// A row group's memory, in vec4: features and target velocities of its rows, then activations and slopes of the hidden
// layers [TILE_ROWS, LANES · QUADS], then the partial sums of the last layer.
const TARGETS: u32 = TILE_ROWS * QUADS_IN;
const ACTIVATIONS: u32 = TARGETS + TILE_ROWS * QUADS_OUT;
const LAYER: u32 = TILE_ROWS * LANES * QUADS;
const SLOPES: u32 = ACTIVATIONS + HIDDEN * LAYER;
const SUMS: u32 = SLOPES + HIDDEN * LAYER;
const SIZE: u32 = SUMS + LANES * TILE_QUADS;

@group(0) @binding(0) var<uniform> chunk: Chunk;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> data: array<f32>;                 // [N, DIM]; GATHERED: [rows of the wave, DIM]
@group(0) @binding(3) var<uniform> network: Network;
@group(0) @binding(4) var<storage, read> parameters: array<vec4f>;
//#if SOURCE
@group(0) @binding(5) var<storage, read> source: array<f32>;               // [source rows, DIM]; GATHERED: [rows of the wave, DIM]
//#end
@group(0) @binding(6) var<storage, read_write> gradient: array<vec4f>;     // [row groups, parameters]
@group(0) @binding(7) var<storage, read_write> partials: array<f32>;       // [row groups]: sums of squared errors
//#if CONDITIONED
@group(0) @binding(12) var<storage, read> labels: array<u32>;              // [3·C + N·L]: shared/conditions.wgsl
//#end
//#if COUPLED
@group(0) @binding(8) var<uniform> wave: Wave;
@group(0) @binding(9) var<storage, read> partners: array<u32>;             // [problems, wave.steps, B]
//#else
//#if GATHERED
@group(0) @binding(8) var<uniform> wave: Wave;
//#end
//#end
//#if TEXTURES
@group(0) @binding(10) var weights: texture_storage_2d<rgba32float, read>; // W of all layers
//#end

var<workgroup> memory: array<vec4f, SIZE * GROUPS>;

// Weights of an output row, where a lane may own columns beyond the layer: those meet zeros.
fn weight_within(shape: vec4u, outputs: vec4u, row: u32, quad: u32) -> vec4f {
    return weight_at(shape, outputs, min(row, shape.y - 1u), min(quad, shape.x - 1u));
}

@compute @workgroup_size(LANES * GROUPS)
fn main(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let lane = index % LANES;
    let base = index / LANES * SIZE;
    let slice = group.x * GROUPS + index / LANES;
    let tiles = (chunk.rows + groups.x * GROUPS * TILE_ROWS - 1u) / (groups.x * GROUPS * TILE_ROWS);
    let own = lane * QUADS;
    let out = slice * (arrayLength(&gradient) / (groups.x * GROUPS));
    let scale = 2.0 / f32(chunk.batch);
    let final_shape = network.shape[HIDDEN];
    let final_outputs = network.outputs[HIDDEN];
    var loss = 0.0;

    for (var tile = 0u; tile < tiles; tile++) {
        let first = (slice * tiles + tile) * TILE_ROWS;

        // The batch: a lane draws whole rows. Rows beyond the last are copies of it, and count for nothing below.
        for (var i = lane; i < TILE_ROWS; i += LANES) {
            let address = chunk.first_row + min(first + i, chunk.rows - 1u);
            let picked = pick(address);
            let schedule = path_schedule(picked.t);
            for (var block = 0u; block < QUADS_IN; block++) {
                let columns = pair_columns(address, picked, schedule, block);
                memory[base + i * QUADS_IN + block] = columns.feature;
                if (block < QUADS_OUT) {
                    memory[base + TARGETS + i * QUADS_OUT + block] = columns.velocity;
                }
            }
        }
        workgroupBarrier();

        // Forward.
        var h: array<vec4f, CELLS>;
        for (var layer = 0u; layer < HIDDEN; layer++) {
            let shape = network.shape[layer];
            let outputs = network.outputs[layer];
            let input = base + select(ACTIVATIONS + (layer - 1u) * LAYER, 0u, layer == 0u);
            let stride = select(LANES * QUADS, QUADS_IN, layer == 0u);
            var z: array<vec4f, CELLS>;
            for (var q = 0u; q < QUADS; q++) { //#unroll
                let bias = parameters[shape.w + min(own + q, shape.y / 4u - 1u)];
                for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                    z[r * QUADS + q] = bias;
                }
            }
            for (var k = 0u; k < shape.x; k++) {
                var x: array<vec4f, TILE_ROWS>;
                for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                    x[r] = memory[input + r * stride + k];
                }
                for (var q = 0u; q < QUADS; q++) { //#unroll
                    let w0 = weight_within(shape, outputs, 4u * (own + q), k);
                    let w1 = weight_within(shape, outputs, 4u * (own + q) + 1u, k);
                    let w2 = weight_within(shape, outputs, 4u * (own + q) + 2u, k);
                    let w3 = weight_within(shape, outputs, 4u * (own + q) + 3u, k);
                    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                        z[r * QUADS + q] += vec4f(dot(w0, x[r]), dot(w1, x[r]), dot(w2, x[r]), dot(w3, x[r]));
                    }
                }
            }
            for (var q = 0u; q < QUADS; q++) { //#unroll
                // act(0) need not be 0 (softplus), but columns beyond the layer must be
                let inside = vec4u(4u * (own + q)) + vec4u(0u, 1u, 2u, 3u) < vec4u(outputs.x);
                for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                    let at = base + layer * LAYER + r * LANES * QUADS + own + q;
                    h[r * QUADS + q] = select(vec4f(0.0), activation(z[r * QUADS + q]), inside);
                    memory[ACTIVATIONS + at] = h[r * QUADS + q];
                    memory[SLOPES + at] = select(vec4f(0.0), activation_slope(z[r * QUADS + q]), inside);
                }
            }
            workgroupBarrier();
        }

        // The last layer, there and back, one output at a time.
        var below: array<vec4f, CELLS>;
        var tile_loss = 0.0;
        for (var n = 0u; n < DIM; n++) {
            var w: array<vec4f, QUADS>;
            var sums: array<vec4f, TILE_QUADS>;
            for (var q = 0u; q < QUADS; q++) { //#unroll
                w[q] = weight_within(final_shape, final_outputs, n, own + q);
                for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                    sums[r / 4u][r % 4u] += dot(w[q], h[r * QUADS + q]);
                }
            }
            for (var i = 0u; i < TILE_QUADS; i++) { //#unroll
                memory[base + SUMS + lane * TILE_QUADS + i] = sums[i];
            }
            workgroupBarrier();
            for (var i = 0u; i < TILE_QUADS; i++) { //#unroll
                sums[i] = memory[base + SUMS + i];
                for (var other = 1u; other < LANES; other++) {
                    sums[i] += memory[base + SUMS + other * TILE_QUADS + i];
                }
            }
            workgroupBarrier();
            let bias = parameters[final_shape.w + n / 4u][n % 4u];
            var weight_gradient: array<vec4f, QUADS>;
            var bias_gradient = 0.0;
            // Sums of sums: rows, outputs, tiles.
            var output_loss = 0.0;
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                let target_velocity = memory[base + TARGETS + r * QUADS_OUT + n / 4u][n % 4u];
                let v = bias + sums[r / 4u][r % 4u];
                let difference = select(0.0, v - target_velocity, first + r < chunk.rows);
                output_loss += difference * difference;
                let delta = scale * difference;
                for (var q = 0u; q < QUADS; q++) { //#unroll
                    below[r * QUADS + q] += delta * w[q];
                }
                bias_gradient += delta;
                for (var q = 0u; q < QUADS; q++) { //#unroll
                    weight_gradient[q] += delta * h[r * QUADS + q];
                }
            }
            tile_loss += output_loss;
            for (var q = 0u; q < QUADS; q++) { //#unroll
                if (own + q < final_shape.x) {
                    let at = out + final_shape.z + n * final_shape.x + own + q;
                    if (tile > 0u) {
                        weight_gradient[q] += gradient[at];
                    }
                    gradient[at] = weight_gradient[q];
                }
            }
            if (lane == 0u) {
                let at = out + final_shape.w + n / 4u;
                if (tile > 0u) {
                    bias_gradient += gradient[at][n % 4u];
                }
                gradient[at][n % 4u] = bias_gradient;
            }
        }
        loss += tile_loss;

        // Backward.
        for (var above = HIDDEN; above > 0u; above--) {
            let layer = above - 1u;
            let shape = network.shape[layer];
            let outputs = network.outputs[layer];
            let input = base + select(ACTIVATIONS + (layer - 1u) * LAYER, 0u, layer == 0u);
            let stride = select(LANES * QUADS, QUADS_IN, layer == 0u);
            let slopes = base + SLOPES + layer * LAYER;
            var delta: array<vec4f, CELLS>;
            for (var q = 0u; q < QUADS; q++) { //#unroll
                var bias_gradient = vec4f(0.0);
                for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                    let at = slopes + r * LANES * QUADS + own + q;
                    delta[r * QUADS + q] = below[r * QUADS + q] * memory[at];
                    bias_gradient += delta[r * QUADS + q];
                    memory[at] = delta[r * QUADS + q];
                }
                if (own + q < shape.y / 4u) {
                    let at = out + shape.w + own + q;
                    if (tile > 0u) {
                        bias_gradient += gradient[at];
                    }
                    gradient[at] = bias_gradient;
                }
            }
            workgroupBarrier();

            // dW = dZᵀ·X
            for (var k = 0u; k < shape.x; k++) {
                var sums: array<vec4f, WEIGHTS>;
                for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                    let x = memory[input + r * stride + k];
                    for (var q = 0u; q < QUADS; q++) { //#unroll
                        for (var i = 0u; i < 4u; i++) { //#unroll
                            sums[4u * q + i] += delta[r * QUADS + q][i] * x;
                        }
                    }
                }
                for (var q = 0u; q < QUADS; q++) { //#unroll
                    if (WHOLE > 0u || own + q < shape.y / 4u) {
                        for (var i = 0u; i < 4u; i++) { //#unroll
                            let at = out + shape.z + (4u * (own + q) + i) * shape.x + k;
                            let sum = sums[4u * q + i];
                            gradient[at] = select(sum, sum + gradient[at], tile > 0u);
                        }
                    }
                }
            }

            // dX = dZ·W
            for (var i = 0u; i < CELLS; i++) { //#unroll
                below[i] = vec4f(0.0);
            }
            if (layer > 0u) {
                for (var n = 0u; n < shape.y / 4u; n++) {
                    var d: array<vec4f, TILE_ROWS>;
                    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                        d[r] = memory[slopes + r * LANES * QUADS + n];
                    }
                    for (var q = 0u; q < QUADS; q++) { //#unroll
                        let w0 = weight_within(shape, outputs, 4u * n, own + q);
                        let w1 = weight_within(shape, outputs, 4u * n + 1u, own + q);
                        let w2 = weight_within(shape, outputs, 4u * n + 2u, own + q);
                        let w3 = weight_within(shape, outputs, 4u * n + 3u, own + q);
                        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                            below[r * QUADS + q] += (d[r].x * w0 + d[r].y * w1) + (d[r].z * w2 + d[r].w * w3);
                        }
                    }
                }
            }
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        partials[slice] = loss;
    }
}
