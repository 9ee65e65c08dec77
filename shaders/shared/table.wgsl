// Where each layer lies, for kernels that go through all of them. Mirrors `NetworkTable` in src/model/network.rs.

const MAX_LAYERS: u32 = 32u;

struct Network {
    layers: u32,
    padding0: u32,
    padding1: u32,
    padding2: u32,
    // of each layer: inputs / 4, outputs, place of W in the parameters (vec4), place of b
    shape: array<vec4u, MAX_LAYERS>,
    // of each layer: its true number of outputs, its first row in the texture of all weights; its first column (vec4)
    // among the inputs, and among the outputs, of all layers side by side
    outputs: array<vec4u, MAX_LAYERS>,
}
