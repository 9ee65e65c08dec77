// The gradient: the sum of its slices, in order. Whoever includes this declares `gradient` [SLICES, QUADS], in the variant
// FOLDED_GRADIENT a texture: its slices are cheaper to add once more than to store.
//
// In the variant FEW_SLICES the sum is written out: behind a loop, even one that never turns, a processor's driver takes
// all lanes for different ones.

//#if FOLDED_GRADIENT
//#include "shared/folded.wgsl"
//#end

const SLICES: u32 = 1u;
const QUADS: u32 = 64u;  // parameters / 4, padded

fn gradient_at(at: u32) -> vec4f {
//#if FOLDED_GRADIENT
    var sum = textureLoad(gradient, folded(at));
    for (var s = 0u; s < SLICES - 1u; s++) { //#unroll FEW_SLICES
        sum += textureLoad(gradient, folded((s + 1u) * QUADS + at));
    }
//#else
    var sum = gradient[at];
    for (var s = 0u; s < SLICES - 1u; s++) { //#unroll FEW_SLICES
        sum += gradient[(s + 1u) * QUADS + at];
    }
//#end
    return sum;
}
