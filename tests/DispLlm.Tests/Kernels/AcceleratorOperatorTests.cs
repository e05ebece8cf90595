using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>What accelerators compute by other operators than the CPU is the same thing: tried on the CPU, which has these operators too.</summary>
public sealed class AcceleratorOperatorTests
{
    [Fact]
    public void Scripted_norms_are_the_formula_with_its_gradient()
    {
        using var scope = NewDisposeScope();
        using var random = new RandomSource(2).Stream("norm");
        foreach (var (type, epsilon, tolerance) in new[] { (ScalarType.Float32, 1e-5, 1e-5), (ScalarType.Float32, 0.25, 1e-5), (ScalarType.BFloat16, 1e-6, 0.02) })
        {
            Tensor weight = (random.Uniform(48) + 0.5).to(type), back = random.Normal(2, 7, 48).to(type), x = random.Normal(2, 7, 48).to(type);
            Tensor Slope(Func<Tensor, Tensor> norm, ScalarType wide, out Tensor value)
            {
                Tensor leaf = x.to(wide, copy: true).requires_grad_();
                value = norm(leaf);
                value.backward([back.to(value.dtype)]);
                return leaf.grad!;
            }

            Tensor expected = Slope(
                wide => wide * (wide.pow(2).mean([-1L], keepdim: true) + epsilon).rsqrt() * weight.to(ScalarType.Float32), ScalarType.Float32, out Tensor formula);
            Close.Within(tolerance, expected, Slope(own => TorchScriptKernels.RootMeanSquareNorm(own, weight, epsilon), type, out Tensor scripted), "gradient");
            Close.Within(tolerance, formula.detach(), scripted.detach(), "norm");
        }
    }

    [Fact]
    public void A_device_without_the_flash_kernel_is_told_by_trying() => Assert.False(TorchScriptKernels.IsFlashAttentionAvailable(CPU));

    [Fact]
    public void Turns_in_the_frameworks_operators_are_those_of_vector_code()
    {
        using var scope = NewDisposeScope();
        using var random = new RandomSource(4).Stream("turn");
        foreach (int turning in new[] { 24, 16 })
        {
            Tensor heads = random.Normal(2, 5, 3, 24), angle = random.Normal(5, turning / 2), sine = angle.sin();
            Tensor cosines = cat([angle.cos(), angle.cos()], -1), sines = cat([sine.neg(), sine], -1);
            foreach (bool back in new[] { false, true })
            {
                Tensor expected = DeviceKernels.ApplyRotary(heads, cosines, sines, back, mayWrite: false);

                // Vector code wants its tables in one piece.
                Tensor apart = cat([sines, sines], -1).narrow(-1, 0, turning);
                Close.Within(1e-6, expected, DeviceKernels.ApplyRotary(heads, cosines, apart, back, mayWrite: false), $"{turning} features");
            }

            Tensor there = DeviceKernels.ApplyRotary(heads, cosines, sines, back: false, mayWrite: false);
            Close.Within(1e-6, heads, DeviceKernels.ApplyRotary(there, cosines, sines, back: true, mayWrite: false), "there and back");
        }
    }
}
