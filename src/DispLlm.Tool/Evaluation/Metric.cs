using System.Globalization;
using System.Text.Json.Nodes;

namespace DispLlm.Tool;

/// <summary>A metric of each model.</summary>
/// <param name="Key">Its name in JSON.</param>
/// <param name="Name">Its name in the table.</param>
/// <param name="Format">A numeric format of .NET.</param>
/// <param name="Values">One value per model.</param>
internal sealed record Metric(string Key, string Name, string Format, IReadOnlyList<double> Values)
{
    /// <summary>Whether the table also shows the ratio to the first model.</summary>
    public bool ShowsRatio { get; init; } = true;

    /// <summary>The standard error of each value, NaN for that of a single item; null where there is none.</summary>
    public IReadOnlyList<double>? Errors { get; init; }

    /// <summary>The items of a task and the accuracy of guessing; null for what is no task.</summary>
    public (int Items, double Chance)? Task { get; init; }

    /// <summary>A cell of the table.</summary>
    public string FormatCell(int model)
    {
        string cell = Values[model].ToString(Format, CultureInfo.InvariantCulture);
        if (Errors is not null && double.IsFinite(Errors[model]))
        {
            cell += $" ± {Errors[model].ToString(Format, CultureInfo.InvariantCulture)}";
        }

        return model == 0 || !ShowsRatio
            ? cell
            : cell + $" ({(Values[model] / Values[0]).ToString("F2", CultureInfo.InvariantCulture)}x)";
    }

    /// <summary>Adds the value of a model, and its error, to a JSON object.</summary>
    public void AddTo(JsonObject json, int model)
    {
        json[Key] = ToJson(Values[model]);
        if (Errors is not null)
        {
            json[$"{Key}_stderr"] = double.IsFinite(Errors[model]) ? Errors[model] : null;
        }
    }

    /// <summary>JSON has no infinity: the perplexity of a model that was pruned too much is a text.</summary>
    private static JsonNode ToJson(double value) => double.IsFinite(value) ? value : value.ToString(CultureInfo.InvariantCulture);
}
