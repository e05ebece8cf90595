using System.Text.RegularExpressions;

namespace DispLlm.Tests.Architecture;

/// <summary>Code, comments, messages, test names and pages use the field's words. What stood here before the field's word is not to come
/// back.</summary>
public sealed partial class GlossaryTests
{
    // The word to use, and a pattern of what is written instead. Identifiers are split into words before they are searched.
    private static readonly (string Word, Regex Instead)[] s_words =
    [
        ("forward pass, backward pass", Pattern(@"\bways? (back|there)\b")),
        ("saved activations; recomputed", Pattern(@"\bkept for the way\b|\bcomputed once more\b")),
        ("module, folder, buffer", Pattern(@"\brooms?\b")),
        ("libtorch; PyTorch", Pattern(@"\bthe framework\b")),
        ("matrix multiplication (GEMM)", Pattern(
            @"\b(matrix|wide|plain) products?\b|\bproducts? (of (few|many|\w+ rows)|with weights)\b|"
            + @"(?<!\b(dot|inner|dot-|element) )\bproducts\b(?! (of|\+|=|/|\)|and))")),
        ("SIMD kernels", Pattern(@"\bvector code\b")),
        ("decode step; prefill", Pattern(@"(?<!\b(at least|at|of|heads of) )\b(one|single) positions?\b|(?<!so )\bmany positions\b")),
        ("captured graph", Pattern(@"\brecorded pass(es)?\b")),
        ("rotated, rotary-embedded", Pattern(@"\bturned\b(?! (off|on|into|out)\b)|\bturn(s|ing)? (back|heads?|queries|keys|by)\b")),
        ("contiguous; in host memory", Pattern(@"\bin one piece\b|\bcpu('s| s) memory\b")),
        ("pruned model", Pattern(@"\bcut (model|network|folder)s?\b|\b(is|are|was|were) cut already\b")),
        ("reported to", Pattern(@"\b(is|are|be|been|was|were) told\b(?! from)|\btold (of|by|when|what)\b")),
        ("after, before", Pattern(@"(?<!\bleft |\bleaves \w+ \w+ |\bleaves no tensor |\btables )\bbehind\b|\bin front of\b")),
        ("resumes, continues", Pattern(@"\b(go|goes|went|going|gone) on\b")),
        ("1.5x; 20 %", Pattern(@"\bhalf as (long|fast) again\b|\ba fifth\b")),
        ("AVX512-BF16; AMX", Pattern(@"\b(has|have|processor's|processor s) units\b|\bunits for\b")),
        ("open, closed, masked", Pattern(@"\b(hears?|heard|listens?|listened)\b")),
        ("calibration sequences", Pattern(@"\bwindows seen\b")),
        ("evaluated on", Pattern(@"\bjudg(e|es|ed)\b")),
        ("kept, removed", Pattern(@"\b(weights?|features?|parameters?) (that )?(stays?|goes?)\b|\bwhat (stays|goes)\b")),
    ];

    // Where a pattern means something else, as a file's name and a text of the line.
    private static readonly (string File, string Text)[] s_legitimate =
    [
        (nameof(GlossaryTests) + ".cs", string.Empty),
    ];

    public static TheoryData<string> Places { get; } =
        ["src", "tests", "samples", "benchmarks", "docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"];

    [Theory]
    [MemberData(nameof(Places))]
    public void The_words_of_the_field_are_used(string place)
    {
        string path = Path.Combine(Repository.Root, place);
        string[] files = File.Exists(path) ? [path]
            : [.. Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories).Where(
                file => Extension().IsMatch(file) && !Generated().IsMatch(file))];
        Assert.NotEmpty(files);
        Assert.Empty(files.SelectMany(Offences));
    }

    [Theory]
    [InlineData("the gradient on its way back", "forward pass, backward pass")]
    [InlineData("public void A_cut_model_loads()", "pruned model")]
    [InlineData("Tensor ReadWayBack()", "forward pass, backward pass")]
    [InlineData("float32 products of few rows", "matrix multiplication (GEMM)")]
    public void A_word_of_its_own_is_found(string line, string word) => Assert.Equal(word, Assert.Single(Find(line)).Word);

    [Theory]
    [InlineData("the dot product of two rows")]
    [InlineData("a switch turns it off")]
    public void The_same_word_with_another_meaning_is_not(string line) => Assert.Empty(Find(line));

    private static IEnumerable<string> Offences(string file) =>
        from entry in File.ReadLines(file).Select((line, index) => (Line: line, Number: index + 1))
        from found in Find(entry.Line)
        where !s_legitimate.Any(known => Path.GetFileName(file) == known.File && entry.Line.Contains(known.Text, StringComparison.Ordinal))
        select $"{Path.GetRelativePath(Repository.Root, file)}:{entry.Number}: not \"{found.Text}\" but {found.Word}";

    private static IEnumerable<(string Word, string Text)> Find(string line)
    {
        string words = WordStart().Replace(line.Replace('_', ' '), " ");
        return from entry in s_words from Match match in entry.Instead.Matches(words) select (entry.Word, match.Value);
    }

    private static Regex Pattern(string instead) =>
        new(instead, RegexOptions.IgnoreCase | RegexOptions.CultureInvariant | RegexOptions.Compiled);

    [GeneratedRegex(@"\.(cs|cu|md|css|csproj|props|targets|sh)$")]
    private static partial Regex Extension();

    [GeneratedRegex(@"[/\\](bin|obj|Fixtures)[/\\]")]
    private static partial Regex Generated();

    [GeneratedRegex("(?<=[a-z])(?=[A-Z])")]
    private static partial Regex WordStart();
}
