using System.Text.Json.Serialization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Evaluation;

/// <summary>Options of <see cref="Perplexity"/>. Results of different options are not comparable. Immutable and thread-safe.</summary>
public sealed record PerplexityOptions
{
    /// <summary>Window length in tokens, at least 2. Default: 2,048, or the positions of the model if that is less.</summary>
    public int? WindowLength { get; init; }

    /// <summary>
    /// Tokens between the starts of two windows, 1 to the window's length. Default: the window's length, so that windows do not overlap.
    /// With a smaller stride, the tokens that overlap with the window before are context only: slower, and a lower perplexity, since every
    /// scored token has more context.
    /// </summary>
    public int? Stride { get; init; }

    /// <summary>
    /// Whether the rest of the text that does not fill a window is scored in a shorter one. Default: false, as in published results.
    /// </summary>
    public bool IncludePartialWindow { get; init; }

    /// <summary>Number of windows from the start of the text, at least 1. Default: all.</summary>
    public int? MaxWindows { get; init; }

    /// <summary>
    /// A token to put before the text, once, before it is split into windows; usually the tokenizer's begin-of-text token. Default: none.
    /// Published code has one where the tokenizer adds it (<see cref="PaperConvention(TextTokenizer)"/>).
    /// </summary>
    public int? BosToken { get; init; }

    /// <summary>
    /// A token to put at the start of every window, in place of one token of text; usually the begin-of-text token. Default: none, as in
    /// published results.
    /// </summary>
    public int? FirstToken { get; init; }

    /// <summary>Windows per forward pass, at least 1. Changes time and memory, not the result. Default 1.</summary>
    public int BatchSize { get; init; } = 1;

    /// <summary>
    /// The convention of papers on pruning and quantization, with windows of 2,048 tokens: the whole text is tokenized at once, with a
    /// begin-of-text token where the tokenizer adds one, and windows do not overlap. Use it with <see
    /// cref="TokenCorpus.FromWikiTextFile"/>.
    /// </summary>
    /// <param name="tokenizer">The model's tokenizer.</param>
    public static PerplexityOptions PaperConvention(TextTokenizer tokenizer) => PaperConvention(tokenizer, 2048);

    /// <inheritdoc cref="PaperConvention(TextTokenizer)"/>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="windowLength">Window length in tokens: 2,048 in most papers, 4,096 in DISP-LLM's for LLaMA-2.</param>
    public static PerplexityOptions PaperConvention(TextTokenizer tokenizer, int windowLength)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        return new PerplexityOptions { WindowLength = windowLength, BosToken = tokenizer.AddBosToken ? tokenizer.BosTokenId : null };
    }

    /// <summary>
    /// The convention of the Hugging Face transformers guide: overlapping windows, and every token of the text but the first is scored.
    /// </summary>
    /// <param name="windowLength">Window length in tokens.</param>
    /// <param name="stride">Scored tokens per window after the first; half a window is usual.</param>
    public static PerplexityOptions Sliding(int windowLength, int stride) =>
        new() { WindowLength = windowLength, Stride = stride, IncludePartialWindow = true };

    internal void Validate(int length)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 2, nameof(WindowLength));
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxWindows ?? 1, 1, nameof(MaxWindows));
        ArgumentOutOfRangeException.ThrowIfLessThan(BatchSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(Stride ?? 1, 1, nameof(Stride));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Stride ?? 1, FirstToken is null ? length : length - 1, nameof(Stride));
    }
}

/// <summary>A measured perplexity. Immutable and thread-safe.</summary>
/// <param name="Perplexity"><c>exp</c> of the mean negative log-likelihood.</param>
/// <param name="MeanLoss">Mean negative log-likelihood, in nats per token.</param>
/// <param name="PredictedTokens">
/// Number of scored tokens: all of a window but its first and those that overlap with the window before.
/// </param>
/// <param name="Windows">Number of windows.</param>
/// <param name="WindowLength">Their length in tokens.</param>
public sealed record PerplexityResult(double Perplexity, double MeanLoss, long PredictedTokens, int Windows, int WindowLength)
{
    /// <summary>
    /// Bytes of text (UTF-8) that the scored tokens stand for: not those of the first token of a window, nor of a rest that is left out.
    /// A character that several tokens share counts for the last. Null where tokens were given without their text, or the model has no
    /// tokenizer.
    /// </summary>
    public long? ScoredBytes { get; init; }

