using System.Text;

namespace DispLlm.Evaluation;

/// <summary>One answer to a zero-shot item: the continuation is scored after the context. Immutable and thread-safe.</summary>
/// <param name="Context">
/// The prompt. Spaces at its end are moved to the continuation, since tokens begin with a space. Empty means the beginning of a text.
/// </param>
/// <param name="Continuation">The scored text, with a leading space that separates words.</param>
public sealed record ZeroShotChoice(string Context, string Continuation)
{
    /// <summary>
    /// The divisor of <c>acc_norm</c>: the code points of the continuation without its leading space.
    /// </summary>
    internal int Length
    {
        get
        {
            int length = Continuation.StartsWith(' ') ? -1 : 0;
            foreach (var _ in Continuation.EnumerateRunes())
            {
                length++;
            }

            return length;
        }
    }
}

/// <summary>A question with its answers. Immutable and thread-safe.</summary>
/// <param name="Choices">At least two.</param>
/// <param name="Gold">Index of the right one, from 0.</param>
public sealed record ZeroShotItem(IReadOnlyList<ZeroShotChoice> Choices, int Gold);
