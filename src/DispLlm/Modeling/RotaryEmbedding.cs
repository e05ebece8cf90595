using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// Rotary position embedding on one device. Cosine and sine of a prefill are computed when they are needed, which costs little beside one
/// projection; for decode
/// steps a table of all positions is kept. Thread-safe.
/// </summary>
internal sealed class RotaryEmbedding : IDisposable
{
    // Positions of the shortest table.
    private const long FirstLength = 256;

    private readonly RotarySpec _spec;
    private readonly Tensor _frequencies;   // [rotary_dim / 2], float32, of sequences that a scaling for longer ones leaves alone
    private readonly Lock _lock = new();
    private readonly List<(ScalarType Type, Tensor Cosine, Tensor Sine)> _tables = [];

    public RotaryEmbedding(RotarySpec spec, Device device)
    {
        _spec = spec;
        using Tensor host = tensor(RotaryFrequencies.Compute(spec, 0), ScalarType.Float32);
        _frequencies = host.to(device, copy: true).DetachFromDisposeScope();
    }

    /// <summary>Whether further tokens may change the angles of all.</summary>
    public bool DependsOnLength => _spec.Scaling.DependsOnLength;

    /// <summary>
    /// Cosine and sine of positions <c>[seq]</c> or <c>[batch, seq]</c> in the compute type: <c>[seq, rotary_dim]</c> or <c>[batch, seq,
    /// rotary_dim]</c>, each half of
    /// them the same angles. The first half of the sines is negated, so that the embedding is <c>x cosine + (x with its halves swapped)
    /// sine</c>.
    /// </summary>
    /// <param name="positions">The positions, int64.</param>
    /// <param name="type">The compute type.</param>
    /// <param name="length">The length of the longest sequence, in tokens; 0 where it does not matter.</param>
    public (Tensor Cosine, Tensor Sine) Compute(Tensor positions, ScalarType type, long length = 0)
    {
        Tensor frequencies = DependsOnLength && length > 0
            ? tensor(RotaryFrequencies.Compute(_spec, length), ScalarType.Float32).to(positions.device)
            : _frequencies;
        Tensor angles = positions.to(ScalarType.Float32).unsqueeze(-1) * frequencies;
        Tensor cosine = angles.cos(), sine = angles.sin();
        if (_spec.Scaling.AttentionFactor != 1)
        {
            (cosine, sine) = (cosine.MulScalar(_spec.Scaling.AttentionFactor), sine.MulScalar(_spec.Scaling.AttentionFactor));
        }

        return (cat([cosine, cosine], -1).to(type), cat([sine.neg(), sine], -1).to(type));
    }

    /// <summary>
    /// Cosine and sine of at least so many positions from 0. A table has twice the positions of the one before, which is kept: another
    /// thread may be reading it.
    /// </summary>
    public (Tensor Cosine, Tensor Sine) Table(long length, ScalarType type)
    {
        lock (_lock)
        {
            var (_, cosine, sine) = _tables.FindLast(table => table.Type == type);
            if (cosine is null || cosine.size(0) < length)
            {
                length = Math.Max(FirstLength, Math.Max(length, 2 * (cosine?.size(0) ?? 0)));
                using var scope = NewDisposeScope();
                (cosine, sine) = Compute(ScalarOps.Arange(0, length).to(_frequencies.device), type);
                _tables.Add((type, cosine.DetachFromDisposeScope(), sine.DetachFromDisposeScope()));
            }

            return (cosine, sine);
        }
    }

    /// <summary>
    /// Rotates the pairs (i, i + half) of the first <c>rotary_dim</c> features of <c>[batch, heads, seq, head_dim]</c>; in place where no
    /// gradient is wanted.
    /// </summary>
    public static Tensor Apply(Tensor x, Tensor cosine, Tensor sine)
    {
        // As projections write them: the heads of one position are contiguous.
        Tensor bySequence = x.transpose(1, 2);
        Tensor rotated = x.requires_grad
            ? RotaryFunction.Apply(bySequence, cosine, sine)
            : DeviceKernels.ApplyRotary(bySequence, cosine, sine, inverse: false, mayOverwrite: true);
        return rotated.transpose(1, 2);
    }

    public void Dispose()
    {
        foreach (var (_, cosine, sine) in _tables)
        {
            cosine.Dispose();
            sine.Dispose();
        }

        _frequencies.Dispose();
    }
}
