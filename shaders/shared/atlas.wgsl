// Where the layers' weights lie in the one texture that holds them all. Mirrors `Atlas` in src/model/architecture.rs.
const MAX_LAYERS: u32 = 32u;

struct Atlas {
    layers: u32,
    padding0: u32,
    padding1: u32,
    padding2: u32,
    // of each layer: its place among the parameters (vec4), quads of a row, rows, its first row in the texture
    entries: array<vec4u, MAX_LAYERS>,
}
