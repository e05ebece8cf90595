using System.Globalization;
using System.Text;

namespace DispLlm;

/// <summary>Code points, which the rules of tokenizers are written for, in .NET's UTF-16 text.</summary>
internal static class CodePoints
{
    /// <summary>
    /// The same text, with every lone surrogate replaced by U+FFFD: it has no UTF-8 form, and the original tokenizers cannot be given one.
    /// </summary>
    public static string WithoutLoneSurrogates(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (!char.IsSurrogate(text[i]))
            {
                continue;
            }

            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
            {
                i++;
                continue;
            }

            var mended = new StringBuilder(text.Length);
            foreach (Rune rune in text.EnumerateRunes())
            {
                mended.Append(rune);
            }

            return mended.ToString();
        }

        return text;
    }

    /// <summary>
    /// A text in which every code point is one character, for regular expressions: .NET's engine takes a code point beyond U+FFFF for two
    /// characters, neither of them a letter or a number. Each such code point is replaced by a rare character of the same category.
    /// <paramref name="starts"/> is where in the text each code point begins; <see langword="null"/> where the text has none of them and is
    /// returned itself.
    /// </summary>
    public static string Shadow(string text, out int[]? starts)
    {
        starts = null;
        if (!text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF'))
        {
            return text;
        }

        var shadow = new StringBuilder(text.Length);
        var offsets = new List<int>(text.Length);
        for (int i = 0; i < text.Length;)
        {
            Rune rune = Rune.GetRuneAt(text, i);
            offsets.Add(i);
            shadow.Append(rune.IsBmp ? text[i] : StandIn(Rune.GetUnicodeCategory(rune)));
            i += rune.Utf16SequenceLength;
        }

        offsets.Add(text.Length);
        starts = [.. offsets];
        return shadow.ToString();
    }

    private static char StandIn(UnicodeCategory category) => category switch
    {
        UnicodeCategory.UppercaseLetter => '\u04C0',
        UnicodeCategory.LowercaseLetter => '\u0138',
        UnicodeCategory.TitlecaseLetter => '\u1F88',
        UnicodeCategory.ModifierLetter => '\u02C0',
        UnicodeCategory.OtherLetter => '\u01C0',
        UnicodeCategory.NonSpacingMark => '\u0334',
        UnicodeCategory.SpacingCombiningMark => '\u0903',
        UnicodeCategory.EnclosingMark => '\u0488',
        UnicodeCategory.DecimalDigitNumber => '\u07C0',
        UnicodeCategory.LetterNumber => '\u2180',
        UnicodeCategory.OtherNumber => '\u0D70',
        UnicodeCategory.MathSymbol => '\u2AFB',
        UnicodeCategory.CurrencySymbol => '\u20B0',
        UnicodeCategory.ModifierSymbol => '\u02EF',
        UnicodeCategory.OtherPunctuation => '\u055A',
        UnicodeCategory.DashPunctuation => '\u058A',
        UnicodeCategory.Format => '\u2064',
        UnicodeCategory.PrivateUse => '\uE000',
        UnicodeCategory.OtherNotAssigned => '\uFFFE',
        _ => '\u2800', // A symbol: emoji, pictographs, and every category without such a code point.
    };
}
