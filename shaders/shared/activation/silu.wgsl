// silu(z) = z·s, s = 1/(1 + e^−z); slope s·(1 + z·(1 − s)). (Elfwing et al. 2018; "swish")
// The argument of exp is clamped: beyond ±80 s is 0 or 1 in float32 whatever the clamp.
fn activation_sigmoid(z: vec4f) -> vec4f {
    return 1.0 / (1.0 + exp(-clamp(z, vec4f(-80.0), vec4f(80.0))));
}

fn activation(z: vec4f) -> vec4f {
    return z * activation_sigmoid(z);
}

fn activation_slope(z: vec4f) -> vec4f {
    let s = activation_sigmoid(z);
    return s * (1.0 + z * (1.0 - s));
}
