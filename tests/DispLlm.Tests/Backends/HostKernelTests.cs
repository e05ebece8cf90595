using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using CsCheck;
using TorchSharp;
using static DispLlm.Tests.Backends.KernelSamples;
using static TorchSharp.torch;

namespace DispLlm.Tests.Backends;

/// <summary>Our vector code computes what the framework's operators do, at every width and on its own.</summary>
public sealed class HostKernelTests
{
    private static readonly Gen<(int Rows, int Width, int Count, bool Narrow)> s_sizes =
        Gen.Select(Gen.Int[1, 9], Gen.Int[1, 150], Gen.Int[3, 19], Gen.Bool);

    // More outputs and features than a tile has, and more rows than a vector has lanes.
    private static readonly Gen<(int Rows, int Width, int Count, bool Narrow)> s_products =
        Gen.Select(Gen.Int[1, 40], Gen.Int[1, 300], Gen.Int[1, 70], Gen.Bool);

    [Fact]
    public void Products_of_few_rows_are_the_frameworks() => Check(s_products, size =>
    {
        Tensor x = Draw(size.Narrow, 1, size.Rows, size.Width), first = Draw(size.Narrow, size.Count, size.Width);
        Tensor second = Draw(size.Narrow, 5, size.Width), bias = Draw(size.Narrow, 5);
        Assert.True(FewRowProduct.Takes(x) || size.Narrow || size.Rows > 32, "Up to 32 rows every processor takes float32.");
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
        Assert.Equal(BFloat16Units.Exist && !BFloat16Units.AreTiles && X86Base.IsSupported, WeightFirstProduct.Takes(Draw(true, 16, 1056)));
        Assert.All([Draw(true, 15, 1056), Draw(true, 80, 1056), Draw(true, 16, 4096), Draw(true, 16, 1024), Draw(false, 16, 1056), Draw(true, 16, 1056).requires_grad_()],
            x => Assert.False(WeightFirstProduct.Takes(x)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Large_products_are_shared_among_threads_and_stay_the_frameworks(bool narrow) => Check(Gen.Int[1, 64], rows =>
    {
        Tensor x = Draw(narrow, rows, 600), weight = Draw(narrow, 1201, 600), bias = Draw(narrow, 1201);
        Close.Within(Tolerance(narrow), nn.functional.linear(Wide(x), Wide(weight), Wide(bias)), FewRowProduct.Apply(x, (weight, bias))[0], $"{rows} rows");
    }, times: 8);

    [Fact]
    public void A_norm_writes_what_is_selected() => Check(s_sizes, size =>
    {
        Tensor x = (Wide(Draw(size.Narrow, 2, size.Rows, size.Width)) + 3).to(size.Narrow ? ScalarType.BFloat16 : ScalarType.Float32);
        Tensor weight = Draw(size.Narrow, size.Width), bias = Draw(size.Narrow, size.Width), index = Indices(size.Width, size.Count), wide = Wide(x);
        Tensor layer = nn.functional.layer_norm(wide, [size.Width], Wide(weight), Wide(bias), 1e-5);
        Close.Within(Tolerance(size.Narrow), layer, HostKernels.Norm(x, weight, bias, true, 1e-5, null), $"{size}");
        Close.Within(Tolerance(size.Narrow), layer.index_select(-1, index), HostKernels.Norm(x, weight, bias, true, 1e-5, index), $"{size}");
        Tensor root = wide * (wide.pow(2).mean([-1L], keepdim: true) + 1e-5).rsqrt() * Wide(weight);
        Close.Within(Tolerance(size.Narrow), root.index_select(-1, index), HostKernels.Norm(x, weight, null, false, 1e-5, index), $"{size}");
    });

    [Fact]
    public void Addition_by_index_adds_where_the_index_says() => Check(s_sizes, size =>
    {
        Tensor index = Indices(size.Width, size.Count);
        Tensor stream = Draw(size.Narrow, 2, size.Rows, size.Width), output = Draw(size.Narrow, 2, size.Rows, index.size(0));
        Tensor expected = Wide(stream).index_add(-1, index, Wide(output), 1);
        Tensor before = stream.clone();
        Close.Within(Tolerance(size.Narrow), expected, HostKernels.PlusAt(stream, index, output, inPlace: false), $"{size}");
        Assert.True(before.Equals(stream));
        HostKernels.PlusAt(stream, index, output, inPlace: true);
        Close.Within(Tolerance(size.Narrow), expected, stream, $"{size}");
    });

    /// <summary>Selections ascend; what does not is still selected in its order.</summary>
    [Fact]
    public void Selected_columns_and_gated_features_are_the_frameworks() => Check(s_sizes, size =>
    {
        Tensor x = Draw(size.Narrow, size.Rows, size.Width), shuffled = randperm(size.Width), gates = randn(size.Width), stream = Draw(size.Narrow, size.Rows, size.Width);
        Close.Within(Tolerance(size.Narrow), Wide(x) * gates, HostKernels.Gated(x, gates, null), $"{size}");
        Close.Within(Tolerance(size.Narrow), Wide(stream) + (Wide(x) * gates), HostKernels.PlusGated(stream, x, gates), $"{size}");
        foreach (Tensor index in new[] { Indices(size.Width, (size.Width + 1) / 2), Indices(size.Width, 1), shuffled, shuffled.sort().Values })
        {
            Tensor expected = x.index_select(-1, index);
            Assert.Equal(Wide(expected).data<float>().ToArray(), Wide(HostKernels.Columns(x, index)).data<float>().ToArray());
            Close.Within(Tolerance(size.Narrow), Wide(expected) * gates.index_select(0, index), HostKernels.Gated(x, gates, index), $"{size}");
        }
    });

    [Fact]
    public void The_gated_activation_is_the_frameworks() => Check(s_sizes, size =>
    {
        Tensor gate = Draw(size.Narrow, size.Rows, size.Width).mul_(20), up = Draw(size.Narrow, size.Rows, size.Width);
        Tensor expected = nn.functional.silu(Wide(gate)) * Wide(up);
        Close.Within(Tolerance(size.Narrow), expected, HostKernels.GatedSilu(gate, up, inPlace: true), $"{size}");
    });

    [Fact]
    public void What_needs_a_gradient_or_has_another_type_is_left_to_the_framework()
    {
        using var scope = NewDisposeScope();
        Assert.True(HostRows.LieWithoutGradient(ones(2, 3)));
        Assert.True(HostRows.LieWithoutGradient(ones(2, 3, ScalarType.BFloat16)));
        Assert.False(HostRows.LieWithoutGradient(ones(2, 3, requires_grad: true) * 2));
        Assert.False(HostRows.LieWithoutGradient(ones(2, 3, ScalarType.BFloat16), ones(2, 3)));
        Assert.False(HostRows.Lie(ones(2, 3, ScalarType.Float16)));
        Assert.False(HostRows.Lie(ones(2, 3, ScalarType.Float32, META)));
        Assert.False(HostRows.Lie(ones(2, 3).t()));
        Assert.False(FewRowProduct.Takes(ones(500, 3)));
        Assert.Contains("Float32", Assert.Throws<ArgumentException>(() => FewRowProduct.Apply(ones(1, 3, ScalarType.BFloat16), (ones(4, 3), null))).Message, StringComparison.Ordinal);
        Assert.Contains("3", Assert.Throws<ArgumentException>(() => FewRowProduct.Apply(ones(1, 3), (ones(4, 5), null))).Message, StringComparison.Ordinal);
    }

    private static Tensor Indices(int width, int count) => randperm(width).narrow(0, 0, Math.Min(width, count)).sort().Values;

    /// <summary>In the width that this processor is given, and in all that others are.</summary>
    private static Tensor[][] InEveryWidth(Tensor x, params (Tensor Weight, Tensor? Bias)[] projections) =>
    [
        FewRowProduct.Apply(x, projections),
        FewRowProduct.Apply<Vector512<float>, Width512>(x, projections),
        FewRowProduct.Apply<Vector256<float>, Width256>(x, projections),
        FewRowProduct.Apply<Vector128<float>, Width128>(x, projections),
    ];
}
