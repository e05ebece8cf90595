using System.Text.Json.Nodes;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>The metrics of models side by side, as a table or as JSON.</summary>
internal sealed class ModelComparison(EvaluationInput input, IReadOnlyList<Metric> metrics)
{
    public JsonObject ToJson()
    {
        var json = new JsonObject { ["window"] = input.WindowLength };
        var tasks = metrics.Where(metric => metric.Task is not null).ToList();
        if (tasks.Count > 0)
        {
            json["tasks"] = new JsonObject(tasks.Select(metric => KeyValuePair.Create(
                metric.Key,
                (JsonNode?)new JsonObject { ["items"] = metric.Task!.Value.Items, ["chance"] = metric.Task.Value.Chance })));
        }

        json["models"] = new JsonArray([.. input.Models.Select((model, i) =>
        {
            var values = new JsonObject { ["folder"] = model.Folder, ["parameters"] = CountParameters(model.Model) };
            foreach (var metric in metrics)
            {
                metric.AddTo(values, i);
            }

            return (JsonNode)values;
        })]);
        return json;
    }

    /// <summary>Draws one table, or several one below the other where the models do not fit side by side.</summary>
    public void Draw(IAnsiConsole console)
    {
        var parameters = new Metric(
            "parameters", "parameters", "N0", [.. input.Models.Select(model => (double)CountParameters(model.Model))]);
        Metric[] rows = [parameters, .. metrics];
        string[][] columns = [.. input.Models.Select((_, model) => rows.Select(row => row.FormatCell(model)).ToArray())];
        foreach (int[] models in FitColumns(console, rows, columns))
        {
            var table = new Table { Border = TableBorder.Simple }.AddColumn("");
            foreach (int model in models)
            {
                table.AddColumn(new TableColumn(new Text(input.Models[model].Folder)).RightAligned());
            }

            for (int row = 0; row < rows.Length; row++)
            {
                table.AddRow([rows[row].Name, .. models.Select(model => columns[model][row])]);
            }

            console.Write(table);
        }
    }

    /// <summary>The models of each table. The name of a folder may wrap; a number may not.</summary>
    private static IEnumerable<int[]> FitColumns(IAnsiConsole console, Metric[] rows, string[][] columns)
    {
        int names = rows.Max(row => row.Name.Length), free = console.TableWidth() - names;
        int[] widths = [.. columns.Select(column => column.Max(cell => cell.Length))];
        for (int first = 0, count; first < widths.Length; first += count)
        {
            count = 1;
            while (first + count < widths.Length && widths[first..(first + count + 1)].Sum() + Formatting.TableFrame(count + 2) <= free)
            {
                count++;
            }

            yield return [.. Enumerable.Range(first, count)];
        }
    }

    private static long CountParameters(PrunableModel model) =>
        model.Plan?.KeptParameters.WholeModel ?? new ParameterCounter(model.Spec).Dense.WholeModel;
}
