using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// The keys and values of all positions that a model has read, so that a token more costs one position and not all of them again. It belongs to the model that made
/// it, grows as it is filled, and is not for use by several threads at once. Heads are not cut by pruning: the cache of a pruned model is as large as the dense one's.
/// </summary>
public sealed class KeyValueCache : IDisposable
{
    private const long FirstCapacity = 64;

    // Passes of one position, in one place in memory, after which more of them are to be expected.
    private const int PassesUntilRecorded = 4;

    private readonly (Tensor Key, Tensor Value)?[] _blocks;
    private readonly (HostHeads Keys, HostHeads Values)?[] _inHostMemory;   // of blocks that have been asked for so
    private readonly object _model;
    private readonly long _limit;
    private readonly int[]? _padding;
    private Tensor? _paddingThere;
    private CapturedDecodeGraph? _recorded;
    private int _passes;
    private long _capacity;
    private bool _cannotBeRecorded, _disposed;

    internal KeyValueCache(object model, int blocks, long limit, IReadOnlyList<int>? padding)
    {
        _model = model;
        _blocks = new (Tensor, Tensor)?[blocks];
        _inHostMemory = new (HostHeads, HostHeads)?[blocks];
        _limit = limit;
        _padding = padding?.Any(count => count != 0) == true ? [.. padding] : null;
    }

    /// <summary>Positions held, padding included.</summary>
    public long Length { get; private set; }

    /// <summary>
    /// Columns at the front of each row that are padding and seen by no position, where prompts of unequal length are put in one batch; null where no row has any.
    /// </summary>
    public IReadOnlyList<int>? Padding => _padding;

    /// <summary>Whether the next position is repeated from a recording.</summary>
    internal bool HasRecording => _recorded is not null;

    /// <summary>Forgets everything; the memory stays for what is read next.</summary>
    public void Clear() => Length = 0;

    /// <summary>Forgets all positions but the first ones, so that several texts can go on from one beginning that is read once.</summary>
    /// <param name="length">Positions that stay, padding included: from 0 to <see cref="Length"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are fewer than <paramref name="length"/>, or it is negative.</exception>
    public void Truncate(long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length);
        Length = length;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _disposed = true;
        Forget();
        for (int i = 0; i < _blocks.Length; i++)
        {
            _blocks[i]?.Key.Dispose();
            _blocks[i]?.Value.Dispose();
            _blocks[i] = null;
            _inHostMemory[i] = null;
        }

        _paddingThere?.Dispose();
        _paddingThere = null;
    }

    /// <summary>Whether a model has made this. Keys of another one have other heads, or another type, and would be read as what they are not.</summary>
    internal bool BelongsTo(object model)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return ReferenceEquals(model, _model);
    }

    /// <summary>
    /// The stream behind all blocks for one position more: repeated from a recording where there is one, else computed, and recorded once it has been computed often enough. Positions are put
    /// into the cache either way.
    /// </summary>
    /// <param name="entering">The stream in front of them, <c>[batch, 1, d]</c>.</param>
    /// <param name="pass">Goes through the blocks with a stream; for a recording, with the place that says how many positions are seen.</param>
    internal Tensor Next(Tensor entering, Func<Tensor, Tensor?, Tensor> pass)
    {
        if (_recorded?.CanHandle(entering) == true && Length < _capacity)
        {
            return _recorded.Replay(entering, Length + 1);
        }

        if (++_passes == PassesUntilRecorded && !_cannotBeRecorded)
        {
            _recorded = CapturedDecodeGraph.TryCapture(entering, Length + 1, pass);
            _cannotBeRecorded = _recorded is null;
        }

        // Also behind a recording, which was tried with something else.
        return pass(entering, null);
    }

    /// <summary>The padding of each row on a device, <c>[batch]</c>, int32; null where no row has any.</summary>
    internal Tensor? PaddingOn(Device device)
    {
        if (_padding is null)
        {
            return null;
        }

        if (_paddingThere is null || _paddingThere.device_type != device.type || _paddingThere.device_index != device.index)
        {
            using Tensor here = tensor(_padding, ScalarType.Int32);
            _paddingThere?.Dispose();
            _paddingThere = here.to(device, copy: true).DetachFromDisposeScope();
        }

        return _paddingThere;
    }

    /// <summary>Adds a block's <c>[batch, heads, new, head]</c> behind what it has, and returns all: views, valid until the next call.</summary>
    internal (Tensor Key, Tensor Value) Append(int block, Tensor key, Tensor value)
    {
        long count = key.size(2), total = Length + count;
        var held = Room(block, key.size(0), key.size(1), total, key.size(3), key);
        held.Key.narrow(2, Length, count).copy_(key);
        held.Value.narrow(2, Length, count).copy_(value);
        return (held.Key.narrow(2, 0, total), held.Value.narrow(2, 0, total));
    }

    /// <summary>
    /// All that there is room for in a block, <c>[batch, heads, capacity, head]</c>, for one position more, to be put behind <see cref="Length"/> positions. Valid until the next call.
    /// </summary>
    internal (Tensor Key, Tensor Value) RoomForOne(int block, Tensor like, long heads, long headSize) => Room(block, like.size(0), heads, Length + 1, headSize, like);

    /// <summary>The same in the CPU's memory. To ask a tensor where it lies takes as long as much of what is computed for one position.</summary>
    internal (HostHeads Keys, HostHeads Values) HeldInHostMemory(int block, Tensor like, long rows, long heads, long headSize)
    {
        if (_inHostMemory[block] is { } held && held.Keys.HasCapacity(rows, Length + 1))
        {
            return held;
        }

        var (key, value) = RoomForOne(block, like, heads, headSize);
        held = (HostHeads.FromTensor(key), HostHeads.FromTensor(value));
        _inHostMemory[block] = held;
        return held;
    }

    /// <summary>Counts positions as held, once every block has them.</summary>
    internal void Advance(long count) => Length += count;

    /// <summary>A block's keys and values with room for some positions, of which those that it has are held.</summary>
    private (Tensor Key, Tensor Value) Room(int block, long rows, long heads, long positions, long headSize, Tensor like)
    {
        if (Length > 0 && _blocks[block]!.Value.Key.size(0) is var present && present != rows)
        {
            throw new ArgumentException($"The cache holds {present} rows, not {rows}.");
        }

        if (_blocks[block] is not { } held || held.Key.size(0) != rows || held.Key.size(2) < positions)
        {
            long capacity = Math.Min(_limit, Math.Max(FirstCapacity, Math.Max(positions, 2 * (_blocks[block]?.Key.size(2) ?? 0))));
            long[] shape = [rows, heads, capacity, headSize];
            held = (Grown(_blocks[block]?.Key, shape, like), Grown(_blocks[block]?.Value, shape, like));
            _blocks[block] = held;
            _inHostMemory[block] = null;
            _capacity = capacity;
            Forget();
        }

        return held;
    }

    /// <summary>A recording knows where keys and values lie.</summary>
    private void Forget()
    {
        _recorded?.Dispose();
        _recorded = null;
        _passes = 0;
    }

    private Tensor Grown(Tensor? held, long[] shape, Tensor like)
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
