// Entropic optimal transport between two sets of N points, by Sinkhorn's iterations on the logarithms (Cuturi 2013;
// Peyré and Cuturi 2019, § 4.4), without a matrix: with c_ij = ‖y_i − z_j‖², potentials g of the columns and ε,
//
//     l_ij = (g_j − c_ij)·log2(e)/ε        f_i ← −ε/log2(e)·(log2 Σ_j 2^l_ij − log2 N)
//
// makes the row sums of exp((f_i + g_j − c_ij)/ε)/N² equal 1/N. Costs are formed where they are used; a running maximum
// and the sum next to it are all that is kept of a row, BLOCK columns at a time, so that long sums stay accurate. By how
// much a potential moves tells what its marginal was before: N times it is exp((old − new)/ε). With a relaxation ω the
// potential moves ω times as far (Lehmann et al. 2021).
//
// One invocation takes QUERIES rows; SPLIT invocations share them, each its chunks of 16 columns, and are joined as a
// tree. A dispatch takes a range of rows and a range of columns, so that it is bounded in time; what a row has come to is
// kept between ranges of columns.
//
// Loops: columns/4 + columns/16 + columns/BLOCK iterations of an invocation over SPLIT, WIDE: columns/4·DIM more.
//
// Variants: WIDE  points stay in memory, for higher dimensions
//           COST  the mean cost of each row under the plan, in `changes`
//           DRAW  every free row draws one of the free columns from its part of the plan: streaming too, since what has
//                 been drawn of the columns so far is kept with the probability that it has beside the next four (Chao
//                 1982). A column goes to the first row that has drawn it (`sinkhorn_settle`).

//#include "shared/sinkhorn.wgsl"
//#if DRAW
//#include "shared/philox.wgsl"
//#include "shared/drawing.wgsl"
//#end

const N: u32 = 8u;
const DIM: u32 = 2u;
const QUERIES: u32 = 4u;
const SPLIT: u32 = 1u;     // a power of two that divides LANES
const BLOCK: u32 = 1024u;  // a multiple of 16, at least SPLIT
const LANES: u32 = 64u;
const OWN: u32 = 0u;       // whose potentials are found: 0: of the rows, 1: of the columns
const GROUPS: u32 = (N + QUERIES - 1u) / QUERIES;
const LOWEST: f32 = -3e38;
const TILE: u32 = QUERIES * 4u;
const COORDINATES: u32 = QUERIES * DIM;

struct Part {
    first_group: u32,   // of QUERIES rows, counted through all problems
    end_group: u32,
    first_column: u32,  // a multiple of BLOCK·SPLIT
    end_column: u32,
}

@group(0) @binding(0) var<uniform> part: Part;
@group(0) @binding(1) var<storage, read> problems: array<Entropic>;
@group(0) @binding(2) var<storage, read> y: array<f32>;                      // [problems, N, DIM]
@group(0) @binding(3) var<storage, read> z: array<f32>;                      // [problems, N, DIM]
@group(0) @binding(4) var<storage, read_write> potentials: array<f32>;       // [problems, 2, N]
@group(0) @binding(5) var<storage, read_write> partials: array<vec4f>;       // [problems, N]: top, sum, and what else there is
//#if DRAW
@group(0) @binding(6) var<uniform> drawing: Drawing;
@group(0) @binding(7) var<storage, read_write> lists: array<atomic<u32>>;    // [problems, 4, N]: free rows, free columns, what a row has drawn, a column's first row
//#else
@group(0) @binding(6) var<storage, read_write> changes: array<f32>;          // [problems, N]: |N·marginal − 1|
//#end

const STREAM_PLAN: u32 = 5u;

//#if SPLIT_LANES
var<workgroup> all: array<vec3f, LANES * QUERIES>;
//#end

// 2^x for x ≤ 0. What is below 2^−126 beside a weight of 1 is nothing.
fn weight(exponent: f32) -> f32 {
    return exp2(max(exponent, -126.0));
}

