// One update by AdamW (Loshchilov & Hutter 2019), as torch.optim.AdamW makes it, and of the weights' moving average:
//
//     g ← scale·g                     scale: clipping by the gradient's norm (step.wgsl)
//     p ← p·(1 − η·λ)                 decoupled weight decay
//     m ← β1·m + (1 − β1)·g           v ← β2·v + (1 − β2)·g²
//     p ← p − η·(m/c1) / (√(v/c2) + ε)
//     average ← p + decay·(average − p)
//
// One invocation a group of four parameters.
//
// Variants: AVERAGE   keeps the moving average
//           TEXTURES  copies the weights to a texture as well, for the kernels that read them there

//#include "shared/state.wgsl"
//#include "shared/schedule.wgsl"
//#if TEXTURES
//#include "shared/atlas.wgsl"
//#end

const QUADS: u32 = 64u;  // parameters / 4, padded
//#if TEXTURES
const LAYERS: u32 = 1u;
//#end
const LANES: u32 = 64u;

@group(0) @binding(0) var<uniform> schedule: Schedule;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> gradient: array<vec4f>;            // [QUADS]
@group(0) @binding(3) var<storage, read_write> parameters: array<vec4f>;    // [QUADS]
@group(0) @binding(4) var<storage, read_write> moment1: array<vec4f>;       // [QUADS]
@group(0) @binding(5) var<storage, read_write> moment2: array<vec4f>;       // [QUADS]
//#if AVERAGE
@group(0) @binding(6) var<storage, read_write> average: array<vec4f>;       // [QUADS]
//#end
//#if TEXTURES
@group(0) @binding(7) var<uniform> atlas: Atlas;
@group(0) @binding(8) var weights: texture_storage_2d<rgba32float, write>;  // W of all layers

// Where the layer of four parameters lies.
fn entry_of(at: u32) -> vec4u {
    var entry = atlas.entries[0];
    // By number: Mesa's software rasterizer compiles a kernel anew for every dispatch if it indexes this table in a loop.
    for (var layer = 0u; layer < LAYERS; layer++) { //#unroll
        let next = atlas.entries[layer];
        entry = select(entry, next, at >= next.x);
    }
    return entry;
}

fn publish(at: u32, entry: vec4u, p: vec4f) {
    let within = at - entry.x;
    let row = within / entry.y;
    if (row < entry.z) {
        textureStore(weights, vec2u(within - row * entry.y, entry.w + row), p);
    }
}
//#end

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let at = id.y * (groups.x * LANES) + id.x;
    // Read before the branch: behind it, software drivers look up for every lane what is the same for all.
    let beta1 = vec2f(schedule.beta1, schedule.one_minus_beta1);
    let beta2 = vec2f(schedule.beta2, schedule.one_minus_beta2);
    let epsilon = schedule.epsilon;
    let weight_decay = schedule.weight_decay;
    let scale = state.gradient_scale;
    let rate = state.learning_rate;
    let correction1 = state.correction1;
    let correction2 = state.correction2;
//#if AVERAGE
    let average_decay = state.average_decay;
//#end
//#if TEXTURES
    let entry = entry_of(at);
//#end
    if (at >= QUADS || state.halted != 0u) {
        return;
    }
    let g = scale * gradient[at];
    let m = beta1.x * moment1[at] + beta1.y * g;
    let v = beta2.x * moment2[at] + beta2.y * g * g;
    moment1[at] = m;
    moment2[at] = v;
    let denominator = sqrt(v / correction2) + epsilon;
    var p = parameters[at];
    p -= rate * weight_decay * p;
    p -= rate * (m / correction1) / denominator;
    parameters[at] = p;
//#if TEXTURES
    publish(at, entry, p);
//#end
//#if AVERAGE
    average[at] = p + average_decay * (average[at] - p);
//#end
}
