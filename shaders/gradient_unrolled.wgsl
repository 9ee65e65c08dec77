// A training step up to dL/dz of all layers, for networks of narrow layers within subgroups: the batch is drawn (draw.wgsl
// says how), goes through the network, leaves its loss (loss.wgsl), and its gradient comes back (linear_backward_input.wgsl).
// What goes into every layer and dL/dz of it are left for weight_gradient.wgsl.
//
// A workgroup is a subgroup, and a lane takes TILE_ROWS rows of the batch through all layers and back, in registers:
// shared/layers_unrolled.wgsl says how it goes forward. On the way back, too, two layers are one loop. Its body makes dL/dz
// of four outputs of the upper one, as sums over all outputs of the layer above, and adds what they mean for all outputs of
// the lower one to sums. It meets the outputs of a layer in reverse, and so finds their slopes as they were left.
//
// Rows beyond the batch are copies of its last one, and dL/dz of them is zero. In the textures rows begin a new column of
// rows after every FOLD.
//
// Variants: TEXTURES   W is a texture (src/gpu/matrix.rs says when)
//           DEEP, DEEPER, SEVERAL, WHOLE  as in shared/layers_unrolled.wgsl
//           ODD        an even number of hidden layers: on the way back, the first one has no partner
//           COUPLED, SOURCE, GATHERED, NOISY, CONDITIONED  as in draw.wgsl

//#include "shared/pair.wgsl"
//#include "shared/network.wgsl"
//#include "shared/activation/{ACTIVATION}.wgsl"

const WIDTH_IN: u32 = 8u;    // features of a row, padded
const WIDTH_OUT: u32 = 8u;   // d, padded
const LANES: u32 = 8u;       // of a subgroup, known beforehand
const TILE_ROWS: u32 = 2u;   // rows of a lane
const TANGENTS: u32 = 0u;
const SLOTS: u32 = 1u;
const TILE_SLOTS: u32 = TILE_ROWS;
const FOLD: u32 = 4096u;     // a multiple of the rows of a workgroup
const QUADS_SEEN: u32 = (DIM + 1u + 2u * FREQUENCIES + CONDITIONS + 3u) / 4u;
const QUADS_DATA: u32 = (DIM + 3u) / 4u;

@group(0) @binding(0) var<uniform> chunk: Chunk;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> data: array<f32>;                 // [N, DIM]; GATHERED: [rows of the wave, DIM]
@group(0) @binding(3) var<uniform> network: Network;
@group(0) @binding(4) var<storage, read> parameters: array<vec4f>;
//#if SOURCE
@group(0) @binding(5) var<storage, read> source: array<f32>;               // [source rows, DIM]; GATHERED: [rows of the wave, DIM]
//#end
@group(0) @binding(6) var inputs: texture_storage_2d<rgba32float, write>;   // X [FOLD, folds, inputs of all layers / 4]
@group(0) @binding(7) var<storage, read_write> partials: array<f32>;       // [workgroups]: sums of squared errors
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
@group(0) @binding(11) var deltas: texture_storage_2d<rgba32float, write>;  // dZ [FOLD, folds, outputs of all layers / 4]
//#if CONDITIONED
@group(0) @binding(12) var<storage, read> labels: array<u32>;              // [3·C + N·L]: shared/conditions.wgsl
//#end

// Where the lane's first row lies in the textures: its first column of inputs and of deltas, and its row. The others of the
// lane follow every LANES.
var<private> spot: vec3u;
// Of all hidden layers, for each row of the lane.
var<private> slopes: array<vec4f, HIDDEN * QUADS * TILE_ROWS>;

fn store_input(column: u32, r: u32, x: vec4f) {
    textureStore(inputs, vec2u(spot.x + column, spot.z + r * LANES), x);
}

fn store_delta(column: u32, r: u32, d: vec4f) {
    textureStore(deltas, vec2u(spot.y + column, spot.z + r * LANES), d);
}

// Puts four slopes of a hidden layer on top of those that it has left there, and takes them off again. All others are moved on:
// a place that is computed would have to be looked for.
fn push_slope(layer: Layer, r: u32, slope: vec4f) {
    let begin = (layer.index * TILE_ROWS + r) * QUADS;
    for (var q = 0u; q < QUADS - 1u; q++) { //#unroll
        slopes[begin + q] = slopes[begin + q + 1u];
    }
    slopes[begin + QUADS - 1u] = slope;
}

fn pop_slope(layer: Layer, r: u32) -> vec4f {
    let begin = (layer.index * TILE_ROWS + r) * QUADS;
    let slope = slopes[begin + QUADS - 1u];
    for (var q = 0u; q < QUADS - 1u; q++) { //#unroll
        slopes[begin + QUADS - 1u - q] = slopes[begin + QUADS - 2u - q];
    }
    return slope;
}

