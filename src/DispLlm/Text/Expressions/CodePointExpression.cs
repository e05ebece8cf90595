using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace DispLlm;

/// <summary>
/// An expression over code points. .NET's engine works on UTF-16 and knows neither scripts nor POSIX brackets, so it never sees the text:
/// code points that no set of the expression tells apart become one letter of a small alphabet, and the engine matches these letters.
/// Immutable and thread-safe.
/// </summary>
internal sealed class CodePointExpression
{
    /// <summary>The letters of the alphabet begin here: characters that mean nothing to the engine.</summary>
    private const int FirstLetter = 0x100;

    // Only an expression that tries exponentially many ways takes as long for one word.
    private static readonly TimeSpan s_timeLimit = TimeSpan.FromSeconds(5);

    private readonly string _name;
    private readonly char[] _letters = new char[0x10000];
    private readonly int[] _bounds;
    private readonly char[] _letterFrom;
    private readonly Regex _regex;

    private CodePointExpression(IReadOnlyList<ExpressionPart> parts, string name)
    {
        _name = name;
        CodePointSet[] sets = [.. parts.Select(part => part.Set).OfType<CodePointSet>().Distinct()];
        SortedSet<int> bounds = [0, .. sets.SelectMany(set => set.Bounds.ToArray())];
        bounds.Remove(0x110000);
        _bounds = [.. bounds];

        // Ranges that lie in the same sets have the same letter.
        var letters = new Dictionary<string, char>();
        _letterFrom = new char[_bounds.Length];
        for (int i = 0; i < _bounds.Length; i++)
        {
            string memberships = string.Concat(sets.Select(set => set.Contains(_bounds[i]) ? '1' : '0'));
            if (!letters.TryGetValue(memberships, out _letterFrom[i]))
            {
                letters.Add(memberships, _letterFrom[i] = (char)(FirstLetter + letters.Count));
            }
        }

        for (int i = 0; i < _bounds.Length && _bounds[i] < _letters.Length; i++)
        {
            int end = i + 1 < _bounds.Length ? Math.Min(_bounds[i + 1], _letters.Length) : _letters.Length;
            Array.Fill(_letters, _letterFrom[i], _bounds[i], end - _bounds[i]);
        }

        var classes = sets.Select((set, index) => (set, index)).ToDictionary(
            entry => entry.set,
            entry => WriteClass(letters.Where(letter => letter.Key[entry.index] == '1').Select(letter => letter.Value)));
        _regex = new Regex(
            string.Concat(parts.Select(part => part.Syntax ?? classes[part.Set!])),
            RegexOptions.Compiled | RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture,
            s_timeLimit);
    }

    /// <summary>Reads an expression of Oniguruma's dialect.</summary>
    /// <param name="expression">The expression.</param>
    /// <param name="name">The file and key it stands at, for errors.</param>
    /// <exception cref="TokenizerException">It cannot be read, or asks for something that .NET's engine does not have.</exception>
    public static CodePointExpression Parse(string expression, string name)
    {
        try
        {
            return new CodePointExpression(ExpressionParser.Parse(expression), name);
        }
        catch (Exception e) when (e is FormatException or ArgumentException)
        {
            throw new TokenizerException(
                $"{name}: the expression '{expression}' cannot be read: {e.Message}. "
                + "Ids would differ from the model's own, so the tokenizer is refused.", e);
        }
    }

    /// <summary>The expression that matches a text as it is.</summary>
    public static CodePointExpression FromLiteral(string text, string name) => new(ExpressionParser.Literal(text), name);

    /// <summary>The expression that matches each member of a set.</summary>
    public static CodePointExpression FromSet(CodePointSet set, string name) => new([new ExpressionPart(null, set)], name);

    /// <summary>
    /// All matches in a text, from left to right, as UTF-16 offsets. A match may be empty, but not where the last one ended.
    /// </summary>
    /// <exception cref="TokenizerException">The expression takes too long.</exception>
    public List<(int Start, int End)> Match(string text)
    {
        string letters = Translate(text, out int[]? starts);
        var matches = new List<(int Start, int End)>();
        int lastEnd = -1;
        try
        {
            foreach (var match in _regex.EnumerateMatches(letters))
            {
                int end = match.Index + match.Length;
                if (match.Length == 0 && match.Index == lastEnd)
                {
                    continue;
                }

                matches.Add(starts is null ? (match.Index, end) : (starts[match.Index], starts[end]));
                lastEnd = end;
            }
        }
        catch (RegexMatchTimeoutException e)
        {
            throw new TokenizerException(
                $"{_name}: the expression takes more than {s_timeLimit.TotalSeconds:0} seconds for one word of the text. "
                + "Cut the text into shorter pieces, or replace the expression by an equal one that tries fewer ways.", e);
        }

        return matches;
    }

    /// <summary>The letters of a text, and where each code point begins if that is not the same.</summary>
    private string Translate(string text, out int[]? starts)
    {
        starts = null;
        if (!text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF'))
        {
            return string.Create(text.Length, (text, _letters), static (letters, state) =>
            {
                for (int i = 0; i < letters.Length; i++)
                {
                    letters[i] = state._letters[state.text[i]];
                }
            });
        }

        var result = new StringBuilder(text.Length);
        var offsets = new List<int>(text.Length + 1);
        for (int i = 0; i < text.Length;)
        {
            var rune = Rune.GetRuneAt(text, i);
            offsets.Add(i);
            result.Append(rune.IsBmp ? _letters[rune.Value] : FindLetter(rune.Value));
            i += rune.Utf16SequenceLength;
        }

        offsets.Add(text.Length);
        starts = [.. offsets];
        return result.ToString();
    }

    private char FindLetter(int point)
    {
        int index = Array.BinarySearch(_bounds, point);
        return _letterFrom[index >= 0 ? index : ~index - 1];
    }

    private static string WriteClass(IEnumerable<char> letters)
    {
        var text = new StringBuilder("[");
        foreach (char letter in letters)
        {
            text.Append(CultureInfo.InvariantCulture, $"\\u{(int)letter:X4}");
        }

        return text.Length == 1 ? "(?!)" : text.Append(']').ToString();
    }
}
