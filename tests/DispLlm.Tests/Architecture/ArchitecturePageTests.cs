using System.Text.RegularExpressions;

namespace DispLlm.Tests.Architecture;

/// <summary>The map in docs/architecture.md is that of src/.</summary>
public sealed partial class ArchitecturePageTests
{
    [Fact]
    public void Assemblies_are_those_of_src()
    {
        var projects = Directory.GetFiles(Path.Combine(Repository.Root, "src"), "*.csproj", SearchOption.AllDirectories)
            .Select(file => "src/" + Path.GetFileNameWithoutExtension(file));
        Assert.Equal(projects.Order(StringComparer.Ordinal), Table("Assemblies").Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Folders_stand_in_the_order_that_the_code_keeps() =>
        Assert.Equal(FolderTests.Folders, Table("Folders of src/DispLlm").Select(folder => folder.TrimEnd('/')));

    [Theory]
    [InlineData("DispLlm.Kernels")]
    [InlineData("DispLlm.Tool")]
    public void Folders_of_an_assembly_are_named(string assembly)
    {
        string page = Page();
        var folders = Directory.GetDirectories(Path.Combine(Repository.Root, "src", assembly)).Select(folder => Path.GetFileName(folder)!)
            .Where(name => name is not ("bin" or "obj"));
        Assert.All(folders, folder => Assert.Contains($"`{folder}/", page, StringComparison.Ordinal));
    }

    private static string Page() => File.ReadAllText(Path.Combine(Repository.Root, "docs/architecture.md"));

    /// <summary>The first column of the table under a heading.</summary>
    private static IEnumerable<string> Table(string heading)
    {
        string section = Page().Split("\n## ").Single(part => part.StartsWith(heading + "\n", StringComparison.Ordinal));
        return FirstCell().Matches(section).Select(match => match.Groups[1].Value);
    }

    [GeneratedRegex(@"^\| `([^`]+)`", RegexOptions.Multiline)]
    private static partial Regex FirstCell();
}
