using System.Collections.Concurrent;
using System.Globalization;
using System.Reflection;
using System.Text;

namespace DispLlm;

/// <summary>
/// The sets of code points that expressions and rules of tokenizers name. General categories are .NET's (Unicode 16, as Oniguruma 6.9.10
/// has them; a test compares them); scripts and other properties, which .NET lacks, are in <c>Properties.txt</c>. Thread-safe.
/// </summary>
internal static class UnicodeTables
{
    private const string Ascii = "0-7F";

    private static readonly string[] s_categories =
    [
        "lu", "ll", "lt", "lm", "lo", "mn", "mc", "me", "nd", "nl", "no", "zs", "zl", "zp", "cc", "cf", "cs", "co",
        "pc", "pd", "ps", "pe", "pi", "pf", "po", "sm", "sc", "sk", "so", "cn",
    ];

    private static readonly Dictionary<string, string> s_longNames = new()
    {
        ["letter"] = "l",
        ["mark"] = "m",
        ["number"] = "n",
        ["punctuation"] = "p",
        ["symbol"] = "s",
        ["separator"] = "z",
        ["other"] = "c",
        ["uppercaseletter"] = "lu",
        ["lowercaseletter"] = "ll",
        ["titlecaseletter"] = "lt",
        ["modifierletter"] = "lm",
        ["otherletter"] = "lo",
        ["nonspacingmark"] = "mn",
        ["spacingmark"] = "mc",
        ["enclosingmark"] = "me",
        ["decimalnumber"] = "nd",
        ["letternumber"] = "nl",
        ["othernumber"] = "no",
        ["connectorpunctuation"] = "pc",
        ["dashpunctuation"] = "pd",
        ["openpunctuation"] = "ps",
        ["closepunctuation"] = "pe",
        ["initialpunctuation"] = "pi",
        ["finalpunctuation"] = "pf",
        ["otherpunctuation"] = "po",
        ["mathsymbol"] = "sm",
        ["currencysymbol"] = "sc",
        ["modifiersymbol"] = "sk",
        ["othersymbol"] = "so",
        ["spaceseparator"] = "zs",
        ["lineseparator"] = "zl",
        ["paragraphseparator"] = "zp",
        ["control"] = "cc",
        ["format"] = "cf",
        ["surrogate"] = "cs",
        ["privateuse"] = "co",
        ["unassigned"] = "cn",
        ["punct"] = "p",
    };

    private static readonly Lazy<Dictionary<string, string>> s_file = new(() => Lines("Properties.txt")
        .Select(line => line.Split(": ")).ToDictionary(parts => Normalize(parts[0]), parts => parts[1]));

    private static readonly Lazy<CodePointSet[]> s_byCategory = new(
        () => CodePointSet.Partition(s_categories.Length, point => (int)CharUnicodeInfo.GetUnicodeCategory(point)));

    private static readonly ConcurrentDictionary<string, CodePointSet?> s_properties = new();
    private static readonly ConcurrentDictionary<string, CodePointSet?> s_brackets = new();

    /// <summary>What <c>\s</c> matches.</summary>
    public static CodePointSet Space => Bracket("space")!;

    /// <summary>What <c>\d</c> matches.</summary>
    public static CodePointSet Digit => Property("nd")!;

    /// <summary>What <c>\h</c> matches.</summary>
    public static CodePointSet HexDigit => Bracket("xdigit")!;

    /// <summary>What <c>[\w]</c> matches.</summary>
    public static CodePointSet Word => Bracket("word")!;

    /// <summary>The set of <c>\p{name}</c>, or <see langword="null"/> where there is no such name here.</summary>
    public static CodePointSet? Property(string name) => s_properties.GetOrAdd(Normalize(name), FindProperty);

    /// <summary>The set of <c>[:name:]</c>, or <see langword="null"/> where there is no such name.</summary>
    public static CodePointSet? Bracket(string name) => s_brackets.GetOrAdd(name, FindBracket);

    /// <summary>The lines of an embedded table, without comments.</summary>
    public static IEnumerable<string> Lines(string table)
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream($"DispLlm.Text.Unicode.{table}")!;
        using var reader = new StreamReader(stream, Encoding.UTF8);
        while (reader.ReadLine() is { } line)
        {
            if (!line.StartsWith('#'))
            {
                yield return line;
            }
        }
    }

    private static CodePointSet? FindProperty(string name)
    {
        name = s_longNames.GetValueOrDefault(name, name);
        int[] categories = [.. Enumerable.Range(0, s_categories.Length).Where(i => s_categories[i] == name
            || (name.Length == 1 && s_categories[i][0] == name[0]) || (name == "lc" && i < 3))];
        if (categories.Length > 0)
        {
            return categories.Select(i => s_byCategory.Value[i]).Aggregate((union, set) => union.Union(set));
        }

        return s_file.Value.TryGetValue(name, out string? ranges) ? CodePointSet.Parse(ranges) : name switch
        {
            "any" => CodePointSet.All,
            "assigned" => Property("cn")!.Complement(),
            "word" => Word.Union(CodePointSet.Parse("B2-B3 B9 BC-BE")),
            "whitespace" => Space,
            "posixpunct" => Bracket("punct"),
            "alpha" or "alnum" or "upper" or "lower" or "digit" or "space" or "xdigit" or "blank" or "cntrl" or "graph" or "print"
                or "ascii" => Bracket(name),
            _ => null,
        };
    }

    private static CodePointSet? FindBracket(string name) => name switch
    {
        "alpha" => Property("Alphabetic"),
        "alnum" => Property("Alphabetic")!.Union(Digit),
        "ascii" => CodePointSet.Parse(Ascii),
        "blank" => Property("Zs")!.Union(CodePointSet.Parse("9")),
        "cntrl" => Property("Cc"),
        "digit" => Digit,
        "graph" => Bracket("print")!.Except(Property("Zs")!),
        "lower" => Property("Lowercase"),
        "print" => Property("Z")!.Union(Property("Cc")!).Union(Property("Cn")!).Union(Property("Cs")!).Complement().Union(Property("Zs")!),
        "punct" => Property("P")!.Union(Property("S")!),
        "space" => Property("Z")!.Union(CodePointSet.Parse("9-D 85")),
        "upper" => Property("Uppercase"),
        "word" => Property("Alphabetic")!.Union(Property("M")!).Union(Digit).Union(Property("Pc")!),
        "xdigit" => CodePointSet.Parse("30-39 41-46 61-66"),
        _ => null,
    };

    /// <summary>Case, spaces, underscores and hyphens do not count in the name of a property.</summary>
    private static string Normalize(string name) =>
        string.Concat(name.Where(c => c is not (' ' or '_' or '-'))).ToLowerInvariant();
}
