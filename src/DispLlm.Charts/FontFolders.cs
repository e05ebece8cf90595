using SkiaSharp;
using Svg.Skia.TypefaceProviders;

namespace DispLlm;

/// <summary>
/// Finds a sans-serif font in the font folders of Linux. Skia's Linux build without dependencies has no access to the system's fonts.
/// </summary>
internal sealed class FontFolders : ITypefaceProvider
{
    private static readonly string[] s_excluded = ["Serif", "Mono", "Italic", "Oblique", "Condensed", "Narrow", "Symbol", "Emoji", "Math"];

    private readonly string[] _files = [.. FindFolders().SelectMany(FindFonts).Where(IsSansSerif).Order(StringComparer.Ordinal)];

    /// <summary>Returns a sans-serif font of the weight, whatever the family; null if there is none.</summary>
    public SKTypeface? FromFamilyName(
        string fontFamily, SKFontStyleWeight fontWeight, SKFontStyleWidth fontWidth, SKFontStyleSlant fontStyle)
    {
        bool bold = fontWeight >= SKFontStyleWeight.SemiBold;
        return _files.OrderBy(file => Mismatch(file, bold)).Select(SKTypeface.FromFile).OfType<SKTypeface>().FirstOrDefault(HasLatin);
    }

    private static bool HasLatin(SKTypeface typeface)
    {
        using var font = new SKFont(typeface);
        return font.ContainsGlyph('a');
    }

    private static IEnumerable<string> FindFolders()
    {
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        string[] folders =
            ["/usr/share/fonts", "/usr/local/share/fonts", Path.Combine(home, ".local/share/fonts"), Path.Combine(home, ".fonts")];
        return folders.Where(Directory.Exists);
    }

    private static IEnumerable<string> FindFonts(string folder) => Directory
        .EnumerateFiles(folder, "*", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true })
        .Where(file => Path.GetExtension(file) is ".ttf" or ".otf");

    private static bool IsSansSerif(string file)
    {
        string name = Path.GetFileName(file);
        return name.Contains("Sans", StringComparison.OrdinalIgnoreCase)
            && !s_excluded.Any(word => name.Contains(word, StringComparison.OrdinalIgnoreCase));
    }

    /// <summary>0 if the file name says the wanted weight, otherwise 1.</summary>
    private static int Mismatch(string file, bool bold)
    {
        string name = Path.GetFileNameWithoutExtension(file);
        string style = name[(name.LastIndexOf('-') + 1)..];
        return bold ? (style == "Bold" ? 0 : 1) : style == "Regular" || style == name ? 0 : 1;
    }
}
