namespace DispLlm.Reporting;

/// <summary>The style sheets, embedded in the assembly.</summary>
internal static class PageStyles
{
    /// <summary>The style sheet of charts.</summary>
    public static string Chart { get; } = Read("chart.css");

    /// <summary>The style sheet of the page.</summary>
    public static string Page { get; } = Read("page.css");

    private static string Read(string name)
    {
        using var stream = typeof(PageStyles).Assembly.GetManifestResourceStream($"DispLlm.Reporting.{name}")!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd().ReplaceLineEndings("\n");
    }
}
