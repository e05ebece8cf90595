using System.Text;

namespace DispLlm.Reporting;

/// <summary>
/// A report as one HTML file that needs nothing else: no network, no scripts, no fonts. It opens anywhere, on a phone too, follows the reader's choice of light
/// or dark, and prints.
/// </summary>
public static class HtmlReport
{
    /// <summary>Saves a report's page. A crash leaves the old file or the new one, never a part.</summary>
    /// <param name="report">The report.</param>
    /// <param name="path">The file, in a folder that exists; overwritten.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(RunReport report, string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        AtomicFile.Write(path, ToHtml(report));
    }

    /// <summary>A report's page as text; it is well-formed XML too. The same report always gives the same text.</summary>
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
            {Palette.Variables}{PageStyles.Page}{PageStyles.Picture}</style>
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
        Section(page, "What was asked, what was reached", ReportTables.Asked(report), null, ReportTables.Counts(report));
        Section(page, "What it costs", ReportTables.QualityCaption(report), ReportCharts.Quality(report), ReportTables.Tasks(report));
        Section(page, "What is gained", ReportTables.CostCaption(report), ReportCharts.Cost(report), string.Empty);
        Section(
            page, "Which blocks keep what",
            "Every block chooses for itself what it reads from the stream and what it writes to it. One bar a block, first block left.",
            ReportCharts.Widths(report), ReportTables.Widths(report));
        Section(page, "Which features stay", ReportTables.KeptCaption(report), ReportCharts.Kept(report), ReportTables.Shares(report));
        Section(page, "How it was learned", ReportTables.LearningCaption(report), ReportCharts.Learning(report), string.Empty);
        Section(page, "To repeat it", null, null, ReportTables.Settings(report));
        page.Append($"""
            <footer>Written by DispLlm {Markup.Text(report.Settings.Library)}.</footer>
            </main>
            </body>
            </html>

            """);
        return page.ToString().ReplaceLineEndings("\n");
    }

    private static void Section(StringBuilder page, string title, string? caption, ReportChart? picture, string rest)
    {
        if (picture is null && rest.Length == 0 && caption is null)
        {
            return;
        }

        page.Append($"<section>\n<h2>{Markup.Text(title)}</h2>\n");
        if (caption is not null)
        {
            page.Append($"""<p class="caption">{Markup.Text(caption)}</p>""").Append('\n');
        }

        if (picture is not null)
        {
            page.Append("""<div class="panels">""").Append('\n').AppendJoin('\n', picture.Panels.Select(panel => panel.ToElement())).Append("\n</div>\n");
        }

        page.Append(rest).Append("</section>\n");
    }
}
