using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using CsCheck;
using TorchSharp;
using static DispLlm.Tests.Kernels.KernelSamples;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>Our vector code computes what the framework's operators do, at every width and on its own.</summary>
public sealed class HostKernelTests
{
    // More outputs and features than a tile has, more rows than a vector has lanes, and rows that the first cache does not hold.
    private static readonly Gen<(int Rows, int Width, int Count, bool Narrow)> s_products =
        Gen.Select(Gen.Int[1, 40], Gen.OneOf(Gen.Int[1, 300], Gen.Int[1900, 2100]), Gen.Int[1, 70], Gen.Bool);

    [Fact]
    public void Products_of_few_rows_are_the_frameworks() => Check(s_products, size =>
    {
        Tensor x = Draw(size.Narrow, 1, size.Rows, size.Width), first = Draw(size.Narrow, size.Count, size.Width);
        Tensor second = Draw(size.Narrow, 5, size.Width), bias = Draw(size.Narrow, 5);
        Assert.True(HostGemm.CanHandle(x) || size.Narrow || size.Rows > 32, "Up to 32 rows every processor takes float32.");
        Tensor[] expected = [nn.functional.linear(Wide(x), Wide(first)), nn.functional.linear(Wide(x), Wide(second), Wide(bias))];
        foreach (Tensor[] results in InEveryWidth(x, (first, null), (second, bias)))
        {
            Assert.All(results, result => Assert.Equal(x.dtype, result.dtype));
            Close.Within(Tolerance(size.Narrow), expected[0], results[0], $"{size}");
            Close.Within(Tolerance(size.Narrow), expected[1], results[1], $"{size}");
        }
    });

    [Theory]
    [InlineData(16, 1056, true)]
    [InlineData(16, 1056, false)]
    [InlineData(32, 3001, true)]
    [InlineData(64, 1088, true)]
    public void A_weight_on_the_left_gives_the_same_rows_rounded_once(int rows, int width, bool biased)
    {
        using var scope = NewDisposeScope();
        Tensor x = Draw(true, 2, rows / 2, width), weight = Draw(true, 37, width);
        Tensor? bias = biased ? Draw(true, 37) : null;
        Tensor result = WeightFirstProduct.Linear(x, weight, bias);
        Assert.Equal([2, rows / 2, 37], result.shape);
        Assert.True(result.is_contiguous());
        Close.Within(Tolerance(true), nn.functional.linear(Wide(x), Wide(weight), bias is null ? null : Wide(bias)), result, $"{rows} rows");
    }

    [Fact]
    public void A_weight_stands_on_the_left_only_where_rows_fill_vectors_of_bfloat16()
    {
        using var scope = NewDisposeScope();
        Assert.Equal(BFloat16Support.IsAvailable && !BFloat16Support.HasAmx && X86Base.IsSupported, WeightFirstProduct.CanHandle(Draw(true, 16, 1056)));
        Assert.All([Draw(true, 15, 1056), Draw(true, 80, 1056), Draw(true, 16, 4096), Draw(true, 16, 1024), Draw(false, 16, 1056), Draw(true, 16, 1056).requires_grad_()],
            x => Assert.False(WeightFirstProduct.CanHandle(x)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Large_products_are_shared_among_threads_and_stay_the_frameworks(bool narrow) => Check(Gen.OneOf(Gen.Int[1, 64], Gen.Int[100, 700]), rows =>
    {
        Tensor x = Draw(narrow, rows, 600), weight = Draw(narrow, 1201, 600), bias = Draw(narrow, 1201);
        Close.Within(Tolerance(narrow), nn.functional.linear(Wide(x), Wide(weight), Wide(bias)), HostGemm.Apply(x, (weight, bias))[0], $"{rows} rows");
    }, times: 8);

    /// <summary>Selections ascend; what does not is still selected in its order.</summary>
    [Fact]
    public void Selected_columns_are_the_frameworks() => Check(Gen.Select(Gen.Int[1, 9], Gen.Int[1, 150], Gen.Bool), size =>
    {
        var (rows, width, narrow) = size;
        Tensor x = Draw(narrow, rows, width), shuffled = randperm(width);
        foreach (Tensor index in new[] { shuffled.narrow(0, 0, (width + 1) / 2).sort().Values, shuffled.narrow(0, 0, 1), shuffled, shuffled.sort().Values })
        {
            Assert.Equal(Wide(x.index_select(-1, index)).data<float>().ToArray(), Wide(HostKernels.Columns(x, index)).data<float>().ToArray());
        }
    });

    [Fact]
    public void What_needs_a_gradient_or_has_another_type_is_left_to_the_framework()
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
        Assert.Equal(0, HostGemm.MostRows(0, narrow: false));
        Assert.All(InEveryWidth(ones(200, 150), (ones(0, 150), null)), results => Assert.Equal([200L, 0L], results[0].shape));
        Assert.Contains("Float32", Assert.Throws<ArgumentException>(() => HostGemm.Apply(ones(1, 3, ScalarType.BFloat16), (ones(4, 3), null))).Message, StringComparison.Ordinal);
        Assert.Contains("3", Assert.Throws<ArgumentException>(() => HostGemm.Apply(ones(1, 3), (ones(4, 5), null))).Message, StringComparison.Ordinal);
    }

    /// <summary>In the width that this processor is given, and in all that others are.</summary>
    private static Tensor[][] InEveryWidth(Tensor x, params (Tensor Weight, Tensor? Bias)[] projections) =>
    [
        HostGemm.Apply(x, projections),
        HostGemm.Apply<Vector512<float>, Width512>(x, projections),
        HostGemm.Apply<Vector256<float>, Width256>(x, projections),
        HostGemm.Apply<Vector128<float>, Width128>(x, projections),
    ];
}
