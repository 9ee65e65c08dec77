// All layers for the slots of a lane without a number leaving its registers, as processors want it: what a lane finds at a
// place that is known when the kernel is compiled costs nothing, a place that is computed costs a look at every lane.
//
// Two layers are one loop. Its body makes four outputs of the first, as products of whole rows, and adds what they mean for
// all outputs of the second to sums: so the first one's inputs and the second one's sums are in places that are known, and
// what lies between never has a place at all. The first two layers are such a pair, and the last two. A layer between them
// is a loop whose turns move its outputs on by four, so that the place of new ones is known: two of these in one loop
// would be more code than the processor's nearest cache holds.
//
// The lanes of the subgroup have the weights of a tile in common: each brings other ones, and all read them from its
// registers. Columns beyond a layer's width meet zeros; rows beyond it are not taken on. Where a layer lies is read once
// before its loop: of a uniform, too, every lane takes a look.
//
// Flags: DEEP      more than one hidden layer
//        DEEPER    more than two
//        SEVERAL   more than three
//        WHOLE     all hidden layers are as wide as the widest, a multiple of LANES
//        GRADIENT  what goes into a layer, and its slope, are kept for the way back: without tangents
//
// Whoever includes this declares TILE_ROWS, TANGENTS, SLOTS, TILE_SLOTS and LANES; QUADS_SEEN and QUADS_DATA, the columns that
// the network sees and gives / 4; `keep` in the variant GRADIENT.

const HIDDEN: u32 = 2u;                       // hidden layers, at least one
const QUADS: u32 = 4u;                        // the widest of them / 4
const ABREAST: u32 = LANES / 4u;              // quads of four rows that the lanes bring at once
// How often they do for so many quads of four rows, or for four inputs of so many quads of rows.
const PARTS_SEEN: u32 = (QUADS_SEEN + ABREAST - 1u) / ABREAST;
const PARTS: u32 = (QUADS + ABREAST - 1u) / ABREAST;
const PARTS_DATA: u32 = (QUADS_DATA + ABREAST - 1u) / ABREAST;
const PARTS_BIAS: u32 = (QUADS + LANES - 1u) / LANES;

// Two sums of two: they are done sooner than one of four.
fn product(w: vec4f, x: vec4f) -> f32 {
    return (w.x * x.x + w.y * x.y) + (w.z * x.z + w.w * x.w);
}

// The four products of four weights each.
fn products(w: array<vec4f, 4>, x: vec4f) -> vec4f {
    return vec4f(product(w[0], x), product(w[1], x), product(w[2], x), product(w[3], x));
}

// Four rows of weights that the lanes from `lane` on have brought.
fn rows_from(brought: vec4f, lane: u32) -> array<vec4f, 4> {
    return array<vec4f, 4>(
        subgroupShuffle(brought, lane),
        subgroupShuffle(brought, lane + 1u),
        subgroupShuffle(brought, lane + 2u),
        subgroupShuffle(brought, lane + 3u),
    );
}

struct Layer { shape: vec4u, outputs: vec4u, index: u32 }  // of `network`

fn layer_at(index: u32) -> Layer {
    return Layer(network.shape[index], network.outputs[index], index);
}

// Four weights of a layer whose tiles may end beyond it.
fn weight_within(layer: Layer, row: u32, quad: u32) -> vec4f {
    return weight_at(layer.shape, layer.outputs, min(row, layer.shape.y - 1u), min(quad, layer.shape.x - 1u));
}

// And of one between hidden layers.
fn weight_between(layer: Layer, row: u32, quad: u32) -> vec4f {
//#if WHOLE
    return weight_at(layer.shape, layer.outputs, row, quad);
//#else
    return weight_within(layer, row, quad);
//#end
}

// The sums of a tile before any product: the bias, and nothing for tangents.
fn begin_tile(bias: vec4f) -> array<vec4f, TILE_SLOTS> {
    var z: array<vec4f, TILE_SLOTS>;
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        z[r * SLOTS] = bias;
        for (var j = 0u; j < TANGENTS; j++) { //#unroll
            z[r * SLOTS + 1u + j] = vec4f(0.0);
        }
    }
    return z;
}

// The biases of a layer: a lane brings every LANES-th four of them.
fn bring_biases(layer: Layer, lane: u32) -> array<vec4f, PARTS_BIAS> {
    var biases: array<vec4f, PARTS_BIAS>;
    for (var part = 0u; part < PARTS_BIAS; part++) { //#unroll
        biases[part] = parameters[layer.shape.w + min(LANES * part + lane, layer.shape.y / 4u - 1u)];
    }
    return biases;
}

