using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DispLlm.Evaluation;

/// <summary>The loss of a causal language model. Thread-safe, as long as the model is not disposed meanwhile.</summary>
public static class CausalLmLoss
{
    /// <summary>Mean cross-entropy of <c>tokens[1:]</c> given <c>tokens[:-1]</c>, in nats per token.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokens"><c>[batch, seq]</c>, int64, with seq of at least 2.</param>
    /// <returns>A float32 scalar. The caller disposes it.</returns>
    /// <exception cref="ArgumentException">Tokens of another shape.</exception>
    public static Tensor Compute(IPrunableModel model, Tensor tokens) => Compute(model, tokens, null);

    /// <summary>The same for a gated model; the result is differentiable in <paramref name="gates"/>, which may be null for none.</summary>
    /// <inheritdoc cref="Compute(IPrunableModel, Tensor)" path="/param|/returns|/exception"/>
    public static Tensor Compute(IPrunableModel model, Tensor tokens, Gates? gates)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(tokens);
        if (tokens.dim() != 2 || tokens.shape[1] < 2)
        {
            throw new ArgumentException(
                $"Tokens are [batch, seq] with seq of at least 2, not [{string.Join(", ", tokens.shape)}].", nameof(tokens));
        }

        using var scope = NewDisposeScope();
        long length = tokens.shape[1];
        Tensor logits = model.Logits(tokens.narrow(1, 0, length - 1), gates);
        Tensor targets = tokens.narrow(1, 1, length - 1).reshape(-1).to(logits.device);
        return ComputeFromLogits(logits, targets).MoveToOuterDisposeScope();
    }

    /// <summary>Mean cross-entropy of logits <c>[..., vocab]</c>, in nats per token: a float32 scalar.</summary>
    /// <param name="logits">The logits, of any floating-point type.</param>
    /// <param name="targets">The tokens to predict, <c>[positions]</c>, int64, on the device of the logits.</param>
    internal static Tensor ComputeFromLogits(Tensor logits, Tensor targets) =>
        functional.cross_entropy(logits.view(-1, logits.shape[^1]).to(ScalarType.Float32), targets);

    /// <summary>The loss of logits and its gradient with respect to them, in their type. The caller disposes it.</summary>
    /// <param name="logits"><c>[positions, vocab]</c>, without gradient.</param>
    /// <param name="targets"><c>[positions]</c>, int64.</param>
    internal static (double Loss, Tensor Gradient) ComputeWithGradient(Tensor logits, Tensor targets)
    {
        using var noGradient = no_grad();
        return DeviceKernels.CrossEntropy(logits, targets);
    }
}
