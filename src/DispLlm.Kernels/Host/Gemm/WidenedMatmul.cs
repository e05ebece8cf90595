using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DispLlm.Kernels;

/// <summary>
/// Products of bfloat16 numbers in float32: for processors without units for bfloat16. A weight is widened for the time of one product; sums are
/// float32 in either case, and the result is rounded once.
/// </summary>
internal static class WidenedMatmul
{
    /// <summary>Whether this is the faster way.</summary>
    public static bool CanHandle(Tensor x) => !BFloat16Support.IsAvailable && x.dtype == ScalarType.BFloat16 && x.device_type == DeviceType.CPU;

    /// <summary><c>[..., in] -> [..., out]</c>, differentiable in the input.</summary>
    public static Tensor Linear(Tensor x, Tensor weight, Tensor? bias) => x.requires_grad && is_grad_enabled()
        ? WideLinear.Of(x, weight, bias)
        : Projected(x, weight, bias);

    /// <summary>Two matrices' product.</summary>
    public static Tensor Mm(Tensor a, Tensor b) => Rounded(() => Wide(a).mm(Wide(b)));

    /// <summary>The product of each of some matrices with its own other.</summary>
    public static Tensor Bmm(Tensor a, Tensor b) => Rounded(() => Wide(a).bmm(Wide(b)));

    private static Tensor Wide(Tensor x) => x.to(ScalarType.Float32);

    private static Tensor Projected(Tensor x, Tensor weight, Tensor? bias) =>
        Rounded(() => functional.linear(Wide(x), Wide(weight), bias is null ? null : Wide(bias)));

    private static Tensor Rounded(Func<Tensor> product)
    {
        using var scope = NewDisposeScope();
        return product().to(ScalarType.BFloat16).MoveToOuterDisposeScope();
    }

    /// <summary>A projection with a frozen weight: it is widened again on the way back, where the framework would keep it wide.</summary>
    private sealed class WideLinear : autograd.SingleTensorFunction<WideLinear>
    {
        public override string Name => nameof(WideLinear);

        public static Tensor Of(Tensor x, Tensor weight, Tensor? bias) => apply(x, weight, bias!);

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            var (x, weight, bias) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor?)vars[2]);
            ctx.save_for_backward([weight]);
            return Projected(x, weight, bias);
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
        {
            using var scope = new AutogradBackwardScope(grad_output);
            Tensor weight = ctx.get_saved_variables()[0];
            return [scope.Return(Rounded(() => Wide(grad_output).matmul(Wide(weight)))), null!, null!];
        }
    }
}
