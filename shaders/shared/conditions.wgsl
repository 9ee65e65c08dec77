// What the network is told of a row of the data beside x and t, in the variant CONDITIONED: of a class as many features as
// there are classes, one of them 1; of a number its standardised value and a 1, which says that it is there. All are 0
// where a row of a batch is told nothing.
//
// Whoever includes this declares, in that variant,
//     labels: array<u32>   first [C, 3]: for each feature its label, what it is of it, and the bits of what it is
//                          multiplied by in the cost of a coupling; then [N, L]: the bits of each row's values, numbers
//                          standardised and classes counted from 0

const CONDITIONS: u32 = 0u;  // C, the features
const LABELS: u32 = 1u;      // L, the values of a row
const DROPOUT: u32 = 0u;     // the share of rows that are told nothing, of 2^24

// What a feature is of its label, beside the number of a class.
const VALUE: u32 = 0xffffffffu;
const PRESENT: u32 = 0xfffffffeu;

//#if CONDITIONED
fn condition_feature(feature: u32, row: u32) -> f32 {
    let value = bitcast<f32>(labels[3u * CONDITIONS + row * LABELS + labels[3u * feature]]);
    let what = labels[3u * feature + 1u];
    if (what == VALUE) {
        return value;
    }
    return select(0.0, 1.0, what == PRESENT || value == f32(what));
}

// Its part in the squared distance that a coupling takes for the cost of a pair (Cheng & Schwing 2025).
fn condition_cost(feature: u32, row: u32) -> f32 {
    return bitcast<f32>(labels[3u * feature + 2u]) * condition_feature(feature, row);
}
//#end
