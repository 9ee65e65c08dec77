// The weights of all layers. Whoever includes this declares `network`, `parameters`, and in the variant TEXTURES `weights`.

//#include "shared/table.wgsl"

// Four weights of output `row` of a layer, from input 4·quad on.
fn weight_at(shape: vec4u, outputs: vec4u, row: u32, quad: u32) -> vec4f {
//#if TEXTURES
    return textureLoad(weights, vec2u(quad, outputs.y + row));
//#else
    return parameters[shape.z + row * shape.x + quad];
//#end
}
