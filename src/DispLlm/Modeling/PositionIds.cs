using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>The position ids of one forward pass, and the rotary cosine and sine of these positions, which all blocks share.</summary>
internal sealed class PositionIds : IDisposable
{
    private readonly PerDevice _ids;
    private readonly Dictionary<RotaryEmbedding, (Tensor Cosine, Tensor Sine)> _rotary = [];

    private readonly Func<long> _length;

    private PositionIds(Func<Tensor> create, Func<long> length)
    {
        _ids = new PerDevice(create);
        _length = length;
    }

    /// <summary>Consecutive positions. Padding does not count: the first token after it is at position 0.</summary>
    /// <param name="first">The column of the first token.</param>
    /// <param name="length">Number of tokens in each row.</param>
    /// <param name="padding">Padding columns at the front of each row; null where no row has any.</param>
    public static PositionIds FromColumns(long first, long length, IReadOnlyList<int>? padding) => new(
        () =>
        {
            Tensor columns = ScalarOps.Arange(first, first + length);
            return padding is null ? columns : (columns.unsqueeze(0) - AttentionMask.Column(padding)).ClampMin(0L);
        },
        () => first + length - (padding?.Min() ?? 0));

    /// <summary>Given positions, <c>[batch, seq]</c>, int64.</summary>
    public static PositionIds FromTensor(Tensor positions) => new(() => positions, () => positions.max().ReadInt64() + 1);

    /// <summary>The position of every token, <c>[seq]</c> or <c>[batch, seq]</c>, int64.</summary>
    public Tensor On(Device device) => _ids.On(device);

    /// <summary>Cosine and sine of these positions, as <see cref="RotaryEmbedding.Compute"/> returns them.</summary>
    public (Tensor Cosine, Tensor Sine) RotaryCosSin(RotaryEmbedding rotary, Device device, ScalarType type)
    {
        if (!_rotary.TryGetValue(rotary, out var cosSin))
        {
            // They outlive the dispose scope of the block that asks first.
            using var scope = NewDisposeScope();
            cosSin = rotary.Compute(On(device), type, rotary.DependsOnLength ? _length() : 0);
            cosSin.Cosine.DetachFromDisposeScope();
            cosSin.Sine.DetachFromDisposeScope();
            _rotary.Add(rotary, cosSin);
        }

        return cosSin;
    }

    public void Dispose()
    {
        _ids.Dispose();
        foreach (var (cosine, sine) in _rotary.Values)
        {
            cosine.Dispose();
            sine.Dispose();
        }
    }
}
