// Carries particles along the learned flow, dx/dt = v(x, t) (eq. 1), by an embedded Runge–Kutta method whose last stage
// is the first one of the next step (Dormand–Prince). Every particle has its own step and its own time. One dispatch
// tries `steps` steps of each; what is left undone is counted. The first of all attempts only finds k_1 and a length.
//
// One lane carries TILE_ROWS particles; shared/fused.wgsl tells how, shared/controller.wgsl which step comes next.
//
// Variants: SUBGROUPS   the lanes of a subgroup bring different weights: none of them stops before all have arrived
//           TEXTURES    W is a texture (src/gpu/matrix.rs says when)
//           DIVERGENCE  ∫ div v dt along the way (eq. 4); its error is controlled as well
//           TRAJECTORY  states at given times, by the method's dense output

//#include "shared/fused.wgsl"
//#include "shared/controller.wgsl"

@group(0) @binding(5) var<storage, read_write> particles: array<Particle>;  // [rows]
@group(0) @binding(6) var<storage, read_write> kept: array<vec4f>;          // k_1 of the next step [rows, QUADS_STATE]
@group(0) @binding(7) var<storage, read_write> unfinished: atomic<u32>;
//#if TRAJECTORY
@group(0) @binding(8) var<storage, read> times: array<f32>;                 // [outputs], from t0 to t1
@group(0) @binding(9) var<storage, read_write> trajectory: array<f32>;      // [rows, outputs, DIM]
//#end

const LAST: u32 = STAGES - 1u;

fn length_of_first_step(at: u32) -> f32 {
    var y_squares = vec4f(0.0);
    var k_squares = vec4f(0.0);
    for (var block = 0u; block < QUADS_STATE; block++) { //#unroll SUBGROUPS
        let y = memory[block * ROWS + at];
        let y_ratio = select(vec4f(0.0), y / scale(abs(y)), is_state(block));
        let k_ratio = select(vec4f(0.0), memory[(QUADS_STATE + block) * ROWS + at] / scale(abs(y)), is_state(block));
        y_squares += y_ratio * y_ratio;
        k_squares += k_ratio * k_ratio;
    }
    return first_step(root_mean(y_squares), root_mean(k_squares));
}

@compute @workgroup_size(LANES)
fn main(
//#if SUBGROUPS
    // the same for software drivers, but to them a constant
    @builtin(subgroup_invocation_id) lane: u32,
//#else
    @builtin(local_invocation_index) lane: u32,
//#end
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let first = (group.y * groups.x + group.x) * (TILE_ROWS * LANES) + lane;
    var own: array<Particle, TILE_ROWS>;
    var h: array<f32, TILE_ROWS>;
    var moments: array<vec4f, TILE_ROWS>;
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        let row = first + r * LANES;
        let at = place(r, lane);
        load_state(row, at);
        own[r].status = DONE;
        if (row < tableau.rows) {
            own[r] = particles[row];
            for (var block = 0u; block < QUADS_STATE; block++) { //#unroll SUBGROUPS
                memory[(QUADS_STATE + block) * ROWS + at] = kept[row * QUADS_STATE + block];
            }
        }
    }
//#if SUBGROUPS
    biases = bring_all_biases(lane);
    let rows = bring_rows(lane);
//#end
    for (var attempt = 0u; attempt < tableau.steps; attempt++) {
        var running = false;
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            running = running || own[r].status == RUNNING;
            h[r] = fitted_step(own[r], tableau.t1);
        }
//#if SUBGROUPS
        // Lanes that have arrived stay: the others read weights from their registers.
        if (!subgroupAny(running)) {
            break;
        }
        brought_rows = rows;
        next_row(lane);
//#else
        if (!running) {
            break;
        }
//#end
        let begins = tableau.first_step + attempt == 0u;
        for (var stage = select(1u, 0u, begins); stage < select(STAGES, 1u, begins); stage++) {
//#if SUBGROUPS
            next_row(lane);
            let c = stage_row[1].w;
//#else
            let c = tableau.nodes[stage / 4u][stage % 4u];
//#end
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                // h is 0 at the beginning
                moments[r] = vec4f(own[r].t + c * h[r], 1.0, 0.0, 1.0);
            }
            evaluate(stage, lane, first, h, moments);
        }
        if (begins) {
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                own[r].h = length_of_first_step(place(r, lane));
            }
            continue;
        }
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            let at = place(r, lane);
            var squares = vec4f(0.0);
            for (var block = 0u; block < QUADS_STATE; block++) { //#unroll SUBGROUPS
                var defect = vec4f(0.0);
                for (var i = 0u; i < STAGES; i++) { //#unroll SUBGROUPS
                    defect += tableau.error[i / 4u][i % 4u] * memory[((1u + i) * QUADS_STATE + block) * ROWS + at];
                }
                let y0 = memory[block * ROWS + at];
                let y1 = stage_state(LAST, block, at, h[r]);
                let ratio = select(vec4f(0.0), h[r] * defect / scale(max(abs(y0), abs(y1))), is_state(block));
                squares += ratio * ratio;
            }
            if (own[r].status == RUNNING) {
                var next = decide(own[r], h[r], root_mean(squares));
                if (next.accepted > own[r].accepted) {
//#if TRAJECTORY
                    let row = first + r * LANES;
                    // beyond the step's end, with the sign of the time's direction
                    while (next.output < tableau.outputs && (times[next.output] - next.t) * h[r] <= 0.0) {
                        let theta = select((times[next.output] - own[r].t) / h[r], 1.0, times[next.output] == next.t);
                        for (var block = 0u; block < QUADS_DATA; block++) { //#unroll SUBGROUPS
                            var bulge = vec4f(0.0);
                            for (var i = 0u; i < STAGES; i++) { //#unroll SUBGROUPS
                                bulge += tableau.dense[i / 4u][i % 4u] * memory[((1u + i) * QUADS_STATE + block) * ROWS + at];
                            }
                            let y = interpolate(
                                theta,
                                memory[block * ROWS + at],
                                stage_state(LAST, block, at, h[r]),
                                h[r] * memory[(QUADS_STATE + block) * ROWS + at],
                                h[r] * memory[((1u + LAST) * QUADS_STATE + block) * ROWS + at],
                                h[r] * bulge,
                            );
                            for (var i = 0u; i < 4u; i++) { //#unroll
                                if (4u * block + i < DIM) {
                                    trajectory[(row * tableau.outputs + next.output) * DIM + 4u * block + i] = y[i];
                                }
                            }
                        }
                        next.output++;
                    }
//#end
                    for (var block = 0u; block < QUADS_STATE; block++) { //#unroll SUBGROUPS
                        let y1 = stage_state(LAST, block, at, h[r]);
                        memory[block * ROWS + at] = y1;
                        memory[(QUADS_STATE + block) * ROWS + at] = memory[((1u + LAST) * QUADS_STATE + block) * ROWS + at];
                    }
                }
                own[r] = next;
            }
        }
    }
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        let row = first + r * LANES;
        let at = place(r, lane);
        store_state(row, at);
        if (row < tableau.rows) {
            particles[row] = own[r];
            for (var block = 0u; block < QUADS_STATE; block++) { //#unroll SUBGROUPS
                kept[row * QUADS_STATE + block] = memory[(QUADS_STATE + block) * ROWS + at];
            }
            if (own[r].status == RUNNING) {
                atomicAdd(&unfinished, 1u);
            }
        }
    }
}
