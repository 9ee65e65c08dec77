// The two idioms of naga's that glslang does not know: zeroed arrays, and constructed global ones.
typedef float4 ret_ZeroValuearray4_float4_[4];
ret_ZeroValuearray4_float4_ ZeroValuearray4_float4_() {
    return (float4[4])0;
}

typedef float2 ret_Constructarray2_float2_[2];
ret_Constructarray2_float2_ Constructarray2_float2_(float2 arg0, float2 arg1) {
    float2 ret[2] = { arg0, arg1 };
    return ret;
}

static const float2 NODES[2] = Constructarray2_float2_(float2(0.25, 0.5), (2.0).xx);
static const float4 NOTHING[4] = ZeroValuearray4_float4_();
RWByteAddressBuffer y : register(u0);
groupshared float tile[16][17];

[numthreads(16, 1, 1)]
void main(uint3 gid : SV_DispatchThreadID, uint li : SV_GroupIndex)
{
    if (li == 0) {
        tile = (float[16][17])0;
    }
    GroupMemoryBarrierWithGroupSync();
    float4 sums[4] = ZeroValuearray4_float4_();
    float rows[2][3] = (float[2][3])0;
    float v = NODES[gid.x & 1u].y + NOTHING[gid.x & 3u].x + sums[gid.x & 3u].x + rows[gid.x & 1u][2] + tile[li][3];
    y.Store(gid.x * 4, asuint(v));
}
