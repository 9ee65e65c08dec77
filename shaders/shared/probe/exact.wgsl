// The exact divergence, Σ_i e_iᵀ·J·e_i: the probes are the unit vectors, and all add to one accumulator.

// Columns 4·block … 4·block + 3 of a probe, those of the data only. `row`: among all particles.
fn probe(key: vec2u, row: u32, index: u32, block: u32) -> vec4f {
    let columns = vec4u(4u * block) + vec4u(0u, 1u, 2u, 3u);
    return select(vec4f(0.0), vec4f(1.0), (columns == vec4u(index)) & (columns < vec4u(DIM)));
}

// Which accumulator a probe's εᵀ·J·ε goes to.
fn accumulator(index: u32) -> u32 {
    return 0u;
}
