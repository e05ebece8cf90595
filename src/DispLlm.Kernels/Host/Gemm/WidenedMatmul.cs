using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DispLlm.Kernels;

/// <summary>
/// Matrix multiplication of bfloat16 in float32, for processors without AVX512-BF16. A weight is converted for each multiplication. Sums
/// are float32 in either case; the result is rounded once.
/// </summary>
internal static class WidenedMatmul
{
    /// <summary>Whether this is faster than libtorch.</summary>
    public static bool CanHandle(Tensor x) =>
        !BFloat16Support.IsAvailable && x.dtype == ScalarType.BFloat16 && x.device_type == DeviceType.CPU;

    /// <summary><c>[..., in] -> [..., out]</c>, differentiable in the input.</summary>
    public static Tensor Linear(Tensor x, Tensor weight, Tensor? bias) => x.requires_grad && is_grad_enabled()
        ? WidenedLinear.Apply(x, weight, bias)
        : Project(x, weight, bias);

    /// <summary>Two matrices.</summary>
    public static Tensor Mm(Tensor a, Tensor b) => Round(() => Widen(a).mm(Widen(b)));

    /// <summary>Batches of matrices.</summary>
    public static Tensor Bmm(Tensor a, Tensor b) => Round(() => Widen(a).bmm(Widen(b)));

    private static Tensor Widen(Tensor x) => x.to(ScalarType.Float32);

    private static Tensor Project(Tensor x, Tensor weight, Tensor? bias) =>
        Round(() => functional.linear(Widen(x), Widen(weight), bias is null ? null : Widen(bias)));

    private static Tensor Round(Func<Tensor> product)
    {
        using var scope = NewDisposeScope();
        return product().to(ScalarType.BFloat16).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// A projection with a frozen weight, which is converted again in the backward pass; libtorch would save it in float32.
    /// </summary>
    private sealed class WidenedLinear : autograd.SingleTensorFunction<WidenedLinear>
    {
        public override string Name => nameof(WidenedLinear);

        public static Tensor Apply(Tensor x, Tensor weight, Tensor? bias) => apply(x, weight, bias!);

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            var (x, weight, bias) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor?)vars[2]);
            ctx.save_for_backward([weight]);
            return Project(x, weight, bias);
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
        {
            using var scope = new AutogradBackwardScope(grad_output);
            Tensor weight = ctx.get_saved_variables()[0];
            return [scope.Return(Round(() => Widen(grad_output).matmul(Widen(weight)))), null!, null!];
        }
    }
}
