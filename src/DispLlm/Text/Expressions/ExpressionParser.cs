namespace DispLlm;

/// <summary>A piece of a parsed expression: either syntax that both engines share, or a set of code points.</summary>
internal readonly record struct ExpressionPart(string? Syntax, CodePointSet? Set);

/// <summary>
/// Reads Oniguruma's dialect, in which tokenizer.json writes expressions, into .NET's syntax over sets of code points. What the two
/// engines do alike keeps its syntax; anchors, possessive quantifiers, intervals and sets are written anew. Refuses, with a
/// <see cref="FormatException"/>, what has no equal.
/// </summary>
internal sealed class ExpressionParser
{
    private static readonly CodePointSet s_newline = CodePointSet.Range('\n', '\n');
    private static readonly string[] s_severalLetters = ["ss", "ff", "fi", "fl", "st"];

    private readonly ExpressionCursor _cursor;
    private readonly List<ExpressionPart> _parts = [];
    private int _lastLetter;

    private ExpressionParser(string expression) => _cursor = new ExpressionCursor(expression);

    public static IReadOnlyList<ExpressionPart> Parse(string expression)
    {
        var parser = new ExpressionParser(expression);
        parser.Alternatives(default);
        return parser._cursor.IsAtEnd ? parser._parts : throw parser._cursor.Refuse("')' has no '('");
    }

    /// <summary>The expression that matches a text as it is.</summary>
    public static IReadOnlyList<ExpressionPart> Literal(string text) =>
        [.. text.EnumerateRunes().Select(rune => new ExpressionPart(null, CodePointSet.Range(rune.Value, rune.Value)))];

    private void Alternatives(Options options)
    {
        while (!_cursor.IsAtEnd && _cursor.Next != ')')
        {
            if (_cursor.Take("|"))
            {
                Add("|");
            }
            else if (options.IsExtended && (char.IsWhiteSpace(_cursor.Next) || _cursor.Next == '#'))
            {
                SkipLayout();
            }
            else if (Quantified(options))
            {
                // Options without a colon hold to the end of the group, alternatives included.
                return;
            }
        }
    }

    private void SkipLayout()
    {
        if (_cursor.Next != '#')
        {
            _cursor.Skip(1);
            return;
        }

        int line = _cursor.Rest.IndexOf('\n');
        _cursor.Skip(line < 0 ? _cursor.Rest.Length : line + 1);
    }

    /// <summary>One atom with its quantifiers; true where it was an option that took the rest of the group.</summary>
    private bool Quantified(Options options)
    {
        int start = _parts.Count;
        if (Atom(options))
        {
            return true;
        }

        while (ExpressionQuantifier.Read(_cursor) is var (quantifier, isPossessive))
        {
            if (start == _parts.Count)
            {
                throw _cursor.Refuse("a quantifier has nothing to repeat");
            }

            _parts.Insert(start, new ExpressionPart(isPossessive ? "(?>(?:" : "(?:", null));
            Add(")" + quantifier + (isPossessive ? ")" : ""));
            _lastLetter = 0;
        }

        return false;
    }

    private bool Atom(Options options)
    {
        int letter = _lastLetter;
        _lastLetter = 0;
        switch (_cursor.Next)
        {
            case '(':
                return Group(options);
            case '[':
                _cursor.Skip(1);
                Add(CharacterClassParser.Parse(_cursor, options.IgnoresCase));
                return false;
            case '.':
                _cursor.Skip(1);
                Add(options.DotIsAll ? CodePointSet.All : s_newline.Complement());
                return false;
            case '^':
                _cursor.Skip(1);
                Add("(?:\\A|(?<=", s_newline, ")(?!\\z))");
                return false;
            case '$':
                _cursor.Skip(1);
                Add("(?=", s_newline, "|\\z)");
                return false;
            case '*' or '+' or '?':
                return false;
            case '\\':
                _cursor.Skip(1);
                Escape(options, letter);
                return false;
            default:
                Character(_cursor.TakePoint(), options, letter);
                return false;
        }
    }

