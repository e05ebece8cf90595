using System.Text;

namespace DispLlm;

/// <summary>Unicode's simple case folding, and what has more than one character when folded. Thread-safe.</summary>
internal static class CaseFolding
{
    private static readonly Lazy<ILookup<int, int>> s_groups = new(() =>
        CodePointSet.FromPredicate(point => Rune.IsValid(point) && IsCased(point)).Points().ToLookup(Fold));

    /// <summary>Characters that equal several others when case is ignored, such as the sharp s.</summary>
    public static CodePointSet Several { get; } = CodePointSet.Parse(
        "DF 130 149 1F0 390 3B0 587 1E96-1E9A 1E9E 1F50 1F52 1F54 1F56 1F80-1FAF 1FB2-1FB4 1FB6-1FB7 1FBC 1FC2-1FC4 1FC6-1FC7 1FCC "
        + "1FD2-1FD3 1FD6-1FD7 1FE2-1FE4 1FE6-1FE7 1FF2-1FF4 1FF6-1FF7 1FFC FB00-FB06 FB13-FB17");

    /// <summary>A set with everything that equals a member of it when case is ignored.</summary>
    public static CodePointSet Close(CodePointSet set)
    {
        var folds = s_groups.Value.Where(group => group.Any(set.Contains)).SelectMany(group => group);
        return set.Union(CodePointSet.FromPoints(folds));
    }

    private static bool IsCased(int point)
    {
        var rune = new Rune(point);
        return Rune.ToLowerInvariant(rune) != rune || Rune.ToUpperInvariant(rune) != rune || Fold(point) != point;
    }

    // .NET maps no character between ASCII and the rest, so the long s and the Kelvin sign are named.
    private static int Fold(int point) => point switch
    {
        0x17F => 's',
        0x212A => 'k',
        _ => Rune.ToLowerInvariant(Rune.ToUpperInvariant(new Rune(point))).Value,
    };
}
