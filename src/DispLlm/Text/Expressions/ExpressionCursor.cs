using System.Globalization;
using System.Text;

namespace DispLlm;

/// <summary>Reads an expression of Oniguruma's dialect, code point by code point. Not thread-safe.</summary>
internal sealed class ExpressionCursor(string text)
{
    private int _at;

    public bool IsAtEnd => _at == text.Length;

    /// <summary>The next character, or NUL at the end.</summary>
    public char Next => IsAtEnd ? '\0' : text[_at];

    /// <summary>What is left.</summary>
    public ReadOnlySpan<char> Rest => text.AsSpan(_at);

    /// <summary>Skips a text if it comes next.</summary>
    public bool Take(string expected)
    {
        bool comes = Rest.StartsWith(expected, StringComparison.Ordinal);
        _at += comes ? expected.Length : 0;
        return comes;
    }

    public void Skip(int characters) => _at += characters;

    public int TakePoint()
    {
        if (IsAtEnd)
        {
            throw Refuse("it ends in the middle");
        }

        if (!Rune.TryGetRuneAt(text, _at, out var rune))
        {
            throw Refuse("it holds half of a character");
        }

        _at += rune.Utf16SequenceLength;
        return rune.Value;
    }

    /// <summary>The text up to a closing character, which is skipped too.</summary>
    public string TakeUntil(char close)
    {
        int length = Rest.IndexOf(close);
        if (length < 0)
        {
            throw Refuse($"'{close}' is missing");
        }

        string taken = Rest[..length].ToString();
        _at += length + 1;
        return taken;
    }

    /// <summary>The set of an escape after its backslash, or <see langword="null"/> where it stands for one character.</summary>
    public CodePointSet? TakeSetEscape(bool inClass)
    {
        char letter = Next;
        CodePointSet? set = char.ToLowerInvariant(letter) switch
        {
            // Outside of brackets, and only there, superscript digits are word characters.
            'w' => inClass ? UnicodeTables.Word : UnicodeTables.Property("word"),
            's' => UnicodeTables.Space,
            'd' => UnicodeTables.Digit,
            'h' => UnicodeTables.HexDigit,
            _ => null,
        };
        if (set is not null)
        {
            Skip(1);
            return char.IsUpper(letter) ? set.Complement() : set;
        }

        if (letter is not ('p' or 'P') || Rest.Length < 2 || Rest[1] != '{')
        {
            return null;
        }

        Skip(2);
        bool isNegated = Take("^") != (letter == 'P');
        string name = TakeUntil('}');
        set = UnicodeTables.Property(name) ?? throw Refuse($"the property {name} is not known");
        return isNegated ? set.Complement() : set;
    }

    /// <summary>The character of an escape, after its backslash.</summary>
    public int TakeCharacterEscape()
    {
        char letter = Next;
        switch (letter)
        {
            case 'x' when Rest.StartsWith("x{", StringComparison.Ordinal):
                Skip(2);
                return Number(TakeUntil('}'), 16);
            case 'o' when Rest.StartsWith("o{", StringComparison.Ordinal):
                Skip(2);
                return Number(TakeUntil('}'), 8);
            case 'x':
                Skip(1);
                return Number(TakeDigits(2, char.IsAsciiHexDigit), 16);
            case 'u':
                Skip(1);
                string digits = TakeDigits(4, char.IsAsciiHexDigit);
                return digits.Length == 4 ? Number(digits, 16) : throw Refuse("\\u needs four digits");
            case >= '0' and <= '7':
                return Number(TakeDigits(3, c => c is >= '0' and <= '7'), 8);
            case 'c' when Rest.Length > 1:
                int control = Rest[1] & 0x1F;
                Skip(2);
                return control;
            case 'C' or 'M':
                throw Refuse($"\\{letter} is not supported");
        }

        int point = TakePoint();
        return point switch
        {
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'f' => '\f',
            'v' => '\v',
            'a' => '\a',
            'e' => 0x1B,
            _ => point,
        };
    }

    public string TakeDigits(int most, Func<char, bool> isDigit)
    {
        int length = 0;
        while (length < most && length < Rest.Length && isDigit(Rest[length]))
        {
            length++;
        }

        string digits = Rest[..length].ToString();
        _at += length;
        return digits;
    }

    public FormatException Refuse(string why) => new(string.Create(CultureInfo.InvariantCulture, $"{why} (at character {_at + 1})"));

    private int Number(string digits, int radix)
    {
        try
        {
            int number = Convert.ToInt32(digits.Trim(), radix);
            return number is >= 0 and < 0x110000 ? number : throw Refuse("there is no such code point");
        }
        catch (Exception e) when (e is FormatException or OverflowException or ArgumentException)
        {
            throw Refuse($"'{digits}' is no code point");
        }
    }
}