// Keeps four outputs h of a hidden layer, and their slopes.
fn keep(layer: Layer, tile: u32, r: u32, h: vec4f, slope: vec4f) {
//#if !WHOLE
    // of its own columns alone
    if (tile >= layer.shape.y / 4u) {
        return;
    }
//#end
    push_slope(layer, r, slope);
    store_input(layer.outputs.z + layer.shape.x + tile, r, h);
}

//#include "shared/layers_unrolled.wgsl"
//#if SEVERAL
const PAIRS: u32 = HIDDEN / 2u - 1u;   // of hidden layers on the way back, but the last one
//#end

// dL/dz of four outputs of a hidden layer from dL/dh.
fn through_tile(layer: Layer, tile: u32, below: array<vec4f, TILE_SLOTS>) -> array<vec4f, TILE_SLOTS> {
    var delta: array<vec4f, TILE_SLOTS>;
//#if !WHOLE
    if (tile >= layer.shape.y / 4u) {
        return delta;
    }
    let inside = vec4u(4u * tile) + vec4u(0u, 1u, 2u, 3u) < vec4u(layer.outputs.x);
//#end
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        delta[r] = below[r] * pop_slope(layer, r);
//#if !WHOLE
        delta[r] = select(vec4f(0.0), delta[r], inside);
//#end
        store_delta(layer.outputs.w + tile, r, delta[r]);
    }
    return delta;
}

// The four sums of four weights each, of a row for each d.
fn products_back(w: array<vec4f, 4>, d: vec4f) -> vec4f {
    return (d.x * w[0] + d.y * w[1]) + (d.z * w[2] + d.w * w[3]);
}

// dL/dh for four inputs h of the last layer.
fn tile_below_last(layer: Layer, tile: u32, delta: array<vec4f, TILE_SLOTS * QUADS_DATA>, lane: u32) -> array<vec4f, TILE_SLOTS> {
    var below: array<vec4f, TILE_SLOTS>;
    var brought: array<vec4f, PARTS_DATA>;
    for (var part = 0u; part < PARTS_DATA; part++) { //#unroll
        brought[part] = weight_within(layer, LANES * part + lane, tile);
    }
    for (var q = 0u; q < QUADS_DATA; q++) { //#unroll
        let w = rows_from(brought[4u * q / LANES], 4u * q % LANES);
        for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
            below[s] += products_back(w, delta[s * QUADS_DATA + q]);
        }
    }
    return below;
}

//#if DEEP
// And of a hidden layer.
fn tile_below_hidden(layer: Layer, tile: u32, delta: array<vec4f, TILE_SLOTS * QUADS>, lane: u32) -> array<vec4f, TILE_SLOTS> {
    var below: array<vec4f, TILE_SLOTS>;
    var brought: array<vec4f, PARTS>;
    for (var part = 0u; part < PARTS; part++) { //#unroll
        brought[part] = weight_between(layer, LANES * part + lane, tile);
    }
    for (var q = 0u; q < QUADS; q++) { //#unroll
        let w = rows_from(brought[4u * q / LANES], 4u * q % LANES);
        for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
            below[s] += products_back(w, delta[s * QUADS + q]);
        }
    }
    return below;
}

// What dL/dz of four outputs of a layer means for dL/dh of all its inputs.
fn add_below(
    layer: Layer, tile: u32, delta: array<vec4f, TILE_SLOTS>, lane: u32,
    sums: ptr<function, array<vec4f, TILE_SLOTS * QUADS>>,
) {
    var brought: array<vec4f, PARTS>;
    for (var part = 0u; part < PARTS; part++) { //#unroll
        brought[part] = weight_between(layer, 4u * tile + lane % 4u, ABREAST * part + lane / 4u);
    }
    for (var q = 0u; q < QUADS; q++) { //#unroll
        let w = rows_from(brought[q / ABREAST], 4u * (q % ABREAST));
        for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
            (*sums)[s * QUADS + q] += products_back(w, delta[s]);
        }
    }
}

// Eight other columns, then all but the last eight.
fn moved_back(columns: array<vec4f, TILE_SLOTS * QUADS>, two: array<array<vec4f, TILE_SLOTS>, 2>) -> array<vec4f, TILE_SLOTS * QUADS> {
    var moved: array<vec4f, TILE_SLOTS * QUADS>;
    for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
        moved[s * QUADS] = two[0][s];
        moved[s * QUADS + 1u] = two[1][s];
        for (var q = 0u; q < QUADS - 2u; q++) { //#unroll
            moved[s * QUADS + q + 2u] = columns[s * QUADS + q];
        }
    }
    return moved;
}

// dL/dz of all outputs of a hidden layer from dL/dh: a loop for the reason that activate_hidden has.
fn through_hidden(layer: Layer, sums: array<vec4f, TILE_SLOTS * QUADS>) -> array<vec4f, TILE_SLOTS * QUADS> {
    var delta = sums;
    for (var after = QUADS; after > 0u; after -= 2u) {
        let upper = through_tile(layer, after - 1u, tile_at(delta, QUADS - 1u));
        let lower = through_tile(layer, after - 2u, tile_at(delta, QUADS - 2u));
        delta = moved_back(delta, array<array<vec4f, TILE_SLOTS>, 2>(lower, upper));
    }
    return delta;
}
//#end

