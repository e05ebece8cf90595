using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Evaluation;

/// <summary>
/// Compares the predictions of a model with those of a reference model, for instance of a pruned model with the dense one: on any text,
/// without labels, and more sensitive than perplexity. Thread-safe, as long as neither model is disposed meanwhile.
/// </summary>
public static class DistributionComparison
{
    /// <summary>Compares two models on a text.</summary>
    /// <param name="model">The model.</param>
    /// <param name="reference">The reference model; its tokenizer is used.</param>
    /// <param name="corpus">The text.</param>
    /// <param name="options">How the text is split into windows; null for the defaults.</param>
    /// <param name="progress">Receives the completed fraction, 0 to 1.</param>
    /// <param name="cancellationToken">Cancels between batches.</param>
    /// <exception cref="EvaluationException">The vocabularies differ. Thrown before anything is computed.</exception>
    /// <exception cref="CorpusException">The text is shorter than one window.</exception>
    public static DistributionComparisonResult Evaluate(
        IPrunableModel model,
        IPrunableModel reference,
        TokenCorpus corpus,
        PerplexityOptions? options = null,
        IProgress<double>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(reference);
        ArgumentNullException.ThrowIfNull(corpus);
        var context = CorpusContext.For(reference);
        EnsureComparable(model, model.Folder == reference.Folder ? null : CorpusContext.For(model).Tokenizer, reference, context.Tokenizer);
        int[] tokens = corpus.Tokenize(context, cancellationToken);
        return Evaluate(model, reference, tokens, options, null, progress, cancellationToken);
    }

    /// <summary>
    /// Compares two models on token ids. <paramref name="gates"/>, which may be null, apply to <paramref name="model"/> alone, even if the
    /// reference is the same instance.
    /// </summary>
    /// <inheritdoc cref="Evaluate(IPrunableModel, IPrunableModel, TokenCorpus, PerplexityOptions, IProgress{double}, CancellationToken)"/>
    public static DistributionComparisonResult Evaluate(
        IPrunableModel model,
        IPrunableModel reference,
        IReadOnlyList<int> tokens,
        PerplexityOptions? options,
        Gates? gates,
        IProgress<double>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(reference);
        ArgumentNullException.ThrowIfNull(tokens);
        EnsureComparable(model, null, reference, null);
        options ??= new PerplexityOptions();
        var windows = new EvaluationWindows(tokens, options, Math.Min(model.Spec.MaxPositions, reference.Spec.MaxPositions));
        using var noGradient = no_grad();
        double divergence = 0;
        long matches = 0, compared = 0;
        int done = 0;
        foreach (var batch in windows.Batches(options.BatchSize))
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor ids = windows.StackTokens(batch);
            Tensor states = EvaluationWindows.ComputeHiddenStates(model, batch, ids, gates);
            LogitChunks.ForEach(reference, EvaluationWindows.ComputeHiddenStates(reference, batch, ids, null), null, (first, expected) =>
            {
                Tensor actual = model.ApplyLmHead(states.narrow(0, first, expected.shape[0])).to(ScalarType.Float32).to(expected.device);
                matches += actual.argmax(-1).eq(expected.argmax(-1)).sum().ReadInt64();
                Tensor difference = expected.log_softmax(-1);
                Tensor likelihood = difference.exp();
                divergence += difference.sub_(actual.log_softmax(-1)).mul_(likelihood).sum(-1).to(ScalarType.Float64).sum().ReadDouble();
                compared += expected.shape[0];
            });
            progress?.Report((double)(done += batch.Count) / windows.Count);
        }

        // Rounding may give a tiny negative value.
        return new DistributionComparisonResult(Math.Max(0, divergence / compared), (double)matches / compared, compared);
    }

    private static void EnsureComparable(
        IPrunableModel model, TextTokenizer? tokenizer, IPrunableModel reference, TextTokenizer? referenceTokenizer)
    {
        if (Vocabularies.FindDifference(model, tokenizer, reference, referenceTokenizer) is { } difference)
        {
            throw new EvaluationException(difference);
        }
    }
}
