// The velocity, and the divergence beside it, for particles that stay on the chip: what the fused integrators
// (integrator.wgsl, adaptive.wgsl) have in common.
//
// A lane owns TILE_ROWS particles, each in SLOTS slots: its own and one for each tangent. A lane's slots lie in its own
// columns of the workgroup's memory, so no barrier is needed anywhere. All lanes walk through the layers together and
// read the same weights, which one load brings to all of them. With SUBGROUPS nothing ever leaves the registers: every
// place is known when the kernel is compiled, but that of a stage's velocity, which is chosen among all of them.
//
// The state of a particle is x and, behind it, EXTRA accumulators of ∫ div v dt. Forward mode: a tangent goes through
// the layers beside its particle, h' = act'(z)·(W·h'), and εᵀ·J·ε is what comes out (math: J = ∂v/∂x).
//
// Flags: TEXTURES    W is a texture (src/gpu/matrix.rs says when)
//        DIVERGENCE  with tangents; {PROBE} says which
//        SUBGROUPS   a workgroup is a subgroup of LANES lanes, which stay together (shared/layers_unrolled.wgsl)
//        SHARED      the lanes share the layers (shared/layer_shared.wgsl): the only place with barriers. Without tangents

//#include "shared/philox.wgsl"
//#include "shared/features.wgsl"
//#include "shared/tableau.wgsl"
//#include "shared/network.wgsl"
//#include "shared/activation/{ACTIVATION}.wgsl"

const WIDTH_IN: u32 = 8u;          // features, padded
const WIDTH_OUT: u32 = 8u;         // d, padded
const WIDTH: u32 = 8u;             // the widest of all layers, input included, padded
const STAGES: u32 = 1u;
const KEPT: u32 = 0u;              // velocities kept from the step before
const EXTRA: u32 = 0u;             // accumulators of the divergence
const TANGENTS: u32 = 0u;          // probes at once
const PROBE_GROUPS: u32 = 1u;      // how many times, to come to all of them
const TILE_ROWS: u32 = 2u;         // particles of a lane
//#if !SUBGROUPS
const TILE_COLUMNS: u32 = 8u;
const TILE_QUADS: u32 = TILE_COLUMNS / 4u;
//#end
const LANES: u32 = 16u;
const SLOTS: u32 = 1u + TANGENTS;
const TILE_SLOTS: u32 = TILE_ROWS * SLOTS;
//#if SUBGROUPS
const ROWS: u32 = TILE_ROWS;       // of the memory, which is the lane's own
//#else
const ROWS: u32 = TILE_SLOTS * LANES;
//#end
const STATE: u32 = DIM + EXTRA;    // columns of a particle's state

// The memory in columns of ROWS vec4: the state x, the stages' velocities k_i, what is kept of the step before, and
// unless there are SUBGROUPS two activations in turn.
const QUADS_STATE: u32 = (STATE + 3u) / 4u;
const FRONT: u32 = (1u + STAGES + KEPT) * QUADS_STATE;
//#if SUBGROUPS
const COLUMNS: u32 = FRONT;
//#else
//#if SHARED
const BACK: u32 = FRONT;
//#else
const BACK: u32 = FRONT + WIDTH / 4u;
//#end
const COLUMNS: u32 = BACK + WIDTH / 4u;
//#end
const QUADS_DATA: u32 = (DIM + 3u) / 4u;
const QUADS_SEEN: u32 = (DIM + 1u + 2u * FREQUENCIES + 3u) / 4u;

@group(0) @binding(0) var<uniform> tableau: Tableau;
@group(0) @binding(1) var<uniform> network: Network;
@group(0) @binding(2) var<storage, read> parameters: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> points: array<f32>;  // [rows, STATE], in and out
//#if TEXTURES
@group(0) @binding(4) var weights: texture_storage_2d<rgba32float, read>;    // W of all layers
//#end

//#if DIVERGENCE
//#include "shared/probe/{PROBE}.wgsl"
//#end

//#if SUBGROUPS
var<private> memory: array<vec4f, COLUMNS * ROWS>;
//#else
var<workgroup> memory: array<vec4f, COLUMNS * ROWS>;
//#end

