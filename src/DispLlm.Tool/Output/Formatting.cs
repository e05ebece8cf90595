using System.Globalization;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>Formats durations, sizes and lines of output.</summary>
internal static class Formatting
{
    /// <summary>The width for tables where there is no terminal, in columns.</summary>
    private const int DefaultTableWidth = 120;

    /// <summary>The columns that a table may take: those of the terminal, or of a usual one where the output is redirected.</summary>
    public static int TableWidth(this IAnsiConsole console) =>
        console.Profile.Width < Terminal.Unwrapped ? console.Profile.Width : DefaultTableWidth;

    /// <summary>What a table without lines between its columns takes beside its texts.</summary>
    public static int TableFrame(int columns) => 3 * columns + 1;

    public static string Duration(TimeSpan time) => time.TotalHours >= 1
        ? string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalHours}:{time.Minutes:D2}:{time.Seconds:D2}")
        : string.Create(CultureInfo.InvariantCulture, $"{time.Minutes}:{time.Seconds:D2}");

    public static string Bytes(long bytes) => bytes >= 1_000_000_000
        ? string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:F2} GB")
        : string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:F2} MB");

    /// <summary>Writes a line without wrapping, so that paths and commands can be copied.</summary>
    public static void WriteUnwrapped(this IAnsiConsole console, string text = "") => console.Profile.Out.Writer.WriteLine(text);
}
