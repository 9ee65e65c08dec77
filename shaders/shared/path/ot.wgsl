// The straight conditional path (Lipman et al. 2022, eq. 20; optimal transport between the two Gaussians):
// a(t) = t, b(t) = 1 − (1 − σ_min)·t; a' = 1, b' = −(1 − σ_min). b is summed as (1 − t) + σ_min·t, which keeps its
// digits where it is small.
const SIGMA_MIN: f32 = 1e-5;

// (a, b, a', b') at time t
fn path_schedule(t: f32) -> vec4f {
    return vec4f(t, (1.0 - t) + SIGMA_MIN * t, 1.0, -(1.0 - SIGMA_MIN));
}
