// selu(z) = λ·z for z > 0, λ·α·(e^z − 1) otherwise (Klambauer et al. 2017).
const SELU_SCALE: f32 = 1.0507009873554805;
const SELU_SCALE_ALPHA: f32 = 1.7580993408473766;

fn activation_exp(z: vec4f) -> vec4f {
    return exp(clamp(z, vec4f(-80.0), vec4f(0.0)));
}

fn activation(z: vec4f) -> vec4f {
    return select(SELU_SCALE_ALPHA * (activation_exp(z) - 1.0), SELU_SCALE * z, z > vec4f(0.0));
}

fn activation_slope(z: vec4f) -> vec4f {
    return select(SELU_SCALE_ALPHA * activation_exp(z), vec4f(SELU_SCALE), z > vec4f(0.0));
}
