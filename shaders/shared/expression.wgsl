// What expressions of t are written with (src/flow/expression.rs): each function with its argument brought to where it
// is defined and finite.

//#include "shared/turns.wgsl"
//#include "shared/exponential.wgsl"

// √x for x ≥ 0; 0 below
fn guarded_sqrt(x: f32) -> f32 {
    return sqrt(max(x, 0.0));
}

// x^y = exp(y·log x) for x > 0, and at x = 0 its limit, as far as float32 holds it; 0 for x < 0. The product's rounding
// counts: relatively within (8·|y·log x| + 4)·2^−24.
fn power(x: f32, y: f32) -> f32 {
    let general = exponential(y * logarithm(x));
    let at_zero = select(select(1.0, 0.0, y > 0.0), general, y < 0.0);
    return select(select(0.0, at_zero, x == 0.0), general, x > 0.0);
}

// 2π in three parts; the first two have so few bits that their products with a count of turns are exact (Cephes, Moshier).
const TWO_PI_HIGH: f32 = 6.28125;
const TWO_PI_MIDDLE: f32 = 1.93500518798828125e-3;
const TWO_PI_LOW: f32 = 3.019915981956752864e-7;

// (sin, cos) of an angle in radians, within 12·2^−24 for |x| < 10⁴; beyond, whole turns are lost, but never the range
fn sine_cosine(x: f32) -> vec2f {
    let turns = round(x * (1.0 / TWO_PI));
    let angle = ((x - turns * TWO_PI_HIGH) - turns * TWO_PI_MIDDLE) - turns * TWO_PI_LOW;
    let both = sin_cos_turns(vec2f(clamp(angle, -4.0, 4.0) * (1.0 / TWO_PI)));
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
