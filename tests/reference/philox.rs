//! Random numbers: Philox4x32-10 and what is made of its words.
//!
//! Ten rounds of
//!   (c0, c1, c2, c3) <- (hi(M1·c2) ^ c1 ^ k0, lo(M1·c2), hi(M0·c0) ^ c3 ^ k1, lo(M0·c0)),
//! the key growing by (W0, W1) between the rounds. key = (low, high) word of the seed;
//! counter = (row, column block, step, stream).
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
//! and its library Random123. Normals: Box, Muller, Ann. Math. Stat. 29 (1958).

use std::f64::consts::TAU;

/// Stream of a training step's picks. Column block 0: words 0 and 1 pick the row of x1, word 2 is t.
pub const PICK: u32 = 0;
/// Stream of a training step's x0. Normals: block j holds columns 4j..4j+3. Where a source data set
/// replaces the noise: words 0 and 1 of block 0 pick its row.
pub const SOURCE: u32 = 1;
/// Stream of the sampler's x0, with the step word 0; otherwise as SOURCE.
pub const SAMPLE: u32 = 2;
/// Stream of the probes of a trace: block j holds columns 4j..4j+3, the step word is the probe.
pub const PROBE: u32 = 3;
/// Stream of a stochastic sampler's noise, the step word is the step.
pub const DIFFUSION: u32 = 4;
/// Noise around the path.
pub const PATH: u32 = 6;

const M0: u32 = 0xD251_1F53;
const M1: u32 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9; // golden ratio
const W1: u32 = 0xBB67_AE85; // sqrt(3) - 1

/// The high and low words of the product a·b.
fn multiply(a: u32, b: u32) -> (u32, u32) {
    let product = u64::from(a) * u64::from(b);
    ((product >> 32) as u32, product as u32)
}

/// Philox4x32-10: four random words for a counter and a key.
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _round in 0..10 {
        let (hi0, lo0) = multiply(M0, c0);
        let (hi1, lo1) = multiply(M1, c2);
        (c0, c1, c2, c3) = (hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0);
        (k0, k1) = (k0.wrapping_add(W0), k1.wrapping_add(W1));
    }
    [c0, c1, c2, c3]
}

/// The words of one (row, column block) of a stream at a step.
pub fn words(seed: u64, row: u32, block: u32, step: u32, stream: u32) -> [u32; 4] {
    philox4x32([row, block, step, stream], [seed as u32, (seed >> 32) as u32])
}

/// Uniform on [0, 1): a multiple of 2⁻²⁴, exact in float32.
pub fn uniform(word: u32) -> f64 {
    f64::from(word >> 8) * 2f64.powi(-24)
}

/// Uniform on (0, 1]: a multiple of 2⁻²⁴, exact in float32, with a finite logarithm.
pub fn uniform_open(word: u32) -> f64 {
    f64::from((word >> 8) + 1) * 2f64.powi(-24)
}

/// Four standard normals by Box–Muller: words (0, 1) make the first two, words (2, 3) the others.
pub fn normals(words: [u32; 4]) -> [f64; 4] {
    let pair = |w0, w1| {
        let r = (-2.0 * uniform_open(w0).ln()).sqrt();
        let theta = TAU * uniform(w1);
        (r * theta.cos(), r * theta.sin())
    };
    let (n0, n1) = pair(words[0], words[1]);
    let (n2, n3) = pair(words[2], words[3]);
    [n0, n1, n2, n3]
}

/// A row out of n, uniformly: floor((w0·2³² + w1)·n / 2⁶⁴).
pub fn pick(w0: u32, w1: u32, n: u32) -> u32 {
    let fraction = (u128::from(w0) << 32) + u128::from(w1); // of 2^64
    ((fraction * u128::from(n)) >> 64) as u32
}

/// The normals of one row: block j holds columns 4j..4j+3, the last block is cut.
// out: [columns]
pub fn normal_row(seed: u64, row: u32, step: u32, stream: u32, columns: usize) -> Vec<f64> {
    (0..columns)
        .map(|column| normals(words(seed, row, (column / 4) as u32, step, stream))[column % 4])
        .collect()
}

/// The normals of rows 0..rows.
// out: [rows, columns]
pub fn normal_rows(seed: u64, step: u32, stream: u32, rows: usize, columns: usize) -> Vec<f64> {
    (0..rows).flat_map(|row| normal_row(seed, row as u32, step, stream, columns)).collect()
}

