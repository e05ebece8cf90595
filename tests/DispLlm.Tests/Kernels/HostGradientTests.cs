using System.Runtime.Intrinsics;
using CsCheck;
using TorchSharp;
using static DispLlm.Tests.Kernels.KernelSamples;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>What is computed in one pass, forward or back, is what the framework's operators and its own gradients give: in float32, and in bfloat16 but for its roundings.</summary>
public sealed class HostGradientTests
{
    private static readonly Gen<(int Rows, int Width, bool Narrow)> s_sizes = Gen.Select(Gen.Int[1, 9], Gen.Int[1, 67], Gen.Bool);

    [Fact]
    public void The_norms_gradient_is_the_frameworks() => Check(s_sizes, size =>
    {
        // Of a single feature only the sign passes, and its gradient is what rounding left.
        size = size with { Width = size.Width + 3 };
        var (x, weight, back) = (Draw(size, size.Rows), Draw(size), Draw(size, size.Rows));
        Compare(size, [x], wide => wide[0] * (wide[0].pow(2).mean([-1L], keepdim: true) + 1e-5).rsqrt() * weight.to(ScalarType.Float32),
            own => RmsNormFunction.Apply(own[0], weight, 1e-5), back);
    });

    [Fact]
    public void The_activations_gradient_is_the_frameworks() => Check(s_sizes, size =>
    {
        Tensor gate = (Draw(size, size.Rows) * 6).detach(), up = Draw(size, size.Rows);
        Compare(size, [gate, up], wide => nn.functional.silu(wide[0]) * wide[1], own => SwiGluFunction.Apply(own[0], own[1]), Draw(size, size.Rows));
    });

    [Fact]
    public void The_rotations_gradient_is_the_rotation_the_other_way_round() => Check(Gen.Select(Gen.Int[1, 5], Gen.Int[1, 9], Gen.Bool), size =>
    {
        // The first 2 * half of 24 features turn.
        int half = size.Item2;
        var kind = (size.Item1, 24, size.Item3);
        Tensor x = Draw(kind, 1, size.Item1, 3), angle = randn(size.Item1, half), angles = cat([angle, angle], -1);
        Tensor cosine = angles.cos().to(x.dtype), sine = cat([angle.sin().neg(), angle.sin()], -1).to(x.dtype);
        Tensor Turned(Tensor wide)
        {
            Tensor turned = wide.narrow(-1, 0, 2 * half), first = turned.narrow(-1, 0, half), second = turned.narrow(-1, half, half);
            Tensor c = cosine.to(ScalarType.Float32).unsqueeze(1), s = sine.to(ScalarType.Float32).unsqueeze(1);
            return cat([(turned * c) + (cat([second, first], -1) * s), wide.narrow(-1, 2 * half, 24 - (2 * half))], -1);
        }

        Compare(kind, [x], wide => Turned(wide[0]), own => RotaryFunction.Apply(own[0], cosine, sine), Draw(kind, 1, size.Item1, 3));
    });

    [Theory]
    [InlineData(24, true)]
    [InlineData(24, false)]
    [InlineData(33, true)]
    [InlineData(64, true)]
    public void Attentions_gradient_is_the_frameworks(int head, bool tiled) => Check(Gen.Select(Gen.Int[1, 3], Gen.Int[16, 300], Gen.Bool), size =>
    {
        // A query that sees one key has no gradient but for rounding, so that few positions cannot be compared.
        var (shared, length, narrow) = size;
        var kind = (1, head, narrow);
        Tensor query = Draw(kind, 2, 2 * shared, length), key = Draw(kind, 2, length, 2).transpose(1, 2), value = Draw(kind, 2, 2, length);
        Compare(kind, [query, key, value], wide => FusedAttention(wide[0], wide[1], wide[2], causal: true),
            own => tiled ? TiledAttentionFunction.Apply(own[0], own[1], own[2]) : MatmulAttentionFunction.Apply(own[0], own[1], own[2]), Draw(kind, 2, 2 * shared, length));
    }, times: 20);

