// Adds the slices of a dispatch, one after the other, to what came before them, each brought to the common maximum
// (as flash attention does: Dao et al. 2022, § 3.1):
//
//     top' = max(top, top_s)    sum' = 2^(top − top')·sum + 2^(top_s − top')·sum_s    (moments likewise)
//
// So that sums of millions of terms do not round millions of times, there are three of them: the slices of the
// current run of FAN, the runs of the current run of FAN runs, and all before. A run is passed on when the next one
// begins; the host adds the three at the end. Which slices make a run follows from their numbers, so where dispatches
// are cut does not matter to the bits.
//
// One invocation takes four columns of one query; each group of columns keeps its own copy of top and sum, so that
// no invocation reads what another one writes.

//#include "shared/slices.wgsl"

const QUADS: u32 = 1u;    // d / 4, rounded up
const LANES: u32 = 64u;
const FAN: u32 = 64u;
const LEVELS: u32 = 3u;

@group(0) @binding(0) var<uniform> slices: Slices;
@group(0) @binding(1) var<storage, read> sums: array<vec2f>;                   // [slices, queries]: top, sum
@group(0) @binding(2) var<storage, read> moments: array<vec4f>;                // [slices, queries, QUADS]
@group(0) @binding(3) var<storage, read_write> total_sums: array<vec2f>;       // [LEVELS, queries, QUADS]
@group(0) @binding(4) var<storage, read_write> total_moments: array<vec4f>;    // [LEVELS, queries, QUADS]

struct Sums {
    moment: vec4f,
    top: f32,
    sum: f32,
}

fn nothing() -> Sums {
    return Sums(vec4f(0.0), LOWEST, 0.0);
}

fn merged(a: Sums, b: Sums) -> Sums {
    let top = max(a.top, b.top);
    let keep = weight(a.top - top);
    let take = weight(b.top - top);
    return Sums(
        keep * a.moment + take * b.moment,
        top,
        keep * a.sum + take * b.sum,
    );
}

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let index = id.y * (groups.x * LANES) + id.x;
    let stride = slices.queries * QUADS;
    if (index >= stride) {
        return;
    }
    let query = index / QUADS;
    var levels: array<Sums, LEVELS>;
    for (var l = 0u; l < LEVELS; l++) { //#unroll
        levels[l] = nothing();
        if (slices.begun != 0u) {
            let before = total_sums[l * stride + index];
            levels[l] = Sums(total_moments[l * stride + index], before.x, before.y);
        }
    }
    for (var s = 0u; s < slices.count; s++) {
        let number = slices.first_slice + s;
        if (number % FAN == 0u) {
            levels[1] = merged(levels[1], levels[0]);
            levels[0] = nothing();
        }
        if (number % (FAN * FAN) == 0u) {
            levels[2] = merged(levels[2], levels[1]);
            levels[1] = nothing();
        }
        let slice = sums[s * slices.queries + query];
        levels[0] = merged(levels[0], Sums(moments[s * stride + index], slice.x, slice.y));
    }
    for (var l = 0u; l < LEVELS; l++) { //#unroll
        total_sums[l * stride + index] = vec2f(levels[l].top, levels[l].sum);
        total_moments[l * stride + index] = levels[l].moment;
    }
}
