using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// The keys and values of all tokens that a model has read, so that the next token costs one decode step. It belongs to the model that
/// created it and grows as it is filled. A block holds as many key-value heads as it keeps, and nothing where it keeps none. For one thread
/// at a time: a call while another is running throws, and <see cref="Dispose"/> waits for a running call.
/// </summary>
public sealed class KeyValueCache : IDisposable, IKeyValueMemory
{
    private const long FirstCapacity = 64;

    private readonly (Tensor Key, Tensor Value)?[] _blocks;
    private readonly object _model;
    private readonly long _limit;
    private readonly int[]? _padding;
    private readonly UseCounter _uses = new(nameof(KeyValueCache));
    private IDecodeState? _decodeState;
    private Tensor? _tokens;
    private long _readLength;
    private long _capacity;

    internal KeyValueCache(object model, int blocks, long limit, IReadOnlyList<int>? padding)
    {
        _model = model;
        _blocks = new (Tensor, Tensor)?[blocks];
        _limit = limit;
        _padding = padding?.Any(count => count != 0) == true ? [.. padding] : null;
    }

    /// <summary>Number of positions held, padding included.</summary>
    public long Length { get; private set; }

    /// <summary>
    /// Number of columns at the front of each row that are padding and that no token attends to, where prompts of unequal length are put in
    /// one batch; null where no
    /// row has any.
    /// </summary>
    public IReadOnlyList<int>? Padding => _padding;

    /// <inheritdoc/>
    long IKeyValueMemory.Capacity => _capacity;

    /// <inheritdoc/>
    IDecodeState? IKeyValueMemory.DecodeState
    {
        get => _decodeState;
        set => _decodeState = value;
    }

    /// <summary>Removes all positions. The memory is kept for what is read next.</summary>
    /// <exception cref="InvalidOperationException">The cache is in use by another thread.</exception>
    /// <exception cref="ObjectDisposedException">The cache is disposed.</exception>
    public void Clear() => Truncate(0);

    /// <summary>Removes all positions but the first ones, so that several texts can follow one prompt that is read once.</summary>
    /// <param name="length">Number of positions to keep, padding included: from 0 to <see cref="Length"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are fewer than <paramref name="length"/>, or it is negative.</exception>
    /// <exception cref="InvalidOperationException">The cache is in use by another thread.</exception>
    /// <exception cref="ObjectDisposedException">The cache is disposed.</exception>
    public void Truncate(long length)
    {
        using var use = _uses.EnterAlone();
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length);
        Length = length;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_uses.Close())
        {
            return;
        }

        _decodeState?.Dispose();
        _tokens?.Dispose();
        for (int i = 0; i < _blocks.Length; i++)
        {
            _blocks[i]?.Key.Dispose();
            _blocks[i]?.Value.Dispose();
            _blocks[i] = null;
        }
    }

    /// <summary>Begins a call that reads and fills the cache.</summary>
    /// <exception cref="ObjectDisposedException">The cache is disposed.</exception>
    /// <exception cref="InvalidOperationException">The cache is in use by another thread.</exception>
    internal UseCounter.Use Enter() => _uses.EnterAlone();

    /// <summary>Whether a model has created this cache. Another model's keys have other heads or another type.</summary>
    internal bool BelongsTo(object model) => ReferenceEquals(model, _model);

    /// <summary>
    /// Remembers tokens <c>[batch, seq]</c> that are about to be read, for a model whose rotary angles depend on the length of the
    /// sequence. Where these angles become others, what is held is of no use: it is dropped, and all tokens are to be read again.
    /// </summary>
    /// <param name="tokens">The tokens.</param>
    /// <param name="regime">A number that is the same for two lengths of which the angles are the same.</param>
    /// <returns>The tokens to read: these, or all.</returns>
    internal Tensor Remember(Tensor tokens, Func<long, long> regime)
    {
        Tensor all = (Length == 0 ? tokens.clone() : cat([_tokens!.narrow(1, 0, Length), tokens], 1)).DetachFromDisposeScope();
        _tokens?.Dispose();
        _tokens = all;
        long length = all.size(1) - (_padding?.Min() ?? 0);
        bool isStale = Length > 0 && regime(length) != regime(_readLength);
        _readLength = length;
        Length = isStale ? 0 : Length;
        return isStale ? all : tokens;
    }

    /// <summary>Adds a block's <c>[batch, heads, new, head_dim]</c>, and returns all that are held: views, valid until the next
    /// call.</summary>
    internal (Tensor Key, Tensor Value) Append(int block, Tensor key, Tensor value)
    {
        long count = key.size(2), total = Length + count;
        var held = Reserve(block, key, key.size(1), total, key.size(3));
        held.Key.narrow(2, Length, count).copy_(key);
        held.Value.narrow(2, Length, count).copy_(value);
        return (held.Key.narrow(2, 0, total), held.Value.narrow(2, 0, total));
    }

    /// <summary>
    /// A block's keys and values with space for one more position after <see cref="Length"/>, <c>[batch, heads, capacity, head_dim]</c>
    /// each. Valid until the next call.
    /// </summary>
    internal (Tensor Key, Tensor Value) Reserve(int block, Tensor like, long heads, long headDim) =>
        Reserve(block, like, heads, Length + 1, headDim);

    /// <summary>Counts positions as held, once every block has them.</summary>
    internal void Advance(long count) => Length += count;

    private (Tensor Key, Tensor Value) Reserve(int block, Tensor like, long heads, long positions, long headDim)
    {
        long rows = like.size(0);
        if (Length > 0 && _blocks[block]!.Value.Key.size(0) is var present && present != rows)
        {
            throw new ArgumentException($"The cache holds {present} rows, not {rows}.");
        }

        if (_blocks[block] is not { } held || held.Key.size(0) != rows || held.Key.size(2) < positions)
        {
            long capacity = Math.Min(_limit, Math.Max(FirstCapacity, Math.Max(positions, 2 * (_blocks[block]?.Key.size(2) ?? 0))));
            long[] shape = [rows, heads, capacity, headDim];
            held = (Grow(_blocks[block]?.Key, shape, like), Grow(_blocks[block]?.Value, shape, like));
            _blocks[block] = held;
            _capacity = capacity;
            _decodeState?.Invalidate();
        }

        return held;
    }

    private Tensor Grow(Tensor? held, long[] shape, Tensor like)
    {
        Tensor grown = empty(shape, like.dtype, like.device).DetachFromDisposeScope();
        if (held is not null && Length > 0)
        {
            grown.narrow(2, 0, Length).copy_(held.narrow(2, 0, Length));
        }

        held?.Dispose();
        return grown;
    }
}
