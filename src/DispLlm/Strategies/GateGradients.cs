using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// The model's half of a learning step: what closing or opening each gate would do to the next-token loss. This is the seam between model
/// and hypernetwork: gates go in, their gradient comes out, and whatever lies between (several windows, several devices) stays on this side.
/// </summary>
/// <param name="CrossEntropy">Mean next-token cross-entropy over all windows, in nats a token.</param>
/// <param name="Gradient"><c>[gates]</c>, float32: d cross-entropy / d gate. The holder disposes it.</param>
public sealed record GateGradients(double CrossEntropy, Tensor Gradient) : IDisposable
{
    /// <summary>Runs windows through the gated model and back.</summary>
    /// <param name="model">The model; its weights are frozen.</param>
    /// <param name="gates"><c>[gates]</c>, float32. The same draw serves every window.</param>
    /// <param name="order">Norm or selection first.</param>
    /// <param name="windows">Token windows <c>[batch, seq]</c>; loss is the mean over their next-token predictions.</param>
    /// <param name="distillation">How much of the loss is the divergence from the dense model's predictions: 0 (default) to 1.</param>
    /// <param name="memory">What is kept for the way back. Default: what fits.</param>
    /// <param name="cancellationToken">Looked at between windows.</param>
    public static GateGradients Compute(
        IPrunableModel model,
        Tensor gates,
        NormOrder order,
        IReadOnlyList<Tensor> windows,
        double distillation = 0,
        ActivationCheckpointing memory = ActivationCheckpointing.Automatic,
        CancellationToken cancellationToken = default) =>
        Compute(model, gates, order, windows, new ActivationCheckpointingPolicy(memory, model), distillation, cancellationToken);

    /// <summary>The same in one of several steps, which choose once what they keep.</summary>
    internal static GateGradients Compute(
        IPrunableModel model,
        Tensor gates,
        NormOrder order,
        IReadOnlyList<Tensor> windows,
        ActivationCheckpointingPolicy kept,
        double distillation = 0,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(gates);
        ArgumentNullException.ThrowIfNull(windows);
        using var scope = NewDisposeScope();
        Tensor leaf = gates.detach().clone().requires_grad_();
        long predictions = windows.Sum(Predictions);
        double crossEntropy = 0;
        foreach (var window in windows)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var step = NewDisposeScope();
            double share = (double)Predictions(window) / predictions;
            var gated = new Gates(leaf, order) { CheckpointActivations = kept.For(window) == ActivationCheckpointing.PerBlock };
            crossEntropy += share * (distillation == 0
                ? Learn(model, window, gated, share)
                : Distil(model, window, gated, share, distillation));
        }

        Tensor gradient = leaf.grad ?? zeros_like(leaf);
        return new GateGradients(crossEntropy, gradient.detach().clone().MoveToOuterDisposeScope());
    }

    /// <inheritdoc/>
    public void Dispose() => Gradient.Dispose();

    /// <summary>Takes the gradient of the text's cross-entropy back to the gates; returns that loss, in nats a token.</summary>
    private static double Learn(IPrunableModel model, Tensor window, Gates gates, double share)
    {
        long last = window.shape[1] - 1;
        Tensor logits = model.Logits(window.narrow(1, 0, last), gates);
        Tensor next = window.narrow(1, 1, last).reshape(-1).to(logits.device);
        Tensor rows = logits.view(-1, logits.shape[^1]);
        var (loss, slope) = CausalLmLoss.ComputeWithGradient(rows.detach(), next);
        autograd.backward([rows], [slope.MulScalarInPlace(share)]);
        return loss;
    }

    /// <summary>The same, with part of the loss towards the dense model's predictions: Kullback-Leibler divergence, in nats a token.</summary>
    private static double Distil(IPrunableModel model, Tensor window, Gates gates, double share, double distillation)
    {
        long last = window.shape[1] - 1;
        Tensor teacher;
        using (no_grad())
        {
            teacher = model.Logits(window).narrow(1, 0, last).to(ScalarType.Float32).log_softmax(-1);
        }

        Tensor student = model.Logits(window, gates).narrow(1, 0, last).to(ScalarType.Float32).log_softmax(-1);
        Tensor next = window.narrow(1, 1, last).to(student.device).unsqueeze(-1);
        Tensor text = -student.gather(-1, next).mean();
        Tensor dense = (teacher.exp() * (teacher - student)).sum(-1).mean();
        text.MulScalar(1 - distillation).Add(dense.MulScalar(distillation)).MulScalar(share).backward();
        return text.ReadDouble();
    }

    private static long Predictions(Tensor tokens) => tokens.shape[0] * (tokens.shape[1] - 1);
}
