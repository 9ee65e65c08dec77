// A reduction with a barrier in uniform control flow.
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
override WIDTH: u32 = 64u;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) i: u32) {
    partial[i] = y[i];
    for (var half = WIDTH / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if i < half { partial[i] += partial[i + half]; }
    }
    if i == 0u { y[0] = partial[0]; }
}
