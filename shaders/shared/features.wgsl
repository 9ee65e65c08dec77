// What the network sees of (x, t): columns [x, t, sin 2πkt (k = 1..K), cos 2πkt (k = 1..K)], then zeros.

//#include "shared/turns.wgsl"

const DIM: u32 = 2u;          // d
const FREQUENCIES: u32 = 0u;  // K

// The time features, for columns DIM and beyond.
fn time_feature(column: u32, t: f32) -> f32 {
    if (column == DIM) {
        return t;
    }
    let j = column - DIM - 1u;
    if (j >= 2u * FREQUENCIES) {
        return 0.0;
    }
    let sine = j < FREQUENCIES;
    let k = f32(select(j - FREQUENCIES, j, sine) + 1u);
    let wave = sin_cos_turns(vec2f(k * t));
    return select(wave.z, wave.x, sine);
}
