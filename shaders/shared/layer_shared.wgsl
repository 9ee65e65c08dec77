// A layer for all particles of a workgroup by all its lanes together, as GPUs want it: a lane computes eight outputs of
// eight particles, so that a number that it reads from the workgroup's memory serves eight products. Its particles are
// y, y + LANES_Y, …; its outputs 4·x …, 4·(x + LANES_X) …. Weights come to the workgroup's memory by pieces of 16 inputs,
// turned (a vec4 is four outputs of one input), the next piece while this one is multiplied; `shifted` keeps the lanes
// that turn them on different banks, as in shared/tile.wgsl.
//
// The outputs take the inputs' place: what a layer reads is not needed after it.

const LANES_X: u32 = 8u;                      // lanes along the outputs: 4 or 8, an eighth of the widest layer at least
const LANES_Y: u32 = LANES / LANES_X;         // along the particles, of which there are ROWS = 8·LANES_Y
const PIECE_QUADS: u32 = 4u;                  // inputs of a piece / 4
const PIECE_COLUMNS: u32 = 2u * LANES_X;      // outputs / 4
const PIECE_SQUARES: u32 = PIECE_COLUMNS * PIECE_QUADS;
const SQUARES_OF_LANE: u32 = PIECE_SQUARES / LANES;  // the lanes share them without remainder

var<workgroup> piece: array<vec4f, 4u * PIECE_SQUARES>;  // [inputs, PIECE_COLUMNS]

fn shifted(quad: u32, depth: u32) -> u32 {
    return quad ^ (2u * depth);
}

// Four outputs and four inputs of W, from input 4·first on: a column of the matrix an input.
fn bring(square: u32, shape: vec4u, outputs: vec4u, first: u32) -> mat4x4f {
    let row = 4u * (square / PIECE_QUADS);
    let quad = first + square % PIECE_QUADS;
    var w: mat4x4f;
    if (row < shape.y && quad < shape.x) {
        for (var r = 0u; r < 4u; r++) { //#unroll
            w[r] = weight_at(shape, outputs, row + r, quad);
        }
    }
    return transpose(w);
}

fn keep(square: u32, w: mat4x4f) {
    let depth = square % PIECE_QUADS;
    let at = 4u * depth * PIECE_COLUMNS + shifted(square / PIECE_QUADS, depth);
    for (var i = 0u; i < 4u; i++) { //#unroll
        piece[at + i * PIECE_COLUMNS] = w[i];
    }
}

// All lanes come here together.
fn layer_shared(layer: u32, lane: u32, last: bool) {
    let shape = network.shape[layer];
    let outputs = network.outputs[layer];
    let x = lane % LANES_X;
    let y = lane / LANES_X;
    var sums: array<vec4f, 16>;  // [8 particles, 2]
    var next: array<mat4x4f, SQUARES_OF_LANE>;
    for (var s = 0u; s < SQUARES_OF_LANE; s++) { //#unroll
        next[s] = bring(lane + s * LANES, shape, outputs, 0u);
    }
    for (var first = 0u; first < shape.x; first += PIECE_QUADS) {
        for (var s = 0u; s < SQUARES_OF_LANE; s++) { //#unroll
            keep(lane + s * LANES, next[s]);
        }
        // the inputs are there as well
        workgroupBarrier();
        for (var s = 0u; s < SQUARES_OF_LANE; s++) { //#unroll
            next[s] = bring(lane + s * LANES, shape, outputs, first + PIECE_QUADS);
        }
        let count = min(PIECE_QUADS, shape.x - first);
        for (var depth = 0u; depth < count; depth++) {
            var h: array<vec4f, 8>;
            for (var r = 0u; r < 8u; r++) { //#unroll
                h[r] = memory[(FRONT + first + depth) * ROWS + y + r * LANES_Y];
            }
            for (var i = 0u; i < 4u; i++) { //#unroll
                for (var c = 0u; c < 2u; c++) { //#unroll
                    let w = piece[(4u * depth + i) * PIECE_COLUMNS + shifted(x + c * LANES_X, depth)];
                    for (var r = 0u; r < 8u; r++) { //#unroll
                        sums[2u * r + c] += h[r][i] * w;
                    }
                }
            }
        }
        // Nothing of the piece, and at the end nothing of the inputs, is needed any more.
        workgroupBarrier();
    }
    for (var c = 0u; c < 2u; c++) { //#unroll
        let quad = x + c * LANES_X;
        if (4u * quad < shape.y) {
            let bias = parameters[shape.w + quad];
            // act(0) need not be 0 (softplus), but padded columns must be
            let inside = vec4u(4u * quad) + vec4u(0u, 1u, 2u, 3u) < vec4u(outputs.x);
            for (var r = 0u; r < 8u; r++) { //#unroll
                let z = sums[2u * r + c] + bias;
                var out = z;
                if (!last) {
                    out = select(vec4f(0.0), activation(z), inside);
                }
                memory[(FRONT + quad) * ROWS + y + r * LANES_Y] = out;
            }
        }
    }
    workgroupBarrier();
}
