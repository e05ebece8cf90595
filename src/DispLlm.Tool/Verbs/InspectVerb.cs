using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>Shows a model folder, a plan, or two plans side by side.</summary>
internal sealed class InspectVerb : Verb
{
    private readonly Argument<string[]> _what = new("what")
    {
        Description = "A model folder or a plan file; or two plans, each as a file or as a pruned folder",
        Arity = new ArgumentArity(1, 2),
    };

    public InspectVerb()
        : base(
            "inspect",
            "Show what a model folder or a plan holds, or how two plans differ. Reads no weights.",
            "displlm inspect ./model",
            "displlm inspect model-pruned-30.json",
            "displlm inspect ./model-pruned-30 ./model-pruned-50")
    {
        Arguments.Add(_what);
        AddCommonOptions();
    }

    protected override Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellation)
    {
        string[] what = arguments.GetRequiredValue(_what);
        if (what.Length == 2)
        {
            var comparison = new PlanComparison(what[0], PlanSource.Load(what[0]), what[1], PlanSource.Load(what[1]));
            terminal.Result(comparison.ToJson(), console => comparison.Draw(console, everySite: terminal.Verbosity == Verbosity.Verbose));
        }
        else if (Directory.Exists(what[0]))
        {
            ShowFolder(what[0], terminal, cancellation);
        }
        else
        {
            ShowPlan(what[0], terminal);
        }

        return Task.CompletedTask;
    }

    private static void ShowFolder(string folder, Terminal terminal, CancellationToken cancellation)
    {
        // On the meta device all is checked and no weight is read.
        using var model = PrunableModel.Load(folder, TorchBackend.Meta(), cancellationToken: cancellation);
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
            Row("family", model.Family.Name + (model.Plan is null ? string.Empty : ", cut"));
            Row("blocks", Invariant($"{spec.NumLayers} of {spec.HiddenSize:N0} features, MLP {spec.IntermediateSize:N0}"));
            Row("heads", Invariant($"{spec.NumAttentionHeads} on {spec.NumKeyValueHeads} of keys and values"));
            Row("vocabulary", Invariant($"{spec.VocabularySize:N0} tokens, {spec.MaxPositions:N0} positions"));
            Row("parameters", Invariant($"{dense.WholeModel:N0} dense, {dense.BlockWeights:N0} of them block weights"));
            Row("on disk", Sizes.Short(RunReport.MeasureWeightBytes(folder)));
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
        var plan = PlanSource.Load(file);
        terminal.Result(new PlanSummary(plan).ToJson(), console => ShowPlan(plan, console));
    }

    private static void ShowPlan(SelectionPlan plan, IAnsiConsole console)
    {
        var origin = plan.Provenance;
        console.WriteUnwrapped();
        console.WriteUnwrapped($"Selected by {origin.Strategy ?? "unknown"} for {origin.Budget?.ToString() ?? "an unknown budget"}, seed {origin.Seed?.ToString(CultureInfo.InvariantCulture) ?? "unknown"}, {plan.NormOrder}.");
        new PlanSummary(plan).Draw(console);
    }

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
