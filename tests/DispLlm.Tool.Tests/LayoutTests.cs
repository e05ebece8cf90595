using System.Text.Json.Nodes;

namespace DispLlm.Tool.Tests;

/// <summary>What may be cut, as the command line says it.</summary>
public sealed class LayoutTests(TestFolder folder) : IClassFixture<TestFolder>
{
    // The blocks, the heads and the hidden size of the sample's model.
    private const int Blocks = 6, Heads = 6, Hidden = 192;

    [Theory]
    [InlineData("paper", "Paper")]
    [InlineData("blocks", "Blocks")]
    [InlineData("all", "All")]
    [InlineData("mlp", "Mlp")]
    [InlineData("stream", "Stream")]
    [InlineData("stock", "Stock")]
    public async Task A_model_is_pruned_in_any_layout(string value, string layout)
    {
        string target = "in-" + value;
        var json = (await folder.RunAsync(
            "prune", "./model", "--strategy", "random", "--ratio", "0.4", "--layout", value, "-o", target, "--json", "--quiet"))
            .With(0).Json;
        Assert.Equal(layout, (string?)json["layout"]);
        Assert.InRange((double)json["kept_fraction"]!["block_weights"]!, 0.5994, 0.6);
        int[][] widths =
        [
            .. Enumerable.Range(1, 6).Select(site => ((JsonArray)json["widths"]![$"S{site}"]!).Select(width => (int)width!).ToArray()),
        ];
        Assert.All(widths, site => Assert.Equal(Blocks, site.Length));
        Assert.Equal(value is "blocks" or "all", widths[5].Any(groups => groups < Heads));
        Assert.Equal(value is "blocks" or "mlp", new[] { 0, 1, 2, 4 }.All(site => widths[site].All(width => width == Hidden)));
        Assert.Equal(
            value is "stream" or "stock", widths[0][0] < Hidden && new[] { 1, 2, 4 }.All(site => widths[site].SequenceEqual(widths[0])));
        Assert.True(value != "stock" || (widths[3].Distinct().Count() == 1 && widths[0][0] % Heads == 0));

        string shown = (await folder.RunAsync("inspect", target)).With(0).Out;
        Assert.Contains($"layout {layout}", shown, StringComparison.Ordinal);
        Assert.Matches(@"S6 AttentionGroups +[·▁▂▃▄▅▆▇█]{6} ", shown);
        Assert.Equal(value is "blocks" or "all", shown.Contains("key-value cache takes", StringComparison.Ordinal));
        Assert.Equal(layout, (string?)(await folder.RunAsync("inspect", target, "--json")).With(0).Json["plan"]!["layout"]);
        Assert.NotEmpty((await folder.RunAsync("generate", target, "The captain", "--tokens", "3")).With(0).Out.Trim());
    }

    [Fact]
    public async Task The_fewest_groups_of_a_block_are_kept()
    {
        async Task<int[]> GroupsAsync(string file, params string[] options)
        {
            string[] line = ["plan", "./model", "--strategy", "magnitude", "--ratio", "0.7", "--layout", "blocks", "-o", file, "--json"];
            var json = (await folder.RunAsync([.. line, .. options])).With(0).Json;
            return [.. ((JsonArray)json["widths"]!["S6"]!).Select(groups => (int)groups!)];
        }

        Assert.Contains(await GroupsAsync("free.json"), groups => groups < 3);
        Assert.All(await GroupsAsync("least.json", "--min-attention-groups", "3"), groups => Assert.InRange(groups, 3, Heads));
    }

    /// <summary>Attention alone is more than that: the closest that can be reached is said.</summary>
    [Fact]
    public async Task A_budget_out_of_reach_of_a_layout_is_refused_before_anything_is_loaded()
    {
        var outcome = (await folder.RunAsync("prune", "./model", "--ratio", "0.7", "--layout", "mlp")).With(3);
        Assert.Contains("in layout Mlp", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("The closest that can be reached", outcome.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Loading", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_default_is_the_layout_of_the_paper()
    {
        var json = (await folder.RunAsync("plan", "./model", "--strategy", "random", "-o", "default.json", "--json")).With(0).Json;
        Assert.Equal("Paper", (string?)json["layout"]);
    }
}
