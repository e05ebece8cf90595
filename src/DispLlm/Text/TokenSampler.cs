using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>Chooses the next token of every row from its logits.</summary>
internal static class TokenSampler
{
    /// <param name="logits"><c>[batch, vocab]</c>, float32 on the CPU.</param>
    /// <param name="options">Greedy or sampled, and among which tokens.</param>
    /// <param name="stream">Random numbers; not used where nothing is sampled.</param>
    /// <returns><c>[batch]</c>, int64.</returns>
    public static Tensor Next(Tensor logits, GenerationOptions options, RandomStream stream)
    {
        if (options.Temperature == 0)
        {
            return logits.argmax(-1);
        }

        Tensor scaled = logits.DivScalar(options.Temperature);
        if (options.TopK is { } k && k < scaled.shape[1])
        {
            Tensor least = scaled.topk(k, -1).values.narrow(1, k - 1, 1);
            scaled = scaled.MaskedFill(scaled < least, double.NegativeInfinity);
        }

        if (options.TopP is { } p && p < 1)
        {
            // A token is kept while the likelier ones before it have less than p: the first always is.
            var (sorted, order) = scaled.sort(-1, descending: true);
            Tensor probabilities = sorted.softmax(-1);
            Tensor dropped = (probabilities.cumsum(-1) - probabilities).GreaterOrEqual(p);
            scaled = scaled.MaskedFill(zeros_like(dropped).scatter(-1, order, dropped), double.NegativeInfinity);
        }

        // Gumbel-max: the argmax of logits with Gumbel noise is a sample of their softmax.
        return scaled.Add(stream.Uniform(scaled.shape).AddScalar(1e-20).log().neg().log().neg()).argmax(-1);
    }
}
