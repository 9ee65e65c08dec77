// softplus(z) = ln(1 + e^z) = max(z, 0) + ln(1 + e^−|z|), which does not overflow; slope 1/(1 + e^−z).
fn activation(z: vec4f) -> vec4f {
    return max(z, vec4f(0.0)) + log(1.0 + exp(-min(abs(z), vec4f(80.0))));
}

fn activation_slope(z: vec4f) -> vec4f {
    return 1.0 / (1.0 + exp(-clamp(z, vec4f(-80.0), vec4f(80.0))));
}
