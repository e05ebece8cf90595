using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// A root-mean-square norm with its way back in one pass each. It keeps its input, where the framework keeps a tensor for every step of the formula; the norm's weight is frozen.
/// </summary>
internal sealed class RmsNormFunction : autograd.SingleTensorFunction<RmsNormFunction>
{
    public override string Name => nameof(RmsNormFunction);

    /// <summary>The norm of <c>[..., d]</c>, differentiable in it. Tensors are such as <see cref="RowKernels.For"/> says.</summary>
    public static Tensor Apply(Tensor x, Tensor weight, double epsilon) => apply(x, weight, epsilon);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (x, weight, epsilon) = ((Tensor)vars[0], (Tensor)vars[1], (double)vars[2]);
        ctx.save_for_backward([x, weight]);
        ctx.save_data(nameof(epsilon), epsilon);
        return RowKernels.For(x, weight)!.Norm(x, weight, null, centred: false, epsilon, index: null);
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var saved = ctx.get_saved_variables();
        double epsilon = (double)ctx.get_data(nameof(epsilon));
        return [scope.Return(RowKernels.For(saved[0])!.NormBackward(saved[0], saved[1], epsilon, grad_output.contiguous())), null!, null!];
    }
}

/// <summary><c>gate * sigmoid(gate) * up</c> with its way back in one pass each. It keeps both inputs and nothing between.</summary>
internal sealed class SwiGluFunction : autograd.SingleTensorFunction<SwiGluFunction>
{
    public override string Name => nameof(SwiGluFunction);

    /// <summary>The hidden features <c>[..., d_ff]</c>, differentiable in both. Tensors are such as <see cref="RowKernels.For"/> says.</summary>
    public static Tensor Apply(Tensor gate, Tensor up) => apply(gate, up);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (gate, up) = ((Tensor)vars[0], (Tensor)vars[1]);
        ctx.save_for_backward([gate, up]);
        return RowKernels.For(gate, up)!.SwiGlu(gate, up, inPlace: false);
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var saved = ctx.get_saved_variables();
        var (gate, up) = RowKernels.For(saved[0])!.SwiGluBackward(saved[0], saved[1], grad_output.contiguous());
        return [scope.Return(gate), scope.Return(up)];
    }
}

/// <summary>The rotation of queries and keys by their positions: the way back is the rotation the other way round.</summary>
internal sealed class RotaryFunction : autograd.SingleTensorFunction<RotaryFunction>
{
    public override string Name => nameof(RotaryFunction);

    /// <summary>Turns <c>[batch, seq, heads, head]</c>, differentiable in it.</summary>
    public static Tensor Apply(Tensor heads, Tensor cosine, Tensor sine) => apply(heads, cosine, sine);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (heads, cosine, sine) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor)vars[2]);
        ctx.save_for_backward([cosine, sine]);
        return DeviceKernels.ApplyRotary(heads, cosine, sine, back: false, mayWrite: false);
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var saved = ctx.get_saved_variables();
        return [scope.Return(DeviceKernels.ApplyRotary(grad_output, saved[0], saved[1], back: true, mayWrite: false)), null!, null!];
    }
}
