using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Evaluation;

/// <summary>The memory that a model takes.</summary>
/// <param name="Weights">Bytes of its weights in the compute type: exact.</param>
/// <param name="Pass">
/// Bytes by which the process's resident memory rose at most during a forward pass, beyond weights and all else that was there before; null where that cannot be told: other systems than
/// Linux, tensors that are not on the CPU.
/// </param>
public sealed record MemoryUse(long Weights, long? Pass);

/// <summary>How fast models read and write, and in how much memory, measured side by side.</summary>
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
            using var cache = model.CreateKeyValueCache() ?? throw new NotSupportedException($"{model.GetType().Name} has no key-value caches to decode with.");
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

    /// <summary>
    /// Measures the memory that each model takes: its weights, and what one forward pass needs besides. The models take turns, so that one process can tell them apart; the process's own
    /// highest value (<see cref="BackendMemory.PeakProcessBytes"/>) is that of all of them together. The median round counts.
    /// </summary>
    /// <param name="models">The models to compare.</param>
    /// <param name="length">Tokens of one forward pass.</param>
    /// <param name="rounds">Measured rounds, after one that is not.</param>
    /// <param name="cancellationToken">Looked at between rounds.</param>
    /// <returns>The memory of each model, in the order given.</returns>
    public static IReadOnlyList<MemoryUse> Memory(IReadOnlyList<IPrunableModel> models, int length = 256, int rounds = 3, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
        var passes = MediansInTurn(models, rounds, model =>
        {
            Tensor tokens = Tokens(model, 1, length);
            var (backend, layers) = (model.Backend, model.Spec.NumLayers);
            bool onHost = Enumerable.Range(0, layers).Select(block => backend.GetBlockDevice(block, layers)).Append(backend.Device).All(device => device.type == DeviceType.CPU);
            return PeakResidentMemory.During(onHost, () => model.Logits(tokens));
        }, cancellationToken);
        return [.. models.Zip(passes, (model, pass) => new MemoryUse(CountWeightBytes(model), pass))];
    }

    private static long CountWeightBytes(IPrunableModel model)
    {
        var counter = new ParameterCounter(model.Spec);
        using var one = empty([1], model.Backend.ComputeType);
        return (model.Plan is null ? counter.Dense : counter.Count(model.Plan)).WholeModel * one.element_size();
    }

    private static double[] Measure(
        IReadOnlyList<IPrunableModel> models, long tokens, int rounds, Func<IPrunableModel, Func<Func<Tensor>, double>, double> round, CancellationToken cancellation) =>
        [.. MediansInTurn(models, rounds, model => round(model, Watch), cancellation).Select(seconds => tokens / seconds)];

    private static T[] MediansInTurn<T>(IReadOnlyList<IPrunableModel> models, int rounds, Func<IPrunableModel, T> measure, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(models);
        ArgumentOutOfRangeException.ThrowIfLessThan(rounds, 1);
        T[][] measured = [.. models.Select(_ => new T[rounds])];
        using var noGradient = no_grad();
        for (int turn = -1; turn < rounds; turn++)
        {
            for (int i = 0; i < models.Count; i++)
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                var value = measure(models[i]);
                if (turn >= 0)
                {
                    measured[i][turn] = value;
                }
            }
        }

        return [.. measured.Select(values => values.Order().ElementAt(rounds / 2))];
    }

    private static double Watch(Func<Tensor> work)
    {
        long start = Stopwatch.GetTimestamp();

        // Reading one number back waits for a device that computes asynchronously.
        _ = work().amax([]).ReadDouble();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static Tensor Tokens(IPrunableModel model, int batch, int length) =>
        ScalarOps.Arange(0, (long)batch * length).RemainderScalar(model.Spec.VocabularySize).view(batch, length);
}
