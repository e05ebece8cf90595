using SkiaSharp;
using Svg.Skia;

namespace DispLlm;

/// <summary>
/// Renders charts as PNG, with Skia. Text needs a sans-serif font of the system; without one, charts have no text. On Linux the application
/// references <c>SkiaSharp.NativeAssets.Linux.NoDependencies</c> (or <c>SkiaSharp.NativeAssets.Linux</c>) of the same version as SkiaSharp.
/// Thread-safe.
/// </summary>
public static class PngCharts
{
    /// <summary>Renders a chart as PNG.</summary>
    /// <param name="chart">The chart.</param>
    /// <param name="options">Layout and scale; null for the defaults.</param>
    /// <returns>The bytes of the PNG file.</returns>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    /// <exception cref="InvalidOperationException">The chart cannot be rendered in this size.</exception>
    public static byte[] ToPng(this ReportChart chart, ChartOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(chart);
        options ??= new ChartOptions();
        using var svg = new SKSvg();
        if (OperatingSystem.IsLinux())
        {
            svg.Settings.TypefaceProviders?.Insert(0, new FontFolders());
        }

        svg.FromSvg(chart.ToSvg(options));
        using var stream = new MemoryStream();
        float scale = (float)options.Scale;
        return svg.Save(stream, SKColors.White, SKEncodedImageFormat.Png, scaleX: scale, scaleY: scale)
            ? stream.ToArray()
            : throw new InvalidOperationException(
                $"The chart '{chart.Name}' cannot be rendered at a scale of {scale}. Use a smaller scale.");
    }

    /// <summary>Saves a chart as a PNG file. A crash leaves the old file or the new one, never a part.</summary>
    /// <param name="chart">The chart.</param>
    /// <param name="path">The file, in a folder that exists; overwritten.</param>
    /// <param name="options">Layout and scale; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    /// <exception cref="InvalidOperationException">The chart cannot be rendered in this size.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void SavePng(this ReportChart chart, string path, ChartOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        AtomicFile.Write(path, chart.ToPng(options));
    }
}
