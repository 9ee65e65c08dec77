// The ends of a pair, four columns at a time, out of Philox by address: x1 is a row of the data, x0 noise or a row of the
// source. Whoever includes this declares `chunk`, `data`, and `source` in the variant SOURCE.

//#include "shared/philox.wgsl"
//#include "shared/chunk.wgsl"

fn data_columns(picked: u32, block: u32) -> vec4f {
    var x1 = vec4f(0.0);
    for (var i = 0u; i < 4u; i++) { //#unroll
        if (4u * block + i < DIM) {
            x1[i] = data[picked * DIM + 4u * block + i];
        }
    }
    return x1;
}

//#if SOURCE
fn source_row(row: u32, block: u32) -> vec4f {
    var x0 = vec4f(0.0);
    for (var i = 0u; i < 4u; i++) { //#unroll
        if (4u * block + i < DIM) {
            x0[i] = source[row * DIM + 4u * block + i];
        }
    }
    return x0;
}

//#end
fn source_columns(address: u32, step: u32, block: u32) -> vec4f {
//#if SOURCE
    let words = philox4x32(vec4u(address, 0u, step, STREAM_SOURCE), chunk.seed);
    return source_row(pick_row(words.x, words.y, chunk.source_rows), block);
//#else
    var x0 = vec4f(0.0);
    let noise = normals(philox4x32(vec4u(address, block, step, STREAM_SOURCE), chunk.seed));
    for (var i = 0u; i < 4u; i++) { //#unroll
        if (4u * block + i < DIM) {
            x0[i] = noise[i];
        }
    }
    return x0;
//#end
}
