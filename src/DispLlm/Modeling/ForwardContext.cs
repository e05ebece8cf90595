using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>Where in their sequences the positions of one forward pass stand, and what they may look back on.</summary>
internal sealed class ForwardContext : IDisposable
{
    private readonly KeyValueCache? _cache;
    private readonly Dictionary<string, Tensor> _placed = [];
    private readonly Dictionary<RotaryTable, (Tensor Cosine, Tensor Sine)> _turns = [];
    private (RotaryTable? Rotary, DecodePosition Place)? _inHostMemory;
    private readonly Tensor? _positions;    // [batch, seq], int64, on the CPU; null where all rows count alike
    private readonly Tensor? _laidOut;      // [batch, 1, seq, seq], bool, on the CPU: what is visible, where sequences say so themselves

    /// <summary>The window of the next <paramref name="length"/> positions behind those that a cache holds, or of the first ones.</summary>
    public ForwardContext(long length, KeyValueCache? cache)
    {
        using var scope = NewDisposeScope();
        _cache = cache;
        First = cache?.Length ?? 0;
        Length = length;
        if (cache?.Padding is { } padding)
        {
            Tensor columns = ScalarOps.Arange(First, First + length).unsqueeze(0);
            _positions = (columns - Hidden(padding)).ClampMin(0L).DetachFromDisposeScope();
        }
    }

    /// <summary>The window of sequences that say themselves where their tokens stand and what each sees.</summary>
    public ForwardContext(SequenceLayout layout)
    {
        using var scope = NewDisposeScope();
        Length = layout.PositionIds.shape[1];
        _positions = layout.PositionIds.alias().DetachFromDisposeScope();
        _laidOut = layout.AttentionMask.unsqueeze(1).DetachFromDisposeScope();
    }

    /// <summary>The first position, where all rows count alike.</summary>
    public long First { get; }

    public long Length { get; }

    /// <summary>Where a recorded pass finds how many positions one position sees, <c>[1]</c>, int32 on its device; null in any other pass.</summary>
    public Tensor? Place { get; init; }

    /// <summary>The position of every token, <c>[seq]</c> or <c>[batch, seq]</c>, int64.</summary>
    public Tensor PositionsOn(Device device) =>
        On(device, "positions", () => _positions ?? ScalarOps.Arange(First, First + Length));

    /// <summary>Cosine and sine of these positions, computed once for all blocks that share a table.</summary>
    public (Tensor Cosine, Tensor Sine) RotaryCosSin(RotaryTable rotary, Device device, ScalarType type)
    {
        if (!_turns.TryGetValue(rotary, out var turns))
        {
            // They outlive the dispose scope of the block that asks first.
            using var scope = NewDisposeScope();
            turns = rotary.At(PositionsOn(device), type);
            turns.Cosine.DetachFromDisposeScope();
            turns.Sine.DetachFromDisposeScope();
            _turns.Add(rotary, turns);
        }

        return turns;
    }

    /// <summary>Attention of a block: over what the cache holds and these positions.</summary>
    public Tensor Attend(int block, Tensor query, Tensor key, Tensor value)
    {
        if (_cache is not null)
        {
            (key, value) = _cache.Append(block, key, value);
        }

        if (_laidOut is not null)
        {
            return DeviceAttention.Masked(query, key, value, Visible(query.device));
        }

        return First > 0 || _cache?.Padding is not null
            ? DeviceAttention.Causal(query, key, value, _cache?.Padding, () => Visible(query.device))
            : DeviceAttention.Causal(query, key, value);
    }

