namespace DispLlm;

/// <summary>What becomes of the matches that split a text.</summary>
internal enum SplitBehavior
{
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// <summary>Splits a piece at the matches of an expression. Immutable and thread-safe.</summary>
internal sealed class TextSplitter(CodePointExpression expression, SplitBehavior behavior, bool invert = false)
{
    public List<TextPiece> Split(TextPiece piece)
    {
        var pieces = new List<TextPiece>();
        foreach (var (start, end, isRemoved) in Merge(Segments(piece.Text)))
        {
            if (end > start && !isRemoved)
            {
                pieces.Add(piece.Slice(start, end));
            }
        }

        return pieces;
    }

    /// <summary>Matches and what lies between them, in order.</summary>
    private List<(int Start, int End, bool IsMatch)> Segments(string text)
    {
        var segments = new List<(int Start, int End, bool IsMatch)>();
        int done = 0;
        foreach (var (start, end) in expression.Match(text))
        {
            if (start > done)
            {
                segments.Add((done, start, invert));
            }

            segments.Add((start, end, !invert));
            done = end;
        }

        if (done < text.Length)
        {
            segments.Add((done, text.Length, invert));
        }

        return segments;
    }

    private List<(int Start, int End, bool IsMatch)> Merge(List<(int Start, int End, bool IsMatch)> segments)
    {
        switch (behavior)
        {
            case SplitBehavior.Removed:
                return segments;
            case SplitBehavior.Isolated:
                return [.. segments.Select(segment => segment with { IsMatch = false })];
            case SplitBehavior.MergedWithNext:
                segments.Reverse();
                break;
        }

        var merged = new List<(int Start, int End, bool IsMatch)>();
        bool wasMatch = false;
        foreach (var (start, end, isMatch) in segments)
        {
            bool joins = behavior == SplitBehavior.Contiguous ? isMatch == wasMatch : isMatch && !wasMatch;
            if (joins && merged.Count > 0)
            {
                var (lastStart, lastEnd, _) = merged[^1];
                merged[^1] = behavior == SplitBehavior.MergedWithNext ? (start, lastEnd, false) : (lastStart, end, false);
            }
            else
            {
                merged.Add((start, end, false));
            }

            wasMatch = isMatch;
        }

        if (behavior == SplitBehavior.MergedWithNext)
        {
            merged.Reverse();
        }

        return merged;
    }
}
