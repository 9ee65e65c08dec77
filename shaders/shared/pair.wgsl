// What a training step learns from, four columns of one row at a time: the point x_t on the conditional path with its time
// features, and the velocity u_t (eq. 11–13, in the Lagrangian form, which has no division):
//
//     x_t = b(t)·x0 + a(t)·x1          u_t = b'(t)·x0 + a'(t)·x1
//
// Of a pair it is x1's row that is picked; whatever else belongs to x1 follows that row. In the variant PAIRED (with
// SOURCE) x0 is the source's row of the same number.
//
// In the variant NOISY there is noise around the path, x_t = b·x0 + a·x1 + σ·ε with ε ~ N(0, I), and u_t is as it was
// (Tong et al. 2023, eq. 12 and 14).
//
// In the variant CONDITIONED the time features are followed by those of the condition of x1's row (shared/conditions.wgsl);
// the share DROPOUT of the rows is told nothing, by word 3 of what picks the row.
//
// Whoever includes this declares `labels` in the variant CONDITIONED, `chunk`, `state`, `data`; `source` in the variant SOURCE; `wave` and `partners` in the
// variant COUPLED; `wave` in the variant GATHERED.

//#include "shared/endpoints.wgsl"
//#include "shared/features.wgsl"
//#include "shared/conditions.wgsl"
//#include "shared/path/{PATH}.wgsl"
//#include "shared/wave.wgsl"
//#include "shared/state.wgsl"

const T_MAX: f32 = 1.0;     // times are uniform on [0, T_MAX)

//#if NOISY
const PATH_NOISE: f32 = 0.1; // σ
//#end

// The row of the data and the time that a row of the batch gets.
struct Pick {
    row: u32,
    t: f32,
    told: bool,  // the condition
}

// What four columns of a row come to.
struct Columns {
    x0: vec4f,
    x1: vec4f,
    feature: vec4f,
    velocity: vec4f,
}

fn pick(address: u32) -> Pick {
    let words = philox4x32(vec4u(address, 0u, state.step, STREAM_PICK), chunk.seed);
    let row = pick_row(words.x, words.y, chunk.data_rows);
    return Pick(row, T_MAX * uniform01(words.z), (words.w >> 8u) >= DROPOUT);
}

// The features of columns DIM and beyond: of the time, then of the condition.
fn feature_beyond(column: u32, picked: Pick) -> f32 {
//#if CONDITIONED
    let begin = DIM + 1u + 2u * FREQUENCIES;
    if (column >= begin && column - begin < CONDITIONS) {
        return select(0.0, condition_feature(column - begin, picked.row), picked.told);
    }
//#end
    return time_feature(column, picked.t);
}

fn pair_columns(address: u32, picked: Pick, schedule: vec4f, block: u32) -> Columns {
    let column = 4u * block;
    var x0 = vec4f(0.0);
    var x1 = vec4f(0.0);
    if (column < DIM) {
        x1 = data_columns(picked.row, address, state.step, block);
//#if COUPLED
        let offset = state.step - wave.first_step;
        let partner = partners[offset * chunk.batch + address];
        let begin = state.step - offset % wave.steps;
        x0 = source_columns(partner % chunk.batch, begin + partner / chunk.batch, block);
//#else
        x0 = source_columns(address, state.step, block);
//#end
    }
    // Columns beyond DIM are zero here, so velocity is padded with zeros; in features the time follows.
    var feature = schedule.y * x0 + schedule.x * x1;
//#if NOISY
    if (column < DIM) {
        feature += PATH_NOISE * normals(philox4x32(vec4u(address, block, state.step, STREAM_PATH), chunk.seed));
    }
//#end
    for (var i = 0u; i < 4u; i++) { //#unroll
        if (column + i >= DIM) {
            feature[i] = feature_beyond(column + i, picked);
        }
    }
    return Columns(x0, x1, feature, schedule.w * x0 + schedule.z * x1);
}
