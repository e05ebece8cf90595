using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Evaluation;

/// <summary>Options of <see cref="Throughput"/>. Immutable and thread-safe.</summary>
public sealed record ThroughputOptions
{
    /// <summary>
    /// Tokens per forward pass of <see cref="Throughput.MeasurePrefill"/> and <see cref="Throughput.MeasureMemory"/>. Default 256, at least
    /// 1.
    /// </summary>
    public int SequenceLength { get; init; } = 256;

    /// <summary>Sequences decoded together. Default 1, at least 1.</summary>
    public int BatchSize { get; init; } = 1;

    /// <summary>Prompt tokens per decoded sequence; their prefill is not measured. Default 128, at least 1.</summary>
    public int PromptLength { get; init; } = 128;

    /// <summary>Tokens decoded per sequence. Default 16, at least 1.</summary>
    public int NewTokens { get; init; } = 16;

    /// <summary>Measured rounds, after one warm-up round; the median counts. Default 5, at least 1.</summary>
    public int Rounds { get; init; } = 5;

    internal ThroughputOptions Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(SequenceLength, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(BatchSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(PromptLength, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(NewTokens, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(Rounds, 1);
        return this;
    }
}

/// <summary>The memory of a model. Immutable and thread-safe.</summary>
/// <param name="WeightBytes">Bytes of the weights in the compute type: exact.</param>
/// <param name="ForwardPassBytes">
/// Peak increase of the resident memory of the process during a forward pass, in bytes; null where it is not known: on systems other than
/// Linux, and for tensors that are not on the CPU.
/// </param>
public sealed record MemoryUsage(long WeightBytes, long? ForwardPassBytes);

/// <summary>
/// Measures speed and memory of models side by side. The models take turns, round by round, so that a drift of the machine's speed affects
/// all alike. Ratios between models of one call are meaningful, absolute values little. Thread-safe, but concurrent work distorts the
/// results.
/// </summary>
public static class Throughput
{
    /// <summary>Measures the prefill speed of each model.</summary>
    /// <param name="models">The models to compare.</param>
    /// <param name="options">Lengths and rounds; null for the defaults.</param>
    /// <param name="cancellationToken">Cancels between rounds.</param>
    /// <returns>Tokens per second of each model.</returns>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    public static IReadOnlyList<double> MeasurePrefill(
        IReadOnlyList<IPrunableModel> models, ThroughputOptions? options = null, CancellationToken cancellationToken = default)
    {
        options = (options ?? new ThroughputOptions()).Validate();
        return MeasureSpeed(models, options.SequenceLength, options.Rounds, model =>
        {
            Tensor tokens = CreateTokens(model, 1, options.SequenceLength);
            return MeasureSeconds(() => model.Logits(tokens));
        }, cancellationToken);
    }

    /// <summary>Measures the decode speed of each model with a key-value cache, after a prompt whose prefill is not measured.</summary>
    /// <param name="models">The models to compare.</param>
    /// <param name="options">Lengths, batch size and rounds; null for the defaults.</param>
    /// <param name="cancellationToken">Cancels between rounds.</param>
    /// <returns>Tokens per second of each model, summed over the sequences of a batch.</returns>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    public static IReadOnlyList<double> MeasureDecode(
        IReadOnlyList<IPrunableModel> models, ThroughputOptions? options = null, CancellationToken cancellationToken = default)
    {
        options = (options ?? new ThroughputOptions()).Validate();
        return MeasureSpeed(models, (long)options.BatchSize * options.NewTokens, options.Rounds, model =>
        {
            using var cache = model.CreateKeyValueCache() ?? throw new NotSupportedException(
                $"{model.GetType().Name} has no key-value caches to decode with.");
            model.NextTokenLogits(CreateTokens(model, options.BatchSize, options.PromptLength), cache);
            Tensor token = CreateTokens(model, options.BatchSize, 1);
            return MeasureSeconds(() =>
            {
                Tensor last = token;
                for (int i = 0; i < options.NewTokens; i++)
                {
                    last = model.NextTokenLogits(token, cache);
                }

                return last;
            });
        }, cancellationToken);
    }

    /// <summary>Measures the memory of each model: its weights, and what a forward pass needs in addition.</summary>
    /// <param name="models">The models to compare.</param>
    /// <param name="options">Length and rounds; null for the defaults.</param>
    /// <param name="cancellationToken">Cancels between rounds.</param>
    /// <returns>The memory of each model.</returns>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    public static IReadOnlyList<MemoryUsage> MeasureMemory(
        IReadOnlyList<IPrunableModel> models, ThroughputOptions? options = null, CancellationToken cancellationToken = default)
    {
        options = (options ?? new ThroughputOptions()).Validate();
        var passes = MeasureMedians(models, options.Rounds, model =>
        {
            Tensor tokens = CreateTokens(model, 1, options.SequenceLength);
            var (backend, layers) = (model.Backend, model.Spec.NumLayers);
            bool onHost = Enumerable.Range(0, layers).Select(block => backend.GetBlockDevice(block, layers)).Append(backend.Device)
                .All(device => device.type == DeviceType.CPU);
            return PeakResidentMemory.During(onHost, () => model.Logits(tokens));
        }, cancellationToken);
        return [.. models.Zip(passes, (model, pass) => new MemoryUsage(CountWeightBytes(model), pass))];
    }

    private static long CountWeightBytes(IPrunableModel model)
    {
        var counter = new ParameterCounter(model.Spec);
        return (model.Plan is null ? counter.Dense : counter.Count(model.Plan)).WholeModel
            * SafetensorsType.ByteSize(model.Backend.ComputeType);
    }

    private static double[] MeasureSpeed(
        IReadOnlyList<IPrunableModel> models,
        long tokens,
        int rounds,
        Func<IPrunableModel, double> measureSeconds,
        CancellationToken cancellationToken) =>
        [.. MeasureMedians(models, rounds, measureSeconds, cancellationToken).Select(seconds => tokens / seconds)];

    private static T[] MeasureMedians<T>(
        IReadOnlyList<IPrunableModel> models, int rounds, Func<IPrunableModel, T> measure, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(models);
        T[][] measured = [.. models.Select(_ => new T[rounds])];
        using var noGradient = no_grad();
        for (int round = -1; round < rounds; round++)
        {
            for (int i = 0; i < models.Count; i++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                var value = measure(models[i]);
                if (round >= 0)
                {
                    measured[i][round] = value;
                }
            }
        }

        return [.. measured.Select(values => values.Order().ElementAt(rounds / 2))];
    }

    private static double MeasureSeconds(Func<Tensor> work)
    {
        long start = Stopwatch.GetTimestamp();

        // Reading one number back synchronizes with the device.
        _ = work().amax([]).ReadDouble();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static Tensor CreateTokens(IPrunableModel model, int batch, int length) =>
        ScalarOps.Arange(0, (long)batch * length).RemainderScalar(model.Spec.VocabularySize).view(batch, length);
}
