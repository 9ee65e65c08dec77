// naga accepts this barrier, which not all threads reach.
// expect: 'workgroupBarrier' must only be called from uniform control flow
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    if y[i] > 0.0 { workgroupBarrier(); }
    y[i] = 1.0;
}
