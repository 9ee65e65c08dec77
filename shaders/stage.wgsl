// The integrator's arithmetic for networks too wide to keep a particle on the chip: before an evaluation of the network
// (linear_forward.wgsl) it forms y = x + h·Σ_j c_j·k_j, the features of c·y, and the part α·y of the velocity to come
// (combine.wgsl adds the rest). One invocation a block of four columns of one row.
//
// Variants: UPDATE      writes y back to x, and adds the noise of a stochastic flow: the end of a step
//           ADAPTIVE    every particle has its own time and step
//           STOCHASTIC  with UPDATE
//           TEXTURES    the features are a texture (src/gpu/matrix.rs says when)

//#include "shared/features.wgsl"
//#include "shared/stage.wgsl"
//#if STOCHASTIC
//#include "shared/philox.wgsl"
//#end

const WIDTH_IN: u32 = 8u;   // features, padded
const EXTRA: u32 = 0u;      // accumulators of the divergence
const LANES: u32 = 64u;
const STATE: u32 = DIM + EXTRA;
const QUADS_STATE: u32 = (STATE + 3u) / 4u;

@group(0) @binding(0) var<uniform> stage: Stage;
//#if UPDATE
@group(0) @binding(1) var<storage, read> slopes: array<vec4f>;            // k [stages, rows padded, QUADS_STATE]
@group(0) @binding(2) var<storage, read_write> points: array<f32>;        // x [rows, STATE]
//#else
@group(0) @binding(1) var<storage, read_write> slopes: array<vec4f>;      // k [stages, rows padded, QUADS_STATE]
@group(0) @binding(2) var<storage, read> points: array<f32>;              // x [rows, STATE]
//#if TEXTURES
@group(0) @binding(3) var features: texture_storage_2d<rgba32float, write>;   // [rows padded, WIDTH_IN / 4]
//#else
@group(0) @binding(3) var<storage, read_write> features: array<vec4f>;    // [rows padded, WIDTH_IN / 4]
//#end
//#if ADAPTIVE
//#include "shared/particle.wgsl"
@group(0) @binding(4) var<storage, read> particles: array<Particle>;      // [rows]
//#end
//#end

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let blocks = max(WIDTH_IN / 4u, QUADS_STATE);
    let index = id.y * (groups.x * LANES) + id.x;
    let row = index / blocks;
    let block = index % blocks;
    if (row >= stage.rows) {
        return;
    }
    var h = stage.h;
    var t = stage.moment.x;
//#if ADAPTIVE
    h *= fitted_step(particles[row], stage.moment.x);
    t = particles[row].t + stage.node * h;
//#end
    var y = vec4f(0.0);
    if (block < QUADS_STATE) {
        for (var i = 0u; i < 4u; i++) { //#unroll
            if (4u * block + i < STATE) {
                y[i] = points[row * STATE + 4u * block + i];
            }
        }
        for (var j = 0u; j < stage.terms; j++) {
            y += h * stage.coefficients[j / 4u][j % 4u] * slopes[j * stage.stride + row * QUADS_STATE + block];
        }
    }
    let is_data = vec4u(4u * block) + vec4u(0u, 1u, 2u, 3u) < vec4u(DIM);
//#if UPDATE
//#if STOCHASTIC
    let address = vec4u(stage.first_row + row, block, stage.step, STREAM_DIFFUSION);
    y += select(vec4f(0.0), stage.noise * normals(philox4x32(address, stage.seed)), is_data);
//#end
    for (var i = 0u; i < 4u; i++) { //#unroll
        if (4u * block + i < STATE) {
            points[row * STATE + 4u * block + i] = y[i];
        }
    }
//#else
    if (block < QUADS_STATE) {
        // the divergence of α·y is α·d
        slopes[stage.output * stage.stride + row * QUADS_STATE + block] =
            stage.moment.z * select(vec4f(f32(DIM)), y, is_data);
    }
    if (block < WIDTH_IN / 4u) {
        var feature = stage.moment.y * y;
        for (var i = 0u; i < 4u; i++) { //#unroll
            if (4u * block + i >= DIM) {
                feature[i] = time_feature(4u * block + i, t);
            }
        }
//#if TEXTURES
        textureStore(features, vec2u(block, row), feature);
//#else
        features[row * (WIDTH_IN / 4u) + block] = feature;
//#end
    }
//#end
}
