using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Evaluation;

/// <summary>Logits of many positions, some at a time: a vocabulary's worth of float32 for all of them never stands in memory.</summary>
internal static class LogitChunks
{
    private const int Positions = 128;

    /// <summary>Gives the logits of features, piece by piece.</summary>
    /// <param name="model">The model.</param>
    /// <param name="features"><c>[positions, hidden]</c>.</param>
    /// <param name="visit">Told the piece's first position and its logits <c>[piece, vocab]</c>, float32, which belong to the piece.</param>
    public static void Visit(IPrunableModel model, Tensor features, Action<int, Tensor> visit)
    {
        int total = (int)features.shape[0];
        for (int first = 0; first < total; first += Positions)
        {
            using var piece = NewDisposeScope();
            visit(first, model.ApplyLmHead(features.narrow(0, first, Math.Min(Positions, total - first))).to(ScalarType.Float32));
        }
    }
}
