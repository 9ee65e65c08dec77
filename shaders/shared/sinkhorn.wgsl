// Where an entropic problem stands between two dispatches. Mirrors `Entropic` in src/flow/sinkhorn.rs.
struct Entropic {
    epsilon: f32,     // of the next iteration, in units of the cost
    wanted: f32,      // where it ends
    relaxation: f32,  // 1: plain iterations
    error: f32,       // of the marginals, after the last one
    before: f32,      // of the one before it; while relaxed, of the last look at the rate
    ratio: f32,       // of the two
    mean_cost: f32,   // of all pairs
    iterations: u32,
    since: u32,       // relaxed ones since the last look at the rate
    stage: u32,       // ITERATING or DRAWING
    free: u32,        // rows without a partner
    round: u32,       // of the drawing
    missed: u32,      // 1: the tolerance was not met
    failed: u32,      // 1: the costs are beyond float32
}

const ITERATING: u32 = 0u;
const DRAWING: u32 = 1u;

const LOG2_E: f32 = 1.4426950408889634;
