using System.Runtime.Intrinsics;
using CsCheck;
using TorchSharp;
using static DispLlm.Tests.Kernels.KernelSamples;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>Each attention kernel equals libtorch's operator, at every vector width.</summary>
public sealed class AttentionTests
{
    [Theory]
    [InlineData(false, 24, false)]
    [InlineData(true, 24, false)]
    [InlineData(false, 24, true)]
    [InlineData(true, 77, true)]
    [InlineData(true, 77, false)]
    [InlineData(false, 64, false)]
    [InlineData(true, 64, true)]
    [InlineData(false, 160, true)]
    public void Decode_attention_equals_libtorch(bool padded, int head, bool isBFloat16) =>
        Check(Gen.Select(Gen.Int[1, 3], Gen.Int[1, 4], Gen.Int[2, 37]), size =>
    {
        var (batch, shared, seen) = size;
        Tensor query = Draw(isBFloat16, batch, 2 * shared, 1, head);
        Tensor key = Draw(isBFloat16, batch, 2, 40, head).narrow(2, 0, seen),
            value = Draw(isBFloat16, batch, 2, 40, head).narrow(2, 0, seen);
        Tensor? visible = padded ? (arange(seen) >= arange(batch).unsqueeze(1)).view(batch, 1, 1, seen) : null;
        visible?.select(-1, seen - 1).fill_(true);
        Assert.True(DecodeAttention.CanHandle(query, key, value));
        Tensor expected = FusedAttention(query, key, value, visible);
        Assert.All(InEveryWidth(query, key, value, visible), result => Close.Within(Tolerance(isBFloat16), expected, result, $"{size}"));
    });

    [Fact]
    public void Matmul_attention_equals_libtorch_with_and_without_gradient() => Check(
        Gen.Select(Gen.Int[1, 2], Gen.Int[1, 3], Gen.Int[1, 300]), size =>
        {
            var (batch, shared, length) = size;
            Tensor query = randn(batch, 2 * shared, length, 24), key = randn(batch, 2, length, 24), value = randn(batch, 2, length, 24);
            Tensor expected = FusedAttention(query, key, value, causal: true);
            Close.Within(1e-5, expected, MatmulAttentionFunction.Apply(query, key, value), $"{size}");
            Close.Within(1e-5, expected, MatmulAttentionFunction.Apply(query.requires_grad_(), key, value).detach(), $"{size}");
        }, times: 30);

    [Theory]
    [InlineData(false, 64, false)]
    [InlineData(false, 64, true)]
    [InlineData(true, 64, false)]
    [InlineData(true, 80, true)]
    [InlineData(true, 6, false)]
    [InlineData(false, 13, true)]
    public void Tiled_attention_equals_libtorch(bool padded, int head, bool isBFloat16) => Check(
        Gen.Select(Gen.Int[1, 3], Gen.Int[1, 6], Gen.Int[2, 200], Gen.Int[0, 90]), size =>
        {
            var (batch, shared, length, before) = size;
            int seen = before + length;
            Tensor query = Draw(isBFloat16, batch, length, 2 * shared, head).transpose(1, 2),
                value = Draw(isBFloat16, batch, seen, 2, head).transpose(1, 2);
            Tensor key = Draw(isBFloat16, batch, 2, seen + 7, head).narrow(2, 0, seen);
            int[]? padding = padded ? [.. Enumerable.Range(0, batch).Select(row => row * (seen - 1) / 2)] : null;
            Tensor places = arange(seen), own = arange(before, seen).view(1, 1, -1, 1);
            Tensor hidden = tensor(padding ?? new int[batch]).view(-1, 1, 1, 1);
            Tensor visible = (places <= own).logical_and((places >= hidden).logical_or(places == own));
            Assert.True(TiledAttention.CanHandle(query, key, value));
            Tensor expected = FusedAttention(query, key, value, visible);
            Assert.All(InEveryWidth(query, key, value, padding), result =>
                Close.Within(Tolerance(isBFloat16), expected, result, $"{size}"));
        }, times: 25);

    [Fact]
    public void Extreme_scores_select_one_value_and_NaN_stays_NaN()
    {
        using var scope = NewDisposeScope();
        Tensor query = ones(1, 1, 70, 8), key = zeros(1, 1, 70, 8),
            value = arange(70, ScalarType.Float32).view(1, 1, 70, 1).expand(1, 1, 70, 8).contiguous();
        key.select(2, 3).fill_(100);
        key.select(2, 66).fill_(1000);
        Tensor result = TiledAttention.Apply(query, key, value);
        Assert.Equal(1f, result[0, 0, 2, 0].item<float>(), 1e-6f);
        Assert.Equal(3f, result[0, 0, 65, 7].item<float>());
        Assert.Equal(66f, result[0, 0, 69, 0].item<float>());
        key.select(2, 68).fill_(float.NaN);
        Tensor broken = TiledAttention.Apply(query, key, value);
        Assert.Equal(66f, broken[0, 0, 67, 0].item<float>());
        Assert.True(float.IsNaN(broken[0, 0, 68, 0].item<float>()));
    }

    [Fact]
    public void The_result_is_a_view_of_what_the_output_projection_reads()
    {
        using var scope = NewDisposeScope();
        Tensor query = randn(2, 5, 3, 8).transpose(1, 2);
        Assert.True(TiledAttention.Apply(query, query, query).transpose(1, 2).is_contiguous());
        Assert.False(TiledAttention.CanHandle(query.transpose(2, 3), query, query));
        Assert.False(TiledAttention.CanHandle(query.detach().requires_grad_(), query, query));
        Assert.False(TiledAttention.CanHandle(query.to(META), query.to(META), query.to(META)));
    }

    private static Tensor[] InEveryWidth(Tensor query, Tensor key, Tensor value, Tensor? visible) =>
    [
        DecodeAttention.Apply(query, key, value, visible),
        DecodeAttention.Apply<Vector512<float>, Width512>(query, key, value, visible),
        DecodeAttention.Apply<Vector256<float>, Width256>(query, key, value, visible),
        DecodeAttention.Apply<Vector128<float>, Width128>(query, key, value, visible),
    ];

    private static Tensor[] InEveryWidth(Tensor query, Tensor key, Tensor value, int[]? padding) =>
    [
        TiledAttention.Apply(query, key, value, padding),
        TiledAttention.Apply<Vector512<float>, Width512>(query, key, value, padding),
        TiledAttention.Apply<Vector256<float>, Width256>(query, key, value, padding),
        TiledAttention.Apply<Vector128<float>, Width128>(query, key, value, padding),
    ];
}
