// The ends of a pair, four columns at a time, out of Philox by address: x1 is a row of the data, x0 noise or a row of the
// source. Whoever includes this declares `chunk`, `data`, and `source` in the variant SOURCE. In the variant GATHERED these
// two hold the rows that the steps of `wave` pick, in order (gather.wgsl), and `wave` is declared as well. In the variant
// PAIRED x0 is the source's row of the same number as x1's.

//#include "shared/philox.wgsl"
//#include "shared/chunk.wgsl"
//#include "shared/wave.wgsl"

//#if GATHERED
fn gathered_row(address: u32, step: u32) -> u32 {
    return (step - wave.first_step) * chunk.batch + address;
}
//#end

// `picked` is the row of the data that row `address` of the batch of `step` gets.
fn data_columns(picked: u32, address: u32, step: u32, block: u32) -> vec4f {
//#if GATHERED
    let row = gathered_row(address, step);
//#else
    let row = picked;
//#end
    var x1 = vec4f(0.0);
    for (var i = 0u; i < 4u; i++) { //#unroll
        if (4u * block + i < DIM) {
            x1[i] = data[row * DIM + 4u * block + i];
        }
    }
    return x1;
}

fn source_columns(address: u32, step: u32, block: u32) -> vec4f {
    var x0 = vec4f(0.0);
//#if SOURCE
//#if GATHERED
    let row = gathered_row(address, step);
//#else
//#if PAIRED
    let words = philox4x32(vec4u(address, 0u, step, STREAM_PICK), chunk.seed);
    let row = pick_row(words.x, words.y, chunk.data_rows);
//#else
    let words = philox4x32(vec4u(address, 0u, step, STREAM_SOURCE), chunk.seed);
    let row = pick_row(words.x, words.y, chunk.source_rows);
//#end
//#end
//#else
    let noise = normals(philox4x32(vec4u(address, block, step, STREAM_SOURCE), chunk.seed));
//#end
    for (var i = 0u; i < 4u; i++) { //#unroll
        if (4u * block + i < DIM) {
//#if SOURCE
            x0[i] = source[row * DIM + 4u * block + i];
//#else
            x0[i] = noise[i];
//#end
        }
    }
    return x0;
}
