// expect: no entry point found
float twice(float x)
{
    return 2.0 * x;
}