    /// <summary>
    /// The same for one position, of what projections wrote: <c>[batch, 1, heads x head]</c> each, and so is the result. No view of any tensor is made, which for a small model would cost as
    /// much as attention itself.
    /// </summary>
    /// <param name="block">The block.</param>
    /// <param name="read">Queries, keys and values; queries and keys may be turned in place.</param>
    /// <param name="headSize">Features of a head.</param>
    /// <param name="rotary">The table to turn by; null where positions are not turned.</param>
    /// <returns>Null where it is another case than this.</returns>
    public Tensor? AttendAsWritten(int block, IReadOnlyList<Tensor> read, long headSize, RotaryTable? rotary)
    {
        if (Length != 1 || _cache is null || read is not [var query, var key, var value])
        {
            return null;
        }

        long heads = key.size(-1) / headSize;
        if (DeviceAttention.DecodeOnAccelerator(query, key, value, headSize) is { } kernels)
        {
            var room = _cache.RoomForOne(block, key, heads, headSize);
            return kernels.Attend(query, key, value, rotary?.Table(room.Key.size(2), query.dtype), _cache.PaddingOn(query.device), room, First + 1, Place);
        }

        if (!HostMatrix.IsContiguousHostWithoutGradient(query, key, value))
        {
            return null;
        }

        var held = _cache.HeldInHostMemory(block, query, query.size(0), heads, headSize);
        return DeviceAttention.DecodeOnHost(query, key, value, InHostMemory(rotary, query) with { Held = held });
    }

    /// <summary>Where one position stands in the CPU's memory, without any block's room for it; found once for all blocks that share a table. Valid as long as this window is.</summary>
    /// <param name="rotary">The table to turn by; null where positions are not turned.</param>
    /// <param name="like">A tensor of the compute type.</param>
    public DecodePosition InHostMemory(RotaryTable? rotary, Tensor like)
    {
        if (_inHostMemory is { } known && known.Rotary == rotary)
        {
            return known.Place;
        }

        (HostMatrix, HostMatrix)? turns = null;
        if (rotary is not null && _positions is null)
        {
            turns = rotary.InHostMemory(First, like.dtype);
        }
        else if (rotary is not null)
        {
            var (cosine, sine) = RotaryCosSin(rotary, like.device, like.dtype);
            turns = (HostMatrix.FromTensor(cosine), HostMatrix.FromTensor(sine));
        }

        var place = new DecodePosition(turns, First + 1, Visible(like.device));
        _inHostMemory = (rotary, place);
        return place;
    }

    public void Dispose()
    {
        _positions?.Dispose();
        _laidOut?.Dispose();
        foreach (var (cosine, sine) in _turns.Values)
        {
            cosine.Dispose();
            sine.Dispose();
        }

        foreach (var placed in _placed.Values)
        {
            placed.Dispose();
        }
    }

    /// <summary>What each position sees, <c>[batch or 1, 1, seq, seen]</c>, bool; null where that is everything: one position behind all others.</summary>
    private Tensor? Visible(Device device)
    {
        if (_laidOut is not null)
        {
            return On(device, "visible", () => _laidOut);
        }

        return _positions is null && Length == 1 ? null : On(device, "visible", () =>
        {
            Tensor columns = ScalarOps.Arange(First, First + Length).view(1, -1, 1), seen = ScalarOps.Arange(0, First + Length).view(1, 1, -1);
            Tensor before = seen <= columns;
            if (_cache?.Padding is not { } padding)
            {
                return before.unsqueeze(1);
            }

            // A position of padding sees itself: a row that sees nothing would be 0 / 0.
            Tensor real = seen >= Hidden(padding).unsqueeze(2);
            return before.logical_and(real.logical_or(seen == columns)).unsqueeze(1);
        });
    }

    /// <summary>Columns of padding in front of each row, <c>[batch, 1]</c>, int64.</summary>
    private static Tensor Hidden(IReadOnlyList<int> padding) => tensor(padding.Select(count => (long)count).ToArray(), ScalarType.Int64).unsqueeze(1);

    private Tensor On(Device device, string what, Func<Tensor> make)
    {
        string key = $"{what} {device}";
        if (!_placed.TryGetValue(key, out var placed))
        {
            // It outlives the dispose scope of the block that asks first.
            using var scope = NewDisposeScope();
            placed = make().to(device, copy: true).DetachFromDisposeScope();
            _placed[key] = placed;
        }

        return placed;
    }
}
