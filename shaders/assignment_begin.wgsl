// Begins assignment problems: no squared distance between a point of x0 and one of x1 is larger than
//
//     C = Σ_k max(max x0_k − min x1_k, max x1_k − min x0_k)²
//
// and costs are counted in units of which C has at most 2^28: the scale is a power of two, so that multiplying by it
// rounds nothing. One workgroup a problem. Each lane keeps the extremes of its rows for one coordinate at a time; the
// lanes are joined as a tree.
//
// Loops: DIM·N / LANES + 8·DIM + MEMORY / LANES iterations of an invocation.

//#include "shared/assignment.wgsl"

const N: u32 = 8u;       // rows of x0 and of x1
const DIM: u32 = 2u;
const LANES: u32 = 64u;
const MEMORY: u32 = 72u;             // words of a problem's memory in `assignment`
const FIRST_EPSILON: i32 = 4194304;  // 2^28 / 64

@group(0) @binding(0) var<storage, read> x0: array<f32>;                   // [problems, N, DIM]
@group(0) @binding(1) var<storage, read> x1: array<f32>;                   // [problems, N, DIM]
@group(0) @binding(2) var<storage, read_write> problems: array<Problem>;
@group(0) @binding(3) var<storage, read_write> memory: array<i32>;         // [problems, MEMORY]: zeros

var<workgroup> extremes: array<vec4f, LANES>;  // −min x0, max x0, −min x1, max x1

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * N * DIM;
    var bound = 0.0;
    for (var k = 0u; k < DIM; k++) {
        let some = first + min(lane, N - 1u) * DIM + k;
        var own = vec4f(-x0[some], x0[some], -x1[some], x1[some]);
        for (var i = lane + LANES; i < N; i += LANES) {
            let a = x0[first + i * DIM + k];
            let b = x1[first + i * DIM + k];
            own = max(own, vec4f(-a, a, -b, b));
        }
        extremes[lane] = own;
        for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
            workgroupBarrier();
            if (lane < stride) {
                extremes[lane] = max(extremes[lane], extremes[lane + stride]);
            }
        }
        if (lane == 0u) {
            let all = extremes[0];
            let widest = max(all.y + all.z, all.w + all.x);
            bound += widest * widest;
        }
        workgroupBarrier();
    }
    for (var i = lane; i < MEMORY; i += LANES) {
        memory[group.x * MEMORY + i] = 0;
    }
    if (lane == 0u) {
        // 2^(27 − exponent)·bound < 2^28; the exponent by its bits, since no driver owes an exact log2
        let bits = bitcast<u32>(bound);
        let exponent = i32(bits >> 23u) - 127;
        // at most 2^100: points closer than that are the same
        let power = clamp(27 - exponent, -100, 100);
        var problem = Problem();
        problem.scale = bitcast<f32>(u32(power + 127) << 23u);
        problem.fresh = 1u;
        problem.column = NO_COLUMN;
        // also where the bound is infinite or not a number
        problem.failed = select(0u, 1u, exponent > 96);
        problem.stage = select(AUCTION, DONE, exponent > 96);
        problem.epsilon = FIRST_EPSILON;
        problem.popped = 1u;
        problems[group.x] = problem;
    }
}
