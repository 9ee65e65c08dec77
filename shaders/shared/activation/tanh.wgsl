// tanh(z), clamped to ±15, where it is 1 in float32: it overflows on some drivers beyond 44.
fn activation(z: vec4f) -> vec4f {
    return tanh(clamp(z, vec4f(-15.0), vec4f(15.0)));
}

fn activation_slope(z: vec4f) -> vec4f {
    let h = activation(z);
    return 1.0 - h * h;
}
