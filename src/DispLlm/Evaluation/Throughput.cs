using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>How fast models read, measured side by side.</summary>
public static class Throughput
{
    /// <summary>
    /// Measures how many tokens a second each model reads. The models take turns, round by round, so that a machine whose speed drifts
    /// treats them alike; the median round counts. Ratios between models of one call mean something, absolute figures little.
    /// </summary>
    /// <param name="models">The models to compare.</param>
    /// <param name="length">Tokens of one forward pass.</param>
    /// <param name="rounds">Measured rounds, after one that is not.</param>
    /// <param name="cancellationToken">Looked at between rounds.</param>
    /// <returns>Tokens per second of each model, in the order given.</returns>
    public static IReadOnlyList<double> Prefill(
        IReadOnlyList<IPrunableModel> models, int length = 256, int rounds = 5, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(models);
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(rounds, 1);
        double[][] seconds = [.. models.Select(_ => new double[rounds])];
        using var noGradient = no_grad();
        for (int round = -1; round < rounds; round++)
        {
            for (int i = 0; i < models.Count; i++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                Tensor tokens = arange(length, ScalarType.Int64).remainder(models[i].Spec.VocabularySize).unsqueeze(0);
                long start = Stopwatch.GetTimestamp();

                // Reading one number back waits for a device that computes asynchronously.
                _ = models[i].Logits(tokens).amax([]).to(ScalarType.Float32).ToSingle();
                if (round >= 0)
                {
                    seconds[i][round] = Stopwatch.GetElapsedTime(start).TotalSeconds;
                }
            }
        }

        return [.. seconds.Select(times => length / times.Order().ElementAt(rounds / 2))];
    }
}
