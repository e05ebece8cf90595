using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Continues a batch of prompts, a token at a time. Shorter prompts are left-padded, and the padding is masked. Not thread-safe.
/// </summary>
internal sealed class GenerationRun : IDisposable
{
    private readonly IPrunableModel _model;
    private readonly GenerationOptions _options;
    private readonly RandomStream _stream;
    private readonly int[] _padding;
    private readonly List<int>[] _texts;
    private readonly bool[] _ended;
    private readonly KeyValueCache? _cache;
    private Tensor _tokens;       // [batch, all tokens], int64
    private int _done;

    public GenerationRun(IPrunableModel model, IReadOnlyList<IReadOnlyList<int>> prompts, GenerationOptions options)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(prompts);
        int longest = EnsureFits(model.Spec, prompts, options);
        _model = model;
        _options = options;
        _padding = [.. prompts.Select(prompt => longest - prompt.Count)];
        _texts = [.. prompts.Select(_ => new List<int>())];
        _ended = new bool[prompts.Count];
        _stream = model.Backend.Random(options.Seed).Stream("generation");
        _cache = model.CreateKeyValueCache(_padding);
        long[] ids = [.. prompts.SelectMany((prompt, row) => Enumerable.Repeat(0L, _padding[row]).Concat(prompt.Select(id => (long)id)))];
        using var scope = NewDisposeScope();
        _tokens = tensor(ids, ScalarType.Int64).view(prompts.Count, longest).DetachFromDisposeScope();
    }

    /// <summary>The new tokens of each prompt so far.</summary>
    public IReadOnlyList<IReadOnlyList<int>> Texts => _texts;

    /// <summary>Chooses the next token of every text that has not ended; false where all have.</summary>
    public bool Next(CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        if (_done == _options.MaxNewTokens || _ended.All(ended => ended))
        {
            return false;
        }

        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        Tensor logits = NextTokenLogits().cpu().to(ScalarType.Float32);
        Tensor next = TokenSampler.Next(logits, _options, _stream);
        Tensor longer = cat([_tokens, next.unsqueeze(1)], 1).DetachFromDisposeScope();
        _tokens.Dispose();
        _tokens = longer;
        _done++;

        long[] chosen = next.data<long>().ToArray();
        for (int row = 0; row < chosen.Length; row++)
        {
            _ended[row] |= _options.StopTokens.Contains((int)chosen[row]);
            if (!_ended[row])
            {
                _texts[row].Add((int)chosen[row]);
            }
        }

        return !_ended.All(ended => ended);
    }

    /// <summary>Refuses empty prompts, and those that leave no positions for the new tokens. Needs no weights.</summary>
    /// <returns>The length of the longest prompt.</returns>
    public static int EnsureFits(DecoderSpec spec, IReadOnlyList<IReadOnlyList<int>> prompts, GenerationOptions options)
    {
        options.Validate();
        if (prompts.Count == 0 || prompts.Any(prompt => prompt.Count == 0))
        {
            throw new ArgumentException("There has to be a prompt, and at least one token in each.", nameof(prompts));
        }

        int longest = prompts.Max(prompt => prompt.Count);
        return longest + (long)options.MaxNewTokens <= spec.MaxPositions + 1L
            ? longest
            : throw new ArgumentException(
                $"A prompt of {longest} tokens and {options.MaxNewTokens} new ones are more than the {spec.MaxPositions} positions "
                    + "that the model was made for.", nameof(prompts));
    }

    public void Dispose()
    {
        _tokens.Dispose();
        _cache?.Dispose();
        _stream.Dispose();
    }

    private Tensor NextTokenLogits()
    {
        if (_cache is null)
        {
            // Without a cache nothing masks the padding: each row by itself.
            return cat([.. _padding.Select((padding, row) =>
                _model.NextTokenLogits(_tokens.narrow(0, row, 1).narrow(1, padding, _tokens.shape[1] - padding), _options.Gates))]);
        }

        if (!_options.UseKeyValueCache)
        {
            _cache.Clear();
        }

        Tensor unread = _tokens.narrow(1, _cache.Length, _tokens.shape[1] - _cache.Length);
        return _model.NextTokenLogits(unread, _cache, _options.Gates);
    }
}
