// Particles of a picture, counted pixel by pixel, with the sum of their depths beside: integers alone are added, so that
// the same particles make the same bits in whatever order they come.
//
// A particle is somewhere between two states of its trajectory, p = (1 − part)·x_state + part·x_(state + 1), and of its
// coordinates three are shown, or two, with 0 for the third. The camera takes it to q = matrix·(p, 1): it is in the pixel
// of (q_x/q_w, q_y/q_w), of which −1 and 1 are the edges, if that is within the picture and before the camera. Depths go
// from 0, near, to DEPTHS, far.
//
// One invocation a particle. Variants: none but the sizes.

const LANES: u32 = 64u;
const DEPTHS: f32 = 255.0;
const NONE: u32 = 0xffffffffu;

// Mirrors `Splat` in src/render/cloud.rs.
struct Splat {
    matrix: mat4x4f,
    shown: vec4u,        // the columns for x, y, z, or NONE
    columns: u32,        // of the picture, in pixels
    rows: u32,
    dim: u32,            // of a particle
    states: u32,         // of a trajectory
    count: u32,          // of particles
    state: u32,          // before the time that is shown
    part: f32,           // from this state to the next
    near: f32,           // q_w of depth 0
    range: f32,          // from there to the depth of DEPTHS
    padding0: u32,
    padding1: u32,
    padding2: u32,
}

@group(0) @binding(0) var<uniform> splat: Splat;
@group(0) @binding(1) var<storage, read> trajectories: array<f32>;             // [count, states, dim]
@group(0) @binding(2) var<storage, read_write> pixels: array<atomic<u32>>;     // [rows, columns, 2]: how many, their depths

fn coordinate(first: u32, next: u32, axis: u32) -> f32 {
    let column = splat.shown[axis];
    if (column == NONE) {
        return 0.0;
    }
    return mix(trajectories[first + column], trajectories[next + column], splat.part);
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let particle = (group.y * groups.x + group.x) * LANES + lane;
    if (particle >= splat.count) {
        return;
    }
    let first = (particle * splat.states + splat.state) * splat.dim;
    let next = (particle * splat.states + min(splat.state + 1u, splat.states - 1u)) * splat.dim;
    let p = vec4f(coordinate(first, next, 0u), coordinate(first, next, 1u), coordinate(first, next, 2u), 1.0);
    let q = splat.matrix * p;
    if (!(q.w > 0.0)) {
        return;
    }
    let place = (0.5 + 0.5 * q.xy / q.w) * vec2f(f32(splat.columns), f32(splat.rows));
    // What is no number is not within anything.
    if (place.x >= 0.0 && place.y >= 0.0 && place.x < f32(splat.columns) && place.y < f32(splat.rows)) {
        let pixel = u32(place.y) * splat.columns + u32(place.x);
        let depth = clamp((q.w - splat.near) / splat.range, 0.0, 1.0);
        atomicAdd(&pixels[2u * pixel], 1u);
        atomicAdd(&pixels[2u * pixel + 1u], u32(round(DEPTHS * depth)));
    }
}
