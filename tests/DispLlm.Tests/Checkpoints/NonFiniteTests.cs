using System.Runtime.InteropServices;
using Xunit;
using static TorchSharp.torch;

namespace DispLlm.Tests.Checkpoints;

[Collection(nameof(NonFiniteTests))]
public sealed class NonFiniteTests
{
    [Fact]
    public void NaN_and_infinity_are_found_at_every_place_and_in_every_type_and_large_numbers_are_not()
    {
        double[] nonFinite = [double.NaN, double.PositiveInfinity, double.NegativeInfinity];
        Check(ScalarType.Float64, nonFinite, double.MaxValue);
        Check(ScalarType.Float32, [.. nonFinite.Select(value => (float)value)], float.MaxValue);
        Check(ScalarType.Float16, [.. nonFinite.Select(value => (Half)value)], Half.MaxValue);

        // bfloat16: the upper half of a float32.
        Check<ushort>(ScalarType.BFloat16, [0x7FC0, 0x7F80, 0xFF80], 0x7F7F);
    }

    [Fact]
    public void Integers_are_never_taken_for_NaN()
    {
        Assert.False(NonFinite.IsIn([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], ScalarType.Int64));
        Assert.False(NonFinite.IsIn([0xFF, 0xFF], ScalarType.Byte));
    }

    private static void Check<T>(ScalarType type, T[] nonFinite, T largest)
        where T : unmanaged
    {
        for (int length = 1; length <= 70; length++)
        {
            var numbers = new T[length];
            Array.Fill(numbers, largest);
            Assert.False(NonFinite.IsIn(MemoryMarshal.AsBytes<T>(numbers), type));
            for (int at = 0; at < length; at++)
            {
                numbers[at] = nonFinite[at % nonFinite.Length];
                Assert.True(NonFinite.IsIn(MemoryMarshal.AsBytes<T>(numbers), type), $"{type}, {length} numbers, at {at}");
                numbers[at] = largest;
            }
        }
    }
}
