using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>Measures models side by side.</summary>
internal sealed class EvalVerb : Verb
{
    private readonly IReadOnlyList<Measurement> _measurements = Measurement.All();
    private readonly TextOptions _text = new("to measure on; never the text that a model was pruned on");
    private readonly BackendOptions _backend = new();
    private readonly Option<string[]> _measure;

    private readonly Argument<string[]> _models = new("models")
    {
        Description = "Checkpoint folders, dense or pruned; the first is the one that others are compared with",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<int?> _window = new Option<int?>("--window")
    {
        Description = "Window length in tokens; figures of different windows do not compare. Default: 2048, or what the models were made for where that is less",
        HelpName = "tokens",
    }.AtLeast(2);

    private readonly Option<int?> _maxWindows = new Option<int?>("--max-windows")
    {
        Description = "Windows from the start of the text. Default: all of them",
        HelpName = "n",
    }.AtLeast(1);

    private readonly Option<long> _seed = new("--seed") { Description = "Seed of the text that is sampled; no seed gives a text that prune learns on", HelpName = "n", DefaultValueFactory = _ => 0 };

    public EvalVerb()
        : base(
            "eval",
            "Measure models side by side. Without --text on text that the first model samples from itself: good to compare with it, not with published figures.",
            "displlm eval ./model ./model-pruned-30",
            "displlm eval ./model ./pruned-30 ./pruned-50 --text test.txt --window 512",
            "displlm eval ./model ./pruned-30 --measure tasks --task arc_easy=ARC-Easy-Test.jsonl")
    {
        _measure = new Option<string[]>("--measure")
        {
            Description = $"What to measure: {string.Join("; ", _measurements.Select(measurement => $"{measurement.Name}, {measurement.Summary}"))}; all of them by default",
            HelpName = "what",
            DefaultValueFactory = _ => [.. _measurements.Select(measurement => measurement.Name)],
            AllowMultipleArgumentsPerToken = true,
        };
        _measure.AcceptOnlyFromAmong([.. _measurements.Select(measurement => measurement.Name)]);
        Arguments.Add(_models);
        _text.AddTo(this);
        foreach (var option in (Option[])[_window, _maxWindows, _measure, .. _measurements.SelectMany(measurement => measurement.Options), _seed])
        {
            Options.Add(option);
        }

        _backend.AddTo(this);
        AddCommonOptions();
    }

    protected override async Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellation)
    {
        string[] folders = arguments.GetRequiredValue(_models), wanted = arguments.GetRequiredValue(_measure);
        var backend = _backend.Create(arguments, terminal);
        var models = new List<PrunableModel>();
        try
        {
            foreach (string folder in folders)
            {
                models.Add(await LoadAsync(folder, backend, terminal, cancellation));
            }

            // Below zero lie seeds that prune does not take: a model is not judged by the text it was pruned on.
            var text = await _text.ReadAsync(arguments, terminal, models[0], -1 - arguments.GetValue(_seed), cancellation);
            var subjects = new Subjects(models, text, Window(arguments, models)) { MaxWindows = arguments.GetValue(_maxWindows) };
            var figures = new List<Figure>();
            foreach (var measurement in _measurements.Where(measurement => wanted.Contains(measurement.Name)))
            {
                figures.AddRange(await terminal.ShowAsync($"Measuring {measurement.Name}", stage => measurement.Measure(subjects, arguments, stage, cancellation)));
            }

            terminal.Result(ToJson(folders, subjects, figures), console => Draw(console, folders, models, figures));
        }
        finally
        {
            models.ForEach(model => model.Dispose());
        }
    }

    private int Window(ParseResult arguments, IReadOnlyList<PrunableModel> models)
    {
        int positions = models.Min(model => model.Spec.MaxPositions), window = arguments.GetValue(_window) ?? Math.Min(2048, positions);
        return window <= positions ? window : throw new ToolException($"--window {window} is more than the {positions} positions that the models were made for.");
    }

    private static long Parameters(PrunableModel model) => model.Plan?.KeptParameters.WholeModel ?? new ParameterCounter(model.Spec).Dense.WholeModel;

    private static JsonObject ToJson(string[] folders, Subjects subjects, IReadOnlyList<Figure> figures) => new()
    {
        ["window"] = subjects.Window,
        ["models"] = new JsonArray([.. subjects.Models.Select((model, i) =>
        {
            var json = new JsonObject { ["folder"] = folders[i], ["parameters"] = Parameters(model) };
            foreach (var figure in figures)
            {
                json[figure.Key] = figure.Values[i];
            }

            return (JsonNode)json;
        })]),
    };

    private static void Draw(IAnsiConsole console, string[] folders, List<PrunableModel> models, IReadOnlyList<Figure> figures)
    {
        var table = new Table { Border = TableBorder.Simple }.AddColumn("");
        foreach (string folder in folders)
        {
            table.AddColumn(new TableColumn(new Text(folder)).RightAligned());
        }

        foreach (var figure in figures.Prepend(new Figure("parameters", "parameters", "N0", [.. models.Select(model => (double)Parameters(model))])))
        {
            table.AddRow([figure.Name, .. figure.Values.Select((value, i) => Cell(figure, value, i))]);
        }

        console.Write(table);
    }

    private static string Cell(Figure figure, double value, int model) => model == 0 || !figure.Compares
        ? value.ToString(figure.Format, CultureInfo.InvariantCulture)
        : $"{value.ToString(figure.Format, CultureInfo.InvariantCulture)} ({(value / figure.Values[0]).ToString("F2", CultureInfo.InvariantCulture)}x)";
}
