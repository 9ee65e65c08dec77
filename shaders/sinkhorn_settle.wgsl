// Ends a round of drawing: of the free rows that have drawn a column, the first one gets it; rows and columns that are
// left stay in their lists, in order. After the last round the rows that are left get the columns that are left, one
// after the other.
//
// One workgroup a problem. Each lane takes a run of the lists, counts what stays, and writes behind what the lanes before
// it keep.
//
// Loops: 4·N / LANES + 2·LANES iterations of an invocation.
//
// Variants: LAST  after the last round

//#include "shared/sinkhorn.wgsl"

const N: u32 = 8u;
const LANES: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> problems: array<Entropic>;
@group(0) @binding(1) var<storage, read_write> lists: array<u32>;     // [problems, 4, N]
@group(0) @binding(2) var<storage, read_write> partners: array<u32>;  // [problems, N]: π

var<workgroup> counts: array<vec2u, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let home = group.x * 4u * N;
    let free = problems[group.x].free;
    let each = (free + LANES - 1u) / LANES;
    let begin = min(lane * each, free);
    let end = min(begin + each, free);
    // What stays is written behind the place that it is read from, or there: it is read before anything is written, run
    // by run, and kept in between in the list of what was drawn, which nobody needs any more.
    var rows = 0u;
    var columns = 0u;
//#if LAST
    for (var i = begin; i < end; i++) {
        partners[group.x * N + lists[home + i]] = lists[home + N + i];
    }
//#else
    for (var i = begin; i < end; i++) {
        let drawn = lists[home + 2u * N + i];
        let row = lists[home + i];
        if (lists[home + 3u * N + drawn] == i) {
            partners[group.x * N + row] = drawn;
        } else {
            rows += 1u;
        }
        columns += select(0u, 1u, lists[home + 3u * N + lists[home + N + i]] == 0xffffffffu);
    }
//#end
    counts[lane] = vec2u(rows, columns);
    workgroupBarrier();
    var before = vec2u(0u);
    var all = vec2u(0u);
    for (var i = 0u; i < LANES; i++) {
        before += select(vec2u(0u), counts[i], i < lane);
        all += counts[i];
    }
//#if !LAST
    // Rows first: whether one stays is what its column says.
    var to = begin;
    for (var i = begin; i < end; i++) {
        let drawn = lists[home + 2u * N + i];
        if (lists[home + 3u * N + drawn] != i) {
            lists[home + 2u * N + to] = lists[home + i];
            to += 1u;
        }
    }
    storageBarrier();
    for (var i = 0u; i < rows; i++) {
        lists[home + before.x + i] = lists[home + 2u * N + begin + i];
    }
    storageBarrier();
    to = begin;
    for (var i = begin; i < end; i++) {
        let column = lists[home + N + i];
        if (lists[home + 3u * N + column] == 0xffffffffu) {
            lists[home + 2u * N + to] = column;
            to += 1u;
        }
    }
    storageBarrier();
    for (var i = 0u; i < columns; i++) {
        lists[home + N + before.y + i] = lists[home + 2u * N + begin + i];
    }
//#end
    if (lane == 0u) {
        problems[group.x].free = all.x;
        problems[group.x].round += 1u;
    }
}
