using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

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
    /// <param name="cancellationToken">Looked at between windows.</param>
    public static GateGradients Of(
        IPrunableModel model, Tensor gates, NormOrder order, IReadOnlyList<Tensor> windows, CancellationToken cancellationToken = default)
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
            Tensor share = NextTokenLoss.Of(model, window, new Gates(leaf, order)) * ((double)Predictions(window) / predictions);
            share.backward();
            crossEntropy += share.ToDouble();
        }

        Tensor gradient = leaf.grad ?? zeros_like(leaf);
        return new GateGradients(crossEntropy, gradient.detach().clone().MoveToOuterDisposeScope());
    }

    /// <inheritdoc/>
    public void Dispose() => Gradient.Dispose();

    private static long Predictions(Tensor tokens) => tokens.shape[0] * (tokens.shape[1] - 1);
}
