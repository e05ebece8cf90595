namespace DispLlm.Reporting;

/// <summary>The pictures of a report.</summary>
public static class ReportCharts
{
    /// <summary>All pictures that the report has data for, in the order of the page.</summary>
    /// <param name="report">The report.</param>
    public static IReadOnlyList<ReportChart> Create(RunReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        return
        [
            .. new[] { Quality(report), Cost(report), Widths(report), Kept(report), Learning(report) }.OfType<ReportChart>(),
        ];
    }

    /// <summary>Perplexity and zero-shot tasks of both models; null where neither was measured.</summary>
    /// <param name="report">The report.</param>
    public static ReportChart? Quality(RunReport report) => Make("quality", "What it costs", ComparisonChart.Quality(Checked(report)));

    /// <summary>Size and speed against the dense model.</summary>
    /// <param name="report">The report.</param>
    public static ReportChart Cost(RunReport report) => Make("cost", "What is gained", ComparisonChart.Cost(Checked(report)))!;

    /// <summary>The widths of every block at every site.</summary>
    /// <param name="report">The report.</param>
    public static ReportChart Widths(RunReport report) => Make("widths", "Which blocks keep what", WidthsChart.Panels(Checked(report).Plan))!;

    /// <summary>The kept features of every block at every site, and how much neighbouring blocks share.</summary>
    /// <param name="report">The report.</param>
    public static ReportChart Kept(RunReport report) => Make("kept", "Which features stay", KeptMapChart.Panels(Checked(report).Plan))!;

    /// <summary>Losses and kept fraction over the steps; null for a strategy that does not learn.</summary>
    /// <param name="report">The report.</param>
    public static ReportChart? Learning(RunReport report) => Make("learning", "How it was learned", TrainingChart.Panels(Checked(report)));

    private static RunReport Checked(RunReport report) => report ?? throw new ArgumentNullException(nameof(report));

    private static ReportChart? Make(string name, string title, IReadOnlyList<ChartPanel> panels) =>
        panels.Count == 0 ? null : new ReportChart(name, title, panels);
}
