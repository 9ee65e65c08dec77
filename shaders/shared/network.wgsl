// Where each layer lies, for kernels that go through all of them. Mirrors `NetworkTable` in src/model/network.rs.
// Whoever includes this declares `network`, `parameters`, and in the variant TEXTURES `weights`.

const MAX_LAYERS: u32 = 32u;

struct Network {
    layers: u32,
    padding0: u32,
    padding1: u32,
    padding2: u32,
    // of each layer: inputs / 4, outputs, place of W in the parameters (vec4), place of b
    shape: array<vec4u, MAX_LAYERS>,
    // of each layer: its true number of outputs, its first row in the texture of all weights
    outputs: array<vec4u, MAX_LAYERS>,
}

// Four weights of output `row` of a layer, from input 4·quad on.
fn weight_at(shape: vec4u, outputs: vec4u, row: u32, quad: u32) -> vec4f {
//#if TEXTURES
    return textureLoad(weights, vec2u(quad, outputs.y + row));
//#else
    return parameters[shape.z + row * shape.x + quad];
//#end
}
