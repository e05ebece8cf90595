using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// Activation checkpointing of a block: only its input is saved for the backward pass, which recomputes the rest. A step then holds the
/// activations of one block
/// instead of all, and takes one more forward pass. The results are the same bit for bit.
/// </summary>
internal sealed class CheckpointedBlock : autograd.SingleTensorFunction<CheckpointedBlock>
{
    public override string Name => nameof(CheckpointedBlock);

    /// <summary>The output of the block, differentiable in its input and in its gates.</summary>
    /// <param name="hidden"><c>[batch, seq, d]</c>.</param>
    /// <param name="gates">The gates of the block, of all its sites.</param>
    /// <param name="uses">Counts the backward pass as a use of the model. Gradients of a disposed model are NaN.</param>
    /// <param name="block">The forward pass of the block. The backward pass calls it again.</param>
    public static Tensor Apply(Tensor hidden, Tensor gates, UseCounter uses, Func<Tensor, Tensor, Tensor> block) =>
        apply(hidden, gates, uses, block);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (hidden, gates, block) = ((Tensor)vars[0], (Tensor)vars[1], (Func<Tensor, Tensor, Tensor>)vars[3]);
        ctx.save_for_backward([hidden, gates]);
        ctx.save_data(nameof(UseCounter), vars[2]);
        ctx.save_data("block", block);

        // With gradients enabled, and detached: the same operators run as in the backward pass, and return the same numbers.
        using var scope = NewDisposeScope();
        using var gradient = enable_grad();
        return block(hidden.detach().requires_grad_(hidden.requires_grad), gates.detach().requires_grad_()).detach()
            .MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var saved = ctx.get_saved_variables();
        if (!((UseCounter)ctx.get_data(nameof(UseCounter))).TryEnter(out var use))
        {
            // The model is disposed. An exception would end the process: it cannot pass through libtorch.
            Tensor? unknown = saved[0].requires_grad ? scope.Return(saved[0].MulScalar(double.NaN)) : null;
            return [unknown!, scope.Return(saved[1].MulScalar(double.NaN)), null!, null!];
        }

        var block = (Func<Tensor, Tensor, Tensor>)ctx.get_data("block");
        using (use)
        using (enable_grad())
        {
            Tensor hidden = saved[0].detach().requires_grad_(saved[0].requires_grad), gates = saved[1].detach().requires_grad_();
            autograd.backward([block(hidden, gates)], [grad_output]);
            return [hidden.grad is { } gradient ? scope.Return(gradient) : null!, scope.Return(gates.grad!), null!, null!];
        }
    }
}
