namespace DispLlm.Reporting;

/// <summary>
/// One panel of a chart. All have the width of a phone's screen, so that text keeps its size; a wide page shows several side by side.
/// </summary>
/// <param name="Title">A short title.</param>
/// <param name="Description">A text alternative for screen readers, with the main numbers.</param>
/// <param name="Height">Its height.</param>
/// <param name="Shapes">Its SVG shapes, from the canvas.</param>
internal sealed record ChartPanel(string Title, string Description, double Height, string Shapes)
{
    public const double Width = 340;

    /// <summary>Where the plot begins, below heading and note.</summary>
    public const double Top = 40;

    /// <summary>Draws a panel: a heading, a note, and below them what <paramref name="draw"/> draws.</summary>
    public static ChartPanel Draw(string title, string note, string description, double height, Action<SvgCanvas> draw)
    {
        var canvas = new SvgCanvas();
        canvas.Text(0, 12, title, "heading");
        canvas.Text(0, 28, note, "note");
        draw(canvas);
        return new ChartPanel(title, description, height, canvas.ToString());
    }

    /// <summary>The panel as an element of a page.</summary>
    public string ToElement() =>
        $"""
        <svg viewBox="0 0 {Markup.Coordinate(Width)} {Markup.Coordinate(Height)}" role="img" xmlns="http://www.w3.org/2000/svg">
        <title>{Markup.Text(Title)}</title><desc>{Markup.Text(Description)}</desc>
        {Shapes}</svg>
        """;
}
