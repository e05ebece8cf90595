using System.Globalization;
using System.Text;

namespace DispLlm.Reporting;

/// <summary>Draws the few shapes that the pictures are made of. What they look like is said by class, in <c>picture.css</c>.</summary>
internal sealed class SvgCanvas
{
    private readonly StringBuilder _shapes = new();

    public void Text(double x, double y, string text, string look = "text", string anchor = "start") =>
        _shapes.Append($"""<text class="{look}" x="{Markup.At(x)}" y="{Markup.At(y)}" text-anchor="{anchor}">{Markup.Text(text)}</text>""").Append('\n');

    public void Line(double x1, double y1, double x2, double y2, string look = "rule") =>
        _shapes.Append($"""<path class="{look}" d="M{Markup.At(x1)} {Markup.At(y1)}L{Markup.At(x2)} {Markup.At(y2)}"/>""").Append('\n');

    /// <summary>A rectangle, and what a pointer that rests on it is told.</summary>
    public void Rectangle(double x, double y, double width, double height, string look, string? tip = null)
    {
        string end = tip is null ? "/>" : $"><title>{Markup.Text(tip)}</title></rect>";
        _shapes.Append($"""<rect class="{look}" x="{Markup.At(x)}" y="{Markup.At(y)}" width="{Markup.At(width)}" height="{Markup.At(height)}"{end}""").Append('\n');
    }

    /// <summary>A line through points, or the area that they enclose.</summary>
    public void Path(IEnumerable<(double X, double Y)> points, string look, bool closed = false) =>
        _shapes.Append($"""<path class="{look}" d="M{string.Join('L', points.Select(point => $"{Markup.At(point.X)} {Markup.At(point.Y)}"))}{(closed ? "Z" : "")}"/>""").Append('\n');

    /// <summary>Cells of a grid, given as a path in whole cells, moved and stretched to their place.</summary>
    public void Cells(double x, double y, double cellWidth, double cellHeight, string path, string look, double opacity)
    {
        // More digits than a coordinate's: what is left out here is multiplied by the number of cells.
        string place = string.Create(CultureInfo.InvariantCulture, $"translate({x:0.##} {y:0.##}) scale({cellWidth:0.#####} {cellHeight:0.#####})");
        _shapes.Append($"""<path class="{look}" fill-opacity="{Markup.At(opacity)}" shape-rendering="crispEdges" transform="{place}" d="{path}"/>""").Append('\n');
    }

    public override string ToString() => _shapes.ToString();
}
