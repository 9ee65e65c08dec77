// The rows that the kernels of a layer go over. Mirrors `Rows` in src/model/network.rs.
struct Rows {
    count: u32,         // padded to a multiple of the tile
    first_weight: u32,  // the layer's first row in the texture of all weights
    slice_rows: u32,    // rows of a slice of the weight gradient, a multiple of four; the last may have fewer
    slice_stride: u32,  // distance between slices of the gradients, in vec4
    period: u32,        // rows after which the slopes begin again: tangents lie below one another, probe by probe
    first_gradient: u32,  // where the layer's gradient begins in a texture of all of it, in vec4
    padding0: u32,
    padding1: u32,
}