    private void Escape(Options options, int letter)
    {
        char name = _cursor.Next;
        if (_cursor.TakeSetEscape(inClass: false) is { } set)
        {
            Add(set);
            return;
        }

        switch (name)
        {
            case 'A' or 'z':
                Add("\\" + name);
                break;
            case 'Z':
                Add("(?=", s_newline, "?\\z)");
                break;
            case 'b' or 'B':
                var word = UnicodeTables.Property("word")!;
                Add(name == 'b' ? "(?:(?<=" : "(?:(?<!", word, ")(?!");
                Add(word);
                Add(name == 'b' ? ")|(?<!" : ")|(?<=", word, ")(?=");
                Add(word);
                Add("))");
                break;
            case 'N':
                Add(s_newline.Complement());
                break;
            case 'O':
                Add(CodePointSet.All);
                break;
            case 'R':
                Add("(?>", CodePointSet.Range('\r', '\r'), "");
                Add("", s_newline, "|");
                Add(CodePointSet.Parse("A-D 85 2028-2029"));
                Add(")");
                break;
            case 'G' or 'K' or 'k' or 'g' or 'X' or 'y' or 'Y' or '8' or '9':
            case >= '1' and <= '7' when _cursor.Rest.Length < 3 || !_cursor.Rest[..3].ToString().All(c => c is >= '0' and <= '7'):
                throw _cursor.Refuse($"\\{name} is not supported");
            default:
                Character(_cursor.TakeCharacterEscape(), options, letter);
                return;
        }

        _cursor.Skip(1);
    }

    private void Character(int point, Options options, int previous)
    {
        var set = CodePointSet.Range(point, point);
        if (options.IgnoresCase)
        {
            string pair = string.Concat(char.ToLowerInvariant((char)previous), char.ToLowerInvariant((char)point));
            if (CaseFolding.Several.Contains(point) || s_severalLetters.Contains(pair))
            {
                throw _cursor.Refuse("where case is ignored, one of its letters equals several others, as the sharp s equals ss");
            }

            set = CaseFolding.Close(set);
        }

        _lastLetter = point;
        Add(set);
    }

    private bool Group(Options options)
    {
        _cursor.Skip(1);
        string open = "(?:";
        if (_cursor.Take("?"))
        {
            if (_cursor.Take("#"))
            {
                _cursor.TakeUntil(')');
                return false;
            }

            string? known = Array.Find(["<=", "<!", "=", "!", ">", ":"], _cursor.Take);
            if (known is not null)
            {
                open = "(?" + known;
            }
            else if (_cursor.Take("<"))
            {
                _cursor.TakeUntil('>');
            }
            else if (OptionLetters(ref options))
            {
                Add("(?:");
                Alternatives(options);
                Add(")");
                return true;
            }
        }
        else if (_cursor.Next == '*')
        {
            throw _cursor.Refuse("(* is not supported");
        }

        Add(open);
        Alternatives(options);
        if (!_cursor.Take(")"))
        {
            throw _cursor.Refuse("')' is missing");
        }

        Add(")");
        _lastLetter = 0;
        return false;
    }

    /// <summary>Reads "i-m:" or "i)"; true where the options hold for the rest of the group around them.</summary>
    private bool OptionLetters(ref Options options)
    {
        for (bool isOn = true; ; _cursor.Skip(1))
        {
            switch (_cursor.Next)
            {
                case '-':
                    isOn = false;
                    break;
                case 'i':
                    options.IgnoresCase = isOn;
                    break;
                case 'm':
                    options.DotIsAll = isOn;
                    break;
                case 'x':
                    options.IsExtended = isOn;
                    break;
                case ':' or ')':
                    bool isRest = _cursor.Next == ')';
                    _cursor.Skip(1);
                    return isRest;
                default:
                    throw _cursor.Refuse($"(?{_cursor.Next} is not supported");
            }
        }
    }

    private void Add(string syntax) => _parts.Add(new ExpressionPart(syntax, null));

    private void Add(CodePointSet set) => _parts.Add(new ExpressionPart(null, set));

    private void Add(string before, CodePointSet set, string after)
    {
        Add(before);
        Add(set);
        Add(after);
    }

    private struct Options
    {
        public bool IgnoresCase;
        public bool DotIsAll;
        public bool IsExtended;
    }
}