// Two parts of a row: top, sum, and in COST the sum of the costs, in DRAW the bits of the column drawn.
fn joined(a: vec3f, b: vec3f, random: f32) -> vec3f {
    let top = max(a.x, b.x);
    let keep = a.y * weight(a.x - top);
    let more = b.y * weight(b.x - top);
//#if DRAW
    return vec3f(top, keep + more, select(a.z, b.z, random * (keep + more) >= keep));
//#else
    return vec3f(top, keep + more, a.z * weight(a.x - top) + b.z * weight(b.x - top));
//#end
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let across = LANES / SPLIT;
    let group = part.first_group + (workgroup.y * workgroups.x + workgroup.x) * across + lane / SPLIT;
    let share = lane % SPLIT;
    let problem = min(group, part.end_group - 1u) / GROUPS;
    let now = problems[problem];
    let first = (group % GROUPS) * QUERIES;
//#if DRAW
    let rows = now.free;
    let end = min(part.end_column, now.free);
    let home = problem * 4u * N;
    let mine = group < part.end_group && now.stage == DRAWING && now.failed == 0u && first < rows
        && part.first_column < end;
    let number = drawing.number + problem * drawing.stride;
    let stream = STREAM_PLAN | (now.round << 8u);
//#else
    let rows = N;
    let end = part.end_column;
//#if COST
    let mine = group < part.end_group && now.failed == 0u;
//#else
    let mine = group < part.end_group && now.stage == ITERATING;
//#end
//#end
    let sharpness = LOG2_E / now.epsilon;
    let points = problem * N * DIM;
    let others = (problem * 2u + 1u - OWN) * N;

    var row: array<u32, QUERIES>;
    var top: array<f32, QUERIES>;
    var sum: array<f32, QUERIES>;
    var extra: array<f32, QUERIES>;
//#if !WIDE
    var point: array<f32, QUERIES * DIM>;
//#end
//#if DRAW
    var words: array<vec4u, QUERIES>;
//#end
    for (var q = 0u; q < QUERIES; q++) { //#unroll
        let place = min(first + q, max(rows, 1u) - 1u);
//#if DRAW
        row[q] = select(0u, atomicLoad(&lists[home + place]), mine);
//#else
        row[q] = place;
//#end
        top[q] = LOWEST;
        sum[q] = 0.0;
        extra[q] = 0.0;
//#if !WIDE
        for (var k = 0u; k < DIM; k++) { //#unroll
            point[q * DIM + k] = y[points + row[q] * DIM + k];
        }
//#end
    }
    let stop = select(0u, end, mine);
    for (var block = part.first_column; block < stop; block += BLOCK * SPLIT) {
        var block_top: array<f32, QUERIES>;
        var block_sum: array<f32, QUERIES>;
        var block_extra: array<f32, QUERIES>;
        for (var q = 0u; q < QUERIES; q++) { //#unroll
            block_top[q] = LOWEST;
            block_sum[q] = 0.0;
            block_extra[q] = 0.0;
        }
        let block_end = min(block + BLOCK * SPLIT, stop);
        for (var chunk = block + 16u * share; chunk < block_end; chunk += 16u * SPLIT) {
//#if DRAW
            for (var q = 0u; q < QUERIES; q++) { //#unroll
                words[q] = philox4x32(vec4u(row[q], chunk / 16u, number, stream), drawing.seed);
            }
//#end
            let chunk_end = min(chunk + 16u, block_end);
            for (var column = chunk; column < chunk_end; column += 4u) {
                var at: array<u32, 4>;
                var high: array<f32, 4>;
                for (var j = 0u; j < 4u; j++) { //#unroll
                    at[j] = min(column + j, end - 1u);
//#if DRAW
                    at[j] = atomicLoad(&lists[home + N + at[j]]);
//#end
                    high[j] = potentials[others + at[j]];
                }
                var squares: array<f32, TILE>;
                for (var i = 0u; i < TILE; i++) { //#unroll
                    squares[i] = 0.0;
                }
//#if WIDE
                for (var k = 0u; k < DIM; k++) {
                    var own: array<f32, QUERIES>;
                    for (var q = 0u; q < QUERIES; q++) { //#unroll
                        own[q] = y[points + row[q] * DIM + k];
                    }
                    for (var j = 0u; j < 4u; j++) { //#unroll
                        let other = z[points + at[j] * DIM + k];
                        for (var q = 0u; q < QUERIES; q++) { //#unroll
                            let difference = own[q] - other;
                            squares[q * 4u + j] += difference * difference;
                        }
                    }
                }
//#else
                for (var j = 0u; j < 4u; j++) { //#unroll
                    for (var k = 0u; k < DIM; k++) { //#unroll
                        let other = z[points + at[j] * DIM + k];
                        for (var q = 0u; q < QUERIES; q++) { //#unroll
                            let difference = point[q * DIM + k] - other;
                            squares[q * 4u + j] += difference * difference;
                        }
                    }
                }
//#end
                for (var q = 0u; q < QUERIES; q++) { //#unroll
                    var w: array<f32, 4>;
                    let before = block_top[q];
                    for (var j = 0u; j < 4u; j++) { //#unroll
                        let exponent = (high[j] - squares[q * 4u + j]) * sharpness;
                        // A column beyond the end weighs nothing.
                        w[j] = select(LOWEST, exponent, column + j < end);
                        block_top[q] = max(block_top[q], w[j]);
                    }
                    let keep = weight(before - block_top[q]);
                    for (var j = 0u; j < 4u; j++) { //#unroll
                        w[j] = select(0.0, weight(w[j] - block_top[q]), column + j < end);
                    }
                    let kept = block_sum[q] * keep;
//#if DRAW
                    let two = kept + w[0];
                    let three = two + w[1];
                    let four = three + w[2];
                    block_sum[q] = four + w[3];
                    let here = uniform01(words[q].x) * block_sum[q];
                    words[q] = words[q].yzwx;
                    var drawn = bitcast<u32>(block_extra[q]);
                    drawn = select(drawn, at[0], here >= kept);
                    drawn = select(drawn, at[1], here >= two);
                    drawn = select(drawn, at[2], here >= three);
                    drawn = select(drawn, at[3], here >= four && column + 3u < end);
                    block_extra[q] = bitcast<f32>(drawn);
//#else
                    block_sum[q] = kept + ((w[0] + w[1]) + (w[2] + w[3]));
//#end
//#if COST
                    var costs = 0.0;
                    for (var j = 0u; j < 4u; j++) { //#unroll
                        costs += w[j] * squares[q * 4u + j];
                    }
                    block_extra[q] = block_extra[q] * keep + costs;
//#end
                }
            }
        }
        for (var q = 0u; q < QUERIES; q++) { //#unroll
            var random = 0.0;
//#if DRAW
            random = uniform01(philox4x32(
                vec4u(row[q], block + share, number, stream | 0x80000000u), drawing.seed).x);
//#end
            let both = joined(
                vec3f(top[q], sum[q], extra[q]), vec3f(block_top[q], block_sum[q], block_extra[q]), random);
            top[q] = both.x;
            sum[q] = both.y;
            extra[q] = both.z;
        }
    }
//#if SPLIT_LANES
    for (var q = 0u; q < QUERIES; q++) { //#unroll
        all[lane * QUERIES + q] = vec3f(top[q], sum[q], extra[q]);
    }
    for (var stride = SPLIT / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if (share < stride) {
            for (var q = 0u; q < QUERIES; q++) { //#unroll
                var random = 0.0;
//#if DRAW
                let place = part.first_column + stride * SPLIT + share;
                random = uniform01(philox4x32(vec4u(row[q], place, number, stream | 0x40000000u), drawing.seed).x);
//#end
                all[lane * QUERIES + q] =
                    joined(all[lane * QUERIES + q], all[(lane + stride) * QUERIES + q], random);
            }
        }
    }
//#end
    if (mine && share == 0u) {
        for (var q = 0u; q < QUERIES; q++) { //#unroll
            var own = vec3f(top[q], sum[q], extra[q]);
//#if SPLIT_LANES
            own = all[lane * QUERIES + q];
//#end
            if (first + q < rows) {
                let place = problem * N + first + q;
                if (part.first_column > 0u) {
                    var random = 0.0;
//#if DRAW
                    random = uniform01(philox4x32(
                        vec4u(row[q], part.first_column, number, stream | 0xc0000000u), drawing.seed).x);
//#end
                    own = joined(partials[place].xyz, own, random);
                }
                if (part.end_column < N) {
                    partials[place] = vec4f(own, 0.0);
                }
//#if DRAW
                // Ranges beyond the free columns are not gone to: what they would find is already there.
                if (part.end_column >= now.free) {
                    let column = bitcast<u32>(own.z);
                    atomicStore(&lists[home + 2u * N + first + q], column);
                    atomicMin(&lists[home + 3u * N + column], first + q);
                }
//#else
                if (part.end_column >= N) {
//#if COST
                    changes[place] = own.z / own.y;
//#else
                    let found = -(own.x + log2(own.y) - log2(f32(N))) / sharpness;
                    let mover = (problem * 2u + OWN) * N + first + q;
                    let step = found - potentials[mover];
                    changes[place] = abs(exp2(clamp(-step * sharpness, -126.0, 100.0)) - 1.0);
                    potentials[mover] += now.relaxation * step;
//#end
                }
//#end
            }
        }
    }
}
