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
}
