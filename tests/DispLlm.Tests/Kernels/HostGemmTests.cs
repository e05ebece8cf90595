using System.Runtime.Intrinsics;
using CsCheck;
using TorchSharp;
using static DispLlm.Tests.Kernels.KernelSamples;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>SIMD matrix multiplication and selection equal libtorch's operators, at every vector width.</summary>
public sealed class HostGemmTests
{
    // More outputs and features than a tile, more rows than lanes, and rows larger than the L1 cache.
    private static readonly Gen<(int Rows, int Width, int Count, bool IsBFloat16)> s_shapes =
        Gen.Select(Gen.Int[1, 40], Gen.OneOf(Gen.Int[1, 300], Gen.Int[1900, 2100]), Gen.Int[1, 70], Gen.Bool);

    [Fact]
    public void Projections_equal_libtorch_at_every_vector_width() => Check(s_shapes, size =>
    {
        Tensor x = Draw(size.IsBFloat16, 1, size.Rows, size.Width), first = Draw(size.IsBFloat16, size.Count, size.Width);
        Tensor second = Draw(size.IsBFloat16, 5, size.Width), bias = Draw(size.IsBFloat16, 5);
        Assert.True(HostGemm.CanHandle(x) || size.IsBFloat16 || size.Rows > 32, "Every processor handles up to 32 rows in float32.");
        Tensor[] expected = [nn.functional.linear(ToSingle(x), ToSingle(first)),
            nn.functional.linear(ToSingle(x), ToSingle(second), ToSingle(bias))];
        foreach (Tensor[] results in InEveryWidth(x, (first, null), (second, bias)))
        {
            Assert.All(results, result => Assert.Equal(x.dtype, result.dtype));
            Close.Within(Tolerance(size.IsBFloat16), expected[0], results[0], $"{size}");
            Close.Within(Tolerance(size.IsBFloat16), expected[1], results[1], $"{size}");
        }
    });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Parallel_projections_equal_libtorch(bool isBFloat16) => Check(Gen.OneOf(Gen.Int[1, 64], Gen.Int[100, 700]), rows =>
    {
        Tensor x = Draw(isBFloat16, rows, 600), weight = Draw(isBFloat16, 1201, 600), bias = Draw(isBFloat16, 1201);
        Close.Within(Tolerance(isBFloat16), nn.functional.linear(ToSingle(x), ToSingle(weight), ToSingle(bias)),
            HostGemm.Apply(x, (weight, bias))[0], $"{rows} rows");
    }, times: 8);

    /// <summary>Selections ascend; other indices are selected in their order.</summary>
    [Fact]
    public void Selected_columns_equal_libtorch() => Check(Gen.Select(Gen.Int[1, 9], Gen.Int[1, 150], Gen.Bool), size =>
    {
        var (rows, width, isBFloat16) = size;
        Tensor x = Draw(isBFloat16, rows, width), shuffled = randperm(width);
        foreach (Tensor index in new[] { shuffled.narrow(0, 0, (width + 1) / 2).sort().Values, shuffled.narrow(0, 0, 1), shuffled,
            shuffled.sort().Values })
        {
            Assert.Equal(ToSingle(x.index_select(-1, index)).data<float>().ToArray(),
                ToSingle(IndexSelectKernel.Columns(x, index)).data<float>().ToArray());
        }
    });

    [Fact]
    public void Other_inputs_are_not_handled()
    {
        using var scope = NewDisposeScope();
        Assert.True(HostMatrix.IsContiguousHostWithoutGradient(ones(2, 3)));
        Assert.True(HostMatrix.IsContiguousHostWithoutGradient(ones(2, 3, ScalarType.BFloat16)));
        Assert.False(HostMatrix.IsContiguousHostWithoutGradient(ones(2, 3, requires_grad: true) * 2));
        Assert.False(HostMatrix.IsContiguousHostWithoutGradient(ones(2, 3, ScalarType.BFloat16), ones(2, 3)));
        Assert.False(HostMatrix.IsContiguousHost(ones(2, 3, ScalarType.Float16)));
        Assert.False(HostMatrix.IsContiguousHost(ones(2, 3, ScalarType.Float32, META)));
        Assert.False(HostMatrix.IsContiguousHost(ones(2, 3).t()));
        Assert.False(HostGemm.CanHandle(ones(500, 3)));
        Assert.False(HostGemm.CanHandle(ones(3, 0)));
        Assert.Equal(0, HostGemm.MaxRows(0, isBFloat16: false));
        Assert.All(InEveryWidth(ones(200, 150), (ones(0, 150), null)), results => Assert.Equal([200L, 0L], results[0].shape));
        Assert.Contains("Float32",
            Assert.Throws<ArgumentException>(() => HostGemm.Apply(ones(1, 3, ScalarType.BFloat16), (ones(4, 3), null))).Message,
            StringComparison.Ordinal);
        Assert.Contains("3", Assert.Throws<ArgumentException>(() => HostGemm.Apply(ones(1, 3), (ones(4, 5), null))).Message,
            StringComparison.Ordinal);
    }

    /// <summary>At this processor's vector width, and at all others.</summary>
    private static Tensor[][] InEveryWidth(Tensor x, params (Tensor Weight, Tensor? Bias)[] projections) =>
    [
        HostGemm.Apply(x, projections),
        HostGemm.Apply<Vector512<float>, Width512>(x, projections),
        HostGemm.Apply<Vector256<float>, Width256>(x, projections),
        HostGemm.Apply<Vector128<float>, Width128>(x, projections),
    ];
}
