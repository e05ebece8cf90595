using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Backends;

/// <summary>Our vector code computes what the framework's operators do, at every width and on its own.</summary>
public sealed class HostKernelTests
{
    private static readonly Gen<(int Rows, int Width, int Count)> s_sizes = Gen.Select(Gen.Int[1, 9], Gen.Int[1, 67], Gen.Int[1, 19]);

    [Fact]
    public void Products_of_few_rows_are_the_frameworks() => Check(s_sizes, size =>
    {
        Tensor x = randn(1, size.Rows, size.Width), first = randn(size.Count, size.Width), second = randn(5, size.Width), bias = randn(5);
        Assert.True(FewRowProduct.Takes(x));
        Tensor[] results = FewRowProduct.Apply(x, (first, null), (second, bias));
        Close.Within(1e-4, nn.functional.linear(x, first), results[0], $"{size}");
        Close.Within(1e-4, nn.functional.linear(x, second, bias), results[1], $"{size}");
    });

    [Fact]
    public void Large_products_are_shared_among_threads_and_stay_the_frameworks() => Check(Gen.Int[1, 32], rows =>
    {
        Tensor x = randn(rows, 300), weight = randn(1201, 300);
        Close.Within(1e-3, nn.functional.linear(x, weight), FewRowProduct.Apply(x, (weight, null))[0], $"{rows} rows");
    }, times: 8);

    [Fact]
    public void A_norm_writes_what_is_selected() => Check(s_sizes, size =>
    {
        Tensor x = randn(2, size.Rows, size.Width) + 3, weight = randn(size.Width), bias = randn(size.Width);
        Tensor index = Indices(size.Width, size.Count);
        Tensor layer = nn.functional.layer_norm(x, [size.Width], weight, bias, 1e-5);
        Close.Within(1e-4, layer, HostKernels.Norm(x, weight, bias, true, 1e-5, null), $"{size}");
        Close.Within(1e-4, layer.index_select(-1, index), HostKernels.Norm(x, weight, bias, true, 1e-5, index), $"{size}");
        Tensor root = x * (x.pow(2).mean([-1L], keepdim: true) + 1e-5).rsqrt() * weight;
        Close.Within(1e-4, root.index_select(-1, index), HostKernels.Norm(x, weight, null, false, 1e-5, index), $"{size}");
    });

    [Fact]
    public void Addition_by_index_adds_where_the_index_says() => Check(s_sizes, size =>
    {
        Tensor stream = randn(2, size.Rows, size.Width), index = Indices(size.Width, size.Count), output = randn(2, size.Rows, index.size(0));
        Tensor expected = stream.index_add(-1, index, output, 1);
        HostKernels.AddAt(stream, index, output);
        Close.Within(1e-6, expected, stream, $"{size}");
    });

    [Fact]
    public void The_gated_activation_is_the_frameworks() => Check(s_sizes, size =>
    {
        Tensor gate = randn(size.Rows, size.Width) * 20, up = randn(size.Rows, size.Width);
        Tensor expected = nn.functional.silu(gate) * up;
        Close.Within(1e-4, expected, HostKernels.GatedSilu(gate, up, inPlace: true), $"{size}");
    });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void One_position_sees_what_the_fused_operator_sees(bool padded) => Check(Gen.Select(Gen.Int[1, 3], Gen.Int[1, 4], Gen.Int[2, 37]), size =>
    {
        var (batch, shared, seen) = size;
        Tensor query = randn(batch, 2 * shared, 1, 24);
        Tensor key = randn(batch, 2, 40, 24).narrow(2, 0, seen), value = randn(batch, 2, 40, 24).narrow(2, 0, seen);
        Tensor? visible = padded ? (arange(seen) >= arange(batch).unsqueeze(1)).view(batch, 1, 1, seen) : null;
        visible?.select(-1, seen - 1).fill_(true);
        Assert.True(OnePositionAttention.Takes(query, key, value));
        Tensor expected = nn.functional.scaled_dot_product_attention(
            query, key.repeat_interleave(shared, dim: 1), value.repeat_interleave(shared, dim: 1), visible);
        Close.Within(1e-5, expected, OnePositionAttention.Apply(query, key, value, visible), $"{size}");
    });

    [Fact]
    public void Causal_attention_in_plain_products_is_the_frameworks_with_a_gradient_and_without() => Check(
        Gen.Select(Gen.Int[1, 2], Gen.Int[1, 3], Gen.Int[1, 300]), size =>
        {
            var (batch, shared, length) = size;
            Tensor query = randn(batch, 2 * shared, length, 24), key = randn(batch, 2, length, 24), value = randn(batch, 2, length, 24);
            Tensor expected = nn.functional.scaled_dot_product_attention(
                query, key.repeat_interleave(shared, dim: 1), value.repeat_interleave(shared, dim: 1), is_casual: true);
            Close.Within(1e-5, expected, RowwiseAttention.Of(query, key, value), $"{size}");
            Close.Within(1e-5, expected, RowwiseAttention.Of(query.requires_grad_(), key, value).detach(), $"{size}");
        }, times: 30);

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
        Assert.Contains("3", Assert.Throws<ArgumentException>(() => FewRowProduct.Apply(ones(1, 3), (ones(4, 5), null))).Message, StringComparison.Ordinal);
    }

    private static Tensor Indices(int width, int count) => randperm(width).narrow(0, 0, Math.Min(width, count)).sort().Values;

    private static void Check<T>(Gen<T> sizes, Action<T> check, int times = 60) => sizes.Sample(
        size =>
        {
            using var scope = NewDisposeScope();
            check(size);
        },
        iter: times,
        threads: 1);
}
