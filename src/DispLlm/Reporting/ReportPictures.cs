namespace DispLlm;

/// <summary>The pictures of a report.</summary>
public static class ReportPictures
{
    /// <summary>All pictures that the report has data for, in the order of the page.</summary>
    /// <param name="report">The report.</param>
    public static IReadOnlyList<ReportPicture> Of(RunReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        return
        [
            .. new[] { Quality(report), Cost(report), Widths(report), Kept(report), Learning(report) }.OfType<ReportPicture>(),
        ];
    }

    /// <summary>Perplexity and zero-shot tasks of both models; null where neither was measured.</summary>
    /// <param name="report">The report.</param>
    public static ReportPicture? Quality(RunReport report) => Make("quality", "What it costs", ComparisonPicture.Quality(Checked(report)));

    /// <summary>Size and speed against the dense model.</summary>
    /// <param name="report">The report.</param>
    public static ReportPicture Cost(RunReport report) => Make("cost", "What is gained", ComparisonPicture.Cost(Checked(report)))!;

    /// <summary>The widths of every block at every site.</summary>
    /// <param name="report">The report.</param>
    public static ReportPicture Widths(RunReport report) => Make("widths", "Which blocks keep what", WidthsPicture.Panels(Checked(report).Plan))!;

    /// <summary>The kept features of every block at every site, and how much neighbouring blocks share.</summary>
    /// <param name="report">The report.</param>
    public static ReportPicture Kept(RunReport report) => Make("kept", "Which features stay", KeptMapPicture.Panels(Checked(report).Plan))!;

    /// <summary>Losses and kept fraction over the steps; null for a strategy that does not learn.</summary>
    /// <param name="report">The report.</param>
    public static ReportPicture? Learning(RunReport report) => Make("learning", "How it was learned", LearningPicture.Panels(Checked(report)));

    private static RunReport Checked(RunReport report) => report ?? throw new ArgumentNullException(nameof(report));

    private static ReportPicture? Make(string name, string title, IReadOnlyList<PicturePanel> panels) =>
        panels.Count == 0 ? null : new ReportPicture(name, title, panels);
}