    [Fact]
    public void Attentions_gradient_is_the_same_in_vectors_of_every_width() => Check(Gen.Select(Gen.Int[1, 3], Gen.Int[16, 150], Gen.Bool), size =>
    {
        var (shared, length, narrow) = size;
        var kind = (1, 40, narrow);
        Tensor[] inputs = [Draw(kind, 2, 2 * shared, length), Draw(kind, 2, 2, length), Draw(kind, 2, 2, length)];
        Tensor[] wide = [.. inputs.Select(x => x.to(ScalarType.Float32, copy: true).requires_grad_())];
        Tensor back = Draw(kind, 2, 2 * shared, length), logarithms = empty([2, 2 * shared, length]);
        FusedAttention(wide[0], wide[1], wide[2], causal: true).backward([back.to(ScalarType.Float32)]);
        Tensor[] kept = [.. inputs, TiledAttention.Apply(inputs[0], inputs[1], inputs[2], logarithms: logarithms), logarithms, back];
        var everyWidth = new[]
        {
            TiledAttentionFunction.Gradients<Vector512<float>, Width512>(kept),
            TiledAttentionFunction.Gradients<Vector256<float>, Width256>(kept),
            TiledAttentionFunction.Gradients<Vector128<float>, Width128>(kept),
        };
        Assert.All(everyWidth, gradients =>
        {
            Close.Within(2 * Tolerance(narrow), wide[0].grad!, gradients.Queries, $"{size}, queries");
            Close.Within(2 * Tolerance(narrow), wide[1].grad!, gradients.Keys, $"{size}, keys");
            Close.Within(2 * Tolerance(narrow), wide[2].grad!, gradients.Values, $"{size}, values");
        });
    }, times: 12);

    [Fact]
    public void Widened_products_and_their_gradients_are_the_frameworks() => Check(Gen.Select(Gen.Int[1, 40], Gen.Int[1, 67], Gen.Int[1, 19]), size =>
    {
        var kind = (size.Item1, size.Item2, true);
        Tensor x = Draw(kind, 2, size.Item1), weight = Draw(kind, size.Item3), bias = Draw((1, size.Item3, true)), other = Draw(kind, 2, 5).transpose(1, 2);
        Compare(kind, [x], wide => nn.functional.linear(wide[0], weight.to(ScalarType.Float32), bias.to(ScalarType.Float32)),
            own => WidenedMatmul.Linear(own[0], weight, bias), Draw((1, size.Item3, true), 2, size.Item1));
        Tensor rows = x.view(-1, size.Item2);
        Close.Within(Tolerance(true), rows.to(ScalarType.Float32).mm(weight.to(ScalarType.Float32).t()), WidenedMatmul.Mm(rows, weight.t()), $"{size}");
        Close.Within(Tolerance(true), x.to(ScalarType.Float32).bmm(other.to(ScalarType.Float32)), WidenedMatmul.Bmm(x, other), $"{size}");
        using (no_grad())
        {
            Close.Within(Tolerance(true), nn.functional.linear(x.to(ScalarType.Float32), weight.to(ScalarType.Float32)), WidenedMatmul.Linear(x, weight, null), $"{size}");
        }
    });

    private static double Tolerance(bool narrow) => narrow ? 1e-2 : 1e-4;

    private static Tensor Draw((int Rows, int Width, bool Narrow) size, params ReadOnlySpan<long> shape) =>
        randn([.. shape, size.Width]).to(size.Narrow ? ScalarType.BFloat16 : ScalarType.Float32);

    /// <summary>Results and gradients of our own function beside those of the framework's operators on the same numbers in float32.</summary>
    private static void Compare(
        (int Rows, int Width, bool Narrow) size, Tensor[] inputs, Func<Tensor[], Tensor> framework, Func<Tensor[], Tensor> own, Tensor back)
    {
        Tensor[] wide = [.. inputs.Select(x => x.detach().to(ScalarType.Float32, copy: true).requires_grad_())];
        Tensor[] leaves = [.. inputs.Select(x => x.detach().clone().requires_grad_())];
        Tensor expected = framework(wide), actual = own(leaves);
        Close.Within(Tolerance(size.Narrow), expected.detach(), actual.detach(), $"{size}, forward");
        autograd.backward([expected], [back.to(ScalarType.Float32)]);
        autograd.backward([actual], [back]);
        for (int i = 0; i < inputs.Length; i++)
        {
            Close.Within(2 * Tolerance(size.Narrow), wide[i].grad!, leaves[i].grad!, $"{size}, gradient {i}");
        }
    }
}
