using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Evaluation;

/// <summary>Computes logits in chunks of positions, to bound the memory for <c>[positions, vocab]</c> in float32.</summary>
internal static class LogitChunks
{
    private const int Positions = 128;

    /// <summary>Computes the logits of hidden states, chunk by chunk.</summary>
    /// <param name="model">The model.</param>
    /// <param name="hiddenStates"><c>[positions, hidden]</c>.</param>
    /// <param name="gates">The gates under which they were computed; null for none.</param>
    /// <param name="action">
    /// Receives the first position of a chunk and its logits <c>[chunk, vocab]</c>, float32, which are disposed afterwards.
    /// </param>
    public static void ForEach(IPrunableModel model, Tensor hiddenStates, Gates? gates, Action<int, Tensor> action)
    {
        int total = (int)hiddenStates.shape[0];
        for (int first = 0; first < total; first += Positions)
        {
            using var chunk = NewDisposeScope();
            Tensor positions = hiddenStates.narrow(0, first, Math.Min(Positions, total - first));
            action(first, model.ApplyLmHead(positions, gates).to(ScalarType.Float32));
        }
    }
}