// The place of a particle's own slot within a column of memory; its tangents' follow every LANES.
fn place(r: u32, lane: u32) -> u32 {
//#if SUBGROUPS
    return r;
//#else
    return r * SLOTS * LANES + lane;
//#end
}

// Block of the velocity of a stage.
fn slope_at(stage: u32, block: u32, at: u32) -> vec4f {
//#if SUBGROUPS
    var slope = memory[(QUADS_STATE + block) * ROWS + at];
    for (var j = 0u; j < STAGES - 1u; j++) { //#unroll
        slope = select(slope, memory[((2u + j) * QUADS_STATE + block) * ROWS + at], stage == 1u + j);
    }
    return slope;
//#else
    return memory[((1u + stage) * QUADS_STATE + block) * ROWS + at];
//#end
}

fn put_slope(stage: u32, block: u32, at: u32, slope: vec4f) {
//#if SUBGROUPS
    for (var j = 0u; j < STAGES; j++) { //#unroll
        let i = ((1u + j) * QUADS_STATE + block) * ROWS + at;
        memory[i] = select(memory[i], slope, stage == j);
    }
//#else
    memory[((1u + stage) * QUADS_STATE + block) * ROWS + at] = slope;
//#end
}

// Which of the columns 4·block … 4·block + 3 are coordinates of the data.
fn is_data(block: u32) -> vec4<bool> {
    return vec4u(4u * block) + vec4u(0u, 1u, 2u, 3u) < vec4u(DIM);
}

//#if SUBGROUPS
//#include "shared/layers_unrolled.wgsl"
//#else
// One layer for all slots of a lane, from one column range of the memory to another.
fn layer_forward(layer: u32, lane: u32, input: u32, output: u32, last: bool) {
    let shape = network.shape[layer];
    let outputs = network.outputs[layer];
    for (var column = 0u; column < shape.y; column += TILE_COLUMNS) {
        var sums: array<vec4f, TILE_SLOTS * TILE_QUADS>;
        for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
            let bias = parameters[shape.w + column / 4u + q];
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                sums[r * SLOTS * TILE_QUADS + q] = bias;
                for (var j = 0u; j < TANGENTS; j++) { //#unroll
                    sums[(r * SLOTS + 1u + j) * TILE_QUADS + q] = vec4f(0.0);
                }
            }
        }
        for (var k = 0u; k < shape.x; k++) {
            var x: array<vec4f, TILE_SLOTS>;
            for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
                x[s] = memory[(input + k) * ROWS + s * LANES + lane];
            }
            for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
                let w0 = weight_at(shape, outputs, column + 4u * q, k);
                let w1 = weight_at(shape, outputs, column + 4u * q + 1u, k);
                let w2 = weight_at(shape, outputs, column + 4u * q + 2u, k);
                let w3 = weight_at(shape, outputs, column + 4u * q + 3u, k);
                for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
                    sums[s * TILE_QUADS + q] += vec4f(dot(w0, x[s]), dot(w1, x[s]), dot(w2, x[s]), dot(w3, x[s]));
                }
            }
        }
        for (var q = 0u; q < TILE_QUADS; q++) { //#unroll
            // act(0) need not be 0 (softplus), but padded columns must be
            let inside = vec4u(column + 4u * q) + vec4u(0u, 1u, 2u, 3u) < vec4u(outputs.x);
            let to = (output + column / 4u + q) * ROWS + lane;
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                let z = sums[r * SLOTS * TILE_QUADS + q];
                var h = z;
                if (!last) {
                    h = select(vec4f(0.0), activation(z), inside);
                }
                memory[to + r * SLOTS * LANES] = h;
//#if DIVERGENCE
                var slope = vec4f(1.0);
                if (!last) {
                    slope = activation_slope(z);
                }
                for (var j = 0u; j < TANGENTS; j++) { //#unroll
                    memory[to + (r * SLOTS + 1u + j) * LANES] = slope * sums[(r * SLOTS + 1u + j) * TILE_QUADS + q];
                }
//#end
            }
        }
    }
}
//#end

