// A solver's coefficients, and what of the flow this dispatch has to do. Mirrors `Tableau` in src/sample/layout.rs.
//
//     k_i = v(x + h·Σ_j a_ij·k_j, t + c_i·h)          x ← x + h·Σ_i b_i·k_i
struct Tableau {
    seed: vec2u,        // (low, high) words: Philox's key
    first_row: u32,     // of these particles among all: the address of their random numbers
    rows: u32,          // particles
    first_step: u32,    // of this dispatch
    steps: u32,         // to make in this dispatch; adaptive solvers: to try
    most_steps: u32,    // adaptive solvers: that a particle may try in all
    outputs: u32,       // adaptive solvers: times at which states are wanted
    t0: f32,            // adaptive solvers: the interval
    t1: f32,
    relative: f32,      // adaptive solvers: tolerances
    absolute: f32,
    stride: u32,        // from k_i to k_{i+1} where they lie in a buffer, in vec4
    padding0: u32,
    padding1: u32,
    padding2: u32,
    weights: array<vec4f, 2>,   // b_i, for i < 8
    nodes: array<vec4f, 2>,     // c_i
    error: array<vec4f, 2>,     // b_i − b̂_i
    dense: array<vec4f, 2>,     // of the interpolation
    matrix: array<vec4f, 16>,   // a_ij at [2·i + j/4][j % 4]
}
