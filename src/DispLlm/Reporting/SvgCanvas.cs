using System.Globalization;
using System.Text;

namespace DispLlm.Reporting;

/// <summary>Draws the shapes of the charts. Their style is given by class, in <c>chart.css</c>.</summary>
internal sealed class SvgCanvas
{
    private readonly StringBuilder _shapes = new();

    public void Text(double x, double y, string text, string style = "text", string anchor = "start") =>
        Append($"""<text class="{style}" x="{N(x)}" y="{N(y)}" text-anchor="{anchor}">{Markup.Text(text)}</text>""");

    public void Line(double x1, double y1, double x2, double y2, string style = "rule") =>
        Append($"""<path class="{style}" d="M{N(x1)} {N(y1)}L{N(x2)} {N(y2)}"/>""");

    /// <summary>Draws a rectangle, with an optional tooltip.</summary>
    public void Rectangle(double x, double y, double width, double height, string style, string? tooltip = null)
    {
        string end = tooltip is null ? "/>" : $"><title>{Markup.Text(tooltip)}</title></rect>";
        Append($"""<rect class="{style}" x="{N(x)}" y="{N(y)}" width="{N(width)}" height="{N(height)}"{end}""");
    }

    /// <summary>Draws a line through points, or the area that they enclose.</summary>
    public void Path(IEnumerable<(double X, double Y)> points, string style, bool closed = false)
    {
        string line = string.Join('L', points.Select(point => $"{N(point.X)} {N(point.Y)}"));
        Append($"""<path class="{style}" d="M{line}{(closed ? "Z" : "")}"/>""");
    }

    /// <summary>Draws cells of a grid, given as a path in cell units.</summary>
    public void Cells(double x, double y, double cellWidth, double cellHeight, string path, string style, double opacity)
    {
        // More digits than for a coordinate: the rounding error is multiplied by the number of cells.
        string place = string.Create(
            CultureInfo.InvariantCulture, $"translate({x:0.##} {y:0.##}) scale({cellWidth:0.#####} {cellHeight:0.#####})");
        string look = $"""class="{style}" fill-opacity="{N(opacity)}" shape-rendering="crispEdges" """;
        Append($"""<path {look}transform="{place}" d="{path}"/>""");
    }

    public override string ToString() => _shapes.ToString();

    private static string N(double value) => Markup.Coordinate(value);

    private void Append(string shape) => _shapes.Append(shape).Append('\n');
}