//#if SHARED
//#include "shared/layer_shared.wgsl"
//#end

//#if SUBGROUPS
var<private> biases: Biases;
// The tableau's rows: a lane brings that of one stage, and all lanes pass them down, from stage to stage.
var<private> brought_rows: array<vec4f, 2>;
// a_ij of the stage at hand, and behind them, where no explicit method has one, its node c_i.
var<private> stage_row: array<vec4f, 2>;

fn passed_down(brought: vec4f, lane: u32) -> vec4f {
    return subgroupShuffle(brought, (lane + 1u) % LANES);
}

fn next_row(lane: u32) {
    for (var i = 0u; i < 2u; i++) { //#unroll
        stage_row[i] = subgroupShuffle(brought_rows[i], 0u);
        brought_rows[i] = passed_down(brought_rows[i], lane);
    }
}

fn bring_rows(lane: u32) -> array<vec4f, 2> {
    let own = min(lane, STAGES - 1u);
    let node = tableau.nodes[own / 4u][own % 4u];
    return array<vec4f, 2>(tableau.matrix[2u * own], vec4f(tableau.matrix[2u * own + 1u].xyz, node));
}
//#end

// Block of the state of a stage: y = x + h·Σ_j a_ij·k_j.
fn stage_state(stage: u32, block: u32, at: u32, h: f32) -> vec4f {
    var y = memory[block * ROWS + at];
//#if SUBGROUPS
    for (var j = 0u; j < STAGES - 1u; j++) { //#unroll
        // What is left there of an earlier step need not be a number.
        let change = h * stage_row[j / 4u][j % 4u] * memory[((1u + j) * QUADS_STATE + block) * ROWS + at];
        y += select(vec4f(0.0), change, j < stage);
    }
//#else
    for (var j = 0u; j < stage; j++) {
        let a = tableau.matrix[2u * stage + j / 4u][j % 4u];
        y += h * a * memory[((1u + j) * QUADS_STATE + block) * ROWS + at];
    }
//#end
    return y;
}

// Features 4·block … 4·block + 3 of a particle at the state c·y of the stage and the time t.
fn feature_at(stage: u32, block: u32, at: u32, h: f32, moment: vec4f) -> vec4f {
    var feature = vec4f(0.0);
    if (block < QUADS_DATA) {
        feature = moment.y * stage_state(stage, block, at, h);
    }
    for (var i = 0u; i < 4u; i++) { //#unroll
        if (4u * block + i >= DIM) {
            feature[i] = time_feature(4u * block + i, moment.x);
        }
    }
    return feature;
}

// k_stage = α·y + β·v(c·y, t) at the state y of the stage, for each particle its own h and (t, c, α, β); and behind it
// the divergence of that, d·α + β·c·tr J, in the accumulators. `first`: of the lane's particles among those of the
// dispatch.
fn evaluate(stage: u32, lane: u32, first: u32, h: array<f32, TILE_ROWS>, moments: array<vec4f, TILE_ROWS>) {
    for (var block = 0u; block < QUADS_STATE; block++) { //#unroll SUBGROUPS
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            let at = place(r, lane);
            let y = stage_state(stage, block, at, h[r]);
            put_slope(stage, block, at, moments[r].z * select(vec4f(f32(DIM)), y, is_data(block)));
        }
    }
    for (var group = 0u; group < PROBE_GROUPS; group++) { //#once
//#if SUBGROUPS
        var seen: array<vec4f, TILE_SLOTS * QUADS_SEEN>;
        for (var block = 0u; block < QUADS_SEEN; block++) { //#unroll
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                seen[r * SLOTS * QUADS_SEEN + block] = feature_at(stage, block, place(r, lane), h[r], moments[r]);
//#if DIVERGENCE
                for (var j = 0u; j < TANGENTS; j++) { //#unroll
                    seen[(r * SLOTS + 1u + j) * QUADS_SEEN + block] =
                        probe(tableau.seed, tableau.first_row + first + r * LANES, group * TANGENTS + j, block);
                }
//#end
            }
        }
        let out = layers_unrolled(seen, biases, lane);
