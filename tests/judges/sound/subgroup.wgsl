// Subgroup built-ins, without the directive that naga does not know.
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32, @builtin(subgroup_invocation_id) lane: u32) {
    let sum = subgroupAdd(y[i]);
    if lane == 0u { y[i] = sum; }
}