// All of them moved one lane down: what lane 0 has is always that of the tile at hand. A lane whose number is computed would
// have to be looked for.
fn next_biases(biases: array<vec4f, PARTS_BIAS>, lane: u32) -> array<vec4f, PARTS_BIAS> {
    var moved: array<vec4f, PARTS_BIAS>;
    for (var part = 0u; part < PARTS_BIAS; part++) { //#unroll
        moved[part] = subgroupShuffle(select(biases[part], biases[(part + 1u) % PARTS_BIAS], lane == 0u), (lane + 1u) % LANES);
    }
    return moved;
}

// Four outputs of a layer from what the network sees.
fn tile_of_seen(layer: Layer, tile: u32, bias: vec4f, seen: array<vec4f, TILE_SLOTS * QUADS_SEEN>, lane: u32) -> array<vec4f, TILE_SLOTS> {
    var z = begin_tile(subgroupShuffle(bias, 0u));
    var brought: array<vec4f, PARTS_SEEN>;
    for (var part = 0u; part < PARTS_SEEN; part++) { //#unroll
        brought[part] = weight_within(layer, 4u * tile + lane % 4u, ABREAST * part + lane / 4u);
    }
    for (var q = 0u; q < QUADS_SEEN; q++) { //#unroll
        let w = rows_from(brought[q / ABREAST], 4u * (q % ABREAST));
        for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
            z[s] += products(w, seen[s * QUADS_SEEN + q]);
        }
    }
    return z;
}

//#if DEEP
// Four outputs of a layer from a hidden layer: the same, but an array of another length is another type.
fn tile_of_hidden(layer: Layer, tile: u32, bias: vec4f, h: array<vec4f, TILE_SLOTS * QUADS>, lane: u32) -> array<vec4f, TILE_SLOTS> {
    var z = begin_tile(subgroupShuffle(bias, 0u));
    var brought: array<vec4f, PARTS>;
    for (var part = 0u; part < PARTS; part++) { //#unroll
        brought[part] = weight_between(layer, 4u * tile + lane % 4u, ABREAST * part + lane / 4u);
    }
    for (var q = 0u; q < QUADS; q++) { //#unroll
        let w = rows_from(brought[q / ABREAST], 4u * (q % ABREAST));
        for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
            z[s] += products(w, h[s * QUADS + q]);
        }
    }
    return z;
}

// What four inputs h of a hidden layer mean for all its outputs.
fn add_to_hidden(
    layer: Layer, tile: u32, h: array<vec4f, TILE_SLOTS>, lane: u32,
    sums: ptr<function, array<vec4f, TILE_SLOTS * QUADS>>,
) {
    var brought: array<vec4f, PARTS>;
    for (var part = 0u; part < PARTS; part++) { //#unroll
        brought[part] = weight_between(layer, LANES * part + lane, tile);
    }
    for (var q = 0u; q < QUADS; q++) { //#unroll
        let w = rows_from(brought[4u * q / LANES], 4u * q % LANES);
        for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
            (*sums)[s * QUADS + q] += products(w, h[s]);
        }
    }
}

// The sums of a hidden layer before any product.
fn begin_hidden(biases: array<vec4f, PARTS_BIAS>) -> array<vec4f, TILE_SLOTS * QUADS> {
    var sums: array<vec4f, TILE_SLOTS * QUADS>;
    for (var q = 0u; q < QUADS; q++) { //#unroll
        let z = begin_tile(subgroupShuffle(biases[q / LANES], q % LANES));
        for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
            sums[s * QUADS + q] = z[s];
        }
    }
    return sums;
}

// Four of a hidden layer's columns.
fn tile_at(columns: array<vec4f, TILE_SLOTS * QUADS>, q: u32) -> array<vec4f, TILE_SLOTS> {
    var tile: array<vec4f, TILE_SLOTS>;
    for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
        tile[s] = columns[s * QUADS + q];
    }
    return tile;
}

//#if SEVERAL
// All columns but the first four, then four others.
fn moved_up(columns: array<vec4f, TILE_SLOTS * QUADS>, four: array<vec4f, TILE_SLOTS>) -> array<vec4f, TILE_SLOTS * QUADS> {
    var moved: array<vec4f, TILE_SLOTS * QUADS>;
    for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
        for (var q = 0u; q < QUADS - 1u; q++) { //#unroll
            moved[s * QUADS + q] = columns[s * QUADS + q + 1u];
        }
        moved[s * QUADS + QUADS - 1u] = four[s];
    }
    return moved;
}
//#end

