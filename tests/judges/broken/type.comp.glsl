#version 310 es
// expect: 'assign' :  cannot convert from
precision highp float;
precision highp int;
layout(local_size_x = 64, local_size_y = 1, local_size_z = 1) in;
layout(std430) buffer Values { float y[]; };

void main() {
    y[gl_GlobalInvocationID.x] = gl_GlobalInvocationID.x;
}
