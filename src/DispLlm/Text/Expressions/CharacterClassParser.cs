namespace DispLlm;

/// <summary>
/// Reads a bracket expression of Oniguruma's dialect: ranges, escapes, POSIX brackets, nested sets, intersections.
/// </summary>
internal static class CharacterClassParser
{
    /// <summary>The set of a class whose opening bracket has been read.</summary>
    public static CodePointSet Parse(ExpressionCursor cursor, bool ignoresCase)
    {
        bool isNegated = cursor.Take("^");
        var set = Content(cursor);
        if (ignoresCase)
        {
            if (!isNegated && !set.Intersect(CaseFolding.Several).IsEmpty)
            {
                throw cursor.Refuse("a set that ignores case holds a letter that equals several others, such as the sharp s");
            }

            set = CaseFolding.Close(set);
        }

        return isNegated ? set.Complement() : set;
    }

    private static CodePointSet Content(ExpressionCursor cursor)
    {
        CodePointSet? intersection = null;
        var set = CodePointSet.Empty;
        bool isFirst = true;
        for (; isFirst || cursor.Next != ']'; isFirst = false)
        {
            if (cursor.IsAtEnd)
            {
                throw cursor.Refuse("']' is missing");
            }

            if (cursor.Take("&&"))
            {
                intersection = intersection?.Intersect(set) ?? set;
                set = CodePointSet.Empty;
            }
            else
            {
                set = set.Union(Element(cursor, isFirst));
            }
        }

        cursor.Skip(1);
        return intersection?.Intersect(set) ?? set;
    }

    private static CodePointSet Element(ExpressionCursor cursor, bool isFirst)
    {
        if (isFirst && cursor.Next == ']' && !cursor.Rest[1..].Contains(']'))
        {
            throw cursor.Refuse("a set is empty");
        }

        if (cursor.Take("[:"))
        {
            return PosixBracket(cursor);
        }

        if (cursor.Take("["))
        {
            return Parse(cursor, ignoresCase: false);
        }

        if (cursor.Take("\\"))
        {
            if (cursor.TakeSetEscape(inClass: true) is { } named)
            {
                return NoRange(cursor, named);
            }

            return Range(cursor, Escaped(cursor));
        }

        return Range(cursor, cursor.TakePoint());
    }

    /// <summary>One character, or a range that begins with it: a hyphen before the closing bracket is only itself.</summary>
    private static CodePointSet Range(ExpressionCursor cursor, int first)
    {
        if (cursor.Rest.StartsWith("-]", StringComparison.Ordinal) || !cursor.Take("-"))
        {
            return CodePointSet.Range(first, first);
        }

        bool isEscape = cursor.Take("\\");
        if (isEscape ? cursor.TakeSetEscape(inClass: true) is not null : cursor.Next == '[')
        {
            throw cursor.Refuse("a range ends with a set");
        }

        int last = isEscape ? Escaped(cursor) : cursor.TakePoint();
        return last >= first ? CodePointSet.Range(first, last) : throw cursor.Refuse("a range is upside down");
    }

    /// <summary>An escaped character; in a set, b is the backspace.</summary>
    private static int Escaped(ExpressionCursor cursor) => cursor.Take("b") ? '\b' : cursor.TakeCharacterEscape();

    private static CodePointSet NoRange(ExpressionCursor cursor, CodePointSet set) =>
        cursor.Next == '-' && !cursor.Rest.StartsWith("-]", StringComparison.Ordinal)
            ? throw cursor.Refuse("a range begins with a set")
            : set;

    private static CodePointSet PosixBracket(ExpressionCursor cursor)
    {
        bool isNegated = cursor.Take("^");
        string name = cursor.TakeUntil(':');
        var set = cursor.Take("]") ? UnicodeTables.Bracket(name) : null;
        return NoRange(cursor, (isNegated ? set?.Complement() : set) ?? throw cursor.Refuse($"the set [:{name}:] is not known"));
    }
}
