// The gradient of a training step, for networks of narrow layers within subgroups: the batch is drawn (draw.wgsl says how),
// goes through the network, leaves its loss (loss.wgsl), and its gradient comes back (linear_backward_input.wgsl,
// linear_backward_weight.wgsl). Nothing leaves the registers but the weights' gradient, once for all rows of a workgroup.
//
// A workgroup is a subgroup, and a lane takes TILE_ROWS rows of the batch through all layers and back, PASSES times:
// shared/layers_unrolled.wgsl says how it goes forward. On the way back, too, two layers are one loop. Its body makes dL/dz
// of four outputs of the upper one, as sums over all outputs of the layer above, and adds what they mean for all outputs of
// the lower one to sums. It meets the outputs of a layer in reverse, and so finds their slopes as they were left.
//
// What they mean for their weights, dW = dZᵀ·X, is a sum over rows, and rows are lanes. So what goes into a layer is turned as
// it comes: there is one group of four for every row, in which a lane has that group of columns whose number it bears. Then dL/dz
// of a row, read by all lanes, times the row is what it adds to a row of dW, whose columns lie along the lanes. The sums of dW
// move on by a tile at every turn of a loop, for the reason that all else does, and are in their places again at its end.
//
// Rows beyond the batch are copies of its last one, and dL/dz of them is zero.
//
// Variants: TEXTURES   W is a texture (src/gpu/matrix.rs says when)
//           DEEP, DEEPER, SEVERAL, WHOLE  as in shared/layers_unrolled.wgsl
//           ODD        an even number of hidden layers: on the way back, the first one has no partner
//           FEW        the network sees no more than ABREAST groups of columns: the lanes have them for four outputs at once
//           COUPLED, SOURCE, GATHERED, NOISY, CONDITIONED  as in draw.wgsl

//#include "shared/pair.wgsl"
//#include "shared/network.wgsl"
//#include "shared/folded.wgsl"
//#include "shared/activation/{ACTIVATION}.wgsl"

const LANES: u32 = 8u;       // of a subgroup, known beforehand
const TILE_ROWS: u32 = 2u;   // rows of a lane
const TANGENTS: u32 = 0u;
const SLOTS: u32 = 1u;
const TILE_SLOTS: u32 = TILE_ROWS;
const PASSES: u32 = 1u;      // of TILE_ROWS·LANES rows
const PARAMETERS: u32 = 64u; // / 4, padded
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
@group(0) @binding(6) var gradient: texture_storage_2d<rgba32float, write>; // [workgroups, PARAMETERS]: shared/folded.wgsl
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
//#if CONDITIONED
@group(0) @binding(12) var<storage, read> labels: array<u32>;              // [3·C + N·L]: shared/conditions.wgsl
//#end

// Of all hidden layers, for each row of the lane.
var<private> slopes: array<vec4f, HIDDEN * QUADS * TILE_ROWS>;

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
fn keep(layer: Layer, tile: u32, r: u32, h: vec4f, slope: vec4f, lane: u32) {
//#if !WHOLE
    // of its own columns alone
    if (tile >= layer.shape.y / 4u) {
        return;
    }
//#end
    push_slope(layer, r, slope);
    for (var part = 0u; part < PARTS_BIAS; part++) { //#unroll
        let own = LANES * part + lane == tile;
        for (var row = 0u; row < LANES; row++) { //#unroll
            let at = ((layer.index * PARTS_BIAS + part) * TILE_ROWS + r) * LANES + row;
            turned[at] = select(turned[at], subgroupShuffle(h, row), own);
        }
    }
}

//#include "shared/layers_unrolled.wgsl"
//#if SEVERAL
const PAIRS: u32 = HIDDEN / 2u - 1u;   // of hidden layers on the way back, but the last one
//#end

// What goes into the layers behind the first one, and into that: of every row of the lanes, of every lane LANES quads apart.
var<private> turned: array<vec4f, HIDDEN * PARTS_BIAS * TILE_ROWS * LANES>;
var<private> turned_seen: array<vec4f, SEEN_PARTS * TILE_ROWS * LANES>;

