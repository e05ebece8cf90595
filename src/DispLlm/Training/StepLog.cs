using System.Text.Json;
using System.Text.Json.Nodes;

namespace DispLlm.Training;

/// <summary>The steps of a run as JSON Lines: one object per step, enough to plot the run again.</summary>
internal static class StepLog
{
    public static string Line(PruningProgress report)
    {
        var line = new JsonObject
        {
            ["step"] = report.Step,
            ["steps"] = report.Steps,
            ["cross_entropy"] = report.CrossEntropy,
            ["budget_loss"] = report.BudgetLoss,
            ["kept"] = report.KeptFraction,
            ["gradient_norm"] = report.GradientNorm,
            ["tokens"] = report.Tokens,
            ["seconds"] = report.Elapsed.TotalSeconds,
        };
        if (report.CollapsedSites.Count > 0)
        {
            line["collapsed"] =
                new JsonArray([.. report.CollapsedSites.Select(site => (JsonNode)new JsonArray(site.Block, (int)site.Site))]);
        }

        return line.ToJsonString();
    }

    /// <summary>The lines of steps 1, 2, 3 ... up to <paramref name="last"/>, until one is missing or torn; and where they end.</summary>
    public static List<PruningProgress> Read(ReadOnlySpan<byte> log, int last, GateLayout layout, out long end)
    {
        var steps = new List<PruningProgress>();
        end = 0;
        while (steps.Count < last)
        {
            int length = log[(int)end..].IndexOf((byte)'\n');
            if (length < 0 || Parse(log.Slice((int)end, length), layout) is not { } report || report.Step != steps.Count + 1)
            {
                break;
            }

            steps.Add(report);
            end += length + 1;
        }

        return steps;
    }

    /// <summary>A step from its line; null where that is none.</summary>
    public static PruningProgress? Parse(ReadOnlySpan<byte> line, GateLayout layout)
    {
        try
        {
            var json = (JsonObject)JsonNode.Parse(line).Present();
            T Get<T>(string key) => json[key].Present().GetValue<T>();
            return new PruningProgress(PruningPhase.Learning, Get<int>("step"), Get<int>("steps"),
                TimeSpan.FromSeconds(Get<double>("seconds")))
            {
                CrossEntropy = Get<double>("cross_entropy"),
                BudgetLoss = Get<double>("budget_loss"),
                KeptFraction = Get<double>("kept"),
                GradientNorm = Get<double>("gradient_norm"),
                Tokens = Get<long>("tokens"),
                CollapsedSites = [.. (json["collapsed"]?.AsArray() ?? []).Select(site =>
                    layout[site.Present()[0].Present().GetValue<int>(), (SelectionSite)site.Present()[1].Present().GetValue<int>()])],
            };
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or InvalidCastException
            or ArgumentException or IndexOutOfRangeException or OverflowException)
        {
            return null;
        }
    }
}
