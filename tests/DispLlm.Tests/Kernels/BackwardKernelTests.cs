using System.Runtime.Intrinsics;
using CsCheck;
using TorchSharp;
using static DispLlm.Tests.Kernels.KernelSamples;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>The custom autograd functions equal libtorch's operators and gradients, in float32 and, up to rounding, in bfloat16.</summary>
public sealed class BackwardKernelTests
{
    private static readonly Gen<(int Rows, int Width, bool IsBFloat16)> s_sizes = Gen.Select(Gen.Int[1, 9], Gen.Int[1, 67], Gen.Bool);

    [Fact]
    public void RmsNormFunction_equals_libtorch() => Check(s_sizes, size =>
    {
        // The norm of a single feature is its sign, whose gradient is rounding error.
        size = size with { Width = size.Width + 3 };
        var (x, weight, back) = (Draw(size, size.Rows), Draw(size), Draw(size, size.Rows));
        Compare(size, [x], wide => wide[0] * (wide[0].pow(2).mean([-1L], keepdim: true) + 1e-5).rsqrt() * weight.to(ScalarType.Float32),
            own => RmsNormFunction.Apply(own[0], weight, 1e-5), back);
    });

    [Fact]
    public void SwiGluFunction_equals_libtorch() => Check(s_sizes, size =>
    {
        Tensor gate = (Draw(size, size.Rows) * 6).detach(), up = Draw(size, size.Rows);
        Compare(size, [gate, up], wide => nn.functional.silu(wide[0]) * wide[1], own => SwiGluFunction.Apply(own[0], own[1]),
            Draw(size, size.Rows));
    });

    [Fact]
    public void RotaryFunction_equals_the_formula() => Check(Gen.Select(Gen.Int[1, 5], Gen.Int[1, 9], Gen.Bool), size =>
    {
        // The first 2 * half of 24 features are rotated.
        int half = size.Item2;
        var kind = (size.Item1, 24, size.Item3);
        Tensor x = Draw(kind, 1, size.Item1, 3), angle = randn(size.Item1, half), angles = cat([angle, angle], -1);
        Tensor cosine = angles.cos().to(x.dtype), sine = cat([angle.sin().neg(), angle.sin()], -1).to(x.dtype);
        Tensor Rotated(Tensor wide)
        {
            Tensor rotated = wide.narrow(-1, 0, 2 * half), first = rotated.narrow(-1, 0, half), second = rotated.narrow(-1, half, half);
            Tensor c = cosine.to(ScalarType.Float32).unsqueeze(1), s = sine.to(ScalarType.Float32).unsqueeze(1);
            return cat([(rotated * c) + (cat([second, first], -1) * s), wide.narrow(-1, 2 * half, 24 - (2 * half))], -1);
        }

        Compare(kind, [x], wide => Rotated(wide[0]), own => RotaryFunction.Apply(own[0], cosine, sine), Draw(kind, 1, size.Item1, 3));
    });

    [Theory]
    [InlineData(24, true)]
    [InlineData(24, false)]
    [InlineData(33, true)]
    [InlineData(64, true)]
    public void Attention_functions_equal_libtorch(int head, bool tiled) =>
        Check(Gen.Select(Gen.Int[1, 3], Gen.Int[16, 300], Gen.Bool), size =>
    {
        // The gradient of a query that sees one key is rounding error, so there are at least 16 positions.
        var (shared, length, isBFloat16) = size;
        var kind = (1, head, isBFloat16);
        Tensor query = Draw(kind, 2, 2 * shared, length), key = Draw(kind, 2, length, 2).transpose(1, 2), value = Draw(kind, 2, 2, length);
        Compare(kind, [query, key, value], wide => FusedAttention(wide[0], wide[1], wide[2], causal: true),
            own => tiled ? TiledAttentionFunction.Apply(own[0], own[1], own[2]) : MatmulAttentionFunction.Apply(own[0], own[1], own[2]),
                Draw(kind, 2, 2 * shared, length));
    }, times: 20);

