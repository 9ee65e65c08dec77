// Where an assignment problem stands between two dispatches. Mirrors `Problem` in src/flow/assignment.rs.
struct Problem {
    scale: f32,      // units of the integer costs: a cost of 1 is `scale` units
    stage: u32,      // AUCTION, GREEDY, PATHS, CERTIFY or DONE
    phase: u32,      // of the auction: 0, 1, …
    epsilon: i32,    // of that phase
    row: u32,        // whose costs are scanned next
    base: i32,       // added to its reduced costs
    fresh: u32,      // 1: distances of earlier scans are forgotten
    column: u32,     // the column that the last scan has changed, or NO_COLUMN
    amount: i32,     // in AUCTION, by how much its price rises; in PATHS, the length of the path just found
    popped: u32,     // rows taken from the queue
    pushed: u32,     // rows put there
    bids: u32,       // in this phase
    start: u32,      // the free row from which paths are sought
    tree: u32,       // columns reached so far
    scans: u32,      // in all
    excess: u32,     // of the primal over the dual objective, in units
    failed: u32,     // 1: the costs are beyond float32
}

const AUCTION: u32 = 0u;
const GREEDY: u32 = 1u;
const PATHS: u32 = 2u;
const CERTIFY: u32 = 3u;
const DONE: u32 = 4u;

const NO_COLUMN: u32 = 0xffffffffu;
const INFINITE: i32 = 0x7fffffff;
const LARGEST: i32 = 0x10000000;  // no cost is larger: sums of seven fit