/// Lines "philox4x32 10" of Random123's tests/kat_vectors: counter, key, words.
pub const KNOWN_ANSWERS: [([u32; 4], [u32; 2], [u32; 4]); 3] = [
    (
        [0x0000_0000, 0x0000_0000, 0x0000_0000, 0x0000_0000],
        [0x0000_0000, 0x0000_0000],
        [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
    ),
    (
        [0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff],
        [0xffff_ffff, 0xffff_ffff],
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
    ),
    (
        [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
        [0xa409_3822, 0x299f_31d0],
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_known_answers() {
        for (counter, key, want) in KNOWN_ANSWERS {
            assert_eq!(philox4x32(counter, key), want, "counter {counter:08x?}, key {key:08x?}");
        }
    }

    #[test]
    fn the_seed_is_the_key_low_word_first() {
        let seed = 0x299f_31d0_a409_3822;
        assert_eq!(words(seed, 0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), KNOWN_ANSWERS[2].2);
    }

    #[test]
    fn uniforms_cover_their_intervals_in_steps_of_2_to_the_minus_24() {
        let step = 1.0 / f64::from(1 << 24);
        let values = |f: fn(u32) -> f64| [0x0000_00ff, 0x0000_0100, 0x8000_0000, 0xffff_ffff].map(f);
        assert_eq!(values(uniform), [0.0, step, 0.5, 1.0 - step]);
        assert_eq!(values(uniform_open), [step, 2.0 * step, 0.5 + step, 1.0]);
    }

    #[test]
    fn normals_are_box_muller_pairs() {
        // uniform_open = 1/2: r = sqrt(2 ln 2); angles 0, π/2. uniform_open = 1: r = 0.
        let half = 0x7fff_ff00;
        let r = (2.0 * 2f64.ln()).sqrt();
        let got = normals([half, 0, half, 0x4000_0000]);
        for (got, want) in got.into_iter().zip([r, 0.0, 0.0, r]) {
            assert!((got - want).abs() < 1e-15, "{got} is not {want}");
        }
        assert!(
            normals([half, 0, u32::MAX, 0])[2..].iter().all(|&n| n == 0.0),
            "word 2 is the second radius"
        );
        assert!(normals([u32::MAX, 77, u32::MAX, 78]).into_iter().all(|n| n == 0.0));
        // The longest radius is that of 2^-24.
        assert!((normals([0, 0, 0, 0])[0] - (48.0 * 2f64.ln()).sqrt()).abs() < 1e-14);
    }

    #[test]
    fn normals_have_the_moments_of_the_standard_normal() {
        let n = 200_000;
        let x = normal_rows(7, 3, SAMPLE, n / 8, 8);
        let mean = |f: &dyn Fn(f64) -> f64| x.iter().map(|&x| f(x)).sum::<f64>() / n as f64;
        let pairs =
            |stride: usize| x.iter().zip(&x[stride..]).map(|(a, b)| a * b).sum::<f64>() / (n - stride) as f64;
        // (measured, expected, variance of one term)
        let moments = [
            ("mean", mean(&|x| x), 0.0, 1.0),
            ("variance", mean(&|x| x * x), 1.0, 2.0),
            ("third moment", mean(&|x| x.powi(3)), 0.0, 15.0),
            ("fourth moment", mean(&|x| x.powi(4)), 3.0, 96.0),
            ("P(x < 1)", mean(&|x| f64::from(x < 1.0)), 0.841_344_746, 0.1335),
            ("P(|x| > 2)", mean(&|x| f64::from(x.abs() > 2.0)), 0.045_500_264, 0.0434),
            ("neighbours", pairs(1), 0.0, 1.0),
            ("pair to pair", pairs(2), 0.0, 1.0),
            ("block to block", pairs(4), 0.0, 1.0),
            ("row to row", pairs(8), 0.0, 1.0),
        ];
        let failures: Vec<String> = moments
            .into_iter()
            .filter(|(_, got, want, variance)| (got - want).abs() > 4.0 * (variance / n as f64).sqrt())
            .map(|(name, got, want, _)| format!("{name}: {got}, expected {want}"))
            .collect();
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn a_row_is_cut_to_its_columns_and_does_not_depend_on_them() {
        let long = normal_row(5, 11, 2, SOURCE, 9);
        for columns in 0..9 {
            assert_eq!(normal_row(5, 11, 2, SOURCE, columns), long[..columns]);
        }
        assert_eq!(normal_rows(5, 2, SOURCE, 12, 9)[11 * 9..], long);
        for (row, step, stream) in [(10, 2, SOURCE), (11, 3, SOURCE), (11, 2, SAMPLE)] {
            assert_ne!(normal_row(5, row, step, stream, 9), long);
        }
        assert_ne!(normal_row(5 + (1 << 32), 11, 2, SOURCE, 9), long, "the high word of the seed counts");
    }

    #[test]
    fn pick_is_the_floor_of_the_fixed_point_product() {
        assert_eq!(pick(0, 0, 7), 0);
        assert_eq!(pick(u32::MAX, u32::MAX, 7), 6);
        assert_eq!(pick(u32::MAX, u32::MAX, u32::MAX), u32::MAX - 1);
        assert_eq!(pick(0x8000_0000, 0, 10), 5);
        assert_eq!(pick(0x7fff_ffff, u32::MAX, 10), 4);
        // One third lies between these two words, so the low word decides.
        assert_eq!(pick(0x5555_5555, 0x5555_5555, 3), 0);
        assert_eq!(pick(0x5555_5555, 0x5555_5556, 3), 1);
        assert_eq!(pick(0xdead_beef, 0x0123_4567, 1), 0);
    }

    #[test]
    fn picks_are_uniform() {
        let (n, draws) = (13, 130_000);
        let mut counts = vec![0.0; n as usize];
        for row in 0..draws {
            let w = words(1, row, 0, 0, PICK);
            counts[pick(w[0], w[1], n) as usize] += 1.0;
        }
        let expected = f64::from(draws / n);
        let chi_squared: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        // 12 degrees of freedom: a value above 32.9 has probability 0.001.
        assert!(chi_squared < 32.9, "chi squared {chi_squared}, counts {counts:?}");
    }
}
