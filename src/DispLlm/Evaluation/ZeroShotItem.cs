using System.Text;

namespace DispLlm.Evaluation;

/// <summary>One of the answers to a zero-shot item: how likely is the continuation behind the context?</summary>
/// <param name="Context">What is read first. Spaces at its end count as the continuation's, since tokens begin with theirs; empty stands for the beginning of a text.</param>
/// <param name="Continuation">What is scored, with the space in front of it that separates words.</param>
public sealed record ZeroShotChoice(string Context, string Continuation)
{
    /// <summary>
    /// What <c>acc_norm</c> divides by: the answer's characters (code points), without the one space that separates it from its context.
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

/// <summary>A question with the answers to choose from.</summary>
/// <param name="Choices">At least two.</param>
/// <param name="Gold">Which of them is right, from 0.</param>
public sealed record ZeroShotItem(IReadOnlyList<ZeroShotChoice> Choices, int Gold);
