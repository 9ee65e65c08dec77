//! The generator and what is made of its words: known_answers.wgsl, noise.wgsl.

use bytemuck::{Pod, Zeroable};
use windfield::gpu::Variant;
use windfield::sample::Noise;

use crate::common::{Launch, Report, UNIT, padding, random, unpad, wide, word};
use crate::reference::noise::noise;
use crate::reference::philox::{self, KNOWN_ANSWERS};

/// How far the normals of these words may be from the twin's, a Box–Muller pair at a time. The logarithm is taken to be
/// within 2⁻²³, absolute, around 1, which is a large part of the radius where that is small. (WGSL allows drivers 2⁻²¹;
/// none that these tests have met makes use of it.) The angle rounds twice, at most at 2π; with the polynomials, the
/// root and the product that is some ten roundings of the radius.
pub fn normal_error(words: [u32; 4]) -> [f64; 4] {
    let pair = |word: u32| {
        let logarithm = 2f64.powi(-23);
        let radius = (-2.0 * philox::uniform_open(word).ln()).sqrt();
        // √(r² + 2δ) − r
        let small = 2.0 * logarithm / (radius + (2.0 * logarithm).sqrt());
        small + 10.0 * UNIT * radius
    };
    let [first, second] = [pair(words[0]), pair(words[2])];
    [first, first, second, second]
}

/// The same for the columns of a row.
pub fn normal_row_error(seed: u64, row: u32, step: u32, stream: u32, columns: usize) -> Vec<f64> {
    let blocks = (0..word(columns.div_ceil(4))).map(|block| philox::words(seed, row, block, step, stream));
    blocks.flat_map(normal_error).take(columns).collect()
}

/// `Question` of known_answers.wgsl.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Question {
    counter: [u32; 4],
    key: [u32; 2],
    /// To pick one from.
    rows: u32,
    padding: u32,
}

/// `Answer` of known_answers.wgsl.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Answer {
    words: [u32; 4],
    normals: [f32; 4],
    picked: u32,
    padding: [u32; 3],
}

/// Counters (row, 0, 0, 0) of key 0, found by search, whose word 0 or 2 is at an end of Box–Muller's range: u = 1,
/// where the logarithm is 0 and must not come out positive; the two numbers below 1; and 2⁻²⁴, the longest radius.
const EXTREMES: [u32; 9] = [
    2_330_056, 18_082_804, 24_962_728, 4_826_271, 13_400_958, 15_789_837, 14_883_995, 17_758_991, 21_603_008,
];

#[test]
fn the_generator_gives_the_published_known_answers() {
    let mut report = Report::new();
    let published = KNOWN_ANSWERS.map(|(counter, key, _)| Question { counter, key, rows: 7, padding: 0 });
    let extremes =
        EXTREMES.iter().map(|&row| Question { counter: [row, 0, 0, 0], rows: 1, ..Question::zeroed() });
    let others = (0..5000u32).map(|i| {
        let [a, b, c, d] = philox::philox4x32([i, 1, 2, 3], [4, 5]);
        Question { counter: [a, b, i, d], key: [c, a ^ d], rows: b >> (i % 32), padding: 0 }
    });
    let questions: Vec<Question> = published.into_iter().chain(extremes).chain(others).collect();
    let before = vec![Answer::zeroed(); questions.len()];
    let launch = Launch::new(Variant::new("known_answers")).input(0, &questions).output(1, &before);
    let answers: Vec<Answer> = launch.run(&mut report, [word(questions.len().div_ceil(64)), 1, 1]).get(1);
    for (answer, (counter, key, words)) in answers.iter().zip(KNOWN_ANSWERS) {
        report.equal(&format!("words of counter {counter:08x?}, key {key:08x?}"), &answer.words, &words);
    }
    for (answer, question) in answers.iter().zip(&questions) {
        let want = philox::philox4x32(question.counter, question.key);
        report.equal(&format!("words of counter {:08x?}", question.counter), &answer.words, &want);
        let picked = philox::pick(want[0], want[1], question.rows);
        report.equal(&format!("the row of {} for {want:08x?}", question.rows), &[answer.picked], &[picked]);
        let error = normal_error(want);
        report
            .close(&format!("normals of {want:08x?}"), &answer.normals, &philox::normals(want), |i| error[i]);
    }
    report.finish();
}

