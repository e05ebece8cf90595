using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Where the tokens of a batch stand and what each of them sees, where that is not simply all that came before: several continuations behind one context, or rows of unequal length.
/// </summary>
/// <param name="Positions"><c>[batch, seq]</c>, int64, on the CPU: each token's position, from 0.</param>
/// <param name="Visible"><c>[batch, seq, seq]</c>, bool, on the CPU: whether the token of the second axis sees that of the third. Each has to see one at least.</param>
public sealed record SequenceLayout(Tensor Positions, Tensor Visible)
{
    internal void Check(Tensor tokens, long limit)
    {
        long batch = tokens.shape[0], length = tokens.shape[1];
        if (Positions.dtype != ScalarType.Int64 || !Positions.shape.SequenceEqual([batch, length]))
        {
            throw new ArgumentException($"Positions are [{batch}, {length}] of type Int64, not [{string.Join(", ", Positions.shape)}] of type {Positions.dtype}.", nameof(tokens));
        }

        if (Visible.dtype != ScalarType.Bool || !Visible.shape.SequenceEqual([batch, length, length]))
        {
            throw new ArgumentException($"Visible is [{batch}, {length}, {length}] of type Bool, not [{string.Join(", ", Visible.shape)}] of type {Visible.dtype}.", nameof(tokens));
        }

        using var scope = NewDisposeScope();
        long first = Positions.min().WholeNumber(), last = Positions.max().WholeNumber();
        if (first < 0 || last >= limit)
        {
            throw new ArgumentException($"Position {(first < 0 ? first : last)} is none of the {limit} that the model was made for.", nameof(tokens));
        }
    }
}
