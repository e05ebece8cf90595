using TorchSharp;

namespace DispLlm.Tests;

/// <summary>The small trained LLaMA that comes with the first sample.</summary>
public static class SampleModel
{
    public static string Folder => Path.Combine(Repository.Root, "samples/PruneFirstModel/model");

    private static int[]? s_tokens;

    /// <summary>About two thousand tokens that the model sampled from itself.</summary>
    public static int[] Tokens(IPrunableModel model) => s_tokens ??= TokenCorpus
        .GeneratedByModel(new GeneratedCorpusOptions { Tokens = 2048, SequenceLength = 64, BatchSize = 32, Seed = 3 })
        .Tokenize(CorpusContext.For(model));
}

/// <summary>Progress that reports where it happens, unlike <see cref="Progress{T}"/>.</summary>
public sealed class Callback<T>(Action<T> action) : IProgress<T>
{
    public void Report(T value) => action(value);
}

/// <summary>Keeps every learning step that is reported to it.</summary>
public sealed class Steps : IProgress<PruningProgress>
{
    private readonly Action<PruningProgress>? _action;

    public Steps(Action<PruningProgress>? action = null) => _action = action;

    public List<PruningProgress> Seen { get; } = [];

    public void Report(PruningProgress value)
    {
        if (value.Phase == PruningPhase.Learning)
        {
            Seen.Add(value);
            _action?.Invoke(value);
        }
    }
}

/// <summary>Waits for what is awaited elsewhere: most tests have nothing else to do.</summary>
public static class Waiting
{
    public static SelectionOutcome Select(
        this ISelectionStrategy strategy, SelectionRequest request, CancellationToken cancellationToken = default) =>
        strategy.SelectAsync(request, cancellationToken).GetAwaiter().GetResult();
}
