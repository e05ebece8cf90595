using System.Text.RegularExpressions;

namespace DispLlm.Evaluation;

/// <summary>The harness's clean-up of HellaSwag's texts. What it leaves odd (a space before a bracket that went) stays odd here: scores depend on it.</summary>
internal static partial class HellaSwagText
{
    /// <summary>Without the marks that the articles of its second half carry.</summary>
    public static string Cleaned(string text) =>
        Brackets().Replace(text.Trim().Replace(" [title]", ". ", StringComparison.Ordinal), string.Empty).Replace("  ", " ", StringComparison.Ordinal);

    /// <summary>The first letter large and all others small, as Python's <c>capitalize</c> has it.</summary>
    public static string Capitalized(string text)
    {
        int first = text.Length > 1 && char.IsHighSurrogate(text[0]) ? 2 : Math.Min(1, text.Length);
        return text[..first].ToUpperInvariant() + text[first..].ToLowerInvariant();
    }

    [GeneratedRegex(@"\[.*?\]")]
    private static partial Regex Brackets();
}