// dL/dz of all hidden layers, from that of the last one.
fn layers_back(delta_last: array<vec4f, TILE_SLOTS * QUADS_DATA>, lane: u32) {
    let last = layer_at(HIDDEN);
    var layer = layer_at(HIDDEN - 1u);
//#if DEEP
    var sums: array<vec4f, TILE_SLOTS * QUADS>;
    for (var after = layer.shape.y / 4u; after > 0u; after--) {
        let delta = through_tile(layer, after - 1u, tile_below_last(last, after - 1u, delta_last, lane));
        add_below(layer, after - 1u, delta, lane, &sums);
    }
    var above = layer_at(HIDDEN - 2u);
    var delta = through_hidden(above, sums);
//#if SEVERAL
    for (var pair = 0u; pair < PAIRS; pair++) { //#unroll
        layer = layer_at(HIDDEN - 3u - 2u * pair);
        for (var i = 0u; i < TILE_SLOTS * QUADS; i++) { //#unroll
            sums[i] = vec4f(0.0);
        }
        for (var after = layer.shape.y / 4u; after > 0u; after--) {
            let between = through_tile(layer, after - 1u, tile_below_hidden(above, after - 1u, delta, lane));
            add_below(layer, after - 1u, between, lane, &sums);
        }
        above = layer_at(HIDDEN - 4u - 2u * pair);
        delta = through_hidden(above, sums);
    }
//#end
//#if !ODD
    layer = layer_at(0u);
    for (var after = layer.shape.y / 4u; after > 0u; after--) {
        through_tile(layer, after - 1u, tile_below_hidden(above, after - 1u, delta, lane));
    }
//#end
//#else
    for (var after = layer.shape.y / 4u; after > 0u; after--) {
        through_tile(layer, after - 1u, tile_below_last(last, after - 1u, delta_last, lane));
    }
//#end
}

@compute @workgroup_size(LANES)
fn main(
    // the same as local_invocation_index for software drivers, but to them a constant
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(workgroup_id) group: vec3u,
) {
    let last = layer_at(HIDDEN);
    let begin = group.x * (TILE_ROWS * LANES);
    let first = begin + lane;
    let fold = begin / FOLD;
    spot = vec3u(
        fold * (last.outputs.z + last.shape.x),
        fold * (last.outputs.w + last.shape.y / 4u),
        first - fold * FOLD,
    );
    var seen: array<vec4f, TILE_SLOTS * QUADS_SEEN>;
    var goal: array<vec4f, TILE_SLOTS * QUADS_DATA>;
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        let address = chunk.first_row + min(first + r * LANES, chunk.rows - 1u);
        let picked = pick(address);
        let schedule = path_schedule(picked.t);
        for (var block = 0u; block < QUADS_DATA; block++) { //#unroll
            let columns = pair_columns(address, picked, schedule, block);
            seen[r * QUADS_SEEN + block] = columns.feature;
            goal[r * QUADS_DATA + block] = columns.velocity;
        }
        for (var block = 0u; block < QUADS_SEEN - QUADS_DATA; block++) { //#unroll
            seen[r * QUADS_SEEN + QUADS_DATA + block] = pair_columns(address, picked, schedule, QUADS_DATA + block).feature;
        }
        for (var block = 0u; block < QUADS_SEEN; block++) { //#unroll
            store_input(block, r, seen[r * QUADS_SEEN + block]);
        }
        for (var block = 0u; block < WIDTH_IN / 4u - QUADS_SEEN; block++) { //#unroll
            store_input(QUADS_SEEN + block, r, vec4f(0.0));
        }
    }

    let out = layers_unrolled(seen, bring_all_biases(lane), lane);

    let scale = 2.0 / f32(chunk.batch);
    var loss = 0.0;
    var delta: array<vec4f, TILE_SLOTS * QUADS_DATA>;
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        for (var q = 0u; q < QUADS_DATA; q++) { //#unroll
            let i = r * QUADS_DATA + q;
            let difference = select(vec4f(0.0), out[i] - goal[i], first + r * LANES < chunk.rows);
            loss += dot(difference, difference);
            delta[i] = scale * difference;
            store_delta(last.outputs.w + q, r, delta[i]);
        }
        for (var q = 0u; q < WIDTH_OUT / 4u - QUADS_DATA; q++) { //#unroll
            store_delta(last.outputs.w + QUADS_DATA + q, r, vec4f(0.0));
        }
    }
    var sum = 0.0;
    for (var other = 0u; other < LANES; other++) { //#unroll
        sum += subgroupShuffle(loss, other);
    }
    if (lane == 0u) {
        partials[group.x] = sum;
    }

    layers_back(delta, lane);
}