//#if GRADIENT
// All columns but the first eight, then eight others.
fn moved_on(columns: array<vec4f, TILE_SLOTS * QUADS>, two: array<array<vec4f, TILE_SLOTS>, 2>) -> array<vec4f, TILE_SLOTS * QUADS> {
    var moved: array<vec4f, TILE_SLOTS * QUADS>;
    for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
        for (var q = 0u; q < QUADS - 2u; q++) { //#unroll
            moved[s * QUADS + q] = columns[s * QUADS + q + 2u];
        }
        moved[s * QUADS + QUADS - 2u] = two[0][s];
        moved[s * QUADS + QUADS - 1u] = two[1][s];
    }
    return moved;
}
//#end

// All of a hidden layer's outputs from their sums.
fn activate_hidden(layer: Layer, sums: array<vec4f, TILE_SLOTS * QUADS>, lane: u32) -> array<vec4f, TILE_SLOTS * QUADS> {
    var h = sums;
//#if GRADIENT
    // What is kept makes much code: a loop whose turns move all of them on by two, so that the places at hand are known.
    for (var tile = 0u; tile < QUADS; tile += 2u) {
        let two = array<array<vec4f, TILE_SLOTS>, 2>(
            activate_tile(layer, tile, tile_at(h, 0u), lane),
            activate_tile(layer, tile + 1u, tile_at(h, 1u), lane),
        );
        h = moved_on(h, two);
    }
//#else
    for (var q = 0u; q < QUADS; q++) { //#unroll
        let tile = activate_tile(layer, q, tile_at(h, q), lane);
        for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
            h[s * QUADS + q] = tile[s];
        }
    }
//#end
    return h;
}
//#end

// Four outputs of a hidden layer from their sums.
fn activate_tile(layer: Layer, tile: u32, z: array<vec4f, TILE_SLOTS>, lane: u32) -> array<vec4f, TILE_SLOTS> {
//#if !WHOLE
    // act(0) need not be 0 (softplus), but columns beyond the layer must be
    let inside = vec4u(4u * tile) + vec4u(0u, 1u, 2u, 3u) < vec4u(layer.outputs.x);
//#end
    var h: array<vec4f, TILE_SLOTS>;
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        h[r * SLOTS] = activation(z[r * SLOTS]);
//#if DIVERGENCE
        let slope = activation_slope(z[r * SLOTS]);
        for (var j = 0u; j < TANGENTS; j++) { //#unroll
            h[r * SLOTS + 1u + j] = slope * z[r * SLOTS + 1u + j];
        }
//#end
//#if !WHOLE
        for (var j = 0u; j < SLOTS; j++) { //#unroll
            h[r * SLOTS + j] = select(vec4f(0.0), h[r * SLOTS + j], inside);
        }
//#end
//#if GRADIENT
        keep(layer, tile, r, h[r], activation_slope(z[r]), lane);
//#end
    }
    return h;
}

// What four inputs h of the last layer mean for its outputs.
fn add_to_last(
    layer: Layer, tile: u32, h: array<vec4f, TILE_SLOTS>, lane: u32,
    sums: ptr<function, array<vec4f, TILE_SLOTS * QUADS_DATA>>,
) {
    var brought: array<vec4f, PARTS_DATA>;
    for (var part = 0u; part < PARTS_DATA; part++) { //#unroll
        brought[part] = weight_within(layer, LANES * part + lane, tile);
    }
    for (var q = 0u; q < QUADS_DATA; q++) { //#unroll
        let w = rows_from(brought[4u * q / LANES], 4u * q % LANES);
        for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
            (*sums)[s * QUADS_DATA + q] += products(w, h[s]);
        }
    }
}

// Biases that are brought once, however often the network is evaluated: all but those of the layers between the pairs.
struct Biases {
    first: array<vec4f, PARTS_BIAS>,
//#if DEEP
    second: array<vec4f, PARTS_BIAS>,
//#if DEEPER
    last_hidden: array<vec4f, PARTS_BIAS>,
//#end
//#end
    last: array<vec4f, QUADS_DATA>,
}

