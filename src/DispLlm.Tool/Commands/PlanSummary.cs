using System.Globalization;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>Summarizes a plan as tables or as JSON.</summary>
internal sealed record PlanSummary(SelectionPlan Plan)
{
    public JsonObject ToJson() => new()
    {
        ["family"] = Plan.Family,
        ["strategy"] = Plan.Provenance.Strategy,
        ["seed"] = Plan.Provenance.Seed,
        ["budget"] = Plan.Provenance.Budget?.ToString(),
        ["layout"] = Plan.Layout.ToString(),
        ["norm_order"] = Plan.NormOrder.ToString(),
        ["width_multiple"] = Plan.Provenance.WidthMultiple,
        ["parameters"] = new JsonObject { ["dense"] = ToJson(Plan.DenseParameters), ["kept"] = ToJson(Plan.KeptParameters) },
        ["kept_fraction"] = new JsonObject
        {
            ["block_weights"] = Plan.KeptFraction(),
            ["block_weights_and_biases"] = Plan.KeptFraction(ParameterScope.BlockWeightsAndBiases),
            ["whole_model"] = Plan.KeptFraction(ParameterScope.WholeModel),
        },
        ["kept_cache_fraction"] = Plan.KeptCacheFraction(),
        ["gains"] = Plan.Scales?.ToString(),
        ["widths"] = new JsonObject(SelectionSites.All.Select(site => KeyValuePair.Create(
            $"S{(int)site}", (JsonNode?)new JsonArray([.. Plan.Blocks.Select(block => (JsonNode)block[site].Count)])))),
    };

    public void Draw(IAnsiConsole console)
    {
        var table = new Table { Border = TableBorder.Simple }.AddColumns("", "dense", "kept", "");
        table.Columns[1].RightAligned();
        table.Columns[2].RightAligned();
        table.Columns[3].RightAligned();
        Row("block weights", ParameterScope.BlockWeights);
        Row("all parameters", ParameterScope.WholeModel);
        console.Write(table);
        WidthTable.Draw(console, Plan);
        if (Plan.KeptCacheFraction() < 1)
        {
            console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"The key-value cache takes {100 * Plan.KeptCacheFraction():F1}% of the dense model's."));
        }

        if (Plan.Scales is { } scales)
        {
            console.WriteLine($"Kept features are multiplied by {scales}, which is folded into the weights.");
        }

        void Row(string name, ParameterScope scope) => table.AddRow(
            name,
            Plan.DenseParameters[scope].ToString("N0", CultureInfo.InvariantCulture),
            Plan.KeptParameters[scope].ToString("N0", CultureInfo.InvariantCulture),
            string.Create(CultureInfo.InvariantCulture, $"{100 * Plan.KeptFraction(scope):F2}%"));
    }

    private static JsonObject ToJson(ParameterCount count) => new()
    {
        ["block_weights"] = count.BlockWeights,
        ["block_weights_and_biases"] = count.BlockWeightsAndBiases,
        ["whole_model"] = count.WholeModel,
    };
}
