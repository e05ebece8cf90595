using System.Globalization;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>What became of a model that was cut.</summary>
/// <param name="Model">The dense folder.</param>
/// <param name="Output">The pruned one.</param>
/// <param name="Plan">What was kept.</param>
internal sealed record PruningSummary(string Model, string Output, SelectionPlan Plan)
{
    public WeightReconstruction? Compensation { get; init; }

    /// <summary>Where the report is; null where none was wanted.</summary>
    public string? Report { get; init; }

    public required TimeSpan Time { get; init; }

    public JsonObject ToJson()
    {
        var json = new PlanSummary(Plan).ToJson();
        json.Insert(0, "model", Model);
        json.Insert(1, "output", Output);
        json["bytes"] = new JsonObject { ["dense"] = RunReport.MeasureWeightBytes(Model), ["pruned"] = RunReport.MeasureWeightBytes(Output) };
        if (Compensation is { } compensation)
        {
            json["compensated_blocks"] = new JsonArray([.. compensation.Blocks.Where(block => block.Ridge is not null).Select(block => (JsonNode)block.Block)]);
        }

        if (Report is not null)
        {
            json["report"] = Report;
        }

        json["seconds"] = Math.Round(Time.TotalSeconds, 1);
        return json;
    }

    public void Draw(IAnsiConsole console)
    {
        new PlanSummary(Plan).Draw(console);
        if (Compensation is { } compensation)
        {
            int helped = compensation.Blocks.Count(block => block.Ridge is not null);
            console.WriteUnwrapped(string.Create(
                CultureInfo.InvariantCulture,
                $"Compensated {helped} of {compensation.Blocks.Count} blocks: held-out loss {compensation.Blocks[0].LossBefore:F3} before, {compensation.Blocks[^1].LossAfter:F3} after."));
        }

        console.WriteUnwrapped($"The pruned model is in {Output}: {Sizes.Short(RunReport.MeasureWeightBytes(Output))} of {Sizes.Short(RunReport.MeasureWeightBytes(Model))}, in {Durations.Short(Time)}.");
        if (Report is not null)
        {
            console.WriteUnwrapped($"The report is in {Report}.");
        }
    }
}
