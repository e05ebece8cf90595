using System.Text.RegularExpressions;

namespace DispLlm.Tests.Docs;

/// <summary>Relative links of the pages: the file exists, and so does the heading.</summary>
[Collection(nameof(LinkTests))]
public sealed partial class LinkTests
{
    public static TheoryData<string> Pages =>
    [
        .. new[] { "README.md", "CHANGELOG.md", "CONTRIBUTING.md" },
        .. new[] { "docs", "benchmarks/results" }
            .SelectMany(folder => Directory.GetFiles(Path.Combine(Repository.Root, folder), "*.md"))
            .Select(file => Path.GetRelativePath(Repository.Root, file).Replace('\\', '/')),
    ];

    [Theory]
    [MemberData(nameof(Pages))]
    public void Relative_links_lead_to_a_file_and_a_heading(string page)
    {
        string file = Path.Combine(Repository.Root, page);
        foreach (string link in Link().Matches(WithoutCode(File.ReadAllText(file))).Select(match => match.Groups[1].Value))
        {
            if (link.Contains("://", StringComparison.Ordinal) || link.StartsWith("mailto:", StringComparison.Ordinal))
            {
                continue;
            }

            string[] parts = link.Split('#', 2);
            string target = parts[0].Length == 0 ? file : Path.Combine(Path.GetDirectoryName(file)!, parts[0]);
            Assert.True(File.Exists(target) || Directory.Exists(target), $"{page} links to {link}, which does not exist.");
            if (parts.Length == 2)
            {
                Assert.True(Anchors(target).Contains(parts[1]), $"{page} links to {link}, but there is no such heading.");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Pages))]
    public void Tables_have_as_many_cells_in_every_row(string page)
    {
        int cells = 0;
        foreach (string line in WithoutCode(File.ReadAllText(Path.Combine(Repository.Root, page))).Split('\n'))
        {
            int count = line.StartsWith('|') ? InlineCode().Replace(line, string.Empty).Count(character => character == '|') : 0;
            Assert.True(cells == 0 || count == 0 || count == cells, $"{page}: {line}");
            cells = count;
        }
    }

    // GitHub's rule: lower case, punctuation dropped, spaces to hyphens.
    private static HashSet<string> Anchors(string file) =>
        [.. WithoutCode(File.ReadAllText(file)).Split('\n').Where(line => line.StartsWith('#'))
            .Select(line => Dropped().Replace(line.TrimStart('#').Trim().ToLowerInvariant(), string.Empty).Replace(' ', '-'))];

    private static string WithoutCode(string page) => CodeBlock().Replace(page, string.Empty);

    [GeneratedRegex(@"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex("^```.*?^```", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex CodeBlock();

    [GeneratedRegex("`[^`]*`")]
    private static partial Regex InlineCode();

    [GeneratedRegex(@"[^\w\- ]")]
    private static partial Regex Dropped();
}
