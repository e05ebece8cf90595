namespace DispLlm.Reporting;

/// <summary>Creates the charts of a report. Thread-safe.</summary>
public static class ReportCharts
{
    /// <summary>Creates all charts that the report has data for, in the order of the page.</summary>
    /// <param name="report">The report.</param>
    public static IReadOnlyList<ReportChart> Create(RunReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        Func<RunReport, ReportChart?>[] charts = [CreateQuality, CreateCost, CreateWidths, CreateKept, CreateTraining];
        return [.. charts.Select(create => create(report)).OfType<ReportChart>()];
    }

    /// <summary>Perplexity and zero-shot tasks; null if neither was measured.</summary>
    internal static ReportChart? CreateQuality(RunReport report) =>
        CreateChart("quality", "Quality", ComparisonChart.CreateQualityPanels(report));

    /// <summary>Size and speed relative to the dense model.</summary>
    internal static ReportChart CreateCost(RunReport report) =>
        CreateChart("cost", "Size and speed", ComparisonChart.CreateCostPanels(report))!;

    /// <summary>The widths of every block at every site.</summary>
    internal static ReportChart CreateWidths(RunReport report) =>
        CreateChart("widths", "Widths by block", WidthsChart.CreatePanels(report.Plan))!;

    /// <summary>The kept features of every block at every site, and the overlaps of adjacent blocks.</summary>
    internal static ReportChart CreateKept(RunReport report) =>
        CreateChart("kept", "Kept features", KeptMapChart.CreatePanels(report.Plan))!;

    /// <summary>Losses and kept fraction over the steps; null for a strategy without training.</summary>
    internal static ReportChart? CreateTraining(RunReport report) =>
        CreateChart("learning", "Training", TrainingChart.CreatePanels(report));

    private static ReportChart? CreateChart(string name, string title, IReadOnlyList<ChartPanel> panels) =>
        panels.Count == 0 ? null : new ReportChart(name, title, panels);
}
