// Hutchinson's estimate of the divergence, E[εᵀ·J·ε], with ε ~ N(0, I), the same all along a particle's path.
// (Hutchinson 1989; Grathwohl et al. 2019) Each probe has its own accumulator.

// Columns 4·block … 4·block + 3 of a probe, those of the data only. `row`: among all particles.
fn probe(key: vec2u, row: u32, index: u32, block: u32) -> vec4f {
    let epsilon = normals(philox4x32(vec4u(row, block, index, STREAM_PROBE), key));
    return select(vec4f(0.0), epsilon, vec4u(4u * block) + vec4u(0u, 1u, 2u, 3u) < vec4u(DIM));
}

// Which accumulator a probe's εᵀ·J·ε goes to.
fn accumulator(index: u32) -> u32 {
    return index;
}
