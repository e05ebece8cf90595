namespace DispLlm.Reporting;

/// <summary>
/// One diagram. All are of one width, which is a phone's: text keeps its size there, and on a wide page several stand side by side.
/// </summary>
/// <param name="Title">What it shows, in a few words.</param>
/// <param name="Description">The same for those who do not see it, with the figures that matter.</param>
/// <param name="Height">Its height.</param>
/// <param name="Shapes">Its shapes, from the canvas.</param>
internal sealed record ChartPanel(string Title, string Description, double Height, string Shapes)
{
    public const double Width = 340;

    /// <summary>Where a diagram begins below its heading and its note.</summary>
    public const double Top = 40;

    /// <summary>A diagram with its heading, a note below it, and what <paramref name="draw"/> puts below that.</summary>
    public static ChartPanel Draw(string title, string note, string description, double height, Action<SvgCanvas> draw)
    {
        var canvas = new SvgCanvas();
        canvas.Text(0, 12, title, "heading");
        canvas.Text(0, 28, note, "note");
        draw(canvas);
        return new ChartPanel(title, description, height, canvas.ToString());
    }

    /// <summary>As an element of a page.</summary>
    public string ToElement() =>
        $"""
        <svg viewBox="0 0 {Markup.At(Width)} {Markup.At(Height)}" role="img" xmlns="http://www.w3.org/2000/svg">
        <title>{Markup.Text(Title)}</title><desc>{Markup.Text(Description)}</desc>
        {Shapes}</svg>
        """;
}
