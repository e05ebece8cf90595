namespace DispLlm.Tests.Docs;

/// <summary>README.md and docs/families.md list the families that are read, and no others.</summary>
[Collection(nameof(FamiliesPageTests))]
public sealed class FamiliesPageTests
{
    [Fact]
    public void The_table_of_families_is_that_of_the_library()
    {
        string[] expected =
        [
            "| `model_type` | for instance | norms | positions | attention | MLP | residual stream |",
            "|---|---|---|---|---|---|---|",
            .. ModelFamilies.BuiltIn.All.Select(Row),
        ];
        string[] page = File.ReadAllLines(Path.Combine(Repository.Root, "docs/families.md"));
        int first = Array.IndexOf(page, expected[0]);
        Assert.True(first > 0, string.Join('\n', expected));
        Assert.Equal(expected, page.Skip(first).TakeWhile(line => line.Length > 0));
    }

    [Fact]
    public void The_readme_names_every_model_type()
    {
        string line = File.ReadLines(Path.Combine(Repository.Root, "README.md"))
            .Single(line => line.StartsWith("| families | the values", StringComparison.Ordinal));
        Assert.Contains(
            string.Join(", ", ModelFamilies.BuiltIn.ModelTypes.Select(type => $"`{type}`")) + ";", line, StringComparison.Ordinal);
    }

    private static string Row(IModelFamily family)
    {
        var spec = DecoderSpec.Read(family.Example, family);
        string[] cells =
        [
            string.Join(", ", family.ModelTypes.Select(type => $"`{type}`")), family.Example.File, SpecDescription.Norms(spec),
            SpecDescription.Positions(spec), SpecDescription.AttentionParts(spec), SpecDescription.Mlp(spec),
            SpecDescription.Residual(spec),
        ];
        return $"| {string.Join(" | ", cells)} |";
    }
}
