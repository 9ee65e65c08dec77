// The rewriting of array constructors must not hide a wrong one.
// expect: 'missing' : unknown variable
typedef float ret_Constructarray3_float_[3];
ret_Constructarray3_float_ Constructarray3_float_(float arg0, float arg1, float arg2) {
    float ret[3] = { arg0, arg1, arg2 };
    return ret;
}
static const float NODES[3] = Constructarray3_float_(1.0, missing, 3.0);
RWByteAddressBuffer y : register(u0);

[numthreads(64, 1, 1)]
void main(uint3 gid : SV_DispatchThreadID)
{
    y.Store(gid.x * 4, asuint(NODES[gid.x % 3u]));
}
