// Begins entropic problems. ε is a multiple of the mean cost of all pairs, which needs no pair:
//
//     mean ‖x1_i − x0_j‖² = Σ_k (mean x0_k² + mean x1_k² − 2·(mean x0_k)·(mean x1_k))
//
// One workgroup a problem; sums are trees over the lanes.
//
// Loops: DIM·(N / LANES + 8) + N / LANES iterations of an invocation.

//#include "shared/sinkhorn.wgsl"

const N: u32 = 8u;
const DIM: u32 = 2u;
const LANES: u32 = 64u;

struct Aim {
    relative: f32,  // ε in units of the mean cost
    padding0: u32,
    padding1: u32,
    padding2: u32,
}

@group(0) @binding(0) var<uniform> aim: Aim;
@group(0) @binding(1) var<storage, read> x0: array<f32>;                    // [problems, N, DIM]
@group(0) @binding(2) var<storage, read> x1: array<f32>;                    // [problems, N, DIM]
@group(0) @binding(3) var<storage, read_write> problems: array<Entropic>;
@group(0) @binding(4) var<storage, read_write> potentials: array<f32>;      // [problems, 2, N]: zeros
@group(0) @binding(5) var<storage, read_write> lists: array<u32>;           // [problems, 4, N]

var<workgroup> sums: array<vec4f, LANES>;  // of x0, of x1, and of their squares

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * N * DIM;
    var mean_cost = 0.0;
    for (var k = 0u; k < DIM; k++) {
        // From one of the points: coordinates far from zero lose nothing.
        let origin = x0[first + k];
        var own = vec4f(0.0);
        for (var i = lane; i < N; i += LANES) {
            let x = vec2f(x0[first + i * DIM + k], x1[first + i * DIM + k]) - origin;
            own += vec4f(x, x * x);
        }
        sums[lane] = own;
        for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
            workgroupBarrier();
            if (lane < stride) {
                sums[lane] += sums[lane + stride];
            }
        }
        workgroupBarrier();
        let all = sums[0] / f32(N);
        workgroupBarrier();
        // (variance + mean²) of both, less twice the product of the means
        mean_cost += max(all.z + all.w - 2.0 * all.x * all.y, 0.0);
    }
    for (var i = lane; i < N; i += LANES) {
        potentials[group.x * 2u * N + i] = 0.0;
        potentials[(group.x * 2u + 1u) * N + i] = 0.0;
        for (var section = 0u; section < 4u; section++) { //#unroll
            // All rows and all columns are free, and no column has an owner.
            lists[(group.x * 4u + section) * N + i] = select(0xffffffffu, i, section < 3u);
        }
    }
    if (lane == 0u) {
        let exponent = i32((bitcast<u32>(mean_cost) & 0x7fffffffu) >> 23u) - 127;
        var problem = Entropic();
        // Points closer than that are the same: any ε will do.
        problem.mean_cost = select(mean_cost, 1.0, exponent < -100);
        problem.wanted = clamp(aim.relative * problem.mean_cost, 0x1p-120, 0x1p120);
        problem.epsilon = max(problem.mean_cost, problem.wanted);
        problem.relaxation = 1.0;
        problem.error = 1.0;
        problem.before = 1.0;
        problem.free = N;
        // also where it is infinite or not a number
        problem.failed = select(0u, 1u, exponent > 96);
        problem.stage = select(ITERATING, DRAWING, exponent > 96);
        problems[group.x] = problem;
    }
}
