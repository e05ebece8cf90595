namespace DispLlm.Reporting;

/// <summary>The style sheets, which lie beside this file as what they are and travel in the assembly.</summary>
internal static class PageStyles
{
    /// <summary>Of the pictures.</summary>
    public static string Picture { get; } = Read("picture.css");

    /// <summary>Of the page around them.</summary>
    public static string Page { get; } = Read("page.css");

    private static string Read(string name)
    {
        using var stream = typeof(PageStyles).Assembly.GetManifestResourceStream($"DispLlm.Reporting.{name}")!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd().ReplaceLineEndings("\n");
    }
}
