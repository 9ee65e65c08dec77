// The linear assignment problem, exactly: the permutation π that minimises
//
//     Σ_i c[i, π(i)],     c[i, j] = ⌊scale·‖x1_i − x0_j‖²⌋
//
// The costs are integers, so all sums are exact: prices, the certificate, and therefore the result do not depend on
// how many lanes there are or where dispatches are cut. Rows i are points of x1, columns j points of x0.
//
//   AUCTION  (Bertsekas 1988) rows bid for their best column, in the order of a queue: its price rises by the lead over
//            the second best, plus ε. A few phases with falling ε bring the prices near the optimal ones.
//   GREEDY   prices are kept, owners forgotten: every row takes its best column, if that is free.
//   PATHS    (Jonker and Volgenant 1987) for every row that is left, the shortest path by reduced costs
//            c[i, j] − u_i − v_j to a free column, by Dijkstra's rule; v_j is minus the price. Exact.
//   CERTIFY  u_i ← min_j (c'[i, j] − v_j), where c' is below c by the most that its rounding can have added: Σu + Σv is a
//            lower bound of all permutations' costs. What a row's own column has above the least is the excess.
//
// A scan, one row against all columns, is the work of every stage: one kernel makes those of AUCTION, another one all
// others. One workgroup a problem; each lane keeps COLUMNS
// columns in registers: j = c·LANES + lane. The lanes' best columns are joined by eights; then lane 0 does what is
// sequential, on storage that it alone touches, and orders the next scan. A dispatch makes 16·rounds scans and leaves
// everything in the buffers for the next one.
//
// Loops: 17·rounds for all lanes; for lane 0 a path's update and walk, which add up to at most four times the scans plus
// 2·N (`most_rounds` in src/flow/assignment.rs).
//
// Variants: BIDS    the stage AUCTION; without it, the others
//           MATRIX  costs come from a matrix that `assignment_costs` has made, for higher dimensions

//#include "shared/assignment.wgsl"

const N: u32 = 8u;
const DIM: u32 = 2u;
const LANES: u32 = 8u;
const COLUMNS: u32 = 1u;    // of a lane: N / LANES, rounded up
const LEVELS: u32 = 1u;     // 8^LEVELS is at least LANES
const PADDED: u32 = COLUMNS * LANES;
const MOST_BIDS: u32 = 64u;  // in a phase
const PHASES: u32 = 4u;

struct Task {
    rounds: u32,
    padding0: u32,
    padding1: u32,
    padding2: u32,
}

@group(0) @binding(0) var<uniform> task: Task;
@group(0) @binding(1) var<storage, read_write> problems: array<Problem>;
@group(0) @binding(2) var<storage, read_write> memory: array<i32>;    // [problems, SECTIONS, PADDED]
@group(0) @binding(3) var<storage, read_write> partners: array<u32>;  // [problems, N]: π
//#if MATRIX
@group(0) @binding(4) var<storage, read> costs: array<f32>;           // [problems, N, PADDED], not yet scaled
//#else
@group(0) @binding(4) var<storage, read> x0: array<f32>;              // [problems, N, DIM]
@group(0) @binding(5) var<storage, read> x1: array<f32>;              // [problems, N, DIM]
//#end

// Parts of a problem's memory.
const PRICES: u32 = 0u;              // v_j
const DISTANCES: u32 = PADDED;       // from the start to a column
const ORIGINS: u32 = PADDED * 2u;    // the row before it; bit 31: the distance is final
const OWNERS: u32 = PADDED * 3u;     // (1 + phase)·2^16 + row; an older phase's owner is none
const DUALS: u32 = PADDED * 4u;      // u_i
const QUEUE: u32 = PADDED * 5u;      // rows that wait, a ring
const WAYS: u32 = PADDED * 6u;       // the row before a column of the tree
const TREE: u32 = PADDED * 7u;       // columns with final distances, in order
const DEPTHS: u32 = PADDED * 8u;     // those distances
const SECTIONS: u32 = 9u;

const FINAL: i32 = -0x7fffffff - 1;
const ROW: u32 = 0xffffu;

const FRESH: u32 = 0x10000u;
const LOWER: u32 = 0x20000u;

var<workgroup> order: vec4u;                    // row and flags, base, column, amount
var<workgroup> best: array<vec3i, LANES>;       // key, column, and in AUCTION the second key, else the column's origin
var<workgroup> finished: u32;
//#if !BIDS
var<workgroup> own: i32;                        // in CERTIFY, the key of the row's own column
//#end

// Of two candidates, the one with the lower key, then with the lower column.
fn joined(a: vec3i, b: vec3i) -> vec3i {
    let a_first = a.x < b.x || (a.x == b.x && a.y <= b.y);
    let first = select(b, a, a_first);
//#if BIDS
    return vec3i(first.xy, min(min(a.z, b.z), max(a.x, b.x)));
//#else
    return first;
//#end
}

