// gelu(z) = z/2·(1 + tanh(√(2/π)·(z + 0.044715·z³))), the tanh form of Hendrycks & Gimpel 2016.
// tanh is clamped to ±15, where it is 1 in float32: it overflows on some drivers beyond 44.
fn activation_tanh(z: vec4f) -> vec4f {
    let inner = 0.7978845608028654 * (z + 0.044715 * z * z * z);
    return tanh(clamp(inner, vec4f(-15.0), vec4f(15.0)));
}

fn activation(z: vec4f) -> vec4f {
    return 0.5 * z * (1.0 + activation_tanh(z));
}

fn activation_slope(z: vec4f) -> vec4f {
    let h = activation_tanh(z);
    return 0.5 * (1.0 + h) + 0.5 * z * (1.0 - h * h) * 0.7978845608028654 * (1.0 + 0.134145 * z * z);
}
