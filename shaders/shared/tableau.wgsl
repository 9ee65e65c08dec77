// An explicit Runge–Kutta method and the interval it crosses. Mirrors `Tableau` in src/sample/layout.rs.
//
//     k_i = v(x + h·Σ_j a_ij·k_j, t + c_i·h)          x ← x + h·Σ_i b_i·k_i
struct Tableau {
    t0: f32,            // of step 0
    h: f32,             // negative backwards in time
    first_step: u32,    // of this dispatch
    steps: u32,         // to make in this dispatch
    rows: u32,          // particles
    stages: u32,
    padding0: u32,
    padding1: u32,
    weights: array<vec4f, 2>,   // b_i, for i < 8
    nodes: array<vec4f, 2>,     // c_i
    matrix: array<vec4f, 16>,   // a_ij at [2·i + j/4][j % 4]
}