// The next scan, as lane 0 orders it.
fn ordered(now: Problem) -> vec4u {
    var flags = now.row;
//#if !BIDS
    flags |= select(0u, FRESH, now.fresh != 0u);
    flags |= select(0u, LOWER, now.stage == CERTIFY);
//#end
    return vec4u(flags, bitcast<u32>(now.base), now.column, bitcast<u32>(now.amount));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let home = group.x * SECTIONS * PADDED;
    let points = group.x * N;

    // What every lane keeps.
//#if !MATRIX
    var x: array<f32, COLUMNS * DIM>;
//#end
    var price: array<i32, COLUMNS>;
//#if !BIDS
    var distance: array<i32, COLUMNS>;
    var origin: array<i32, COLUMNS>;
//#end
    for (var c = 0u; c < COLUMNS; c++) { //#unroll
        let column = c * LANES + lane;
        price[c] = memory[home + PRICES + column];
//#if !BIDS
        distance[c] = memory[home + DISTANCES + column];
        origin[c] = memory[home + ORIGINS + column];
//#end
//#if !MATRIX
        for (var k = 0u; k < DIM; k++) { //#unroll
            x[c * DIM + k] = x0[(points + min(column, N - 1u)) * DIM + k];
        }
//#end
    }
    // What lane 0 keeps.
    var now = problems[group.x];
    let scale = now.scale;
//#if BIDS
    let mine = now.stage == AUCTION;
//#else
    let mine = now.stage != AUCTION && now.stage != DONE;
    let lowered = scale * (1.0 - f32(DIM + 8u) * 0x1p-24);
//#end
    if (lane == 0u) {
        finished = select(0u, 1u, !mine);
        order = ordered(now);
    }

    for (var round = 0u; round < task.rounds; round++) {
        if (workgroupUniformLoad(&finished) != 0u) {
            break;
        }
        for (var scan = 0u; scan < 16u; scan++) {
            workgroupBarrier();
            let scanned = order;
            let row = scanned.x & ROW;
            let amount = bitcast<i32>(scanned.w);
//#if !BIDS
            let base = bitcast<i32>(scanned.y);
            let forget = select(0, INFINITE, (scanned.x & FRESH) != 0u);
            let factor = select(scale, lowered, (scanned.x & LOWER) != 0u);
//#end
//#if !MATRIX
            var point: array<f32, DIM>;
            for (var k = 0u; k < DIM; k++) { //#unroll
                point[k] = x1[(points + row) * DIM + k];
            }
//#end
            var lowest = INFINITE;
            var third = INFINITE;
            var slot = 0u;
//#if !BIDS
            var partner = INFINITE;
//#end
            for (var c = 0u; c < COLUMNS; c++) { //#unroll
                let column = c * LANES + lane;
                let touched = column == scanned.z;
//#if MATRIX
                let cost = costs[(points + row) * PADDED + column];
//#else
                var cost = 0.0;
                for (var k = 0u; k < DIM; k++) { //#unroll
                    let difference = point[k] - x[c * DIM + k];
                    cost += difference * difference;
                }
//#end
//#if BIDS
                price[c] -= select(0, amount, touched);
                var key = i32(cost * scale) - price[c];
//#else
                // Columns of the last tree, nearer than its free column, become dearer by the difference. Distances are
                // never negative, so that an amount of 0 changes nothing.
                price[c] += min(distance[c], amount) - amount;
                let known = max(distance[c], forget);
                let reduced = i32(cost * factor) - price[c] + base;
                let nearer = reduced < known;
                distance[c] = min(known, reduced);
                origin[c] = select(origin[c] | select(0, FINAL, touched), i32(row), nearer);
                var key = select(distance[c], INFINITE, origin[c] < 0);
//#end
                if ((c + 1u) * LANES > N) {
                    key = select(key, INFINITE, column >= N);
                }
                let lower = key < lowest;
                slot = select(slot, c, lower);
//#if !BIDS
                partner = select(partner, key, touched);
//#end
//#if BIDS
                third = min(third, max(lowest, key));
//#else
                third = select(third, origin[c], lower);
//#end
                lowest = min(lowest, key);
            }
            best[lane] = vec3i(lowest, i32(slot * LANES + lane), third);
//#if !BIDS
            if (partner != INFINITE) {
                own = partner;
            }
//#end
            for (var level = 0u; level < LEVELS; level++) { //#unroll
                workgroupBarrier();
                let stride = 1u << (3u * level);
                let first = lane * 8u * stride;
                if (first < LANES) {
                    var all = best[first];
                    for (var i = 0u; i < 7u; i++) { //#unroll
                        let other = first + (i + 1u) * stride;
                        if (other < LANES) {
                            all = joined(all, best[other]);
                        }
                    }
                    best[first] = all;
                }
            }
            if (lane == 0u && finished == 0u) {
                let key = best[0].x;
                let column = u32(best[0].y);
                let other = best[0].z;
                let tag = (now.phase + 1u) << 16u;
                let owner = bitcast<u32>(memory[home + OWNERS + column]);
                let owned = (owner & ~ROW) == tag;
                let rival = owner & ROW;
                now.scans += 1u;
                now.column = NO_COLUMN;
                now.amount = 0;
//#if BIDS
                // Prices above all costs would leave the range of the integers: enough then.
                let high = other != INFINITE && other > LARGEST;
                if (!high) {
                    now.column = column;
                    now.amount = now.epsilon + select(other - key, 0, other == INFINITE);
                    now.bids += 1u;
                    memory[home + OWNERS + column] = bitcast<i32>(tag | now.row);
                    if (owned) {
                        memory[home + QUEUE + now.pushed % N] = bitcast<i32>(rival);
                        now.pushed += 1u;
                    }
                }
                if (high || now.popped == N + now.pushed || now.bids >= MOST_BIDS) {
                    now.phase += 1u;
                    now.popped = 0u;
                    now.pushed = 0u;
                    now.bids = 0u;
                    now.epsilon = max(now.epsilon / 8, 1);
                    if (high || now.phase >= PHASES) {
                        now.stage = GREEDY;
                        finished = 1u;
                    }
                }
                // First all rows in their order, then those that wait.
                now.row = now.popped;
                if (now.popped >= N) {
                    now.row = bitcast<u32>(memory[home + QUEUE + (now.popped - N) % N]);
                }
                now.popped += 1u;
//#else
                now.base = 0;
                now.fresh = 1u;
                var next = true;
                if (now.stage == GREEDY) {
                    memory[home + DUALS + now.row] = key;
                    if (owned) {
                        memory[home + QUEUE + now.pushed] = bitcast<i32>(now.row);
                        now.pushed += 1u;
                    } else {
                        memory[home + OWNERS + column] = bitcast<i32>(tag | now.row);
                        partners[points + now.row] = column;
                    }
                    if (now.popped == N) {
                        now.popped = 0u;
                        now.stage = select(PATHS, CERTIFY, now.pushed == 0u);
                    }
                } else if (now.stage == PATHS) {
                    memory[home + WAYS + column] = other;
                    if (owned) {
                        memory[home + TREE + now.tree] = bitcast<i32>(column);
                        memory[home + DEPTHS + now.tree] = key;
                        now.tree += 1u;
                        now.row = rival;
                        now.base = key - memory[home + DUALS + rival];
                        now.fresh = 0u;
                        now.column = column;
                        next = false;
                    } else {
                        // Lanes lower the prices when the next scan begins; here are the rows' duals.
                        now.amount = key;
                        for (var i = 0u; i < now.tree; i++) {
                            let reached = bitcast<u32>(memory[home + TREE + i]);
                            let moved = bitcast<u32>(memory[home + OWNERS + reached]) & ROW;
                            memory[home + DUALS + moved] += key - memory[home + DEPTHS + i];
                        }
                        memory[home + DUALS + now.start] += key;
                        // Back along the path, every row moves to the column that it was reached through.
                        var free = column;
                        for (var i = 0u; i <= now.tree; i++) {
                            let moved = bitcast<u32>(memory[home + WAYS + free]) & ROW;
                            let left = partners[points + moved];
                            memory[home + OWNERS + free] = bitcast<i32>(tag | moved);
                            partners[points + moved] = free;
                            if (moved == now.start) {
                                break;
                            }
                            free = left;
                        }
                        now.tree = 0u;
                        if (now.popped == now.pushed) {
                            now.popped = 0u;
                            now.stage = CERTIFY;
                        }
                    }
                } else {
                    now.excess += u32(clamp(own - key, 0, 0xffff));
                    memory[home + DUALS + now.row] = key;
                    if (now.popped == N) {
                        now.stage = DONE;
                        finished = 1u;
                        next = false;
                    }
                }
                if (next) {
                    // All rows in their order; in PATHS those that are left.
                    now.row = now.popped;
                    if (now.stage == PATHS) {
                        now.row = bitcast<u32>(memory[home + QUEUE + now.popped]);
                        now.base = -memory[home + DUALS + now.row];
                    } else if (now.stage == CERTIFY) {
                        now.column = partners[points + now.row];
                    }
                    now.popped += 1u;
                    now.start = now.row;
                }
//#end
                order = ordered(now);
            } else if (lane == 0u) {
                // What is left of the round: nothing is raised a second time.
                order.z = NO_COLUMN;
                order.w = 0u;
            }
        }
    }

//#if BIDS
    // The last bid's price, which no scan has raised yet.
    workgroupBarrier();
    let last = order;
//#end
    if (mine) {
        for (var c = 0u; c < COLUMNS; c++) { //#unroll
            let column = c * LANES + lane;
//#if BIDS
            memory[home + PRICES + column] = price[c] - select(0, bitcast<i32>(last.w), column == last.z);
//#else
            memory[home + PRICES + column] = price[c];
            memory[home + DISTANCES + column] = distance[c];
            memory[home + ORIGINS + column] = origin[c];
//#end
        }
    }
    if (lane == 0u && mine) {
//#if BIDS
        now.column = NO_COLUMN;
        now.amount = 0;
//#end
        problems[group.x] = now;
    }
}
