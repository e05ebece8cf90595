using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>How perplexity is measured. Figures of different settings do not compare.</summary>
public sealed record PerplexityOptions
{
    /// <summary>Window length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? WindowLength { get; init; }

    /// <summary>How many windows from the start of the text. Default: all of them.</summary>
    public int? MaxWindows { get; init; }

    /// <summary>
    /// A token to put in front of every window, in the place of one token of text; usually the tokenizer's begin-of-text. Default: none,
    /// as published WikiText figures of LLaMA models are measured.
    /// </summary>
    public int? FirstToken { get; init; }

    /// <summary>Windows in one forward pass. Changes speed and memory, not the result. Default 1.</summary>
    public int BatchSize { get; init; } = 1;
}

/// <summary>A measured perplexity.</summary>
/// <param name="Perplexity"><c>exp</c> of the mean negative log-likelihood.</param>
/// <param name="MeanLoss">Mean negative log-likelihood, in nats a token.</param>
/// <param name="PredictedTokens">Tokens that were predicted: all of a window but its first.</param>
/// <param name="Windows">Windows that were measured.</param>
/// <param name="WindowLength">Their length in tokens.</param>
public sealed record PerplexityResult(double Perplexity, double MeanLoss, long PredictedTokens, int Windows, int WindowLength);

/// <summary>
/// Perplexity over non-overlapping windows: each window is predicted from its own beginning, the rest of a text that fills no window is left out.
/// </summary>
public static class Perplexity
{
    /// <summary>Measures the perplexity of a model on a text.</summary>
    /// <param name="model">The model.</param>
    /// <param name="corpus">The text.</param>
    /// <param name="options">Windows.</param>
    /// <param name="progress">Told the fraction that is done, 0 to 1.</param>
    /// <param name="cancellationToken">Looked at between windows.</param>
    public static PerplexityResult Of(
        IPrunableModel model,
        TokenCorpus corpus,
        PerplexityOptions? options = null,
        IProgress<double>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(corpus);
        int[] tokens = corpus.Resolve(CorpusContext.For(model), cancellationToken);
        return Of(model, tokens, options, null, progress, cancellationToken);
    }

    /// <summary>Measures the perplexity of a model on tokens, gated or as it is.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokens">Token ids of the text, in order.</param>
    /// <param name="options">Windows.</param>
    /// <param name="gates">Gates, or null for the model as it is.</param>
    /// <param name="progress">Told the fraction that is done, 0 to 1.</param>
    /// <param name="cancellationToken">Looked at between windows.</param>
    /// <exception cref="CorpusException">The text is shorter than one window.</exception>
    public static PerplexityResult Of(
        IPrunableModel model,
        IReadOnlyList<int> tokens,
        PerplexityOptions? options,
        Gates? gates,
        IProgress<double>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(tokens);
        options ??= new PerplexityOptions();
        int length = options.WindowLength ?? Math.Min(2048, model.Spec.MaxPositions);
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 2, nameof(options.WindowLength));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxWindows ?? 1, 1, nameof(options.MaxWindows));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.BatchSize, 1, nameof(options.BatchSize));
        int text = options.FirstToken is null ? length : length - 1;
        int windows = Math.Min(tokens.Count / text, options.MaxWindows ?? int.MaxValue);
        if (windows == 0)
        {
            throw new CorpusException($"The text has {tokens.Count} tokens, fewer than one window of {text}. Give more text or a shorter window.");
        }

        using var noGradient = no_grad();
        double sum = 0;
        for (int first = 0; first < windows; first += options.BatchSize)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int count = Math.Min(options.BatchSize, windows - first);
            using var scope = NewDisposeScope();
            Tensor batch = tensor(Window(tokens, first, count, text, options.FirstToken), ScalarType.Int64).view(count, length);
            sum += NextTokenLoss.Of(model, batch, gates).ToDouble() * count;
            progress?.Report((double)(first + count) / windows);
        }

        double mean = sum / windows;
        return new PerplexityResult(Math.Exp(mean), mean, (long)windows * (length - 1), windows, length);
    }

    private static long[] Window(IReadOnlyList<int> tokens, int first, int count, int text, int? firstToken)
    {
        var ids = new List<long>(count * (text + 1));
        for (int window = first; window < first + count; window++)
        {
            if (firstToken is { } id)
            {
                ids.Add(id);
            }

            for (int i = 0; i < text; i++)
            {
                ids.Add(tokens[window * text + i]);
            }
        }

        return [.. ids];
    }
}