#[test]
fn noise_is_the_twins() {
    let mut report = Report::new();
    let seed = 0x0123_4567_89ab_cdef_u64;
    for dim in [1, 2, 3, 4, 5, 7, 64, 65, 784] {
        let source = random(9, 23 * dim);
        // Accumulators behind the point begin at zero; a path may begin with wider noise.
        for (from_source, extra, std) in
            [(false, 0, 1.0f32), (true, 0, 1.0), (false, 3, 25.5), (true, 1, 2.0)]
        {
            // The first row of the last one only just leaves room for the others.
            for (first_row, rows) in [(0, 1), (0, 3), (61, 64), (1000, 257), (u32::MAX - 130, 130)] {
                let constants = Noise {
                    seed: [seed as u32, (seed >> 32) as u32],
                    first_row,
                    rows,
                    source_rows: 23,
                    deviation: std,
                    block_rows: 23,
                    ..Noise::zeroed()
                };
                let variant = Variant::new("noise")
                    .with("DIM", word(dim))
                    .with("EXTRA", word(extra))
                    .with("LANES", 64)
                    .flag("SOURCE", from_source);
                let (rows, state) = (rows as usize, dim + extra);
                let mut launch =
                    Launch::new(variant).uniform(0, &constants).output(1, &vec![f32::NAN; rows * state]);
                if from_source {
                    launch = launch.input(2, &source);
                }
                let groups = word((rows * state.div_ceil(4)).div_ceil(64));
                // Once in a line, and once folded into two dimensions with groups to spare.
                let points = launch.run(&mut report, [groups, 1, 1]);
                let folded = launch.run(&mut report, [groups.div_ceil(3), 4, 1]);
                // The source in two blocks, one after the other.
                if from_source {
                    let mut blocks = vec![0.0f32; rows * state];
                    for (first, here) in [(0, 9), (9, 14)] {
                        let constants =
                            Noise { block_first: word(first), block_rows: word(here), ..constants };
                        let variant = launch.variant().clone();
                        let block = Launch::new(variant)
                            .uniform(0, &constants)
                            .output(1, &blocks)
                            .input(2, &source[first * dim..][..here * dim])
                            .run(&mut report, [groups, 1, 1]);
                        blocks = block.get(1);
                    }
                    report.same_bits(&format!("{rows} rows in blocks"), &blocks, &points.get(1));
                }
                let name = format!(
                    "{} rows {first_row}..+{rows} of dimension {dim} + {extra}",
                    if from_source { "source" } else { "noise" }
                );
                report.same_bits(&format!("{name} on a folded grid"), &folded.get(1), &points.get(1));
                let wanted = noise(
                    seed,
                    first_row,
                    constants.rows,
                    dim,
                    from_source.then(|| wide(&source)).as_deref(),
                );
                let errors: Vec<f64> = (first_row..first_row + constants.rows)
                    .flat_map(|row| normal_row_error(seed, row, 0, philox::SAMPLE, dim))
                    .collect();
                let got: Vec<f32> = points.get(1);
                let drawn = unpad(&got, dim, state, rows);
                if from_source {
                    report.near(&name, &drawn, &wanted, 0.0);
                } else {
                    let std = f64::from(std);
                    let wanted: Vec<f64> = wanted.iter().map(|x| std * x).collect();
                    report.close(&name, &drawn, &wanted, |i| std * errors[i] + UNIT * wanted[i].abs());
                }
                let zeros = padding(&got, dim, state, rows);
                report.same_bits(&format!("{name}: accumulators"), &zeros, &vec![0.0; rows * extra]);
            }
        }
    }
    report.finish();
}
