using System.Text.RegularExpressions;

namespace DispLlm.Reporting;

/// <summary>
/// The colours of pages and charts, by their names in the style sheets. A page switches between light and dark. An SVG file is light and
/// has literal colours, because few programs that read SVG support CSS variables.
/// </summary>
internal static partial class Palette
{
    private static readonly (string Name, string Light, string Dark)[] s_colours =
    [
        ("paper", "#ffffff", "#12171b"),
        ("ink", "#1b2328", "#e4eaee"),
        ("muted", "#56646e", "#a1afb8"),
        ("line", "#d8dfe4", "#303b43"),
        ("soft", "#f0f4f7", "#1a2228"),
        ("before", "#7b8993", "#8495a1"),
        ("after", "#126a86", "#58b4d1"),
    ];

    /// <summary>The CSS variables of a page.</summary>
    public static string Variables { get; } =
        ":root{color-scheme:light dark;" + string.Concat(s_colours.Select(colour => $"--{colour.Name}:{colour.Light};")) + "}\n"
        + "@media screen and (prefers-color-scheme:dark){:root{"
            + string.Concat(s_colours.Select(colour => $"--{colour.Name}:{colour.Dark};")) + "}}\n";

    /// <summary>Replaces the variables of a style sheet with the light colours.</summary>
    public static string ResolveVariables(string style) =>
        Variable().Replace(style, match => s_colours.Single(colour => colour.Name == match.Groups[1].Value).Light);

    [GeneratedRegex(@"var\(--(\w+)\)")]
    private static partial Regex Variable();
}
