// What expressions of t are written with (src/flow/expression.rs): each function with its argument brought to where it
// is defined and finite.

//#include "shared/turns.wgsl"
//#include "shared/exponential.wgsl"

// √x for x ≥ 0; 0 below
fn guarded_sqrt(x: f32) -> f32 {
    return sqrt(max(x, 0.0));
}

// x^y = exp(y·log x) for x > 0, and at x = 0 its limit, as far as float32 holds it; 0 for x < 0. The product's rounding
// counts: relatively within (|y·log x|·8 + 4)·2^−24.
fn power(x: f32, y: f32) -> f32 {
    let general = exponential(y * logarithm(x));
    let at_zero = select(select(1.0, 0.0, y > 0.0), general, y < 0.0);
    return select(at_zero, general, x > 0.0);
}

// (sin, cos) of an angle in radians, within (|x| + 2)·2^−24 for |x| < 2^20: its multiple of a turn is taken off first
fn sine_cosine(x: f32) -> vec2f {
    let turns = x * (1.0 / TWO_PI);
    let both = sin_cos_turns(vec2f(turns - round(turns)));
    return both.xz;
}

fn sine(x: f32) -> f32 {
    return sine_cosine(x).x;
}

fn cosine(x: f32) -> f32 {
    return sine_cosine(x).y;
}

fn tangent(x: f32) -> f32 {
    let both = sine_cosine(x);
    return both.x / both.y;
}

// tanh(x), relatively within 16·2^−24: e/(e + 2) with e = exp(2|x|) − 1
fn hyperbolic_tangent(x: f32) -> f32 {
    let e = expm1(2.0 * min(abs(x), 15.0));
    return sign(x) * (e / (e + 2.0));
}
