using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// A block of which only the input is kept for the way back: there it is computed once more, with what its gradient needs, and let go again. A step then holds
/// the activations of one block instead of all, for the time of one more forward pass. The numbers are the same to the bit.
/// </summary>
internal sealed class CheckpointedBlock : autograd.SingleTensorFunction<CheckpointedBlock>
{
    public override string Name => nameof(CheckpointedBlock);

    /// <summary>The stream behind the block, differentiable in the stream before it and in its gates.</summary>
    /// <param name="stream"><c>[batch, seq, d]</c>.</param>
    /// <param name="gates">The gates of the block, S1 to S5.</param>
    /// <param name="compute">The block: it is called now and on the way back, and needs nothing that is gone by then.</param>
    public static Tensor Apply(Tensor stream, Tensor gates, Func<Tensor, Tensor, Tensor> compute) => apply(stream, gates, compute);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (stream, gates, compute) = ((Tensor)vars[0], (Tensor)vars[1], (Func<Tensor, Tensor, Tensor>)vars[2]);
        ctx.save_for_backward([stream, gates]);
        ctx.save_data("compute", compute);

        // With a gradient recorded, where there was one, and let go of: the same operators run as on the way back, and give the same numbers.
        using var scope = NewDisposeScope();
        using var recorded = enable_grad();
        return compute(stream.detach().requires_grad_(stream.requires_grad), gates.detach().requires_grad_()).detach().MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var saved = ctx.get_saved_variables();
        var compute = (Func<Tensor, Tensor, Tensor>)ctx.get_data("compute");
        using (enable_grad())
        {
            Tensor stream = saved[0].detach().requires_grad_(saved[0].requires_grad), gates = saved[1].detach().requires_grad_();
            Tensor behind = compute(stream, gates);
            autograd.backward([behind], [grad_output]);
            return [stream.grad is { } back ? scope.Return(back) : null!, scope.Return(gates.grad!), null!];
        }
    }
}
