// Exponential and logarithm, within a few roundings on every driver: WGSL has no expm1, lets its own exp be off by
// 3 + 2|x| units in the last place and its log by 2^−21 around 1, and says nothing of the ends.

const LOG2_E: f32 = 1.4426950408889634;
// log 2 in two parts; the first has 9 bits, so that its product with an exponent is exact (Cephes, Moshier).
const LOG_2_HIGH: f32 = 0.693359375;
const LOG_2_LOW: f32 = -2.12194440e-4;

// 2^k for −126 ≤ k ≤ 127
fn power_of_two(k: f32) -> f32 {
    return bitcast<f32>((i32(k) + 127) << 23u);
}

// (k, exp(r) − 1) with x = k·log 2 + r, |r| ≤ (log 2)/2: Taylor's series, cut off below 10⁻⁹ of the result
fn reduced_expm1(x: f32) -> vec2f {
    let k = round(LOG2_E * x);
    let r = (x - k * LOG_2_HIGH) - k * LOG_2_LOW;
    let tail = 1.0 / 2.0 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0
        + r * (1.0 / 40320.0))))));
    return vec2f(k, r + r * r * tail);
}

// exp(x), relatively within 4·2^−24, for −87 ≤ x ≤ 88; beyond, its values at these
fn exponential(x: f32) -> f32 {
    let parts = reduced_expm1(clamp(x, -87.0, 88.0));
    return power_of_two(parts.x) * (1.0 + parts.y);
}

// exp(x) − 1, relatively within 6·2^−24, for −87 ≤ x ≤ 88; beyond, its values at these
fn expm1(x: f32) -> f32 {
    let parts = reduced_expm1(clamp(x, -87.0, 88.0));
    let power = power_of_two(parts.x);
    return power * parts.y + (power - 1.0);
}

// log(x), relatively within 6·2^−24, for normal x > 0; the logarithm of the smallest of them below (FreeBSD's logf)
fn logarithm(x: f32) -> f32 {
    let bits = bitcast<u32>(max(x, 0x1p-126));
    let shifted = bits + (0x3f800000u - 0x3f3504f3u);  // mantissas from √½ up to √2
    let k = f32(i32(shifted >> 23u) - 127);
    let f = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let r = z * (0.66666662693 + w * 0.28498786688) + w * (0.40000972152 + w * 0.24279078841);
    let half_square = 0.5 * f * f;
    return k * LOG_2_HIGH + (f - (half_square - (s * (half_square + r) + k * LOG_2_LOW)));
}