// The sums of dW and of db over the rows of the workgroup: of the layers between the first and the last one, of these, and
// of a layer in the places that its tiles have; db of a tile is the lane's that bears its number.
const TILE_SUMS: u32 = 4u * PARTS_BIAS;
//#if FEW
const SEEN_PARTS: u32 = 1u;
const SEEN_SUMS: u32 = 1u;
//#else
const SEEN_PARTS: u32 = (QUADS_SEEN + LANES - 1u) / LANES;
const SEEN_SUMS: u32 = 4u * SEEN_PARTS;
//#end
const PARTS_LAST: u32 = (QUADS_DATA + LANES - 1u) / LANES;
//#if DEEP
const BETWEEN: u32 = HIDDEN - 1u;
const LAYER_SUMS: u32 = QUADS * TILE_SUMS;
var<private> sums_between: array<vec4f, BETWEEN * LAYER_SUMS>;
//#end
const SUMS_FIRST: u32 = QUADS * SEEN_SUMS;
const SUMS_LAST: u32 = QUADS_DATA * TILE_SUMS;
var<private> sums_first: array<vec4f, SUMS_FIRST>;
var<private> sums_last: array<vec4f, SUMS_LAST>;
var<private> bias_sums: array<vec4f, HIDDEN * PARTS_BIAS>;
var<private> bias_sums_last: array<vec4f, PARTS_LAST>;

fn turn_seen(seen: array<vec4f, TILE_SLOTS * QUADS_SEEN>, lane: u32) {
    for (var part = 0u; part < SEEN_PARTS; part++) { //#unroll
//#if FEW
        let quad = lane % ABREAST;
//#else
        let quad = LANES * part + lane;
//#end
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            for (var row = 0u; row < LANES; row++) { //#unroll
                var x = vec4f(0.0);
                for (var q = 0u; q < QUADS_SEEN; q++) { //#unroll
                    x = select(x, subgroupShuffle(seen[r * QUADS_SEEN + q], row), quad == q);
                }
                turned_seen[(part * TILE_ROWS + r) * LANES + row] = x;
            }
        }
    }
}

// Four values of every lane, added over the rows of all lanes.
fn over_rows(delta: array<vec4f, TILE_SLOTS>, lane: u32) -> vec4f {
    var sum = delta[0];
    for (var r = 0u; r < TILE_ROWS - 1u; r++) { //#unroll
        sum += delta[r + 1u];
    }
    for (var n = 0u; n < 4u; n++) { //#unroll
        if ((1u << n) < LANES) {
            sum += subgroupShuffle(sum, lane ^ (1u << n));
        }
    }
    return sum;
}

// What dL/dz of four outputs of a layer behind the first one adds to their weights' sums.
fn add_products(
    sums: array<vec4f, TILE_SUMS>, input: u32, delta: array<vec4f, TILE_SLOTS>,
) -> array<vec4f, TILE_SUMS> {
    var added = sums;
    for (var part = 0u; part < PARTS_BIAS; part++) { //#unroll
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            for (var row = 0u; row < LANES; row++) { //#unroll
                let d = subgroupShuffle(delta[r], row);
                let x = turned[((input * PARTS_BIAS + part) * TILE_ROWS + r) * LANES + row];
                for (var i = 0u; i < 4u; i++) { //#unroll
                    added[i * PARTS_BIAS + part] += d[i] * x;
                }
            }
        }
    }
    return added;
}

// Four rows of dW of a layer, of the tile at hand: the last ones become the first.
//#if DEEP
fn next_between(layer: Layer) -> array<vec4f, TILE_SUMS> {
    let begin = (layer.index - 1u) * LAYER_SUMS;
    var sums: array<vec4f, TILE_SUMS>;
    for (var i = 0u; i < TILE_SUMS; i++) { //#unroll
        sums[i] = sums_between[begin + LAYER_SUMS - TILE_SUMS + i];
    }
    for (var i = 0u; i < LAYER_SUMS - TILE_SUMS; i++) { //#unroll
        sums_between[begin + LAYER_SUMS - 1u - i] = sums_between[begin + LAYER_SUMS - TILE_SUMS - 1u - i];
    }
    return sums;
}
//#end

fn next_first() -> array<vec4f, SEEN_SUMS> {
    var sums: array<vec4f, SEEN_SUMS>;
    for (var i = 0u; i < SEEN_SUMS; i++) { //#unroll
        sums[i] = sums_first[SUMS_FIRST - SEEN_SUMS + i];
    }
    for (var i = 0u; i < SUMS_FIRST - SEEN_SUMS; i++) { //#unroll
        sums_first[SUMS_FIRST - 1u - i] = sums_first[SUMS_FIRST - SEEN_SUMS - 1u - i];
    }
    return sums;
}

fn next_last() -> array<vec4f, TILE_SUMS> {
    var sums: array<vec4f, TILE_SUMS>;
    for (var i = 0u; i < TILE_SUMS; i++) { //#unroll
        sums[i] = sums_last[SUMS_LAST - TILE_SUMS + i];
    }
    for (var i = 0u; i < SUMS_LAST - TILE_SUMS; i++) { //#unroll
        sums_last[SUMS_LAST - 1u - i] = sums_last[SUMS_LAST - TILE_SUMS - 1u - i];
    }
    return sums;
}

