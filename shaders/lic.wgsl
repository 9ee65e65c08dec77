// Line integral convolution (Cabral and Leedom 1993, "Imaging vector fields using line integral convolution"): noise
// that is smeared along the lines of a field, so that a picture shows which way it goes at every place.
//
//     streaks(p) = Σ_k w_k·n(x_k) / √(Σ_k w_k²),   k = −reach … reach,   x_0 = p
//     x_(k±1) = x_k ± step·e(x_k ± step/2·e(x_k)),   e = v/‖v‖
//
// The midpoint rule goes both ways from the middle of the texel p, in steps of equal length; v and n are interpolated
// bilinearly. A line ends at the edge of the picture, and the sum with it; where nothing moves, the streaks are 0. White
// noise of variance 1 would keep its variance if all x_k were texels apart: so contrast does not fall towards the edges.
// The weights are the host's: a window, or one with waves that travel down the lines from picture to picture.
//
// One invocation a texel, row by row. The velocities lie on a grid from edge to edge; its first row is at the edge where
// that of the picture is.
//
// Variants: none but the sizes.

const LANES: u32 = 64u;

// Mirrors `Lic` in src/render/streaks.rs.
struct Lic {
    size: vec2f,        // of the picture, in texels
    scale: vec2f,       // texels a unit of x and of y
    width: u32,         // of the picture
    height: u32,
    columns: u32,       // of the grid, 2 at least
    rows: u32,          // 2 at least
    first_row: u32,     // of this dispatch
    last_row: u32,      // one beyond
    reach: u32,         // steps each way
    step: f32,          // its length in texels
}

@group(0) @binding(0) var<uniform> lic: Lic;
@group(0) @binding(1) var<storage, read> velocities: array<vec2f>;       // [rows, columns]
@group(0) @binding(2) var<storage, read> noise: array<f32>;              // [height, width]
@group(0) @binding(3) var<storage, read> weights: array<f32>;            // [2·reach + 1], against the flow first
@group(0) @binding(4) var<storage, read_write> streaks: array<f32>;      // [height, width]

// e at a place of the picture, or 0 where nothing moves.
fn direction(place: vec2f) -> vec2f {
    let last = vec2f(f32(lic.columns - 1u), f32(lic.rows - 1u));
    let at = clamp(place / lic.size, vec2f(0.0), vec2f(1.0)) * last;
    let corner = min(floor(at), last - 1.0);
    let part = at - corner;
    let first = u32(corner.y) * lic.columns + u32(corner.x);
    let upper = mix(velocities[first], velocities[first + 1u], part.x);
    let lower = mix(velocities[first + lic.columns], velocities[first + lic.columns + 1u], part.x);
    let v = mix(upper, lower, part.y) * lic.scale;
    let square = dot(v, v);
    return select(vec2f(0.0), v * inverseSqrt(max(square, 1e-30)), square > 1e-30);
}

// n at a place of the picture; beyond the middles of the outermost texels it is theirs.
fn noise_at(place: vec2f) -> f32 {
    let last = vec2f(f32(lic.width - 1u), f32(lic.height - 1u));
    let at = clamp(place - 0.5, vec2f(0.0), last);
    let corner = min(floor(at), max(last - 1.0, vec2f(0.0)));
    let part = at - corner;
    let first = u32(corner.y) * lic.width + u32(corner.x);
    let right = select(0u, 1u, lic.width > 1u);
    let below = select(0u, lic.width, lic.height > 1u);
    let upper = mix(noise[first], noise[first + right], part.x);
    let lower = mix(noise[first + below], noise[first + below + right], part.x);
    return mix(upper, lower, part.y);
}

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let index = lic.first_row * lic.width + id.y * (groups.x * LANES) + id.x;
    if (index >= lic.last_row * lic.width) {
        return;
    }
    let middle = vec2f(f32(index % lic.width), f32(index / lic.width)) + 0.5;
    let begin = direction(middle);
    let weight = weights[lic.reach];
    var sum = weight * noise_at(middle);
    var squares = weight * weight;
    for (var way = 0u; way < 2u; way++) {
        let stride = select(lic.step, -lic.step, way == 0u);
        var place = middle;
        var inside = true;
        for (var k = 1u; k <= lic.reach; k++) {
            let half_way = place + 0.5 * stride * direction(place);
            place += stride * direction(half_way);
            inside = inside && all(place >= vec2f(0.0)) && all(place <= lic.size);
            let w = select(0.0, weights[select(lic.reach + k, lic.reach - k, way == 0u)], inside);
            sum += w * noise_at(place);
            squares += w * w;
        }
    }
    let moves = any(begin != vec2f(0.0)) && squares > 0.0;
    streaks[index] = select(0.0, sum * inverseSqrt(max(squares, 1e-30)), moves);
}
