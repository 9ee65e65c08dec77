// The part of the data that one dispatch of the `marginal` kernels goes over, for a chunk of queries. Mirrors `Slices`
// in src/flow/marginal.rs. A slice is SLICE_ROWS rows of the data; the last one may have fewer.
struct Slices {
    first_row: u32,  // the first row of the data in this dispatch: a multiple of SLICE_ROWS
    rows: u32,       // its rows
    count: u32,      // its slices
    queries: u32,    // padded to a multiple of the kernels' tiles
    begun: u32,      // 0: nothing came before
    first_slice: u32,  // the number of the first slice among those of all data
    padding0: u32,
    padding1: u32,
}

const SLICE_ROWS: u32 = 256u;
// A logarithm of a weight that loses against any other.
const LOWEST: f32 = -3e38;

// 2^x for x ≤ 0. What is below 2^−126 beside a weight of 1 is nothing.
fn weight(exponent: f32) -> f32 {
    return exp2(max(exponent, -126.0));
}
