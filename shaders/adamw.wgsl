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
// Variants: AVERAGE         keeps the moving average
//           TEXTURES        the moments lie in textures, and the weights in one as well, where other kernels read them
//           FOLDED_GRADIENT, FOLDED_AVERAGE  so do the gradient and the average
//           SLICED          the gradient is that of a narrow network, in slices in a texture
// Software drivers read a texture many times as fast as a buffer (src/gpu/matrix.rs). How fast lavapipe stores hangs on
// what its compiler leaves in registers around that: even a function for one slice makes this kernel 1.6 times as slow.

//#include "shared/state.wgsl"
//#include "shared/schedule.wgsl"
//#if TEXTURES
//#include "shared/atlas.wgsl"
//#include "shared/folded.wgsl"
//#end

//#if SLICED
//#include "shared/gradient.wgsl"
//#else
const QUADS: u32 = 64u;  // parameters / 4, padded
//#end
//#if TEXTURES
const LAYERS: u32 = 1u;
//#end
const LANES: u32 = 64u;

@group(0) @binding(0) var<uniform> schedule: Schedule;
@group(0) @binding(1) var<storage, read> state: State;
//#if FOLDED_GRADIENT
@group(0) @binding(2) var gradient: texture_storage_2d<rgba32float, read>;       // [SLICES, QUADS]
//#else
@group(0) @binding(2) var<storage, read> gradient: array<vec4f>;                 // [QUADS]
//#end
@group(0) @binding(3) var<storage, read_write> parameters: array<vec4f>;         // [QUADS]
//#if TEXTURES
@group(0) @binding(4) var moments: texture_storage_2d<rgba32float, read_write>;  // m [QUADS], then v
//#else
@group(0) @binding(4) var<storage, read_write> moment1: array<vec4f>;            // [QUADS]
@group(0) @binding(5) var<storage, read_write> moment2: array<vec4f>;            // [QUADS]
//#end
//#if AVERAGE
//#if FOLDED_AVERAGE
@group(0) @binding(6) var average: texture_storage_2d<rgba32float, read_write>;  // [QUADS]
//#else
@group(0) @binding(6) var<storage, read_write> average: array<vec4f>;            // [QUADS]
//#end
//#end
//#if TEXTURES
@group(0) @binding(7) var<uniform> atlas: Atlas;
@group(0) @binding(8) var weights: texture_storage_2d<rgba32float, read_write>;  // W of all layers

// Where a group of four weights is in the texture; beyond it, if these are none.
fn place(at: u32) -> vec3u {
    var entry = atlas.entries[0];
    // By number: Mesa's software rasterizer compiles a kernel anew for every dispatch if it indexes this table in a loop.
    for (var layer = 0u; layer < LAYERS; layer++) { //#unroll
        let next = atlas.entries[layer];
        entry = select(entry, next, at >= next.x);
    }
    let within = at - entry.x;
    let row = within / entry.y;
    return vec3u(within - row * entry.y, entry.w + row, u32(row < entry.z));
}
//#end

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let at = id.y * (groups.x * LANES) + id.x;
    // What all invocations have in common is read before the first branch: behind one, a processor's driver reads it anew for
    // each of them.
    let halted = state.halted;
    let scale = state.gradient_scale;
    let rate = state.learning_rate;
    let correction1 = state.correction1;
    let correction2 = state.correction2;
    let beta1 = vec2f(schedule.beta1, schedule.one_minus_beta1);
    let beta2 = vec2f(schedule.beta2, schedule.one_minus_beta2);
    let epsilon = schedule.epsilon;
    let decay = schedule.weight_decay;
//#if AVERAGE
    let average_decay = state.average_decay;
//#end
//#if TEXTURES
    let placed = place(at);
//#end
    if (at >= QUADS || halted != 0u) {
        return;
    }
//#if SLICED
    let g = scale * gradient_at(at);
//#else
//#if FOLDED_GRADIENT
    let g = scale * textureLoad(gradient, folded(at));
//#else
    let g = scale * gradient[at];
//#end
//#end
//#if TEXTURES
    let m = beta1.x * textureLoad(moments, folded(at)) + beta1.y * g;
    let v = beta2.x * textureLoad(moments, folded(QUADS + at)) + beta2.y * g * g;
    textureStore(moments, folded(at), m);
    textureStore(moments, folded(QUADS + at), v);
    var p = textureLoad(weights, placed.xy);
    if (placed.z == 0u) {
        p = parameters[at];
    }
//#else
    let m = beta1.x * moment1[at] + beta1.y * g;
    let v = beta2.x * moment2[at] + beta2.y * g * g;
    moment1[at] = m;
    moment2[at] = v;
    var p = parameters[at];
//#end
    let denominator = sqrt(v / correction2) + epsilon;
    p -= rate * decay * p;
    p -= rate * (m / correction1) / denominator;
    parameters[at] = p;
//#if TEXTURES
    if (placed.z != 0u) {
        textureStore(weights, placed.xy, p);
    }
//#end
//#if AVERAGE
//#if FOLDED_AVERAGE
    textureStore(average, folded(at), p + average_decay * (textureLoad(average, folded(at)) - p));
//#else
    average[at] = p + average_decay * (average[at] - p);
//#end
//#end
}
