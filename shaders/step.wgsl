// Closes the gradient of a step: the loss and the gradient's norm, summed pairwise in a fixed order; the learning
// rate, Adam's bias corrections and the decay of the weight average for the update that follows; the step counter;
// one record in the ring from which the host reads the history. One workgroup.
//
// A loss or a norm that is not finite halts the run: the weights keep their last good values.
//
// Variants: FOLDED_GRADIENT  the gradient is that of a narrow network, in a texture, and is squared here

//#include "shared/state.wgsl"
//#include "shared/schedule.wgsl"

const LANES: u32 = 64u;

struct Record {
    loss: f32,
    learning_rate: f32,
    gradient_norm: f32,
    halted: u32,
}

@group(0) @binding(0) var<uniform> schedule: Schedule;
@group(0) @binding(1) var<storage, read> partials: array<f32>;              // sums of squared errors
//#if FOLDED_GRADIENT
@group(0) @binding(2) var gradient: texture_storage_2d<rgba32float, read>;  // [SLICES, QUADS]
//#else
@group(0) @binding(2) var<storage, read> squares: array<f32>;               // sums of squared gradients
//#end
@group(0) @binding(3) var<storage, read_write> state: State;
@group(0) @binding(4) var<storage, read_write> ring: array<Record>;

//#if FOLDED_GRADIENT
//#include "shared/gradient.wgsl"
//#end

var<workgroup> sums: array<vec2f, LANES>;

fn is_finite(x: f32) -> bool {
    // by bits: WGSL lets compilers assume that no NaN occurs
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    // Each lane adds every LANES-th partial sum or square, then the lanes are added as a tree.
    var total = vec2f(0.0);
    for (var i = lane; i < schedule.loss_partials; i += LANES) {
        total.x += partials[i];
    }
//#if FOLDED_GRADIENT
    var square = vec4f(0.0);
    for (var at = lane; at < QUADS; at += LANES) {
        let g = gradient_at(at);
        square += g * g;
    }
    total.y = (square.x + square.y) + (square.z + square.w);
//#else
    for (var i = lane; i < schedule.square_partials; i += LANES) {
        total.y += squares[i];
    }
//#end
    sums[lane] = total;
    for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if (lane < stride) {
            sums[lane] += sums[lane + stride];
        }
    }
    if (lane == 0u) {
        let loss = sums[0].x / f32(schedule.batch);
        let norm = sqrt(sums[0].y);
        let step = state.step;
        let rate = learning_rate(step);
        if (state.halted == 0u && !(is_finite(loss) && is_finite(norm))) {
            state.halted = step + 1u;
        }
        // 1 − βᵗ by c ← β·c + (1 − β): no cancellation at small t, where 1 − pow(β, t) has it
        state.correction1 = schedule.beta1 * state.correction1 + schedule.one_minus_beta1;
        state.correction2 = schedule.beta2 * state.correction2 + schedule.one_minus_beta2;
        state.learning_rate = rate;
        state.gradient_scale = 1.0;
        if (schedule.clip > 0.0) {
            state.gradient_scale = min(1.0, schedule.clip / (norm + 1e-6));
        }
        let updates = f32(step + 1u);
        state.average_decay = min(schedule.average_decay, (1.0 + updates) / (10.0 + updates));
        state.step = step + 1u;
        ring[step % schedule.ring] = Record(loss, rate, norm, state.halted);
    }
}
