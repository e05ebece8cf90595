namespace DispLlm.Evaluation;

/// <summary>A context and its continuation as token ids.</summary>
/// <param name="Context">At least one token.</param>
/// <param name="Continuation">At least one token.</param>
internal sealed record EncodedContinuation(int[] Context, int[] Continuation);

/// <summary>
/// Tokenizes a context and a continuation as EleutherAI's lm-evaluation-harness does: both are tokenized as one text, and the tokens after
/// those of the context alone are the continuation.
/// </summary>
internal sealed class ContinuationEncoding
{
    private readonly TextTokenizer _tokenizer;
    private readonly int _maxPositions;
    private readonly int[] _bos;

    // The choices of an item mostly share their context.
    private (string Text, int[] Ids)? _last;

    public ContinuationEncoding(TextTokenizer tokenizer, int maxPositions, bool? addBosToken)
    {
        _tokenizer = tokenizer;
        _maxPositions = maxPositions;
        _bos = !(addBosToken ?? tokenizer.AddBosToken) ? []
            : tokenizer.BosTokenId is { } bos ? [bos]
            : throw new EvaluationException("AddBosToken is set, but the tokenizer has no begin-of-text token. Evaluate without it.");
    }

    /// <summary>The ids of one choice.</summary>
    /// <exception cref="EvaluationException">The continuation gives no token, or more than the model has positions for.</exception>
    public EncodedContinuation Encode(ZeroShotChoice choice)
    {
        // A token begins with its space, so spaces at the end of the context belong to the continuation.
        string context = choice.Context.TrimEnd();
        string continuation = choice.Context[context.Length..] + choice.Continuation;
        int[] before, after;
        if (context.Length == 0)
        {
            before = [GetEmptyContextToken()];
            after = [.. _tokenizer.Encode(continuation)];
        }
        else
        {
            before = EncodeContext(context);
            after = [.. _bos.Concat(_tokenizer.Encode(context + continuation)).Skip(before.Length)];
        }

        if (after.Length == 0 || after.Length > _maxPositions)
        {
            throw new EvaluationException(
                $"The continuation {CheckpointException.Quote(choice.Continuation)} is {after.Length} tokens long; 1 to {_maxPositions} "
                    + $"are possible, the positions of the model.");
        }

        // A context that is too long is truncated at the left. The last token is predicted, and is no input.
        int excess = Math.Max(0, before.Length + after.Length - 1 - _maxPositions);
        return new EncodedContinuation(excess == 0 ? before : before[excess..], after);
    }

    private int[] EncodeContext(string context)
    {
        if (_last is not { } last || last.Text != context)
        {
            _last = last = (context, [.. _bos, .. _tokenizer.Encode(context)]);
        }

        return last.Ids;
    }

    private int GetEmptyContextToken() => _tokenizer.BosTokenId ?? _tokenizer.EosTokenId
        ?? throw new EvaluationException(
            "A context is empty, and the tokenizer has no begin-of-text or end-of-text token to use instead. Give every item a context.");
}
