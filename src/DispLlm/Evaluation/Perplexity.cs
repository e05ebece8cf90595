using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Evaluation;

/// <summary>How perplexity is measured. Figures of different settings do not compare.</summary>
public sealed record PerplexityOptions
{
    /// <summary>Window length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? WindowLength { get; init; }

    /// <summary>
    /// How many tokens on from the window before each window begins. Default: the window's own text, so that windows do not overlap. With less, the tokens that the window before has
    /// seen are context and only those behind them count: slower, and lower figures, since every token has more in front of it.
    /// </summary>
    public int? Stride { get; init; }

    /// <summary>Whether the end of the text that fills no window counts too, in a shorter one. Default: no, as figures are published.</summary>
    public bool IncludePartialWindow { get; init; }

    /// <summary>How many windows from the start of the text. Default: all of them.</summary>
    public int? MaxWindows { get; init; }

    /// <summary>
    /// A token to put in front of the text, once, before it is cut into windows; usually the tokenizer's begin-of-text. Default: none. Published code has it wherever the tokenizer adds it
    /// by itself (<see cref="PaperConvention"/>).
    /// </summary>
    public int? BosToken { get; init; }

    /// <summary>A token to put in front of every window, in the place of one token of text; usually the tokenizer's begin-of-text. Default: none, as figures are published.</summary>
    public int? FirstToken { get; init; }

    /// <summary>Windows in one forward pass. Changes speed and memory, not the result. Default 1.</summary>
    public int BatchSize { get; init; } = 1;

    /// <summary>
    /// As the figures of papers on pruning and quantisation are measured, DISP-LLM's among them: the whole text tokenized at once, with the begin-of-text token in front where the tokenizer
    /// adds one, in windows that do not overlap. The text is <see cref="TokenCorpus.FromWikiTextFile"/>.
    /// </summary>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="windowLength">Window length in tokens: 2,048 in most papers, 4,096 in DISP-LLM's for LLaMA-2.</param>
    public static PerplexityOptions PaperConvention(TextTokenizer tokenizer, int windowLength = 2048)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        return new PerplexityOptions { WindowLength = windowLength, BosToken = tokenizer.AddBosToken ? tokenizer.BosTokenId : null };
    }

    /// <summary>
    /// As the guide of Hugging Face transformers measures: windows of the model's full length that overlap, and no token left out.
    /// </summary>
    /// <param name="windowLength">Window length in tokens.</param>
    /// <param name="stride">How many tokens count in each window but the first; half a window is usual.</param>
    public static PerplexityOptions Sliding(int windowLength, int stride) => new() { WindowLength = windowLength, Stride = stride, IncludePartialWindow = true };

    internal void Validate(int length)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 2, nameof(WindowLength));
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxWindows ?? 1, 1, nameof(MaxWindows));
        ArgumentOutOfRangeException.ThrowIfLessThan(BatchSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(Stride ?? 1, 1, nameof(Stride));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Stride ?? 1, FirstToken is null ? length : length - 1, nameof(Stride));
    }
}

/// <summary>A measured perplexity.</summary>
/// <param name="Perplexity"><c>exp</c> of the mean negative log-likelihood.</param>
/// <param name="MeanLoss">Mean negative log-likelihood, in nats a token.</param>
/// <param name="PredictedTokens">Tokens that were predicted and count: all of a window but its first and what an overlapping window before has seen.</param>
/// <param name="Windows">Windows that were measured.</param>
/// <param name="WindowLength">Their length in tokens.</param>
public sealed record PerplexityResult(double Perplexity, double MeanLoss, long PredictedTokens, int Windows, int WindowLength);

/// <summary>
/// Perplexity over windows of a text: each window is predicted from its own beginning. By default windows do not overlap, and the rest of a text that fills no window is left out.
/// </summary>
public static class Perplexity
{
    /// <summary>Measures the perplexity of a model on a text.</summary>
    /// <param name="model">The model.</param>
    /// <param name="corpus">The text.</param>
    /// <param name="options">Windows.</param>
    /// <param name="progress">Told the fraction that is done, 0 to 1.</param>
    /// <param name="cancellationToken">Looked at between windows.</param>
    public static PerplexityResult Evaluate(
        IPrunableModel model,
        TokenCorpus corpus,
        PerplexityOptions? options = null,
        IProgress<double>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(corpus);
        int[] tokens = corpus.Tokenize(CorpusContext.For(model), cancellationToken);
        return Evaluate(model, tokens, options, null, progress, cancellationToken);
    }

    /// <summary>Measures the perplexity of a model on tokens, gated or as it is.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokens">Token ids of the text, in order.</param>
    /// <param name="options">Windows.</param>
    /// <param name="gates">Gates, or null for the model as it is.</param>
    /// <param name="progress">Told the fraction that is done, 0 to 1.</param>
    /// <param name="cancellationToken">Looked at between windows.</param>
    /// <exception cref="CorpusException">The text is shorter than one window.</exception>
    public static PerplexityResult Evaluate(
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
        var windows = new EvaluationWindows(tokens, options, model.Spec.MaxPositions);
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
            LogitChunks.Visit(model, EvaluationWindows.ComputeHiddenStates(model, batch, ids, gates), (first, logits) =>
            {
                Tensor next = targets.narrow(0, first, logits.shape[0]).to(logits.device);
                sum += nn.functional.cross_entropy(logits, next, reduction: nn.Reduction.Sum).ReadDouble();
            });
            predicted += targets.shape[0];
            progress?.Report((double)(done += batch.Count) / windows.Count);
        }

        double mean = sum / predicted;
        return new PerplexityResult(Math.Exp(mean), mean, predicted, windows.Count, windows.Length);
    }
}
