// One stage of a solver in the layered integrator, whose k_i lie in a buffer. Mirrors `Stage` in src/sample/layout.rs.
struct Stage {
    moment: vec4f,       // (t, c, α, β): k = α·y + β·v(c·y, t); where particles have their own time, the end of it for t
    h: f32,              // where particles have their own step, the factor of it: 1, or 0 at the very beginning
    noise: f32,          // what ξ ~ N(0, I) is multiplied by at the end of a step
    terms: u32,          // how many of the k_j enter
    rows: u32,
    stride: u32,         // from k_j to k_{j+1}, in vec4
    output: u32,         // which k is written
    node: f32,           // c_i, where every particle has its own time and step
    step: u32,           // address of the noise
    seed: vec2u,
    first_row: u32,      // of these particles among all
    first_probe: u32,    // of the tangents at hand
    period: u32,         // rows of one probe's tangents: padded to whole tiles
    padding0: u32,
    padding1: u32,
    padding2: u32,
    coefficients: array<vec4f, 2>,
}