// What dL/dz of four outputs of a hidden layer means for its weights and its bias.
fn add_to_weights(layer: Layer, tile: u32, delta: array<vec4f, TILE_SLOTS>, lane: u32) {
    let bias = over_rows(delta, lane);
    for (var part = 0u; part < PARTS_BIAS; part++) { //#unroll
        bias_sums[layer.index * PARTS_BIAS + part] += select(vec4f(0.0), bias, LANES * part + lane == tile);
    }
//#if DEEP
    if (layer.index > 0u) {
        let sums = add_products(next_between(layer), layer.index - 1u, delta);
        for (var i = 0u; i < TILE_SUMS; i++) { //#unroll
            sums_between[(layer.index - 1u) * LAYER_SUMS + i] = sums[i];
        }
        return;
    }
//#end
    var sums = next_first();
    for (var part = 0u; part < SEEN_PARTS; part++) { //#unroll
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            for (var row = 0u; row < LANES; row++) { //#unroll
                let d = subgroupShuffle(delta[r], row);
                let x = turned_seen[(part * TILE_ROWS + r) * LANES + row];
//#if FEW
                let output = lane / ABREAST;
                sums[0] += select(select(d.x, d.y, output == 1u), select(d.z, d.w, output == 3u), output > 1u) * x;
//#else
                for (var i = 0u; i < 4u; i++) { //#unroll
                    sums[i * SEEN_PARTS + part] += d[i] * x;
                }
//#end
            }
        }
    }
    for (var i = 0u; i < SEEN_SUMS; i++) { //#unroll
        sums_first[i] = sums[i];
    }
}

// And of all outputs of the last one.
fn add_to_last_weights(delta: array<vec4f, TILE_SLOTS * QUADS_DATA>, lane: u32) {
    var rest = delta;
    for (var after = QUADS_DATA; after > 0u; after--) {
        var tile: array<vec4f, TILE_SLOTS>;
        for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
            tile[s] = rest[s * QUADS_DATA + QUADS_DATA - 1u];
            for (var q = 0u; q < QUADS_DATA - 1u; q++) { //#unroll
                rest[s * QUADS_DATA + QUADS_DATA - 1u - q] = rest[s * QUADS_DATA + QUADS_DATA - 2u - q];
            }
        }
        let bias = over_rows(tile, lane);
        for (var part = 0u; part < PARTS_LAST; part++) { //#unroll
            bias_sums_last[part] += select(vec4f(0.0), bias, LANES * part + lane == after - 1u);
        }
        let sums = add_products(next_last(), HIDDEN - 1u, tile);
        for (var i = 0u; i < TILE_SUMS; i++) { //#unroll
            sums_last[i] = sums[i];
        }
    }
}

fn store(quad: u32, value: vec4f) {
    textureStore(gradient, folded(quad), value);
}

// Leaves four rows of dW of a layer behind the first one.
fn store_tile(slice: u32, layer: Layer, tile: u32, sums: array<vec4f, TILE_SUMS>, lane: u32) {
    for (var part = 0u; part < PARTS_BIAS; part++) { //#unroll
        let quad = LANES * part + lane;
        if (quad < layer.shape.x && tile < layer.shape.y / 4u) {
            for (var i = 0u; i < 4u; i++) { //#unroll
                store(slice + layer.shape.z + (4u * tile + i) * layer.shape.x + quad, sums[i * PARTS_BIAS + part]);
            }
        }
    }
}

fn store_gradient(slice: u32, lane: u32) {
    let first = layer_at(0u);
    for (var after = QUADS; after > 0u; after--) {
        let sums = next_first();
        for (var part = 0u; part < SEEN_PARTS; part++) { //#unroll
//#if FEW
            let quad = lane % ABREAST;
            let row = 4u * (after - 1u) + lane / ABREAST;
            if (quad < first.shape.x && row < first.shape.y) {
                store(slice + first.shape.z + row * first.shape.x + quad, sums[0]);
            }
//#else
            let quad = LANES * part + lane;
            if (quad < first.shape.x && after <= first.shape.y / 4u) {
                for (var i = 0u; i < 4u; i++) { //#unroll
                    let row = 4u * (after - 1u) + i;
                    store(slice + first.shape.z + row * first.shape.x + quad, sums[i * SEEN_PARTS + part]);
                }
            }
//#end
        }
    }
//#if DEEP
    for (var i = 0u; i < BETWEEN; i++) { //#unroll
        let layer = layer_at(1u + i);
        for (var after = QUADS; after > 0u; after--) {
            store_tile(slice, layer, after - 1u, next_between(layer), lane);
        }
    }
//#end
    let last = layer_at(HIDDEN);
    for (var after = QUADS_DATA; after > 0u; after--) {
        store_tile(slice, last, after - 1u, next_last(), lane);
    }
    for (var i = 0u; i < HIDDEN; i++) { //#unroll
        let layer = layer_at(i);
        for (var part = 0u; part < PARTS_BIAS; part++) { //#unroll
            if (LANES * part + lane < layer.shape.y / 4u) {
                store(slice + layer.shape.w + LANES * part + lane, bias_sums[i * PARTS_BIAS + part]);
            }
        }
    }
    for (var part = 0u; part < PARTS_LAST; part++) { //#unroll
        if (LANES * part + lane < QUADS_DATA) {
            store(slice + last.shape.w + LANES * part + lane, bias_sums_last[part]);
        }
    }
}