//#else
        for (var block = 0u; block < WIDTH_IN / 4u; block++) {
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                let at = place(r, lane);
                memory[(FRONT + block) * ROWS + at] = feature_at(stage, block, at, h[r], moments[r]);
//#if DIVERGENCE
                for (var j = 0u; j < TANGENTS; j++) { //#unroll
                    memory[(FRONT + block) * ROWS + at + (1u + j) * LANES] =
                        probe(tableau.seed, tableau.first_row + first + r * LANES, group * TANGENTS + j, block);
                }
//#end
            }
        }
        var input = FRONT;
        var output = BACK;
        for (var layer = 0u; layer < network.layers; layer++) {
            let last = layer + 1u == network.layers;
//#if SHARED
            // A few outputs leave most lanes without work: then each goes through the layer with its own particles.
            if (network.shape[layer].y > TILE_COLUMNS) {
                layer_shared(layer, lane, last);
            } else {
                layer_forward(layer, lane, input, output, last);
            }
//#else
            layer_forward(layer, lane, input, output, last);
//#end
            input = output;
            output = FRONT + BACK - output;
        }
//#end
        if (group == 0u) {
            for (var block = 0u; block < QUADS_DATA; block++) { //#unroll SUBGROUPS
                for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                    let at = place(r, lane);
//#if SUBGROUPS
                    let v = select(vec4f(0.0), out[r * SLOTS * QUADS_DATA + block], is_data(block));
//#else
                    let v = select(vec4f(0.0), memory[(input + block) * ROWS + at], is_data(block));
//#end
                    put_slope(stage, block, at, slope_at(stage, block, at) + moments[r].w * v);
                }
            }
        }
//#if DIVERGENCE
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            let at = place(r, lane);
            for (var j = 0u; j < TANGENTS; j++) { //#unroll
                let index = group * TANGENTS + j;
                var trace = 0.0;
//#if SUBGROUPS
                for (var block = 0u; block < QUADS_DATA; block++) { //#unroll
                    let tangent = out[(r * SLOTS + 1u + j) * QUADS_DATA + block];
//#else
                for (var block = 0u; block < QUADS_DATA; block++) {
                    let tangent = memory[(input + block) * ROWS + at + (1u + j) * LANES];
//#end
                    trace += dot(probe(tableau.seed, tableau.first_row + first + r * LANES, index, block), tangent);
                }
                if (accumulator(index) < EXTRA) {
                    let column = DIM + accumulator(index);
                    let change = moments[r].y * moments[r].w * trace;
//#if SUBGROUPS
                    for (var block = 0u; block < QUADS_STATE; block++) { //#unroll
                        let here = vec4u(4u * block) + vec4u(0u, 1u, 2u, 3u) == vec4u(column);
                        put_slope(stage, block, at, slope_at(stage, block, at) + select(vec4f(0.0), vec4f(change), here));
                    }
//#else
                    let here = vec4u(0u, 1u, 2u, 3u) == vec4u(column % 4u);
                    let block = column / 4u;
                    put_slope(stage, block, at, slope_at(stage, block, at) + select(vec4f(0.0), vec4f(change), here));
//#end
                }
            }
        }
//#end
    }
}

// Brings a particle's state from the buffer to memory, and back.
fn load_state(row: u32, at: u32) {
    for (var block = 0u; block < QUADS_STATE; block++) { //#unroll SUBGROUPS
        var x = vec4f(0.0);
        for (var i = 0u; i < 4u; i++) { //#unroll
            if (row < tableau.rows && 4u * block + i < STATE) {
                x[i] = points[row * STATE + 4u * block + i];
            }
        }
        memory[block * ROWS + at] = x;
    }
}

fn store_state(row: u32, at: u32) {
    for (var block = 0u; block < QUADS_STATE; block++) { //#unroll SUBGROUPS
        let x = memory[block * ROWS + at];
        for (var i = 0u; i < 4u; i++) { //#unroll
            if (row < tableau.rows && 4u * block + i < STATE) {
                points[row * STATE + 4u * block + i] = x[i];
            }
        }
    }
}
