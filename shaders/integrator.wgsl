// Carries particles along the learned flow, dx/dt = v(x, t) (eq. 1), by an explicit Runge–Kutta method: Euler is
// the one with a single stage. One dispatch makes many steps; in between nothing but the weights is read from
// device memory, and nothing is written.
//
// A lane owns TILE_ROWS particles from the first step to the last: their activations lie in its own column of the
// workgroup's memory, so no barrier is needed anywhere. All lanes walk through the layers together and read the
// same weights, which one load brings to all of them.
//
// Variants: TEXTURES  W is a texture (src/gpu/matrix.rs says when)

//#include "shared/philox.wgsl"
//#include "shared/features.wgsl"
//#include "shared/tableau.wgsl"
//#include "shared/activation/{ACTIVATION}.wgsl"

const WIDTH_IN: u32 = 8u;          // features, padded
const WIDTH_OUT: u32 = 8u;         // d, padded
const WIDTH: u32 = 8u;             // the widest of all layers, input included, padded
const STAGES: u32 = 1u;
const TILE_ROWS: u32 = 2u;         // particles of a lane
const TILE_COLUMNS: u32 = 8u;
const TILE_QUADS: u32 = TILE_COLUMNS / 4u;
const LANES: u32 = 16u;
const ROWS: u32 = TILE_ROWS * LANES;
const MAX_LAYERS: u32 = 32u;

// The workgroup's memory in columns of ROWS vec4: the state x, the stages' velocities k_i, two activations in turn.
const QUADS_OUT: u32 = WIDTH_OUT / 4u;
const FRONT: u32 = (1u + STAGES) * QUADS_OUT;
const BACK: u32 = FRONT + WIDTH / 4u;
const COLUMNS: u32 = BACK + WIDTH / 4u;

struct Network {
    layers: u32,
    padding0: u32,
    padding1: u32,
    padding2: u32,
    // of each layer: inputs / 4, outputs, place of W in the parameters (vec4), place of b
    shape: array<vec4u, MAX_LAYERS>,
    // of each layer: its true number of outputs, its first row in the texture of all weights
    outputs: array<vec4u, MAX_LAYERS>,
}

@group(0) @binding(0) var<uniform> tableau: Tableau;
@group(0) @binding(1) var<uniform> network: Network;
@group(0) @binding(2) var<storage, read> parameters: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> points: array<f32>;  // x [rows, DIM], in and out
//#if TEXTURES
@group(0) @binding(4) var weights: texture_storage_2d<rgba32float, read>;    // W of all layers
//#end

var<workgroup> memory: array<vec4f, COLUMNS * ROWS>;

// Four weights of output `row` of a layer, from input 4·quad on.
fn weight_at(shape: vec4u, outputs: vec4u, row: u32, quad: u32) -> vec4f {
//#if TEXTURES
    return textureLoad(weights, vec2u(quad, outputs.y + row));
//#else
    return parameters[shape.z + row * shape.x + quad];
//#end
}

// One layer for the lane's particles, from one column range of the memory to another.
fn layer_forward(layer: u32, lane: u32, input: u32, output: u32, last: bool) {
    let shape = network.shape[layer];
    let outputs = network.outputs[layer];
    for (var column = 0u; column < shape.y; column += TILE_COLUMNS) {
        var sums: array<vec4f, TILE_ROWS * TILE_QUADS>;
        for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
            let bias = parameters[shape.w + column / 4u + q];
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                sums[r * TILE_QUADS + q] = bias;
            }
        }
        for (var k = 0u; k < shape.x; k++) {
            var x: array<vec4f, TILE_ROWS>;
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                x[r] = memory[(input + k) * ROWS + r * LANES + lane];
            }
            for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
                let w0 = weight_at(shape, outputs, column + 4u * q, k);
                let w1 = weight_at(shape, outputs, column + 4u * q + 1u, k);
                let w2 = weight_at(shape, outputs, column + 4u * q + 2u, k);
                let w3 = weight_at(shape, outputs, column + 4u * q + 3u, k);
                for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                    sums[r * TILE_QUADS + q] += vec4f(dot(w0, x[r]), dot(w1, x[r]), dot(w2, x[r]), dot(w3, x[r]));
                }
            }
        }
        for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
            // act(0) need not be 0 (softplus), but padded columns must be
            let inside = vec4u(column + 4u * q) + vec4u(0u, 1u, 2u, 3u) < vec4u(outputs.x);
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                var h = sums[r * TILE_QUADS + q];
                if (!last) {
                    h = select(vec4f(0.0), activation(h), inside);
                }
                memory[(output + column / 4u + q) * ROWS + r * LANES + lane] = h;
            }
        }
    }
}

// k_stage = v(x + h·Σ_j a_ij·k_j, t): features into FRONT, then the layers, the last of which writes k_stage.
fn evaluate(stage: u32, t: f32, lane: u32) {
    for (var block = 0u; block < WIDTH_IN / 4u; block++) {
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            let at = r * LANES + lane;
            var feature = vec4f(0.0);
            if (block < QUADS_OUT) {
                feature = memory[block * ROWS + at];
                for (var j = 0u; j < stage; j++) {
                    let a = tableau.matrix[2u * stage + j / 4u][j % 4u];
                    feature += tableau.h * a * memory[((1u + j) * QUADS_OUT + block) * ROWS + at];
                }
            }
            for (var i = 0u; i < 4u; i++) { //#unroll
                if (4u * block + i >= DIM) {
                    feature[i] = time_feature(4u * block + i, t);
                }
            }
            memory[(FRONT + block) * ROWS + at] = feature;
        }
    }
    var input = FRONT;
    var output = BACK;
    for (var layer = 0u; layer < network.layers; layer++) {
        let last = layer + 1u == network.layers;
        if (last) {
            output = (1u + stage) * QUADS_OUT;
        }
        layer_forward(layer, lane, input, output, last);
        input = output;
        output = FRONT + BACK - output;
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let first = (group.y * groups.x + group.x) * ROWS + lane;
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        let row = first + r * LANES;
        for (var block = 0u; block < QUADS_OUT; block++) {
            var x = vec4f(0.0);
            for (var i = 0u; i < 4u; i++) { //#unroll
                if (row < tableau.rows && 4u * block + i < DIM) {
                    x[i] = points[row * DIM + 4u * block + i];
                }
            }
            memory[block * ROWS + r * LANES + lane] = x;
        }
    }
    for (var step = 0u; step < tableau.steps; step++) {
        let t = tableau.t0 + f32(tableau.first_step + step) * tableau.h;
        for (var stage = 0u; stage < STAGES; stage++) {
            evaluate(stage, t + tableau.nodes[stage / 4u][stage % 4u] * tableau.h, lane);
        }
        for (var block = 0u; block < QUADS_OUT; block++) {
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                let at = r * LANES + lane;
                var slope = vec4f(0.0);
                for (var i = 0u; i < STAGES; i++) {
                    let b = tableau.weights[i / 4u][i % 4u];
                    slope += b * memory[((1u + i) * QUADS_OUT + block) * ROWS + at];
                }
                memory[block * ROWS + at] += tableau.h * slope;
            }
        }
    }
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        let row = first + r * LANES;
        for (var block = 0u; block < QUADS_OUT; block++) {
            let x = memory[block * ROWS + r * LANES + lane];
            for (var i = 0u; i < 4u; i++) { //#unroll
                if (row < tableau.rows && 4u * block + i < DIM) {
                    points[row * DIM + 4u * block + i] = x[i];
                }
            }
        }
    }
}
