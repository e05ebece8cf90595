using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// The keys and values of all positions that a model has read, so that a token more costs one position and not all of them again. It belongs to the model that made
/// it, grows as it is filled, and is not for use by several threads at once. Heads are not cut by pruning: the cache of a pruned model is as large as the dense one's.
/// </summary>
public sealed class KeyValueCache : IDisposable
{
    private const long FirstCapacity = 64;

    private readonly (Tensor Key, Tensor Value)?[] _blocks;
    private readonly long _limit;
    private readonly int[]? _padding;

    internal KeyValueCache(int blocks, long limit, IReadOnlyList<int>? padding)
    {
        _blocks = new (Tensor, Tensor)?[blocks];
        _limit = limit;
        _padding = padding?.Any(count => count != 0) == true ? [.. padding] : null;
    }

    /// <summary>Positions held, padding included.</summary>
    public long Length { get; private set; }

    /// <summary>
    /// Columns at the front of each row that are padding and seen by no position, where prompts of unequal length are put in one batch; null where no row has any.
    /// </summary>
    public IReadOnlyList<int>? Padding => _padding;

    /// <summary>Forgets everything; the memory stays for what is read next.</summary>
    public void Clear() => Length = 0;

    /// <inheritdoc/>
    public void Dispose()
    {
        for (int i = 0; i < _blocks.Length; i++)
        {
            _blocks[i]?.Key.Dispose();
            _blocks[i]?.Value.Dispose();
            _blocks[i] = null;
        }
    }

    /// <summary>Adds a block's <c>[batch, heads, new, head]</c> behind what it has, and returns all: views, valid until the next call.</summary>
    internal (Tensor Key, Tensor Value) Append(int block, Tensor key, Tensor value)
    {
        long rows = key.size(0), count = key.size(2), total = Length + count;
        if (Length > 0 && _blocks[block]!.Value.Key.size(0) != rows)
        {
            throw new ArgumentException($"The cache holds {_blocks[block]!.Value.Key.size(0)} rows, not {rows}.", nameof(key));
        }

        if (_blocks[block] is not { } held || held.Key.size(0) != rows || held.Key.size(2) < total)
        {
            long capacity = Math.Min(_limit, Math.Max(FirstCapacity, Math.Max(total, 2 * (_blocks[block]?.Key.shape[2] ?? 0))));
            held = (Grown(_blocks[block]?.Key, key, capacity), Grown(_blocks[block]?.Value, value, capacity));
            _blocks[block] = held;
        }

        held.Key.narrow(2, Length, count).copy_(key);
        held.Value.narrow(2, Length, count).copy_(value);
        return (held.Key.narrow(2, 0, total), held.Value.narrow(2, 0, total));
    }

    /// <summary>Counts positions as held, once every block has them.</summary>
    internal void Advance(long count) => Length += count;

    private Tensor Grown(Tensor? held, Tensor like, long capacity)
    {
        Tensor grown = empty([like.shape[0], like.shape[1], capacity, like.shape[3]], like.dtype, like.device).DetachFromDisposeScope();
        if (held is not null && Length > 0)
        {
            grown.narrow(2, 0, Length).copy_(held.narrow(2, 0, Length));
        }

        held?.Dispose();

        return grown;
    }
}
