using System.Globalization;
using System.Text;

namespace DispLlm.Reporting;

/// <summary>Draws the shapes of the charts. Their style is given by class, in <c>chart.css</c>.</summary>
internal sealed class SvgCanvas
{
    private readonly StringBuilder _shapes = new();

    public void Text(double x, double y, string text, string style = "text", string anchor = "start") =>
        _shapes.Append($"""<text class="{style}" x="{Markup.Coordinate(x)}" y="{Markup.Coordinate(y)}" text-anchor="{anchor}">{Markup.Text(text)}</text>""").Append('\n');

    public void Line(double x1, double y1, double x2, double y2, string style = "rule") =>
        _shapes.Append($"""<path class="{style}" d="M{Markup.Coordinate(x1)} {Markup.Coordinate(y1)}L{Markup.Coordinate(x2)} {Markup.Coordinate(y2)}"/>""").Append('\n');

    /// <summary>Draws a rectangle, with an optional tooltip.</summary>
    public void Rectangle(double x, double y, double width, double height, string style, string? tooltip = null)
    {
        string end = tooltip is null ? "/>" : $"><title>{Markup.Text(tooltip)}</title></rect>";
        _shapes.Append($"""<rect class="{style}" x="{Markup.Coordinate(x)}" y="{Markup.Coordinate(y)}" width="{Markup.Coordinate(width)}" height="{Markup.Coordinate(height)}"{end}""").Append('\n');
    }

    /// <summary>Draws a line through points, or the area that they enclose.</summary>
    public void Path(IEnumerable<(double X, double Y)> points, string style, bool closed = false) =>
        _shapes.Append($"""<path class="{style}" d="M{string.Join('L', points.Select(point => $"{Markup.Coordinate(point.X)} {Markup.Coordinate(point.Y)}"))}{(closed ? "Z" : "")}"/>""").Append('\n');

    /// <summary>Draws cells of a grid, given as a path in cell units.</summary>
    public void Cells(double x, double y, double cellWidth, double cellHeight, string path, string style, double opacity)
    {
        // More digits than for a coordinate: the rounding error is multiplied by the number of cells.
        string place = string.Create(CultureInfo.InvariantCulture, $"translate({x:0.##} {y:0.##}) scale({cellWidth:0.#####} {cellHeight:0.#####})");
        _shapes.Append($"""<path class="{style}" fill-opacity="{Markup.Coordinate(opacity)}" shape-rendering="crispEdges" transform="{place}" d="{path}"/>""").Append('\n');
    }

    public override string ToString() => _shapes.ToString();
}
