using System.Globalization;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>Summarizes a pruned model as tables or as JSON.</summary>
/// <param name="Model">The dense folder.</param>
/// <param name="Output">The pruned folder.</param>
/// <param name="Plan">The plan.</param>
internal sealed record PruningSummary(string Model, string Output, SelectionPlan Plan)
{
    public WeightReconstruction? Reconstruction { get; init; }

    /// <summary>The report file; null if none was requested.</summary>
    public string? Report { get; init; }

    public required TimeSpan Time { get; init; }

    public JsonObject ToJson()
    {
        var json = new PlanSummary(Plan).ToJson();
        json.Insert(0, "model", Model);
        json.Insert(1, "output", Output);
        json["bytes"] =
            new JsonObject { ["dense"] = RunReport.MeasureWeightBytes(Model), ["pruned"] = RunReport.MeasureWeightBytes(Output) };
        if (Reconstruction is { } reconstruction)
        {
            json["compensated_blocks"] =
                new JsonArray([.. reconstruction.Blocks.Where(block => block.Ridge is not null).Select(block => (JsonNode)block.Block)]);
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
        if (Reconstruction is { } reconstruction)
        {
            int improved = reconstruction.Blocks.Count(block => block.Ridge is not null);
            console.WriteUnwrapped(string.Create(
                CultureInfo.InvariantCulture,
                $"Reconstructed {improved} of {reconstruction.Blocks.Count} blocks: held-out loss "
                    + $"{reconstruction.Blocks[0].LossBefore:F3} before, {reconstruction.Blocks[^1].LossAfter:F3} after."));
        }

        string bytes = Formatting.Bytes(RunReport.MeasureWeightBytes(Output));
        string denseBytes = Formatting.Bytes(RunReport.MeasureWeightBytes(Model));
        console.WriteUnwrapped($"The pruned model is in {Output}: {bytes} of {denseBytes}, in {Formatting.Duration(Time)}.");
        if (Report is not null)
        {
            console.WriteUnwrapped($"The report is in {Report}.");
        }
    }
}
