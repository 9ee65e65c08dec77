// The gradient: the sum of its slices, in order. Whoever includes this declares `gradient` [SLICES, QUADS], in the variant
// FOLDED_GRADIENT a texture: few slices, which are cheaper to add once more than to store.

//#if FOLDED_GRADIENT
//#include "shared/folded.wgsl"
//#end

const SLICES: u32 = 1u;
const QUADS: u32 = 64u;  // parameters / 4, padded

fn gradient_at(at: u32) -> vec4f {
//#if FOLDED_GRADIENT
    var sum = textureLoad(gradient, folded(at));
    for (var s = 1u; s < SLICES; s++) {
        sum += textureLoad(gradient, folded(s * QUADS + at));
    }
//#else
    var sum = gradient[at];
    for (var s = 1u; s < SLICES; s++) {
        sum += gradient[s * QUADS + at];
    }
//#end
    return sum;
}