    /// <summary>
    /// Mean negative log-likelihood in bits per byte of text. Unlike the figures per token it compares models of different vocabularies.
    /// Null without <see cref="ScoredBytes"/>.
    /// </summary>
    [JsonIgnore]
    public double? BitsPerByte => LossPerByte / Math.Log(2);

    /// <summary>Perplexity per byte of text: 2 to the power of <see cref="BitsPerByte"/>. Null without <see cref="ScoredBytes"/>.</summary>
    [JsonIgnore]
    public double? PerplexityPerByte => LossPerByte is { } loss ? Math.Exp(loss) : null;

    private double? LossPerByte => ScoredBytes is > 0 ? MeanLoss * PredictedTokens / ScoredBytes : null;
}

/// <summary>
/// Perplexity over sliding windows of a text. By default windows do not overlap, and the rest that does not fill a window is left out.
/// Thread-safe, as long as the model is not disposed meanwhile.
/// </summary>
public static class Perplexity
{
    /// <summary>Evaluates a model on a text.</summary>
    /// <param name="model">The model.</param>
    /// <param name="corpus">The text.</param>
    /// <param name="options">How the text is split into windows; null for the defaults.</param>
    /// <param name="progress">Receives the completed fraction, 0 to 1.</param>
    /// <param name="cancellationToken">Cancels between batches.</param>
    /// <exception cref="CorpusException">The text is shorter than one window.</exception>
    public static PerplexityResult Evaluate(
        IPrunableModel model,
        TokenCorpus corpus,
        PerplexityOptions? options = null,
        IProgress<double>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(corpus);
        var text = TokenizedText.Read(corpus, CorpusContext.For(model), cancellationToken);
        return Evaluate(model, text, options, null, progress, cancellationToken);
    }

    /// <summary>Evaluates a model on token ids, with <paramref name="gates"/>, which may be null for none.</summary>
    /// <inheritdoc cref="Evaluate(IPrunableModel, TokenCorpus, PerplexityOptions, IProgress{double}, CancellationToken)"/>
    public static PerplexityResult Evaluate(
        IPrunableModel model,
        IReadOnlyList<int> tokens,
        PerplexityOptions? options,
        Gates? gates,
        IProgress<double>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        return Evaluate(model, new TokenizedText(tokens), options, gates, progress, cancellationToken);
    }

    /// <summary>Evaluates a model on a text that is tokenized for it.</summary>
    internal static PerplexityResult Evaluate(
        IPrunableModel model,
        TokenizedText text,
        PerplexityOptions? options,
        Gates? gates,
        IProgress<double>? progress,
        CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(model);
        options ??= new PerplexityOptions();
        var windows = new EvaluationWindows(text.Tokens, options, model.Spec.MaxPositions);
        using var noGradient = no_grad();
        double sum = 0;
        long predicted = 0;
        int done = 0;
        foreach (var batch in windows.Batches(options.BatchSize))
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor ids = windows.StackTokens(batch);
            Tensor targets = cat([.. batch.Select((window, row) => ids[row].narrow(0, window.From, window.Predicted))]);
            LogitChunks.ForEach(model, EvaluationWindows.ComputeHiddenStates(model, batch, ids, gates), gates, (first, logits) =>
            {
                Tensor next = targets.narrow(0, first, logits.shape[0]).to(logits.device);
                sum += nn.functional.cross_entropy(logits, next, reduction: nn.Reduction.Sum).ReadDouble();
            });
            predicted += targets.shape[0];
            progress?.Report((double)(done += batch.Count) / windows.Count);
        }

        double mean = sum / predicted;
        return new PerplexityResult(Math.Exp(mean), mean, predicted, windows.Count, windows.Length)
        {
            ScoredBytes = text.CountBytes(windows.ScoredRanges),
        };
    }
}
