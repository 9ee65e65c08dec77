// Particles and their paths, between the states before and after a step.
//
//     x(s) = (1 − s)·x_i + s·x_{i+1}
//
// `splat`: a soft disc for each particle, which `light` adds to a texture; `tone` shows that texture, 1 − exp(−light),
// in the theme's colours. `ribbon`: the pieces of the chosen particles' paths, `dot`: where they are.

struct View {
    scale: vec2f,       // from states to clip space
    offset: vec2f,
    pixel: vec2f,       // of clip space
    radius: f32,        // of a particle, in pixels
    exposure: f32,
    columns: vec2u,     // of the states
    dim: u32,
    rows: u32,
    step: u32,          // the state before
    share: f32,         // s
    steps: u32,
    next: u32,          // the state after
    low: vec4f,         // colours of few and of many particles, and of paths
    high: vec4f,
    ink: vec4f,
}

@group(0) @binding(0) var<uniform> view: View;
@group(0) @binding(1) var<storage, read> history: array<f32>;   // [steps + 1, rows, dim]
@group(0) @binding(2) var<storage, read> chosen: array<u32>;
@group(0) @binding(3) var light_of: texture_2d<f32>;

struct Corner {
    @builtin(position) position: vec4f,
    @location(0) at: vec2f,
    @location(1) shade: f32,
}

fn corner(index: u32) -> vec2f {
    return vec2f(f32(index & 1u), f32(index >> 1u)) * 2.0 - 1.0;
}

fn state(step: u32, row: u32) -> vec2f {
    let at = (step * view.rows + row) * view.dim;
    // A single column is shown over what it was at t = 0.
    let upwards = select(at + view.columns.y, row, view.dim == 1u);
    return vec2f(history[at + view.columns.x], history[upwards]) * view.scale + view.offset;
}

fn now(row: u32) -> vec2f {
    return mix(state(view.step, row), state(view.next, row), view.share);
}

@vertex
fn splat(@builtin(vertex_index) index: u32, @builtin(instance_index) row: u32) -> Corner {
    let at = corner(index);
    return Corner(vec4f(now(row) + at * view.radius * view.pixel, 0.0, 1.0), at, 1.0);
}

@fragment
fn light(corner: Corner) -> @location(0) vec4f {
    let square = dot(corner.at, corner.at);
    return vec4f(select(0.0, exp(-3.5 * square) - 0.03, square < 1.0), 0.0, 0.0, 0.0);
}

@vertex
fn screen(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    return vec4f(corner(index), 0.0, 1.0);
}

@fragment
fn tone(@builtin(position) position: vec4f) -> @location(0) vec4f {
    let light = max(textureLoad(light_of, vec2u(position.xy), 0).x, 0.0);
    let tone = 1.0 - exp(-view.exposure * light);
    let colour = mix(view.low.rgb, view.high.rgb, tone * tone);
    let alpha = smoothstep(0.0, 1.0, min(1.6 * tone, 1.0));
    return vec4f(colour * alpha, alpha);
}

@vertex
fn ribbon(@builtin(vertex_index) index: u32, @builtin(instance_index) instance: u32) -> Corner {
    let row = chosen[instance / view.steps];
    let step = instance % view.steps;
    let a = state(step, row);
    let b = state(step + 1u, row);
    let along = (b - a) / view.pixel;
    let length = max(length(along), 1e-6);
    let across = vec2f(-along.y, along.x) / length;
    let at = corner(index);
    // A piece reaches a little beyond its ends, so that the next one joins it.
    let end = select(a, b, at.x > 0.0) + 0.5 * at.x * along / length * view.pixel;
    let past = f32(step) < f32(view.step) + view.share;
    return Corner(vec4f(end + 1.5 * at.y * across * view.pixel, 0.0, 1.0), at, select(0.28, 0.9, past));
}

@fragment
fn stroke(corner: Corner) -> @location(0) vec4f {
    let alpha = corner.shade * clamp(1.5 * (1.0 - abs(corner.at.y)), 0.0, 1.0);
    return vec4f(view.ink.rgb * alpha, alpha);
}

@vertex
fn dot_of(@builtin(vertex_index) index: u32, @builtin(instance_index) instance: u32) -> Corner {
    let at = corner(index);
    return Corner(vec4f(now(chosen[instance]) + 5.0 * at * view.pixel, 0.0, 1.0), at, 1.0);
}

@fragment
fn disc(corner: Corner) -> @location(0) vec4f {
    let alpha = clamp(5.0 * (1.0 - length(corner.at)), 0.0, 1.0);
    return vec4f(view.ink.rgb * alpha, alpha);
}
