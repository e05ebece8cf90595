using System.Text.RegularExpressions;

namespace DispLlm.Tests.Docs;

/// <summary>
/// The C# blocks of README.md and docs/ are compiled with these tests (tests/Pages); a block that does not compile is an error of the
/// build. This
/// holds that no page slips through.
/// </summary>
public sealed partial class PagesTests
{
    private const string Opening = "```csharp";

    [Fact]
    public void Every_page_with_code_is_compiled_or_quotes_what_is()
    {
        string[] pages = [.. Directory.GetFiles(Path.Combine(Repository.Root, "docs"), "*.md", SearchOption.AllDirectories).Append(
            Path.Combine(Repository.Root, "README.md"))];
        string[] withCode = [.. pages.Where(page => File.ReadAllText(page).Contains(Opening, StringComparison.Ordinal)).Select(
            page => Path.GetFileNameWithoutExtension(page)).Except(["add-a-family"])];
        Assert.Contains("README", withCode);
        Assert.All(withCode, page => Assert.NotNull(GetType().Assembly.GetType("Pages." + page.Replace('-', '_'))));
    }

    [Fact]
    public void Every_error_is_explained()
    {
        string page = File.ReadAllText(Path.Combine(Repository.Root, "docs/troubleshooting.md"));
        var errors = typeof(DispLlmException).Assembly.GetExportedTypes().Where(typeof(DispLlmException).IsAssignableFrom);
        Assert.All(errors, error => Assert.Contains($"| `{error.Name}`", page, StringComparison.Ordinal));
    }

    [Fact]
    public void Every_picture_is_there() =>
        Assert.All(
            Directory.GetFiles(Path.Combine(Repository.Root, "docs"), "*.md").Append(Path.Combine(Repository.Root, "README.md")),
            page => Assert.All(
                Picture().Matches(File.ReadAllText(page)).Select(link => link.Groups[1].Value),
                link => Assert.True(
                    File.Exists(Path.Combine(Path.GetDirectoryName(page)!, link)), $"{Path.GetFileName(page)} shows {link}.")));

    [Fact]
    public void Every_block_says_its_language_alone_on_its_line() =>
        Assert.All(
            Directory.GetFiles(Path.Combine(Repository.Root, "docs"), "*.md").Append(Path.Combine(Repository.Root, "README.md")),
            page => Assert.All(
                File.ReadLines(page).Where(line => line.TrimStart().StartsWith("```cs", StringComparison.OrdinalIgnoreCase)),
                line => Assert.Equal(Opening, line)));

    [GeneratedRegex(@"!\[[^]]*]\(([^)]+)\)")]
    private static partial Regex Picture();
}
