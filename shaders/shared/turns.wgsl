// Sine and cosine, within 10⁻⁷ on every driver: WGSL's own may be off by 2^−11, and some are, which would show in the
// time features and in the noise.

const TWO_PI: f32 = 6.283185307179586;

// (sin, cos) of 2πx, each for both x, |x| < 2^20: (sin.xy, cos.xy). The nearest quarter turn is taken off, which is
// exact; Cephes' polynomials (Moshier) do the rest, on [−π/4, π/4].
fn sin_cos_turns(x: vec2f) -> vec4f {
    let quarters = round(4.0 * x);
    let r = TWO_PI * (x - 0.25 * quarters);
    let z = r * r;
    let s = r + r * z * (-1.6666654611e-1 + z * (8.3321608736e-3 - 1.9515295891e-4 * z));
    let c = 1.0 - 0.5 * z + z * z * (4.166664568298827e-2 + z * (2.443315711809948e-5 * z - 1.388731625493765e-3));
    // After n quarters: (s, c), (c, −s), (−s, −c), (−c, s).
    let n = vec2i(quarters);
    let odd = (n & vec2i(1)) != vec2i(0);
    let sine = select(s, c, odd);
    let cosine = select(c, s, odd);
    return vec4f(
        select(sine, -sine, (n & vec2i(2)) != vec2i(0)),
        select(cosine, -cosine, ((n + 1) & vec2i(2)) != vec2i(0)),
    );
}
