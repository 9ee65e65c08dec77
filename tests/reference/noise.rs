//! Where the sampler starts: x0 ~ N(0, I), or rows of a source data set.
//!
//! Both from the stream SAMPLE at the step 0, by the row's place among all samples: how they are cut
//! into chunks does not matter.

use super::philox::{self, SAMPLE};

/// The rows first_row..first_row + rows of all samples.
// source: [M, D]
// out: [rows, D]
pub fn noise(seed: u64, first_row: u32, rows: u32, dim: usize, source: Option<&[f64]>) -> Vec<f64> {
    let mut out = vec![];
    for row in first_row..first_row + rows {
        match source {
            None => out.extend(philox::normal_row(seed, row, 0, SAMPLE, dim)),
            Some(source) => {
                let w = philox::words(seed, row, 0, 0, SAMPLE);
                let picked = philox::pick(w[0], w[1], (source.len() / dim) as u32) as usize;
                out.extend(&source[picked * dim..(picked + 1) * dim]);
            }
        }
    }
    out
}

#[test]
fn noise_does_not_depend_on_its_chunks() {
    let source = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    for source in [None, Some(&source[..])] {
        let whole = noise(8, 0, 40, 2, source);
        assert_eq!([noise(8, 0, 13, 2, source), noise(8, 13, 27, 2, source)].concat(), whole);
    }
    assert_eq!(noise(8, 0, 40, 2, None), philox::normal_rows(8, 0, SAMPLE, 40, 2));
    for (row, x0) in noise(8, 0, 40, 2, Some(&source)).chunks(2).enumerate() {
        let [w0, w1, ..] = philox::philox4x32([row as u32, 0, 0, 2], [8, 0]);
        assert_eq!(x0, &source[2 * philox::pick(w0, w1, 3) as usize..][..2]);
    }
}
