//! The rows that the batches of many steps pick from a data set, which a device gathers from one block of it after the
//! other.

use super::philox;

/// Which rows of a table of `rows` rows those are, in the order of steps and rows of the batch. `stream` is PICK for the
/// data and SOURCE for a source data set.
// out: [steps, B]
pub fn gather(seed: u64, first_step: u32, steps: u32, batch: u32, rows: u32, stream: u32) -> Vec<u32> {
    let mut picked = vec![];
    for step in first_step..first_step + steps {
        for row in 0..batch {
            let words = philox::words(seed, row, 0, step, stream);
            picked.push(philox::pick(words[0], words[1], rows));
        }
    }
    picked
}
