using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>What all blocks of one forward pass share.</summary>
internal sealed class ForwardContext : IDisposable
{
    private readonly AttentionMask _mask;

    /// <summary>Sequences that follow those in a cache, or that begin at position 0.</summary>
    /// <param name="length">Number of tokens in each row.</param>
    /// <param name="cache">The cache; null for none.</param>
    /// <param name="sequenceLength">Where a captured graph reads the sequence length, <c>[1]</c>, int32; null outside one.</param>
    public ForwardContext(long length, KeyValueCache? cache, Tensor? sequenceLength = null)
    {
        long first = cache?.Length ?? 0;
        Positions = PositionIds.FromColumns(first, length, cache?.Padding);
        _mask = AttentionMask.Causal(first, length, cache?.Padding);
        Attention = new Attention(_mask, length, cache, sequenceLength);
    }

    /// <summary>Sequences with positions and a mask of their own.</summary>
    public ForwardContext(SequenceLayout layout)
    {
        Positions = PositionIds.FromTensor(layout.PositionIds);
        _mask = AttentionMask.FromTensor(layout.AttentionMask, layout.PositionIds);
        Attention = new Attention(_mask, layout.PositionIds.shape[1], null, null);
    }

    /// <summary>The positions of the tokens.</summary>
    public PositionIds Positions { get; }

    /// <summary>The attention of the tokens.</summary>
    public Attention Attention { get; }

    public void Dispose()
    {
        Positions.Dispose();
        _mask.Dispose();
    }
}
