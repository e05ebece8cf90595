using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Pruning;

/// <summary>Scales multiply the bytes of a checkpoint as libtorch multiplies numbers.</summary>
public sealed class ElementScalingTests
{
    [Theory]
    [InlineData(ScalarType.Float64)]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float16)]
    [InlineData(ScalarType.BFloat16)]
    public void Rows_are_multiplied_as_libtorch_multiplies_them(ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var random = new RandomSource(5).Stream("elements");
        Tensor elements = (random.Normal(4096) * 100).to(type), factors = random.Uniform(4096) * 3 - 1;
        elements[0] = float.PositiveInfinity;
        elements[1] = 0;
        var wide = type == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;

        byte[] row = elements.bytes.ToArray();
        ElementScaling.Multiply(row, type, 0.75f, []);
        Assert.Equal((elements.to(wide) * 0.75).to(type).bytes.ToArray(), row);

        row = elements.bytes.ToArray();
        ElementScaling.Multiply(row, type, 0.5f, MemoryMarshal.Cast<byte, float>(factors.bytes));
        Assert.Equal((elements.to(wide) * (0.5 * factors).to(wide)).to(type).bytes.ToArray(), row);
    }

    [Fact]
    public void What_is_no_number_stays_none()
    {
        byte[] row = MemoryMarshal.AsBytes<ushort>([0x7FC0, 0xFFFF, 0x7F81]).ToArray();
        ElementScaling.Multiply(row, ScalarType.BFloat16, 0.5f, []);
        Assert.All(MemoryMarshal.Cast<byte, ushort>(row).ToArray(), bits => Assert.True((bits & 0x7FFF) > 0x7F80));
    }

    [Fact]
    public void Whole_numbers_are_not() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => ElementScaling.Multiply(new byte[4], ScalarType.Int32, 2, []));
}
