// The end of an attempted step of an embedded Runge–Kutta method in the layered integrator, whose k_i lie in a buffer:
// the error, whether the step is accepted, and which comes next (shared/controller.wgsl). One invocation a row.
//
// Variants: BEGIN       no step yet: k_1 is there, and the first step is chosen
//           TRAJECTORY  states at given times, by the method's dense output

//#include "shared/tableau.wgsl"
//#include "shared/controller.wgsl"

const DIM: u32 = 2u;
const EXTRA: u32 = 0u;      // accumulators of the divergence
const STAGES: u32 = 7u;
const LANES: u32 = 64u;
const STATE: u32 = DIM + EXTRA;
const QUADS_STATE: u32 = (STATE + 3u) / 4u;
const QUADS_DATA: u32 = (DIM + 3u) / 4u;
const LAST: u32 = STAGES - 1u;

@group(0) @binding(0) var<uniform> tableau: Tableau;
@group(0) @binding(1) var<storage, read_write> slopes: array<vec4f>;        // k [stages, rows padded, QUADS_STATE]
@group(0) @binding(2) var<storage, read_write> points: array<f32>;          // x [rows, STATE]
@group(0) @binding(3) var<storage, read_write> particles: array<Particle>;  // [rows]
@group(0) @binding(4) var<storage, read_write> unfinished: atomic<u32>;
//#if TRAJECTORY
@group(0) @binding(5) var<storage, read> times: array<f32>;                 // [outputs], from t0 to t1
@group(0) @binding(6) var<storage, read_write> trajectory: array<f32>;      // [rows, outputs, DIM]
//#end

fn slope_at(i: u32, row: u32, block: u32) -> vec4f {
    return slopes[i * tableau.stride + row * QUADS_STATE + block];
}

fn state_at(row: u32, block: u32) -> vec4f {
    var x = vec4f(0.0);
    for (var i = 0u; i < 4u; i++) { //#unroll
        if (4u * block + i < STATE) {
            x[i] = points[row * STATE + 4u * block + i];
        }
    }
    return x;
}

// The state at the end of the step: that of the last stage.
fn moved_state(row: u32, block: u32, h: f32) -> vec4f {
    var y = state_at(row, block);
    for (var j = 0u; j < LAST; j++) {
        y += h * tableau.matrix[2u * LAST + j / 4u][j % 4u] * slope_at(j, row, block);
    }
    return y;
}

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let row = id.y * (groups.x * LANES) + id.x;
    if (row >= tableau.rows) {
        return;
    }
    let own = particles[row];
    if (own.status != RUNNING) {
        return;
    }
//#if BEGIN
    var y_squares = vec4f(0.0);
    var k_squares = vec4f(0.0);
    for (var block = 0u; block < QUADS_STATE; block++) {
        let y = state_at(row, block);
        let y_ratio = select(vec4f(0.0), y / scale(abs(y)), is_state(block));
        let k_ratio = select(vec4f(0.0), slope_at(0u, row, block) / scale(abs(y)), is_state(block));
        y_squares += y_ratio * y_ratio;
        k_squares += k_ratio * k_ratio;
    }
    particles[row].h = first_step(root_mean(y_squares), root_mean(k_squares));
    atomicAdd(&unfinished, 1u);
//#else
    let h = fitted_step(own, tableau.t1);
    var squares = vec4f(0.0);
    for (var block = 0u; block < QUADS_STATE; block++) {
        var defect = vec4f(0.0);
        for (var i = 0u; i < STAGES; i++) {
            defect += tableau.error[i / 4u][i % 4u] * slope_at(i, row, block);
        }
        let magnitude = max(abs(state_at(row, block)), abs(moved_state(row, block, h)));
        let ratio = select(vec4f(0.0), h * defect / scale(magnitude), is_state(block));
        squares += ratio * ratio;
    }
    var next = decide(own, h, root_mean(squares));
    if (next.accepted > own.accepted) {
//#if TRAJECTORY
        while (next.output < tableau.outputs && (times[next.output] - next.t) * h <= 0.0) {
            let theta = select((times[next.output] - own.t) / h, 1.0, times[next.output] == next.t);
            for (var block = 0u; block < QUADS_DATA; block++) {
                var bulge = vec4f(0.0);
                for (var i = 0u; i < STAGES; i++) {
                    bulge += tableau.dense[i / 4u][i % 4u] * slope_at(i, row, block);
                }
                let y = interpolate(
                    theta,
                    state_at(row, block),
                    moved_state(row, block, h),
                    h * slope_at(0u, row, block),
                    h * slope_at(LAST, row, block),
                    h * bulge,
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
        for (var block = 0u; block < QUADS_STATE; block++) {
            let y = moved_state(row, block, h);
            for (var i = 0u; i < 4u; i++) { //#unroll
                if (4u * block + i < STATE) {
                    points[row * STATE + 4u * block + i] = y[i];
                }
            }
            slopes[row * QUADS_STATE + block] = slope_at(LAST, row, block);
        }
    }
    particles[row] = next;
    if (next.status == RUNNING) {
        atomicAdd(&unfinished, 1u);
    }
//#end
}
