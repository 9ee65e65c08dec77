// Closes an iteration of Sinkhorn's algorithm: the error of the marginals, and what the next iteration does.
//
//     error = 1/N Σ_j |N·(marginal of column j) − 1|       in L1, after the rows' marginals were made exact
//
// The columns' potentials have moved since: theirs are exact now, and those of the rows are off by no more than that.
//
// First ε halves from iteration to iteration until it is the one wanted (Schmitzer 2019). Then plain iterations, until
// their error falls at a steady rate ρ; from there on relaxed ones with
//
//     ω = 2/(1 + √(1 − ρ))                                  (Lehmann et al. 2021; Young 1954)
//
// every eight of which look at their own rate λ: where that is above ω − 1, ρ = (λ + ω − 1)²/(λω²) is larger than it
// seemed. When the error is within the tolerance, a plain iteration has to show it. One workgroup a problem.
//
// Loops: N / LANES + 8 iterations of an invocation.

//#include "shared/sinkhorn.wgsl"

const N: u32 = 8u;
const LANES: u32 = 64u;

struct Rule {
    tolerance: f32,
    most: u32,  // iterations
    padding0: u32,
    padding1: u32,
}

@group(0) @binding(0) var<uniform> rule: Rule;
@group(0) @binding(1) var<storage, read_write> problems: array<Entropic>;
@group(0) @binding(2) var<storage, read> changes: array<f32>;  // [problems, N]

var<workgroup> sums: array<f32, LANES>;

fn relaxation(rate: f32) -> f32 {
    return min(2.0 / (1.0 + sqrt(1.0 - clamp(rate, 0.0, 1.0))), 1.95);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    var own = 0.0;
    for (var i = lane; i < N; i += LANES) {
        own += changes[group.x * N + i];
    }
    sums[lane] = own;
    for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if (lane < stride) {
            sums[lane] += sums[lane + stride];
        }
    }
    if (lane == 0u && problems[group.x].stage == ITERATING) {
        var now = problems[group.x];
        now.iterations += 1u;
        now.error = sums[0] / f32(N);
        if (now.epsilon > now.wanted) {
            now.epsilon = max(0.5 * now.epsilon, now.wanted);
            now.before = now.error;
        } else if (now.error <= rule.tolerance) {
            if (now.relaxation == 1.0) {
                now.stage = DRAWING;
            }
            now.relaxation = 1.0;
            now.ratio = 0.0;
            now.before = now.error;
        } else if (now.relaxation == 1.0) {
            let ratio = now.error / now.before;
            let steady = abs(ratio - now.ratio) < 0.02 && ratio < 1.0 && now.error < 0.1;
            now.ratio = ratio;
            now.before = now.error;
            now.relaxation = select(1.0, relaxation(ratio), steady);
            now.since = 0u;
        } else {
            now.since += 1u;
            if (now.error > 4.0 * now.before) {
                // Too far from the solution for that.
                now.relaxation = 1.0;
                now.ratio = 0.0;
                now.before = now.error;
            } else if (now.since == 8u) {
                let rate = pow(now.error / now.before, 0.125);
                let known = now.relaxation - 1.0;
                let root = (rate + known) / now.relaxation;
                if (rate > known + 0.01) {
                    now.relaxation = max(now.relaxation, relaxation(root * root / rate));
                }
                now.before = now.error;
                now.since = 0u;
            }
        }
        if (now.stage == ITERATING && now.iterations >= rule.most) {
            now.stage = DRAWING;
            now.missed = 1u;
        }
        problems[group.x] = now;
    }
}
