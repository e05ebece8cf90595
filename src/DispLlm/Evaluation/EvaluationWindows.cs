using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Evaluation;

/// <summary>The sliding windows of a text, and the tokens of each that are scored: every token of the text at most once.</summary>
internal sealed class EvaluationWindows
{
    private readonly IReadOnlyList<int> _tokens;
    private readonly int _opening;
    private readonly int? _firstToken;
    private readonly List<Window> _windows = [];

    public EvaluationWindows(IReadOnlyList<int> tokens, PerplexityOptions options, int maxPositions)
    {
        Length = options.WindowLength ?? Math.Min(2048, maxPositions);
        options.Validate(Length);
        _tokens = options.BosToken is { } opening ? [opening, .. tokens] : tokens;
        _opening = _tokens.Count - tokens.Count;
        _firstToken = options.FirstToken;
        int lead = _firstToken is null ? 0 : 1, text = Length - lead, stride = options.Stride ?? text;
        int most = options.MaxWindows ?? int.MaxValue, end = 0;
        for (int start = 0; start + text <= _tokens.Count && _windows.Count < most; start += stride)
        {
            Add(start, start + text);
        }

        if (options.IncludePartialWindow && end < _tokens.Count && _windows.Count < most)
        {
            Add(_windows.Count * stride, _tokens.Count);
        }

        _windows.RemoveAll(window => window.Predicted < 1);
        if (_windows.Count == 0)
        {
            throw new CorpusException(
                $"The text has {_tokens.Count} tokens, fewer than one window of {text}. Give more text or a shorter window.");
        }

        void Add(int start, int stop)
        {
            // Tokens of the window before are context only. The first token of a text has no context, and is not scored.
            _windows.Add(new Window(start, stop - start + lead, Math.Max(1, end - start + lead)));
            end = stop;
        }
    }

    /// <summary>Length of a full window, in tokens.</summary>
    public int Length { get; }

    public int Count => _windows.Count;

    /// <summary>The scored tokens of each window, as indices into the text; tokens that are put before it are left out.</summary>
    public IEnumerable<(int First, int End)> ScoredRanges => _windows.Select(window =>
    {
        int first = window.Start + window.From - (_firstToken is null ? 0 : 1) - _opening;
        return (Math.Max(0, first), first + window.Predicted);
    });

    /// <summary>Batches of windows of equal length.</summary>
    public IEnumerable<IReadOnlyList<Window>> Batches(int size)
    {
        for (int first = 0; first < _windows.Count;)
        {
            int count = _windows.Skip(first).Take(size).TakeWhile(window => window.Length == _windows[first].Length).Count();
            yield return _windows.GetRange(first, count);
            first += count;
        }
    }

    /// <summary>Token ids of a batch, <c>[windows, length]</c>, int64. The caller disposes it.</summary>
    public Tensor StackTokens(IReadOnlyList<Window> batch)
    {
        int lead = _firstToken is null ? 0 : 1, length = batch[0].Length;
        long[] ids = new long[batch.Count * length];
        for (int row = 0; row < batch.Count; row++)
        {
            for (int i = 0; i < length; i++)
            {
                ids[row * length + i] = i < lead ? _firstToken!.Value : _tokens[batch[row].Start + i - lead];
            }
        }

        return tensor(ids, ScalarType.Int64).view(batch.Count, length);
    }

    /// <summary>
    /// The hidden states that predict the scored tokens of a batch, <c>[predictions, hidden]</c>. The caller disposes them.
    /// </summary>
    public static Tensor ComputeHiddenStates(IPrunableModel model, IReadOnlyList<Window> batch, Tensor tokens, Gates? gates)
    {
        using var scope = NewDisposeScope();
        Tensor states = model.HiddenStates(tokens.narrow(1, 0, tokens.shape[1] - 1), null, gates);
        return cat([.. batch.Select((window, row) => states[row].narrow(0, window.From - 1, window.Predicted))]).MoveToOuterDisposeScope();
    }

    /// <summary>A window.</summary>
    /// <param name="Start">Index of its first token in the text.</param>
    /// <param name="Length">Number of tokens, including <see cref="PerplexityOptions.FirstToken"/>.</param>
    /// <param name="From">Index of the first scored token in the window, at least 1.</param>
    public readonly record struct Window(int Start, int Length, int From)
    {
        /// <summary>Number of scored tokens.</summary>
        public int Predicted => Length - From;
    }
}
