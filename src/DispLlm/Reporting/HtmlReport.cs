using System.Text;

namespace DispLlm.Reporting;

/// <summary>
/// Writes a report as one self-contained HTML file: no network, no scripts, no fonts. It suits phones and printers, and follows the light
/// or dark mode of the reader. Thread-safe.
/// </summary>
public static class HtmlReport
{
    /// <summary>Saves a report as an HTML file. A crash leaves the old file or the new one, never a part.</summary>
    /// <param name="report">The report.</param>
    /// <param name="path">The file, in a folder that exists; overwritten.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(RunReport report, string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        AtomicFile.Write(path, ToHtml(report));
    }

    /// <summary>Converts a report to HTML that is well-formed XML too. Equal reports give equal text.</summary>
    /// <param name="report">The report.</param>
    public static string ToHtml(RunReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        string headline = Headline.Describe(report);
        var page = new StringBuilder();
        page.Append($"""
            <!DOCTYPE html>
            <html lang="en" xmlns="http://www.w3.org/1999/xhtml">
            <head>
            <meta charset="utf-8"/>
            <meta name="viewport" content="width=device-width, initial-scale=1"/>
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/>
            <meta name="generator" content="DispLlm"/>
            <title>{Markup.Text($"{report.Model}: {headline}")}</title>
            <style>
            {Palette.Variables}{PageStyles.Page}{PageStyles.Chart}</style>
            </head>
            <body>
            <main>
            <header>
            <p class="kicker">Pruning of {Markup.Text(report.Model)}</p>
            <h1>{Markup.Text(headline)}.</h1>
            {ReportTables.Lead(report)}
            {ReportTables.Tiles(report)}
            </header>

            """);
        Section(page, "Budget", ReportTables.Budget(report), null, ReportTables.Parameters(report));
        Section(page, "Quality", ReportTables.QualityCaption(report), ReportCharts.CreateQuality(report), ReportTables.Tasks(report));
        Section(page, "Size and speed", ReportTables.CostCaption(report), ReportCharts.CreateCost(report), string.Empty);
        Section(
            page, "Widths by block", ReportTables.WidthsCaption(report.Plan.Layout), ReportCharts.CreateWidths(report),
            ReportTables.Widths(report));
        Section(page, "Kept features", ReportTables.KeptCaption(report), ReportCharts.CreateKept(report), ReportTables.Overlaps(report));
        Section(page, "Training", ReportTables.TrainingCaption(report), ReportCharts.CreateTraining(report), string.Empty);
        Section(page, "Settings", null, null, ReportTables.Settings(report));
        page.Append($"""
            <footer>Written by DispLlm {Markup.Text(report.Settings.Library)}.</footer>
            </main>
            </body>
            </html>

            """);
        return page.ToString().ReplaceLineEndings("\n");
    }

    private static void Section(StringBuilder page, string title, string? caption, ReportChart? chart, string rest)
    {
        if (chart is null && rest.Length == 0 && caption is null)
        {
            return;
        }

        page.Append($"<section>\n<h2>{Markup.Text(title)}</h2>\n");
        if (caption is not null)
        {
            page.Append($"""<p class="caption">{Markup.Text(caption)}</p>""").Append('\n');
        }

        if (chart is not null)
        {
            page.Append("<div class=\"panels\">\n").AppendJoin('\n', chart.Panels.Select(panel => panel.ToElement())).Append("\n</div>\n");
        }

        page.Append(rest).Append("</section>\n");
    }
}
