// expect: 'missing' : unknown variable
RWByteAddressBuffer y : register(u0);

[numthreads(64, 1, 1)]
void main(uint3 gid : SV_DispatchThreadID)
{
    y.Store(gid.x * 4, asuint(missing));
}
