using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>Operators that only accelerators use, tested on the CPU.</summary>
public sealed class DeviceKernelsTests
{
    [Fact]
    public void RMS_norm_by_TorchScript_equals_the_formula_and_its_gradient()
    {
        using var scope = NewDisposeScope();
        using var random = new RandomSource(2).Stream("norm");
        foreach (var (type, epsilon, tolerance) in new[] { (ScalarType.Float32, 1e-5, 1e-5), (ScalarType.Float32, 0.25, 1e-5),
            (ScalarType.BFloat16, 1e-6, 0.02) })
        {
            Tensor weight = (random.Uniform(48) + 0.5).to(type), back = random.Normal(2, 7, 48).to(type),
                x = random.Normal(2, 7, 48).to(type);
            Tensor Slope(Func<Tensor, Tensor> norm, ScalarType wide, out Tensor value)
            {
                Tensor leaf = x.to(wide, copy: true).requires_grad_();
                value = norm(leaf);
                value.backward([back.to(value.dtype)]);
                return leaf.grad!;
            }

            Tensor expected = Slope(
                wide => wide * (wide.pow(2).mean([-1L], keepdim: true) + epsilon).rsqrt() * weight.to(ScalarType.Float32),
                    ScalarType.Float32, out Tensor formula);
            Close.Within(tolerance, expected,
                Slope(own => TorchScriptKernels.RootMeanSquareNorm(own, weight, epsilon), type, out Tensor scripted), "gradient");
            Close.Within(tolerance, formula.detach(), scripted.detach(), "norm");
        }
    }

    [Fact]
    public void Gelu_with_tanh_approximation_equals_the_formula()
    {
        using var scope = NewDisposeScope();
        Tensor x = linspace(-6, 6, 1001), inner = Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x.pow(3)));
        Close.Within(1e-6, 0.5 * x * (1 + inner.tanh()), DeviceKernels.GeluTanh(x), "gelu");
    }

    [Fact]
    public void The_CPU_has_no_flash_attention_by_TorchScript() => Assert.False(TorchScriptKernels.IsFlashAttentionAvailable(CPU));

    [Fact]
    public void Rotary_embedding_by_libtorch_equals_the_SIMD_kernel()
    {
        using var scope = NewDisposeScope();
        using var random = new RandomSource(4).Stream("turn");
        foreach (int dimensions in new[] { 24, 16 })
        {
            Tensor heads = random.Normal(2, 5, 3, 24), angle = random.Normal(5, dimensions / 2), sine = angle.sin();
            Tensor cosines = cat([angle.cos(), angle.cos()], -1), sines = cat([sine.neg(), sine], -1);
            foreach (bool back in new[] { false, true })
            {
                Tensor expected = DeviceKernels.ApplyRotary(heads, cosines, sines, inverse: back, mayOverwrite: false);

                // The SIMD kernel requires contiguous tables.
                Tensor apart = cat([sines, sines], -1).narrow(-1, 0, dimensions);
                Close.Within(1e-6, expected, DeviceKernels.ApplyRotary(heads, cosines, apart, inverse: back, mayOverwrite: false),
                    $"{dimensions} features");
            }

            Tensor there = DeviceKernels.ApplyRotary(heads, cosines, sines, inverse: false, mayOverwrite: false);
            Close.Within(1e-6, heads, DeviceKernels.ApplyRotary(there, cosines, sines, inverse: true, mayOverwrite: false),
                "there and back");
        }
    }
}