fn bring_all_biases(lane: u32) -> Biases {
    var all: Biases;
    all.first = bring_biases(layer_at(0u), lane);
//#if DEEP
    all.second = bring_biases(layer_at(1u), lane);
//#if DEEPER
    all.last_hidden = bring_biases(layer_at(HIDDEN - 1u), lane);
//#end
//#end
    let last = layer_at(HIDDEN);
    for (var q = 0u; q < QUADS_DATA; q++) { //#unroll
        all.last[q] = parameters[last.shape.w + q];
    }
    return all;
}

// The network's outputs, for what it sees.
fn layers_unrolled(seen: array<vec4f, TILE_SLOTS * QUADS_SEEN>, all: Biases, lane: u32) -> array<vec4f, TILE_SLOTS * QUADS_DATA> {
    var layer = layer_at(0u);
    var biases = all.first;
    let last = layer_at(HIDDEN);
    var out: array<vec4f, TILE_SLOTS * QUADS_DATA>;
    for (var q = 0u; q < QUADS_DATA; q++) { //#unroll
        let z = begin_tile(all.last[q]);
        for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
            out[s * QUADS_DATA + q] = z[s];
        }
    }
//#if DEEP
    var partner = layer_at(1u);
    var sums = begin_hidden(all.second);
    for (var tile = 0u; tile < layer.shape.y / 4u; tile++) {
        let h = activate_tile(layer, tile, tile_of_seen(layer, tile, biases[0], seen, lane), lane);
        biases = next_biases(biases, lane);
        add_to_hidden(partner, tile, h, lane, &sums);
    }
    var h = activate_hidden(partner, sums, lane);
//#if SEVERAL
    for (var middle = 0u; middle < HIDDEN - 3u; middle++) { //#unroll GRADIENT
        layer = layer_at(2u + middle);
        biases = bring_biases(layer, lane);
        var next: array<vec4f, TILE_SLOTS * QUADS>;
//#if GRADIENT
        for (var tile = 0u; tile < QUADS; tile++) {
            next = moved_up(next, activate_tile(layer, tile, tile_of_hidden(layer, tile, biases[0], h, lane), lane));
            biases = next_biases(biases, lane);
        }
        h = next;
//#else
        // Sums are made at the end of a turn and used in the next one: where they are used at once, LLVM goes through the
        // weights once for every sum, and not once for all.
        var z: array<vec4f, TILE_SLOTS>;
        for (var tile = 0u; tile < QUADS; tile++) {
            // what comes first, of no tile, has left at the end
            next = moved_up(next, activate_tile(layer, tile - 1u, z, lane));
            z = tile_of_hidden(layer, tile, biases[0], h, lane);
            biases = next_biases(biases, lane);
        }
        h = moved_up(next, activate_tile(layer, QUADS - 1u, z, lane));
//#end
    }
//#end
//#if DEEPER
    layer = layer_at(HIDDEN - 1u);
    biases = all.last_hidden;
    let tiles = layer.shape.y / 4u;
//#if GRADIENT
    for (var tile = 0u; tile < tiles; tile++) {
        let between = activate_tile(layer, tile, tile_of_hidden(layer, tile, biases[0], h, lane), lane);
        biases = next_biases(biases, lane);
        add_to_last(last, tile, between, lane, &out);
    }
//#else
    // as above
    var z: array<vec4f, TILE_SLOTS>;
    for (var tile = 0u; tile < tiles; tile++) {
        if (tile > 0u) {
            add_to_last(last, tile - 1u, activate_tile(layer, tile - 1u, z, lane), lane, &out);
        }
        z = tile_of_hidden(layer, tile, biases[0], h, lane);
        biases = next_biases(biases, lane);
    }
    add_to_last(last, tiles - 1u, activate_tile(layer, tiles - 1u, z, lane), lane, &out);
//#end
//#else
    for (var q = 0u; q < QUADS_DATA; q++) { //#unroll
        let z = tile_of_hidden(last, q, all.last[q], h, lane);
        for (var s = 0u; s < TILE_SLOTS; s++) { //#unroll
            out[s * QUADS_DATA + q] = z[s];
        }
    }
//#end
//#else
    for (var tile = 0u; tile < layer.shape.y / 4u; tile++) {
        let between = activate_tile(layer, tile, tile_of_seen(layer, tile, biases[0], seen, lane), lane);
        biases = next_biases(biases, lane);
        add_to_last(last, tile, between, lane, &out);
    }
//#end
    return out;
}
