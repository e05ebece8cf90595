using SkiaSharp;
using Svg.Skia;

namespace DispLlm;

/// <summary>
/// Pictures as PNG, drawn by Skia. Text is set in a sans-serif font of the system; none is shipped, and where there is none, there is no text. On Linux the application references
/// <c>SkiaSharp.NativeAssets.Linux.NoDependencies</c> (or <c>SkiaSharp.NativeAssets.Linux</c>), of SkiaSharp's version.
/// </summary>
public static class PngCharts
{
    /// <summary>The bytes of a picture's PNG.</summary>
    /// <param name="picture">The picture.</param>
    /// <param name="scale">Pixels for one unit of the SVG. Default 2: sharp on a page, 2,216 pixels wide at three columns. Above 0, at most 20.</param>
    /// <param name="columns">Diagrams side by side. Default 3, or as many as there are; at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">A value out of its range.</exception>
    /// <exception cref="InvalidOperationException">The picture cannot be drawn in this size.</exception>
    public static byte[] ToPng(this ReportChart picture, double scale = 2, int columns = 3)
    {
        ArgumentNullException.ThrowIfNull(picture);
        if (scale is not (> 0 and <= 20))
        {
            throw new ArgumentOutOfRangeException(nameof(scale), scale, "A scale is above 0 and at most 20.");
        }

        using var svg = new SKSvg();
        if (OperatingSystem.IsLinux())
        {
            svg.Settings.TypefaceProviders?.Insert(0, new FontFolders());
        }

        svg.FromSvg(picture.ToSvg(columns));
        using var stream = new MemoryStream();
        return svg.Save(stream, SKColors.White, SKEncodedImageFormat.Png, scaleX: (float)scale, scaleY: (float)scale)
            ? stream.ToArray()
            : throw new InvalidOperationException($"The picture '{picture.Name}' cannot be drawn at a scale of {scale}. A smaller one may fit into memory.");
    }

    /// <summary>Saves a picture as a PNG file. A crash leaves the old file or the new one, never a part.</summary>
    /// <param name="picture">The picture.</param>
    /// <param name="path">The file, in a folder that exists; overwritten.</param>
    /// <param name="scale">Pixels for one unit of the SVG. Default 2. Above 0, at most 20.</param>
    /// <param name="columns">Diagrams side by side. Default 3, or as many as there are; at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">A value out of its range.</exception>
    /// <exception cref="InvalidOperationException">The picture cannot be drawn in this size.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void SavePng(this ReportChart picture, string path, double scale = 2, int columns = 3)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        AtomicFile.Write(path, picture.ToPng(scale, columns));
    }
}