// dL/dz of four outputs of a hidden layer from dL/dh; what it means for their weights is added to their sums.
fn through_tile(layer: Layer, tile: u32, below: array<vec4f, TILE_SLOTS>, lane: u32) -> array<vec4f, TILE_SLOTS> {
    var delta: array<vec4f, TILE_SLOTS>;
//#if !WHOLE
    let inside = vec4u(4u * tile) + vec4u(0u, 1u, 2u, 3u) < vec4u(layer.outputs.x);
    if (tile < layer.shape.y / 4u) {
//#end
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        delta[r] = below[r] * pop_slope(layer, r);
//#if !WHOLE
        delta[r] = select(vec4f(0.0), delta[r], inside);
//#end
    }
//#if !WHOLE
    }
//#end
    add_to_weights(layer, tile, delta, lane);
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
fn through_hidden(layer: Layer, sums: array<vec4f, TILE_SLOTS * QUADS>, lane: u32) -> array<vec4f, TILE_SLOTS * QUADS> {
    var delta = sums;
    for (var after = QUADS; after > 0u; after -= 2u) {
        let upper = through_tile(layer, after - 1u, tile_at(delta, QUADS - 1u), lane);
        let lower = through_tile(layer, after - 2u, tile_at(delta, QUADS - 2u), lane);
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
    for (var after = QUADS; after > 0u; after--) {
        let delta = through_tile(layer, after - 1u, tile_below_last(last, after - 1u, delta_last, lane), lane);
        add_below(layer, after - 1u, delta, lane, &sums);
    }
    var above = layer_at(HIDDEN - 2u);
    var delta = through_hidden(above, sums, lane);
//#if SEVERAL
    for (var pair = 0u; pair < PAIRS; pair++) { //#unroll
        layer = layer_at(HIDDEN - 3u - 2u * pair);
        for (var i = 0u; i < TILE_SLOTS * QUADS; i++) { //#unroll
            sums[i] = vec4f(0.0);
        }
        for (var after = QUADS; after > 0u; after--) {
            let between = through_tile(layer, after - 1u, tile_below_hidden(above, after - 1u, delta, lane), lane);
            add_below(layer, after - 1u, between, lane, &sums);
        }
        above = layer_at(HIDDEN - 4u - 2u * pair);
        delta = through_hidden(above, sums, lane);
    }
//#end
//#if !ODD
    layer = layer_at(0u);
    for (var after = QUADS; after > 0u; after--) {
        through_tile(layer, after - 1u, tile_below_hidden(above, after - 1u, delta, lane), lane);
    }
//#end
//#else
    for (var after = QUADS; after > 0u; after--) {
        through_tile(layer, after - 1u, tile_below_last(last, after - 1u, delta_last, lane), lane);
    }
//#end
}

@compute @workgroup_size(LANES)
fn main(
    // the same as local_invocation_index for software drivers, but to them a constant
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(workgroup_id) group: vec3u,
) {
    let biases = bring_all_biases(lane);
    let scale = 2.0 / f32(chunk.batch);
    var loss = 0.0;
    for (var turn = 0u; turn < PASSES; turn++) {
        let first = (group.x * PASSES + turn) * (TILE_ROWS * LANES) + lane;
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
        }
        turn_seen(seen, lane);

        let out = layers_unrolled(seen, biases, lane);

        var delta: array<vec4f, TILE_SLOTS * QUADS_DATA>;
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            for (var q = 0u; q < QUADS_DATA; q++) { //#unroll
                let i = r * QUADS_DATA + q;
                let difference = select(vec4f(0.0), out[i] - goal[i], first + r * LANES < chunk.rows);
                loss += dot(difference, difference);
                delta[i] = scale * difference;
            }
        }
        add_to_last_weights(delta, lane);
        layers_back(delta, lane);
    }
    var sum = 0.0;
    for (var other = 0u; other < LANES; other++) { //#unroll
        sum += subgroupShuffle(loss, other);
    }
    if (lane == 0u) {
        partials[group.x] = sum;
    }
    store_gradient(group.x * PARAMETERS, lane);
}
