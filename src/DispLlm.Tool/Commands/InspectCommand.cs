using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>Shows a model folder or a plan, or compares two plans.</summary>
internal sealed class InspectCommand : ToolCommand
{
    private readonly Argument<string[]> _paths = new("paths")
    {
        Description = "A model folder or a plan file; or two plans to compare, each a file or a pruned folder",
        Arity = new ArgumentArity(1, 2),
    };

    public InspectCommand()
        : base(
            "inspect",
            "Show a model folder or a plan, or compare two plans. Reads no weights.",
            "displlm inspect ./model",
            "displlm inspect model-pruned-30.json",
            "displlm inspect ./model-pruned-30 ./model-pruned-50")
    {
        Arguments.Add(_paths);
        AddCommonOptions();
    }

    protected override Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellationToken)
    {
        string[] paths = arguments.GetRequiredValue(_paths);
        if (paths.Length == 2)
        {
            var comparison = new PlanComparison(paths[0], PlanLoader.Load(paths[0]), paths[1], PlanLoader.Load(paths[1]));
            terminal.Result(comparison.ToJson(), console => comparison.Draw(console, everySite: terminal.Verbosity == Verbosity.Verbose));
        }
        else if (Directory.Exists(paths[0]))
        {
            ShowFolder(paths[0], terminal);
        }
        else
        {
            ShowPlan(paths[0], terminal);
        }

        return Task.CompletedTask;
    }

    private static void ShowFolder(string folder, Terminal terminal)
    {
        using var model = Describe(folder);
        var spec = model.Spec;
        var dense = new ParameterCounter(spec).Dense;
        var json = new JsonObject
        {
            ["folder"] = folder,
            ["family"] = model.Family.Name,
            ["pruned"] = model.Plan is not null,
            ["blocks"] = spec.NumLayers,
            ["hidden_size"] = spec.HiddenSize,
            ["heads"] = spec.NumAttentionHeads,
            ["key_value_heads"] = spec.NumKeyValueHeads,
            ["cache_bytes_per_token"] = GetCacheBytes(model),
            ["mlp_size"] = spec.IntermediateSize,
            ["vocabulary_size"] = spec.VocabularySize,
            ["positions"] = spec.MaxPositions,
            ["dense_parameters"] = dense.WholeModel,
            ["dense_block_weights"] = dense.BlockWeights,
            ["bytes"] = RunReport.MeasureWeightBytes(folder),
            ["plan"] = model.Plan is { } plan ? new PlanSummary(plan).ToJson() : null,
        };
        terminal.Result(json, console =>
        {
            var grid = new Grid().AddColumns(2);
            Row("family", model.Family.Name + (model.Plan is null ? string.Empty : ", pruned"));
            Row("blocks", Invariant($"{spec.NumLayers} of {spec.HiddenSize:N0} features, MLP {spec.IntermediateSize:N0}"));
            Row("heads", Invariant($"{spec.NumAttentionHeads} attention heads, {spec.NumKeyValueHeads} key-value heads"));
            Row("cache", Invariant($"{GetCacheBytes(model):N0} bytes per token in 16 bits"));
            Row("vocabulary", Invariant($"{spec.VocabularySize:N0} tokens, {spec.MaxPositions:N0} positions"));
            Row("parameters", Invariant($"{dense.WholeModel:N0} dense, {dense.BlockWeights:N0} of them block weights"));
            Row("on disk", Formatting.Bytes(RunReport.MeasureWeightBytes(folder)));
            console.Write(grid);
            if (model.Plan is { } plan)
            {
                ShowPlan(plan, console);
            }

            void Row(string name, string value) => grid.AddRow(new Text(name, new Style(Color.Grey)), new Text(value));
        });
    }

    private static void ShowPlan(string file, Terminal terminal)
    {
        var plan = PlanLoader.Load(file);
        terminal.Result(new PlanSummary(plan).ToJson(), console => ShowPlan(plan, console));
    }

    private static void ShowPlan(SelectionPlan plan, IAnsiConsole console)
    {
        var origin = plan.Provenance;
        console.WriteUnwrapped();
        string seed = origin.Seed?.ToString(CultureInfo.InvariantCulture) ?? "unknown";
        console.WriteUnwrapped(
            $"Selected by {origin.Strategy ?? "unknown"} for {origin.Budget?.ToString() ?? "an unknown budget"}, seed {seed}, "
                + $"layout {plan.Layout}, {plan.NormOrder}.");
        new PlanSummary(plan).Draw(console);
    }

    // The weights are not read, and caches are commonly of half precision.
    private static long GetCacheBytes(PrunableModel model) => model.CacheBytesPerToken * sizeof(short) / sizeof(float);

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
