using System.Globalization;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>Compares two plans of one model.</summary>
internal sealed class PlanComparison(string firstName, SelectionPlan first, string secondName, SelectionPlan second)
{
    private readonly SelectionPlanDiff _diff = first.Diff(second);

    public JsonObject ToJson() => new()
    {
        ["first"] = firstName,
        ["second"] = secondName,
        ["same"] = _diff.IsEmpty,
        ["only_first"] = _diff.Removed,
        ["only_second"] = _diff.Added,
        ["block_weights"] = new JsonArray(_diff.Before.BlockWeights, _diff.After.BlockWeights),
        ["sites"] = new JsonArray([.. _diff.Sites.Select(site => (JsonNode)new JsonObject
        {
            ["block"] = site.Block,
            ["site"] = $"S{(int)site.Site}",
            ["only_first"] = new JsonArray([.. site.Removed.Select(index => (JsonNode)index)]),
            ["only_second"] = new JsonArray([.. site.Added.Select(index => (JsonNode)index)]),
        })]),
    };

    public void Draw(IAnsiConsole console, bool everySite)
    {
        console.WriteUnwrapped($"first   {firstName}: {DescribeKept(first)}");
        console.WriteUnwrapped($"second  {secondName}: {DescribeKept(second)}");
        if (_diff.IsEmpty)
        {
            console.WriteUnwrapped(_diff.ToString());
            return;
        }

        var table = new Table { Border = TableBorder.Simple }.AddColumns("kept", "first", "second", "both", "only first", "only second");
        foreach (var column in table.Columns.Skip(3))
        {
            column.Alignment = Justify.Right;
        }

        string count = Number(first.Model.HiddenSize * first.Blocks.Count);
        int blocksPerBar = WidthTable.GetBlocksPerBar(
            console, first.Blocks.Count, 2,
            [SelectionSites.All.Select(WidthTable.GetName).MaxBy(name => name.Length)!, count, "only first", "only second"]);
        foreach (var site in SelectionSites.All)
        {
            var differences = _diff.Sites.Where(difference => difference.Site == site);
            int removed = differences.Sum(difference => difference.Removed.Count);
            int added = differences.Sum(difference => difference.Added.Count);
            int kept = first.Blocks.Sum(block => block[site].Count);
            table.AddRow(
                WidthTable.GetName(site),
                WidthTable.DrawBars(first, site, blocksPerBar),
                WidthTable.DrawBars(second, site, blocksPerBar),
                Number(kept - removed),
                Number(removed),
                Number(added));
        }

        console.Write(table);
        if (everySite)
        {
            console.WriteUnwrapped(_diff.ToString());
        }
    }

    private static string DescribeKept(SelectionPlan plan) => string.Create(
        CultureInfo.InvariantCulture, $"{plan.KeptParameters.BlockWeights:N0} block weights ({100 * plan.KeptFraction():F2}%)");

    private static string Number(int count) => count.ToString("N0", CultureInfo.InvariantCulture);
}
