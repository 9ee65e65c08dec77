// The polynomial path of degree n: a(t) = tⁿ, b(t) = 1 − tⁿ; a' = n·tⁿ⁻¹, b' = −a'. b is summed as
// (1 − t)·(1 + t + … + tⁿ⁻¹), whose terms are all positive: it keeps its digits where it is small.
const DEGREE: u32 = 2u;  // n

// (a, b, a', b') at time t
fn path_schedule(t: f32) -> vec4f {
    var power = 1.0;  // tⁱ
    var before = 0.0;
    var sum = 0.0;
    for (var i = 0u; i < DEGREE; i++) { //#unroll
        sum += power;
        before = power;
        power *= t;
    }
    let slope = f32(DEGREE) * before;
    return vec4f(power, (1.0 - t) * sum, slope, -slope);
}
