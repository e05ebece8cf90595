using System.Text;

namespace DispLlm.Reporting;

/// <summary>The layout of a chart file. Immutable and thread-safe.</summary>
public sealed record ChartOptions
{
    /// <summary>Panels side by side, at least 1. Default 3, or as many as there are.</summary>
    public int Columns { get; init; } = 3;

    /// <summary>Pixels per unit of the SVG, for PNG files; above 0, at most 20. Default 2: 2,216 pixels wide for three columns.</summary>
    public double Scale { get; init; } = 2;

    internal ChartOptions Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Columns, 1);
        return Scale is > 0 and <= 20
            ? this
            : throw new ArgumentOutOfRangeException(nameof(Scale), Scale, "A scale is above 0 and at most 20.");
    }
}

/// <summary>A chart of a report as self-contained vector graphics. Immutable and thread-safe.</summary>
public sealed class ReportChart
{
    private const double Gap = 28, Margin = 16;

    internal ReportChart(string name, string title, IReadOnlyList<ChartPanel> panels)
    {
        Name = name;
        Title = title;
        Panels = panels;
    }

    /// <summary>
    /// A short name that can be used as a file name: <c>learning</c>, <c>widths</c>, <c>kept</c>, <c>quality</c>, <c>cost</c>.
    /// </summary>
    public string Name { get; }

    /// <summary>The title.</summary>
    public string Title { get; }

    internal IReadOnlyList<ChartPanel> Panels { get; }

    /// <summary>Converts the chart to an SVG document.</summary>
    /// <param name="options">Layout; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    public string ToSvg(ChartOptions? options = null)
    {
        int columns = Math.Min((options ?? new ChartOptions()).Validate().Columns, Panels.Count);
        var shapes = new StringBuilder();
        double y = Margin;
        foreach (var row in Panels.Chunk(columns))
        {
            for (int i = 0; i < row.Length; i++)
            {
                string x = Markup.Coordinate(Margin + i * (ChartPanel.Width + Gap));
                shapes.Append($"<g transform=\"translate({x} {Markup.Coordinate(y)})\">\n").Append(row[i].Shapes).Append("</g>\n");
            }

            y += row.Max(panel => panel.Height) + Gap;
        }

        string width = Markup.Coordinate(2 * Margin + columns * (ChartPanel.Width + Gap) - Gap);
        string height = Markup.Coordinate(y - Gap + Margin);
        string description = string.Join(' ', Panels.Select(panel => $"{panel.Title}: {panel.Description}"));
        return $"""
            <svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
            <title>{Markup.Text(Title)}</title><desc>{Markup.Text(description)}</desc>
            <style>{Palette.ResolveVariables(PageStyles.Chart)}.paper{"{"}fill:{Palette.ResolveVariables("var(--paper)")}{"}"}</style>
            <rect class="paper" width="{width}" height="{height}"/>
            {shapes}</svg>

            """.ReplaceLineEndings("\n");
    }

    /// <summary>Saves the chart as an SVG file. A crash leaves the old file or the new one, never a part.</summary>
    /// <param name="path">The file, in a folder that exists; overwritten.</param>
    /// <param name="options">Layout; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void SaveSvg(string path, ChartOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        AtomicFile.Write(path, ToSvg(options));
    }
}