    [Fact]
    public void Tiled_attention_backward_equals_libtorch_at_every_vector_width() =>
        Check(Gen.Select(Gen.Int[1, 3], Gen.Int[16, 150], Gen.Bool), size =>
    {
        var (shared, length, isBFloat16) = size;
        var kind = (1, 40, isBFloat16);
        Tensor[] inputs = [Draw(kind, 2, 2 * shared, length), Draw(kind, 2, 2, length), Draw(kind, 2, 2, length)];
        Tensor[] wide = [.. inputs.Select(x => x.to(ScalarType.Float32, copy: true).requires_grad_())];
        Tensor back = Draw(kind, 2, 2 * shared, length), logSumExp = empty([2, 2 * shared, length]);
        FusedAttention(wide[0], wide[1], wide[2], causal: true).backward([back.to(ScalarType.Float32)]);
        Tensor[] saved = [.. inputs, TiledAttention.Apply(inputs[0], inputs[1], inputs[2], logSumExp: logSumExp), logSumExp, back];
        var everyWidth = new[]
        {
            TiledAttentionFunction.Gradients<Vector512<float>, Width512>(saved),
            TiledAttentionFunction.Gradients<Vector256<float>, Width256>(saved),
            TiledAttentionFunction.Gradients<Vector128<float>, Width128>(saved),
        };
        Assert.All(everyWidth, gradients =>
        {
            Close.Within(2 * Tolerance(isBFloat16), wide[0].grad!, gradients.Queries, $"{size}, queries");
            Close.Within(2 * Tolerance(isBFloat16), wide[1].grad!, gradients.Keys, $"{size}, keys");
            Close.Within(2 * Tolerance(isBFloat16), wide[2].grad!, gradients.Values, $"{size}, values");
        });
    }, times: 12);

    [Fact]
    public void WidenedMatmul_and_its_gradient_equal_libtorch() => Check(Gen.Select(Gen.Int[1, 40], Gen.Int[1, 67], Gen.Int[1, 19]), size =>
    {
        var kind = (size.Item1, size.Item2, true);
        Tensor x = Draw(kind, 2, size.Item1), weight = Draw(kind, size.Item3), bias = Draw((1, size.Item3, true)),
            other = Draw(kind, 2, 5).transpose(1, 2);
        Compare(kind, [x], wide => nn.functional.linear(wide[0], weight.to(ScalarType.Float32), bias.to(ScalarType.Float32)),
            own => WidenedMatmul.Linear(own[0], weight, bias), Draw((1, size.Item3, true), 2, size.Item1));
        Tensor rows = x.view(-1, size.Item2);
        Close.Within(Tolerance(true), rows.to(ScalarType.Float32).mm(weight.to(ScalarType.Float32).t()),
            WidenedMatmul.Mm(rows, weight.t()), $"{size}");
        Close.Within(Tolerance(true), x.to(ScalarType.Float32).bmm(other.to(ScalarType.Float32)), WidenedMatmul.Bmm(x, other), $"{size}");
        using (no_grad())
        {
            Close.Within(Tolerance(true), nn.functional.linear(x.to(ScalarType.Float32), weight.to(ScalarType.Float32)),
                WidenedMatmul.Linear(x, weight, null), $"{size}");
        }
    });

    private static double Tolerance(bool isBFloat16) => isBFloat16 ? 1e-2 : 1e-4;

    private static Tensor Draw((int Rows, int Width, bool IsBFloat16) size, params ReadOnlySpan<long> shape) =>
        randn([.. shape, size.Width]).to(size.IsBFloat16 ? ScalarType.BFloat16 : ScalarType.Float32);

    /// <summary>
    /// Compares results and gradients of a custom function with those of libtorch's operators on the same numbers in float32.
    /// </summary>
    private static void Compare(
        (int Rows, int Width, bool IsBFloat16) size, Tensor[] inputs, Func<Tensor[], Tensor> reference, Func<Tensor[], Tensor> own,
            Tensor back)
    {
        Tensor[] wide = [.. inputs.Select(x => x.detach().to(ScalarType.Float32, copy: true).requires_grad_())];
        Tensor[] leaves = [.. inputs.Select(x => x.detach().clone().requires_grad_())];
        Tensor expected = reference(wide), actual = own(leaves);
        Close.Within(Tolerance(size.IsBFloat16), expected.detach(), actual.detach(), $"{size}, forward");
        autograd.backward([expected], [back.to(ScalarType.Float32)]);
        autograd.backward([actual], [back]);
        for (int i = 0; i < inputs.Length; i++)
        {
            Close.Within(2 * Tolerance(size.IsBFloat16), wide[i].grad!, leaves[i].grad!, $"{size}, gradient {i}");
        }
    }
}
