using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// The model's half of a learning step: what closing or opening each gate would do to the next-token loss. Gates go in, their gradient
/// comes out; accumulation, activation checkpointing and devices stay on this side. Not thread-safe to dispose while in use; the
/// computation may run on any one thread.
/// </summary>
/// <param name="CrossEntropy">Mean next-token cross-entropy over all sequences, in nats a token.</param>
/// <param name="Gradient"><c>[gates]</c>, float32: d cross-entropy / d gate. The holder disposes it.</param>
public sealed record GateGradients(double CrossEntropy, Tensor Gradient) : IDisposable
{
    /// <summary>Computes the forward and the backward pass of the gated model, and keeps the activations that fit into memory.</summary>
    /// <param name="model">The model; its weights are frozen.</param>
    /// <param name="gates"><c>[gates]</c>, float32. The same sample serves every batch.</param>
    /// <param name="order">Norm or selection first.</param>
    /// <param name="batches">Tokens <c>[batch, seq]</c>, int64; the loss is the mean over their next-token predictions.</param>
    /// <param name="cancellationToken">Looked at between batches.</param>
    public static GateGradients Compute(
        IPrunableModel model, Tensor gates, NormOrder order, IReadOnlyList<Tensor> batches,
            CancellationToken cancellationToken = default) =>
        Compute(model, gates, order, batches, ActivationCheckpointing.Automatic, cancellationToken);

    /// <summary>Computes the forward and the backward pass of the gated model.</summary>
    /// <param name="model">The model; its weights are frozen.</param>
    /// <param name="gates"><c>[gates]</c>, float32. The same sample serves every batch.</param>
    /// <param name="order">Norm or selection first.</param>
    /// <param name="batches">Tokens <c>[batch, seq]</c>, int64; the loss is the mean over their next-token predictions.</param>
    /// <param name="memory">Which activations are saved for the backward pass.</param>
    /// <param name="cancellationToken">Looked at between batches.</param>
    public static GateGradients Compute(
        IPrunableModel model,
        Tensor gates,
        NormOrder order,
        IReadOnlyList<Tensor> batches,
        ActivationCheckpointing memory,
        CancellationToken cancellationToken = default) =>
        Compute(model, new Gates(gates, order), batches, new ActivationCheckpointingPolicy(memory, model), 0, cancellationToken);

    /// <summary>The same for gates that say where they act.</summary>
    /// <param name="model">The model; its weights are frozen.</param>
    /// <param name="gates">The gates. The same sample serves every batch.</param>
    /// <param name="batches">Tokens <c>[batch, seq]</c>, int64; the loss is the mean over their next-token predictions.</param>
    /// <param name="memory">Which activations are saved for the backward pass.</param>
    /// <param name="cancellationToken">Looked at between batches.</param>
    public static GateGradients Compute(
        IPrunableModel model, Gates gates, IReadOnlyList<Tensor> batches, ActivationCheckpointing memory,
        CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(gates);
        return Compute(model, gates, batches, new ActivationCheckpointingPolicy(memory, model), 0, cancellationToken);
    }

    /// <summary>The same in one of several steps, which choose once which activations they save.</summary>
    /// <param name="model">The model.</param>
    /// <param name="gates">The gates, and where they act.</param>
    /// <param name="batches">Tokens.</param>
    /// <param name="checkpointing">Chooses which activations are saved.</param>
    /// <param name="distillation">The share of the loss that is the divergence from the dense model's predictions, 0 to 1.</param>
    /// <param name="cancellationToken">Looked at between batches.</param>
    internal static GateGradients Compute(
        IPrunableModel model,
        Gates gates,
        IReadOnlyList<Tensor> batches,
        ActivationCheckpointingPolicy checkpointing,
        double distillation,
        CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(gates.Values);
        ArgumentNullException.ThrowIfNull(batches);
        using var scope = NewDisposeScope();
        Tensor leaf = gates.Values.detach().clone().requires_grad_();
        long predictions = batches.Sum(Predictions);
        double crossEntropy = 0;
        foreach (var tokens in batches)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var step = NewDisposeScope();
            double share = (double)Predictions(tokens) / predictions;
            var gated = gates with
            {
                Values = leaf,
                CheckpointActivations = checkpointing.For(tokens) == ActivationCheckpointing.PerBlock,
            };
            crossEntropy += share * (distillation == 0
                ? Backward(model, tokens, gated, share)
                : BackwardWithDistillation(model, tokens, gated, share, distillation));
        }

        Tensor gradient = leaf.grad ?? zeros_like(leaf);
        return new GateGradients(crossEntropy, gradient.detach().clone().MoveToOuterDisposeScope());
    }

    /// <inheritdoc/>
    public void Dispose() => Gradient.Dispose();

    /// <summary>Accumulates the gradient of the cross-entropy in the gates; returns that loss, in nats a token.</summary>
    private static double Backward(IPrunableModel model, Tensor tokens, Gates gates, double share)
    {
        long last = tokens.shape[1] - 1;
        Tensor logits = model.Logits(tokens.narrow(1, 0, last), gates);
        Tensor next = tokens.narrow(1, 1, last).reshape(-1).to(logits.device);
        Tensor rows = logits.view(-1, logits.shape[^1]);
        var (loss, slope) = CausalLmLoss.ComputeWithGradient(rows.detach(), next);
        autograd.backward([rows], [slope.MulScalarInPlace(share)]);
        return loss;
    }

    /// <summary>
    /// The same, where a share of the loss is the Kullback-Leibler divergence from the dense model's predictions, in nats a token.
    /// </summary>
    private static double BackwardWithDistillation(IPrunableModel model, Tensor tokens, Gates gates, double share, double distillation)
    {
        long last = tokens.shape[1] - 1;
        Tensor teacher;
        using (no_grad())
        {
            teacher = model.Logits(tokens).narrow(1, 0, last).to(ScalarType.Float32).log_softmax(-1);
        }

        Tensor student = model.Logits(tokens, gates).narrow(1, 0, last).to(ScalarType.Float32).log_softmax(-1);
        Tensor next = tokens.narrow(1, 1, last).to(student.device).unsqueeze(-1);
        Tensor text = -student.gather(-1, next).mean();
        Tensor dense = (teacher.exp() * (teacher - student)).sum(-1).mean();
        text.MulScalar(1 - distillation).Add(dense.MulScalar(distillation)).MulScalar(share).backward();
        return text.ReadDouble();
    }

    private static long Predictions(Tensor tokens) => tokens.shape[0] * (tokens.shape[1] - 1);
}
