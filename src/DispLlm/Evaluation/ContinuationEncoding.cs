namespace DispLlm.Evaluation;

/// <summary>A context and its continuation as token ids, as the model is given them.</summary>
/// <param name="Context">At least one.</param>
/// <param name="Continuation">At least one.</param>
internal sealed record EncodedContinuation(int[] Context, int[] Continuation);

/// <summary>
/// How EleutherAI's lm-evaluation-harness makes token ids of a context and a continuation: both are tokenized as one text, since a tokenizer may cut at other places where it sees
/// more, and what goes beyond the context's own tokens is the continuation.
/// </summary>
internal sealed class ContinuationEncoding
{
    private readonly TextTokenizer _tokenizer;
    private readonly int _maxPositions;
    private readonly int[] _opening;

    // The choices of an item mostly share their context.
    private (string Text, int[] Ids)? _last;

    public ContinuationEncoding(TextTokenizer tokenizer, int maxPositions, bool addsBeginOfText)
    {
        _tokenizer = tokenizer;
        _maxPositions = maxPositions;
        _opening = !addsBeginOfText ? []
            : tokenizer.BosTokenId is { } begin ? [begin]
            : throw new EvaluationException("A token for the beginning of each text is asked for, and the model's tokenizer has none. Evaluate without it.");
    }

    /// <summary>The ids of one choice.</summary>
    /// <exception cref="EvaluationException">The continuation gives no token, or more than the model has positions for.</exception>
    public EncodedContinuation Encode(ZeroShotChoice choice)
    {
        // Tokens begin with their space, so those at the end of a context belong to what follows.
        string context = choice.Context.TrimEnd();
        string continuation = choice.Context[context.Length..] + choice.Continuation;
        int[] before, behind;
        if (context.Length == 0)
        {
            before = [Prefix()];
            behind = [.. _tokenizer.Encode(continuation)];
        }
        else
        {
            before = ContextIds(context);
            behind = [.. _opening.Concat(_tokenizer.Encode(context + continuation)).Skip(before.Length)];
        }

        if (behind.Length == 0 || behind.Length > _maxPositions)
        {
            throw new EvaluationException(
                $"The continuation {CheckpointException.Quote(choice.Continuation)} is {behind.Length} tokens behind its context; it has to be 1 to {_maxPositions}, the model's positions.");
        }

        // What does not fit is cut off at the left. The last token is predicted and not read.
        int excess = Math.Max(0, before.Length + behind.Length - 1 - _maxPositions);
        return new EncodedContinuation(excess == 0 ? before : before[excess..], behind);
    }

    private int[] ContextIds(string context)
    {
        if (_last is not { } last || last.Text != context)
        {
            _last = last = (context, [.. _opening, .. _tokenizer.Encode(context)]);
        }

        return last.Ids;
    }

    private int Prefix() => _tokenizer.BosTokenId ?? _tokenizer.EosTokenId
        ?? throw new EvaluationException("A context is empty, and the model's tokenizer has no token that begins or ends a text to stand for it. Give every item a context.");
}
