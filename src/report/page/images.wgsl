// A contact sheet: one image a particle, or one image at several times.

struct Sheet {
    size: vec2f,        // of the canvas, in pixels
    origin: vec2f,      // of the first cell
    pitch: vec2f,       // from a cell to the next one, a gap included
    cell: vec2f,
    shape: vec3u,       // height, width, channels
    across: u32,        // cells of a row of the sheet
    rows: u32,          // particles
    step: u32,          // the state before
    next: u32,          // the state after
    share: f32,
    low: f32,           // black
    high: f32,          // white
    chosen: u32,        // the particle with a frame; of a film, the particle
    film: u32,          // cells of a film; 0: a sheet
    steps: u32,
    padding0: u32,
    padding1: u32,
    padding2: u32,
    frame: vec4f,       // its colour
}

@group(0) @binding(0) var<uniform> sheet: Sheet;
@group(0) @binding(1) var<storage, read> history: array<f32>;   // [steps + 1, rows, height·width·channels]
@group(0) @binding(2) var<storage, read> units: array<vec2f>;   // standard deviation and mean of each column

struct Corner {
    @builtin(position) position: vec4f,
    @location(0) at: vec2f,
    @location(1) @interpolate(flat) cell: u32,
}

@vertex
fn cell(@builtin(vertex_index) index: u32, @builtin(instance_index) instance: u32) -> Corner {
    let at = vec2f(f32(index & 1u), f32(index >> 1u));
    let place = vec2f(f32(instance % sheet.across), f32(instance / sheet.across));
    let pixel = sheet.origin + place * sheet.pitch + at * sheet.cell;
    let clip = pixel / sheet.size * vec2f(2.0, -2.0) + vec2f(-1.0, 1.0);
    return Corner(vec4f(clip, 0.0, 1.0), at, instance);
}

fn value(row: u32, step: u32, next: u32, share: f32, column: u32) -> f32 {
    let dim = sheet.shape.x * sheet.shape.y * sheet.shape.z;
    let before = history[(step * sheet.rows + row) * dim + column];
    let after = history[(next * sheet.rows + row) * dim + column];
    let x = mix(before, after, share) * units[column].x + units[column].y;
    return clamp((x - sheet.low) / (sheet.high - sheet.low), 0.0, 1.0);
}

@fragment
fn pixel(corner: Corner) -> @location(0) vec4f {
    let extent = vec2f(f32(sheet.shape.y), f32(sheet.shape.x));
    let at = min(vec2u(corner.at * extent), sheet.shape.yx - 1u);
    let column = (at.y * sheet.shape.y + at.x) * sheet.shape.z;
    var row = corner.cell;
    var step = sheet.step;
    var next = sheet.next;
    var share = sheet.share;
    if (sheet.film > 0u) {
        let t = f32(corner.cell) / f32(sheet.film - 1u) * f32(sheet.steps);
        row = sheet.chosen;
        step = min(u32(t), sheet.steps);
        next = min(step + 1u, sheet.steps);
        share = t - f32(step);
    }
    var colour = vec3f(value(row, step, next, share, column));
    if (sheet.shape.z >= 3u) {
        colour.y = value(row, step, next, share, column + 1u);
        colour.z = value(row, step, next, share, column + 2u);
    }
    let edge = min(corner.at, 1.0 - corner.at) * sheet.cell;
    if (sheet.film == 0u && row == sheet.chosen && min(edge.x, edge.y) < 3.0) {
        colour = sheet.frame.rgb;
    }
    return vec4f(colour, 1.0);
}
