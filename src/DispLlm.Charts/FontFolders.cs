using SkiaSharp;
using Svg.Skia.TypefaceProviders;

namespace DispLlm;

/// <summary>
/// A sans-serif font out of the system's font folders. Skia asks the system itself where it is built to; its build without dependencies for Linux is not, and
/// knows no font at all.
/// </summary>
internal sealed class FontFolders : ITypefaceProvider
{
    private static readonly string[] s_avoided = ["Serif", "Mono", "Italic", "Oblique", "Condensed", "Narrow", "Symbol", "Emoji", "Math"];

    private readonly string[] _files = [.. Folders().SelectMany(Fonts).Where(IsSansSerif).Order(StringComparer.Ordinal)];

    /// <summary>Whatever family is asked for, it is one of these; the weight is honoured. Null, which leaves it to Skia, where there is none.</summary>
    public SKTypeface? FromFamilyName(string fontFamily, SKFontStyleWeight fontWeight, SKFontStyleWidth fontWidth, SKFontStyleSlant fontStyle)
    {
        bool bold = fontWeight >= SKFontStyleWeight.SemiBold;
        return _files.OrderBy(file => Mismatch(file, bold)).Select(SKTypeface.FromFile).OfType<SKTypeface>().FirstOrDefault(HasLatin);
    }

    private static bool HasLatin(SKTypeface typeface)
    {
        using var font = new SKFont(typeface);
        return font.ContainsGlyph('a');
    }

    private static IEnumerable<string> Folders()
    {
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        return ((string[])["/usr/share/fonts", "/usr/local/share/fonts", Path.Combine(home, ".local/share/fonts"), Path.Combine(home, ".fonts")]).Where(Directory.Exists);
    }

    private static IEnumerable<string> Fonts(string folder) => Directory
        .EnumerateFiles(folder, "*", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true })
        .Where(file => Path.GetExtension(file) is ".ttf" or ".otf");

    private static bool IsSansSerif(string file)
    {
        string name = Path.GetFileName(file);
        return name.Contains("Sans", StringComparison.OrdinalIgnoreCase) && !s_avoided.Any(word => name.Contains(word, StringComparison.OrdinalIgnoreCase));
    }

    /// <summary>0 for the weight that is asked for, more for others: a file's name says its weight, and a plain one says none or Regular.</summary>
    private static int Mismatch(string file, bool bold)
    {
        string name = Path.GetFileNameWithoutExtension(file);
        string style = name[(name.LastIndexOf('-') + 1)..];
        return bold ? (style == "Bold" ? 0 : 1) : style == "Regular" || style == name ? 0 : 1;
    }
}
