// One pass over a part of the batch. Mirrors `Chunk` in src/train/layout.rs.
struct Chunk {
    seed: vec2u,       // (low, high) words: Philox's key
    first_row: u32,    // the part's first row within the batch
    rows: u32,         // its rows; the buffers are padded with rows of zeros up to a multiple of the tile
    data_rows: u32,    // N
    source_rows: u32,  // rows of the source data set, where there is one
    batch: u32,        // B
    first_partial: u32, // where this part's loss sums begin
}
