// Which random numbers a problem gets. Mirrors `Drawing` in src/flow/sinkhorn.rs.
struct Drawing {
    seed: vec2u,   // (low, high) words: Philox's key
    number: u32,   // of the first problem
    stride: u32,   // from one problem's number to the next one's
}
