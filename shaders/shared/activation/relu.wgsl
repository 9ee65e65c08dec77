// relu(z) = max(z, 0)
fn activation(z: vec4f) -> vec4f {
    return max(z, vec4f(0.0));
}

fn activation_slope(z: vec4f) -> vec4f {
    return select(vec4f(0.0), vec4f(1.0), z > vec4f(0.0));
}
