using System.Globalization;
using System.Net;
using System.Text;

namespace DispLlm.Reporting;

/// <summary>Text and numbers as pages and pictures show them: escaped, and in one culture.</summary>
internal static class Markup
{
    private const char Replacement = '\uFFFD';

    /// <summary>Text between tags or within quotes, in HTML and XML alike. What is no character in XML is replaced: a folder can be named anything.</summary>
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
    public static string At(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);

    /// <summary>A whole number with its thousands set apart.</summary>
    public static string Count(long value) => value.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>A share as per cent, in running text and on axes: 50 %, 33.3 %.</summary>
    public static string Share(double value) => string.Create(CultureInfo.InvariantCulture, $"{value * 100:0.#}\u00A0%");

    /// <summary>A share as per cent with one digit: in columns, where digits stand below digits.</summary>
    public static string Rate(double value) => string.Create(CultureInfo.InvariantCulture, $"{value * 100:0.0}\u00A0%");

    /// <summary>A share as per cent with two digits: where the exact figure is asked for.</summary>
    public static string ExactShare(double value) => string.Create(CultureInfo.InvariantCulture, $"{value * 100:0.00}\u00A0%");

    /// <summary>A measured number with three or four digits.</summary>
    public static string Measure(double value) => value switch
    {
        double.PositiveInfinity => "\u221E",
        double.NaN => "not a number",
        _ => value.ToString(Math.Abs(value) switch { >= 1000 => "N0", >= 10 => "0.0", >= 1 => "0.00", _ => "0.###" }, CultureInfo.InvariantCulture),
    };

    /// <summary>How many times as large something is.</summary>
    public static string Times(double ratio) => string.Create(CultureInfo.InvariantCulture, $"{ratio:0.00}\u00D7");

    /// <summary>Bytes in the decimal units that file managers show.</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        >= 1_000_000_000 => Measure(bytes / 1e9) + "\u00A0GB",
        >= 1_000_000 => Measure(bytes / 1e6) + "\u00A0MB",
        _ => Measure(bytes / 1e3) + "\u00A0kB",
    };
}
