using System.Runtime.Intrinsics;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

public sealed unsafe class SimdMathTests
{
    private static readonly float[] s_odd =
        [0f, -0f, float.NaN, float.PositiveInfinity, float.NegativeInfinity, float.MaxValue, float.MinValue, float.Epsilon, 1.00390625f,
            1.01171875f, -1.00390625f, 3e-39f, 65504f];

    [Fact]
    public void BFloat16_conversion_equals_libtorch_in_both_directions() => Gen.Single.Array[1, 70].Sample(
        drawn =>
        {
            using var scope = NewDisposeScope();
            float[] numbers = [.. s_odd, .. drawn];
            Tensor expected = tensor(numbers).to(ScalarType.BFloat16), actual = empty(numbers.Length, ScalarType.BFloat16);
            float[] back = new float[numbers.Length];
            fixed (float* from = numbers, to = back)
            {
                BFloat16Conversion.ToBFloat16(from, (ushort*)HostMatrix.Address(actual), numbers.Length);
                BFloat16Conversion.ToSingle((ushort*)HostMatrix.Address(actual), to, numbers.Length);
            }

            Assert.Equal(expected.to(ScalarType.Float32).data<float>().ToArray(), back);
            Assert.Equal(back, numbers.Select(number => BFloat16Conversion.ToSingle(BFloat16Conversion.ToBFloat16(number))));
        },
        iter: 100,
        threads: 1);

    [Fact]
    public void Exp_is_within_two_units_in_the_last_place()
    {
        for (double x = -86.6; x < 88.72; x += 0.00137)
        {
            float argument = (float)x;
            double exact = Math.Exp(argument), actual = SimdMath.Exp(Vector512.Create(argument))[0];
            Assert.True(Math.Abs(actual - exact) <= 2 * (MathF.BitIncrement((float)exact) - (float)exact),
                $"exp({argument:R}) is {exact:R}, not {actual:R}");
        }
    }

    [Theory]
    [InlineData(float.NegativeInfinity, 0f)]
    [InlineData(-88f, 0f)]
    [InlineData(0f, 1f)]
    [InlineData(89f, float.PositiveInfinity)]
    [InlineData(float.PositiveInfinity, float.PositiveInfinity)]
    [InlineData(float.NaN, float.NaN)]
    public void Exp_of_extreme_arguments(float x, float expected) => Assert.Equal(expected, SimdMath.Exp(Vector512.Create(x))[0]);

    [Fact]
    public void A_tensor_larger_than_a_span_has_an_address()
    {
        // Never touched, so that no memory is taken.
        long bytes = 3L << 30;
        using Tensor large = empty([bytes], ScalarType.Int8), last = large.narrow(0, bytes - 1, 1);
        Assert.Equal(bytes - 1, (long)((byte*)HostMatrix.Address(last) - (byte*)HostMatrix.Address(large)));
    }
}
