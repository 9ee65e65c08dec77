// A product of two matrices by workgroups: each computes one tile of Σ_l left[i, l]·right[l, j], a piece of DEPTH terms
// after the other. All lanes bring a piece of both operands to the workgroup's memory, every number once; then each lane
// multiplies its share of the tile in registers, while the next piece is on its way from device memory.
//
// A lane's share are QUADS_Y × QUADS_X squares of 4 × 4: rows 4·(y + r·LANES_Y) …, columns 4·(x + c·LANES_X) …, so that
// neighbours read and write neighbouring groups of four. What is brought are squares too, of four of the tile's rows (or
// columns) and four terms: a matrix that lies along the sum is turned on the way (transpose), so that in the workgroup's
// memory a vec4 is always four rows (or columns) of the same term.
//
// The workgroup's memory has 32 banks of a word, eight vec4 side by side. Lanes that turn squares store them DEPTH_QUADS
// at a time in the same column; `swizzled` shifts them to different banks.
//
// The kernel declares left_square(i, l, end) and right_square(j, l, end): the square of rows (columns) 4·i … 4·i + 3 and
// of the terms l … l + 3, a column of the matrix a term; zeros where there is nothing, and at terms from `end` on. And
// LEFT_ALONG, RIGHT_ALONG: whether the operand lies along the sum.
//
// Flags: ROW_SUMS  the sums of left over all terms as well, four rows a lane: Σ_l left[i, l]

const LANES_X: u32 = 8u;      // lanes along the columns of a tile
const LANES_Y: u32 = 8u;      // and along its rows
const QUADS_X: u32 = 2u;      // groups of four columns of a lane
const QUADS_Y: u32 = 2u;      // groups of four rows
const DEPTH: u32 = 16u;       // terms of a piece: 8, 16 or 32
const LANES: u32 = LANES_X * LANES_Y;
const COLUMN_QUADS: u32 = LANES_X * QUADS_X;  // of a tile: multiples of 8
const ROW_QUADS: u32 = LANES_Y * QUADS_Y;
const DEPTH_QUADS: u32 = DEPTH / 4u;
const SWIZZLE: u32 = 8u / DEPTH_QUADS;
const LEFT_SQUARES: u32 = ROW_QUADS * DEPTH_QUADS;
const SQUARES: u32 = LEFT_SQUARES + COLUMN_QUADS * DEPTH_QUADS;
const SQUARES_OF_LANE: u32 = SQUARES / LANES;  // the lanes share them without remainder
const SUMS: u32 = 4u * QUADS_Y * QUADS_X;

var<workgroup> left: array<vec4f, ROW_QUADS * DEPTH>;      // [DEPTH, ROW_QUADS]
var<workgroup> right: array<vec4f, COLUMN_QUADS * DEPTH>;  // [DEPTH, COLUMN_QUADS]

// Where a group of four lies within its row, for the terms 4·depth ….
fn swizzled(quad: u32, depth: u32) -> u32 {
    return quad ^ (SWIZZLE * depth);
}

// (group of four within the tile, group of four terms) of a square. Neighbouring lanes read along the matrix's rows.
fn place_of(square: u32, quads: u32, along: bool) -> vec2u {
    return select(
        vec2u(square % quads, square / quads),
        vec2u(square / DEPTH_QUADS, square % DEPTH_QUADS),
        along,
    );
}

// origin: the tile's first groups of four rows and columns.
fn bring(square: u32, origin: vec2u, first: u32, end: u32) -> mat4x4f {
    var values: mat4x4f;
    if (square < LEFT_SQUARES) {
        let place = place_of(square, ROW_QUADS, LEFT_ALONG);
        values = left_square(origin.x + place.x, first + 4u * place.y, end);
    } else {
        let place = place_of(square - LEFT_SQUARES, COLUMN_QUADS, RIGHT_ALONG);
        values = right_square(origin.y + place.x, first + 4u * place.y, end);
    }
    return values;
}

fn keep(square: u32, values: mat4x4f) {
    if (square < LEFT_SQUARES) {
        let place = place_of(square, ROW_QUADS, LEFT_ALONG);
        let at = 4u * place.y * ROW_QUADS + swizzled(place.x, place.y);
        for (var i = 0u; i < 4u; i++) { //#unroll
            left[at + i * ROW_QUADS] = values[i];
        }
    } else {
        let place = place_of(square - LEFT_SQUARES, COLUMN_QUADS, RIGHT_ALONG);
        let at = 4u * place.y * COLUMN_QUADS + swizzled(place.x, place.y);
        for (var i = 0u; i < 4u; i++) { //#unroll
            right[at + i * COLUMN_QUADS] = values[i];
        }
    }
}

// A lane's place in the tile: (x, y).
fn lane_place(lane: u32) -> vec2u {
    return vec2u(lane % LANES_X, lane / LANES_X);
}

// Adds the terms begin … end − 1. sums[(4·r + i)·QUADS_X + c]: four columns of row i of the lane's square (r, c).
// All lanes of a workgroup come here together.
//#if ROW_SUMS
fn product(lane: u32, origin: vec2u, begin: u32, end: u32, sums: ptr<function, array<vec4f, SUMS>>, row_sums: ptr<function, vec4f>) {
//#else
fn product(lane: u32, origin: vec2u, begin: u32, end: u32, sums: ptr<function, array<vec4f, SUMS>>) {
//#end
    let place = lane_place(lane);
    var next: array<mat4x4f, SQUARES_OF_LANE>;
    for (var s = 0u; s < SQUARES_OF_LANE; s++) { //#unroll
        next[s] = bring(lane + s * LANES, origin, begin, end);
    }
    for (var at = begin; at < end; at += DEPTH) {
        for (var s = 0u; s < SQUARES_OF_LANE; s++) { //#unroll
            keep(lane + s * LANES, next[s]);
        }
        workgroupBarrier();
        for (var s = 0u; s < SQUARES_OF_LANE; s++) { //#unroll
            next[s] = bring(lane + s * LANES, origin, at + DEPTH, end);
        }
        for (var depth = 0u; depth < DEPTH_QUADS; depth++) {
            for (var i = 0u; i < 4u; i++) { //#unroll
                var b: array<vec4f, QUADS_X>;
                for (var c = 0u; c < QUADS_X; c++) { //#unroll
                    b[c] = right[(4u * depth + i) * COLUMN_QUADS + swizzled(place.x + c * LANES_X, depth)];
                }
                for (var r = 0u; r < QUADS_Y; r++) { //#unroll
                    let a = left[(4u * depth + i) * ROW_QUADS + swizzled(place.y + r * LANES_Y, depth)];
                    for (var j = 0u; j < 4u; j++) { //#unroll
                        for (var c = 0u; c < QUADS_X; c++) { //#unroll
                            (*sums)[(4u * r + j) * QUADS_X + c] += a[j] * b[c];
                        }
                    }
                }
            }
        }
//#if ROW_SUMS
        if (lane < ROW_QUADS) {
            for (var l = 0u; l < DEPTH; l++) { //#unroll
                *row_sums += left[l * ROW_QUADS + swizzled(lane, l / 4u)];
            }
        }
//#end
        // Nothing of the piece is needed any more.
        workgroupBarrier();
    }
}
