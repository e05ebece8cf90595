using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// Positions and attention mask of a batch that is not simply causal: several continuations after one context, or rows of unequal length.
/// It does not own its
/// tensors. Thread-safe to read.
/// </summary>
/// <param name="PositionIds"><c>[batch, seq]</c>, int64, on the CPU: each token's position, from 0.</param>
/// <param name="AttentionMask">
/// <c>[batch, seq, seq]</c>, bool, on the CPU: whether the token of the second axis attends to that of the third. Each attends to at least
/// one.
/// </param>
public sealed record SequenceLayout(Tensor PositionIds, Tensor AttentionMask)
{
    internal void Check(Tensor tokens, long limit)
    {
        long batch = tokens.shape[0], length = tokens.shape[1];
        if (PositionIds.dtype != ScalarType.Int64 || !PositionIds.shape.SequenceEqual([batch, length]))
        {
            throw new ArgumentException(
                $"Position ids are [{batch}, {length}] of type Int64, not [{string.Join(", ", PositionIds.shape)}] of type "
                    + $"{PositionIds.dtype}.", nameof(tokens));
        }

        if (AttentionMask.dtype != ScalarType.Bool || !AttentionMask.shape.SequenceEqual([batch, length, length]))
        {
            throw new ArgumentException(
                $"The attention mask is [{batch}, {length}, {length}] of type Bool, not [{string.Join(", ", AttentionMask.shape)}] of type "
                    + $"{AttentionMask.dtype}.",
                nameof(tokens));
        }

        using var scope = NewDisposeScope();
        long first = PositionIds.min().ReadInt64(), last = PositionIds.max().ReadInt64();
        if (first < 0 || last >= limit)
        {
            throw new ArgumentException(
                $"Position {(first < 0 ? first : last)} is outside the {limit} positions of the model.", nameof(tokens));
        }
    }
}
