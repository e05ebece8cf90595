using System.Text.RegularExpressions;

namespace DispLlm.Evaluation;

/// <summary>Cleans texts of HellaSwag exactly as lm-evaluation-harness does; scores depend on every space.</summary>
internal static partial class HellaSwagText
{
    /// <summary>Removes the markup of WikiHow articles.</summary>
    public static string Clean(string text) =>
        Brackets().Replace(text.Trim().Replace(" [title]", ". ", StringComparison.Ordinal), string.Empty)
            .Replace("  ", " ", StringComparison.Ordinal);

    /// <summary>Python's <c>str.capitalize</c>: the first letter in upper case, all others in lower case.</summary>
    public static string Capitalize(string text)
    {
        int first = text.Length > 1 && char.IsHighSurrogate(text[0]) ? 2 : Math.Min(1, text.Length);
        return text[..first].ToUpperInvariant() + text[first..].ToLowerInvariant();
    }

    [GeneratedRegex(@"\[.*?\]")]
    private static partial Regex Brackets();
}
