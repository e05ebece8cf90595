using System.Text.RegularExpressions;

namespace DispLlm.Tests.Docs;

/// <summary>docs/add-a-family.md quotes the sample, which is compiled and passes the conformance suite: what the page shows is what
/// works.</summary>
public sealed partial class AddAFamilyTests
{
    [Fact]
    public void Every_line_of_code_on_the_page_is_the_sample_s()
    {
        string[] sources =
        [
            .. Directory.GetFiles(Path.Combine(Repository.Root, "samples/AddYourOwnFamily"), "*.cs"),
            .. Directory.GetFiles(Path.Combine(Repository.Root, "tests/DispLlm.Tests/Conformance"), "*.cs"),
        ];
        string code = string.Join('\n', sources.Select(File.ReadAllText));
        string page = File.ReadAllText(Path.Combine(Repository.Root, "docs/add-a-family.md"));
        string[] lines = [.. Block().Matches(page).SelectMany(
            block => block.Groups[1].Value.Split('\n')).Select(line => line.Trim()).Where(line => line.Length > 0)];
        Assert.True(lines.Length > 10, $"Only {lines.Length} lines of code found on the page.");
        Assert.All(lines, line => Assert.Contains(line, code, StringComparison.Ordinal));
    }

    [Fact]
    public void A_family_is_about_a_hundred_lines() =>
        Assert.All(
            Directory.GetFiles(Path.Combine(Repository.Root, "samples/AddYourOwnFamily"), "*Family.cs"),
            file => Assert.InRange(File.ReadAllLines(file).Length, 1, 120));

    [GeneratedRegex("```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Block();
}
