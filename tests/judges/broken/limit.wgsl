// More workgroup memory than every device has: found when the pipeline is made.
// expect: workgroup storage
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
var<workgroup> tile: array<f32, 8192>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    tile[i * 128u] = y[i];
    workgroupBarrier();
    y[i] = tile[8191u - i];
}
