// Carries particles along the learned flow, dx/dt = v(x, t) (eq. 1), in steps that are known beforehand: by an explicit
// Runge–Kutta method (Euler is the one with a single stage), or by Adams–Bashforth's of two steps. One dispatch makes
// many steps; in between nothing but the weights and the timetable is read from device memory, and nothing is written.
//
// One lane carries TILE_ROWS particles; shared/fused.wgsl tells how. The timetable gives each step (h, noise, w0, w1)
// and each of its stages (t, c, α, β): k = α·y + β·v(c·y, t) is the velocity of the model itself with (t, 1, 0, 1), of
// another schedule, or the drift of a stochastic flow (src/flow/evaluation.rs).
//
// Variants: SHARED      the lanes of a workgroup share the layers
//           TEXTURES    W is a texture (src/gpu/matrix.rs says when)
//           DIVERGENCE  ∫ div v dt along the way (eq. 4)
//           MULTISTEP   x ← x + h·(w0·k + w1·k of the step before)
//           STOCHASTIC  and + noise·ξ, ξ ~ N(0, I): Euler–Maruyama

//#include "shared/fused.wgsl"

@group(0) @binding(5) var<storage, read> timetable: array<vec4f>;           // [steps, 1 + STAGES]
//#if MULTISTEP
@group(0) @binding(6) var<storage, read_write> kept: array<vec4f>;          // k of the step before [rows, QUADS_STATE]
//#end

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
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        load_state(first + r * LANES, place(r, lane));
//#if MULTISTEP
        for (var block = 0u; block < QUADS_STATE; block++) { //#unroll SUBGROUPS
            var before = vec4f(0.0);
            if (first + r * LANES < tableau.rows) {
                before = kept[(first + r * LANES) * QUADS_STATE + block];
            }
            memory[((1u + STAGES) * QUADS_STATE + block) * ROWS + place(r, lane)] = before;
        }
//#end
    }
//#if SUBGROUPS
    biases = bring_all_biases(lane);
    let rows = bring_rows(lane);
//#end
    for (var step = 0u; step < tableau.steps; step++) {
        let at_step = step * (1u + STAGES);
//#if SUBGROUPS
        // one load for the step and its stages, of which there are fewer than lanes
        var line = timetable[at_step + min(lane, STAGES)];
        let head = subgroupShuffle(line, 0u);
        brought_rows = rows;
//#else
        let head = timetable[at_step];
//#end
        var h: array<f32, TILE_ROWS>;
        for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
            h[r] = head.x;
        }
        for (var stage = 0u; stage < STAGES; stage++) { //#once
//#if SUBGROUPS
            line = passed_down(line, lane);
            let moment = subgroupShuffle(line, 0u);
            next_row(lane);
//#else
            let moment = timetable[at_step + 1u + stage];
//#end
            var moments: array<vec4f, TILE_ROWS>;
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                moments[r] = moment;
            }
            evaluate(stage, lane, first, h, moments);
        }
        for (var block = 0u; block < QUADS_STATE; block++) { //#unroll SUBGROUPS
            for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
                let at = place(r, lane);
                var slope = vec4f(0.0);
//#if MULTISTEP
                let now = memory[(QUADS_STATE + block) * ROWS + at];
                slope = head.z * now;
                if (head.w != 0.0) {
                    // at the first step there is no velocity before: what is there may be no number
                    slope += head.w * memory[((1u + STAGES) * QUADS_STATE + block) * ROWS + at];
                }
                memory[((1u + STAGES) * QUADS_STATE + block) * ROWS + at] = now;
//#else
                for (var i = 0u; i < STAGES; i++) { //#unroll SUBGROUPS
                    let b = tableau.weights[i / 4u][i % 4u];
                    slope += b * memory[((1u + i) * QUADS_STATE + block) * ROWS + at];
                }
//#end
                var moved = memory[block * ROWS + at] + head.x * slope;
//#if STOCHASTIC
                let address = vec4u(tableau.first_row + first + r * LANES, block, tableau.first_step + step, STREAM_DIFFUSION);
                moved += select(vec4f(0.0), head.y * normals(philox4x32(address, tableau.seed)), is_data(block));
//#end
                memory[block * ROWS + at] = moved;
            }
        }
    }
    for (var r = 0u; r < TILE_ROWS; r++) { //#unroll
        store_state(first + r * LANES, place(r, lane));
//#if MULTISTEP
        for (var block = 0u; block < QUADS_STATE; block++) { //#unroll SUBGROUPS
            if (first + r * LANES < tableau.rows) {
                kept[(first + r * LANES) * QUADS_STATE + block] =
                    memory[((1u + STAGES) * QUADS_STATE + block) * ROWS + place(r, lane)];
            }
        }
//#end
    }
}
