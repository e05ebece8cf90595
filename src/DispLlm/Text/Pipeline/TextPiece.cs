namespace DispLlm;

/// <summary>A part of a text on its way through the stages. An immutable value.</summary>
/// <param name="Text">The part, as the stages so far left it.</param>
/// <param name="Lead">
/// How many of its first characters come from the first character of the whole text: a Metaspace may look at where a part begins, and
/// normalization may make several characters of one, or remove it.
/// </param>
internal readonly record struct TextPiece(string Text, int Lead)
{
    /// <summary>A whole text.</summary>
    public static TextPiece Whole(string text) => new(text, text.Length == 0 ? 0 : char.IsHighSurrogate(text[0]) ? 2 : 1);

    /// <summary>The characters from one place to another.</summary>
    public TextPiece Slice(int from, int to) =>
        from == 0 && to == Text.Length ? this : new TextPiece(Text[from..to], Math.Max(0, Math.Min(Lead, to) - from));

    /// <summary>Rewrites the text by a rule that looks at characters one by one, or nearly so.</summary>
    public TextPiece Map(Func<string, string> rewrite)
    {
        string text = rewrite(Text);
        return new TextPiece(text, Lead == 0 ? 0 : Math.Min(rewrite(Text[..Lead]).Length, text.Length));
    }
}
