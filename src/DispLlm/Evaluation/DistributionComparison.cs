using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Evaluation;

/// <summary>
/// How closely a model predicts what another one does, for instance a pruned model and the dense one that it was cut from: on any text, without labels, and more sensitive than perplexity.
/// Both read the same windows one after the other; nothing of a window is kept.
/// </summary>
public static class DistributionComparison
{
    /// <summary>Compares two models on a text.</summary>
    /// <param name="model">The model.</param>
    /// <param name="reference">The model that it should be like. Its tokenizer reads the text.</param>
    /// <param name="corpus">The text.</param>
    /// <param name="options">Windows.</param>
    /// <param name="progress">Told the fraction that is done, 0 to 1.</param>
    /// <param name="cancellationToken">Looked at between windows.</param>
    /// <exception cref="EvaluationException">The models have vocabularies of different sizes.</exception>
    /// <exception cref="CorpusException">The text is shorter than one window.</exception>
    public static DistributionComparisonResult Evaluate(
        IPrunableModel model,
        IPrunableModel reference,
        TokenCorpus corpus,
        PerplexityOptions? options = null,
        IProgress<double>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(reference);
        ArgumentNullException.ThrowIfNull(corpus);
        int[] tokens = corpus.Tokenize(CorpusContext.For(reference), cancellationToken);
        return Evaluate(model, reference, tokens, options, null, progress, cancellationToken);
    }

    /// <summary>Compares two models on tokens, the first gated or as it is.</summary>
    /// <param name="model">The model.</param>
    /// <param name="reference">The model that it should be like; it may be the same one, without the gates.</param>
    /// <param name="tokens">Token ids of the text, in order.</param>
    /// <param name="options">Windows.</param>
    /// <param name="gates">Gates of <paramref name="model"/>, or null for it as it is.</param>
    /// <param name="progress">Told the fraction that is done, 0 to 1.</param>
    /// <param name="cancellationToken">Looked at between windows.</param>
    /// <exception cref="EvaluationException">The models have vocabularies of different sizes.</exception>
    /// <exception cref="CorpusException">The text is shorter than one window.</exception>
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
        if (model.Spec.VocabularySize != reference.Spec.VocabularySize)
        {
            throw new EvaluationException(
                $"The models do not predict the same tokens: vocabularies of {model.Spec.VocabularySize} and {reference.Spec.VocabularySize}. Compare a model with the one that it was cut from.");
        }

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
            Tensor mine = EvaluationWindows.ComputeHiddenStates(model, batch, ids, gates);
            LogitChunks.Visit(reference, EvaluationWindows.ComputeHiddenStates(reference, batch, ids, null), (first, expected) =>
            {
                Tensor actual = model.ApplyLmHead(mine.narrow(0, first, expected.shape[0])).to(ScalarType.Float32).to(expected.device);
                matches += actual.argmax(-1).eq(expected.argmax(-1)).sum().ReadInt64();
                Tensor difference = expected.log_softmax(-1);
                Tensor likelihood = difference.exp();
                divergence += difference.sub_(actual.log_softmax(-1)).mul_(likelihood).sum(-1).to(ScalarType.Float64).sum().ReadDouble();
                compared += expected.shape[0];
            });
            progress?.Report((double)(done += batch.Count) / windows.Count);
        }

        // Rounding may leave a little less than nothing.
        return new DistributionComparisonResult(Math.Max(0, divergence / compared), (double)matches / compared, compared);
    }
}
