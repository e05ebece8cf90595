using System.Text;

namespace DispLlm.Reporting;

/// <summary>One picture of a report, as vector graphics: for papers and pages, light, with its colours and style in itself.</summary>
public sealed class ReportChart
{
    private const double Gap = 28, Margin = 16;

    internal ReportChart(string name, string title, IReadOnlyList<ChartPanel> panels)
    {
        Name = name;
        Title = title;
        Panels = panels;
    }

    /// <summary>A short name that can be a file's: <c>learning</c>, <c>widths</c>, <c>kept</c>, <c>quality</c>, <c>cost</c>.</summary>
    public string Name { get; }

    /// <summary>What it shows.</summary>
    public string Title { get; }

    internal IReadOnlyList<ChartPanel> Panels { get; }

    /// <summary>The picture as one SVG document.</summary>
    /// <param name="columns">Diagrams side by side. Default 3, or as many as there are; at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">Below 1.</exception>
    public string ToSvg(int columns = 3)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 1);
        columns = Math.Min(columns, Panels.Count);
        var shapes = new StringBuilder();
        double y = Margin;
        foreach (var row in Panels.Chunk(columns))
        {
            for (int i = 0; i < row.Length; i++)
            {
                shapes.Append($"""<g transform="translate({Markup.At(Margin + i * (ChartPanel.Width + Gap))} {Markup.At(y)})">""").Append('\n')
                    .Append(row[i].Shapes).Append("</g>\n");
            }

            y += row.Max(panel => panel.Height) + Gap;
        }

        string width = Markup.At(2 * Margin + columns * (ChartPanel.Width + Gap) - Gap), height = Markup.At(y - Gap + Margin);
        return $"""
            <svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
            <title>{Markup.Text(Title)}</title><desc>{Markup.Text(string.Join(' ', Panels.Select(panel => $"{panel.Title}: {panel.Description}")))}</desc>
            <style>{Palette.Resolved(PageStyles.Picture)}.paper{"{"}fill:{Palette.Resolved("var(--paper)")}{"}"}</style>
            <rect class="paper" width="{width}" height="{height}"/>
            {shapes}</svg>

            """.ReplaceLineEndings("\n");
    }

    /// <summary>Saves the picture as an SVG file. A crash leaves the old file or the new one, never a part.</summary>
    /// <param name="path">The file, in a folder that exists; overwritten.</param>
    /// <param name="columns">Diagrams side by side. Default 3, or as many as there are; at least 1.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void SaveSvg(string path, int columns = 3)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        AtomicFile.Write(path, ToSvg(columns));
    }
}
