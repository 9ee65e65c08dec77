// Which pairs are coupled. Mirrors `Wave` in src/train/layout.rs.
struct Wave {
    first_step: u32,  // of the first problem
    steps: u32,       // whose batches make up one problem
    rows: u32,        // of all problems
    padding: u32,
}
