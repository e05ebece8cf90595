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
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
        return Measure(models, length, rounds, (model, watch) =>
        {
            Tensor tokens = Tokens(model, 1, length);
            return watch(() => model.Logits(tokens));
        }, cancellationToken);
    }

    /// <summary>
    /// Measures how many tokens a second each model writes with a cache of keys and values, behind a prompt whose reading does not count. The models take turns as in
    /// <see cref="Prefill"/>.
    /// </summary>
    /// <param name="models">The models to compare.</param>
    /// <param name="batch">Texts written side by side.</param>
    /// <param name="prompt">Tokens in front of each.</param>
    /// <param name="length">Tokens written in each.</param>
    /// <param name="rounds">Measured rounds, after one that is not.</param>
    /// <param name="cancellationToken">Looked at between rounds.</param>
    /// <returns>Tokens per second of each model, all texts together, in the order given.</returns>
    public static IReadOnlyList<double> Decode(
        IReadOnlyList<IPrunableModel> models, int batch = 1, int prompt = 128, int length = 16, int rounds = 5, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(batch, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(prompt, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
        return Measure(models, (long)batch * length, rounds, (model, watch) =>
        {
            using var cache = model.NewCache();
            model.NextTokenLogits(Tokens(model, batch, prompt), cache);
            Tensor token = Tokens(model, batch, 1);
            return watch(() =>
            {
                Tensor last = token;
                for (int i = 0; i < length; i++)
                {
                    last = model.NextTokenLogits(token, cache);
                }

                return last;
            });
        }, cancellationToken);
    }

    private static double[] Measure(
        IReadOnlyList<IPrunableModel> models, long tokens, int rounds, Func<IPrunableModel, Func<Func<Tensor>, double>, double> round, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(models);
        ArgumentOutOfRangeException.ThrowIfLessThan(rounds, 1);
        double[][] seconds = [.. models.Select(_ => new double[rounds])];
        using var noGradient = no_grad();
        for (int turn = -1; turn < rounds; turn++)
        {
            for (int i = 0; i < models.Count; i++)
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                double time = round(models[i], Watch);
                if (turn >= 0)
                {
                    seconds[i][turn] = time;
                }
            }
        }

        return [.. seconds.Select(times => tokens / times.Order().ElementAt(rounds / 2))];
    }

    private static double Watch(Func<Tensor> work)
    {
        long start = Stopwatch.GetTimestamp();

        // Reading one number back waits for a device that computes asynchronously.
        _ = work().amax([]).to(ScalarType.Float32).ToSingle();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static Tensor Tokens(IPrunableModel model, int batch, int length) =>
        arange((long)batch * length, ScalarType.Int64).remainder(model.Spec.VocabularySize).view(batch, length);
}
