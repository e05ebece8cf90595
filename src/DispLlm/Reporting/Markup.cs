using System.Globalization;
using System.Net;
using System.Text;

namespace DispLlm.Reporting;

/// <summary>Formats text and numbers for pages and charts: escaped, in the invariant culture.</summary>
internal static class Markup
{
    private const char Replacement = '\uFFFD';

    private static readonly CultureInfo s_culture = CultureInfo.InvariantCulture;

    /// <summary>Escapes text for elements and attributes of HTML and XML. Characters that XML does not allow are replaced.</summary>
    public static string Text(string text)
    {
        var clean = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
        {
            bool allowed = rune.Value is '\t' or '\n' || (!Rune.IsControl(rune) && rune.Value is not (0xFFFE or 0xFFFF));
            clean.Append(allowed ? rune.ToString() : Replacement);
        }

        return WebUtility.HtmlEncode(clean.ToString());
    }

    /// <summary>A coordinate.</summary>
    public static string Coordinate(double value) => value.ToString("0.##", s_culture);

    /// <summary>An integer with thousands separators.</summary>
    public static string Count(long value) => value.ToString("N0", s_culture);

    /// <summary>A fraction in per cent with at most one decimal, for text and axes: 50 %, 33.3 %.</summary>
    public static string Percent(double value) => string.Create(s_culture, $"{value * 100:0.#}\u00A0%");

    /// <summary>A fraction in per cent with one decimal, for table columns.</summary>
    public static string FixedPercent(double value) => string.Create(s_culture, $"{value * 100:0.0}\u00A0%");

    /// <summary>A fraction in per cent with two decimals.</summary>
    public static string ExactPercent(double value) => string.Create(s_culture, $"{value * 100:0.00}\u00A0%");

    /// <summary>A measured number with three or four significant digits.</summary>
    public static string Number(double value) => value switch
    {
        double.PositiveInfinity => "\u221E",
        double.NaN => "not a number",
        _ => value.ToString(Math.Abs(value) switch { >= 1000 => "N0", >= 10 => "0.0", >= 1 => "0.00", _ => "0.###" }, s_culture),
    };

    /// <summary>A ratio, such as 1.50x.</summary>
    public static string Ratio(double ratio) => string.Create(s_culture, $"{ratio:0.00}\u00D7");

    /// <summary>Bytes in decimal units.</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        >= 1_000_000_000 => Number(bytes / 1e9) + "\u00A0GB",
        >= 1_000_000 => Number(bytes / 1e6) + "\u00A0MB",
        _ => Number(bytes / 1e3) + "\u00A0kB",
    };
}
