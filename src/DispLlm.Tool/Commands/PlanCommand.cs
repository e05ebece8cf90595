using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>Selects features and writes the plan.</summary>
internal sealed class PlanCommand : SelectionCommand
{
    private readonly Option<string?> _output = new("--output", "-o")
    {
        Description = "File of the plan; must not exist. Default: next to the model, such as ./model-pruned-30.json",
        HelpName = "file",
    };

    public PlanCommand(IReadOnlyList<string> args)
        : base(
            "plan",
            "Select features and write the plan as JSON, one list of kept indices per line, to read, compare, edit and apply.",
            args,
            "displlm plan ./model --ratio 0.3",
            "displlm plan ./model --keep 0.5 --strategy fisher --text train.txt -o half.json")
    {
        Options.Add(_output);
        Selection.AddTo(this);
        AddCommonOptions();
    }

    protected override async Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellationToken)
    {
        var settings = Selection.Read(arguments);
        string folder = arguments.GetRequiredValue(Model);
        string output = arguments.GetValue(_output) ?? OutputPaths.GetPlanFile(OutputPaths.GetModelFolder(folder, settings.Budget));
        OutputPaths.EnsureAvailable(output);
        using var model = await LoadDenseAsync(folder, Selection.Backend.Create(arguments, terminal), terminal, cancellationToken);
        EnsureReachable(settings, model);

        var text = settings.Strategy.NeedsCalibration ? await settings.ReadTextAsync(terminal, model, cancellationToken) : null;
        var result = await SelectAsync(arguments, model, text, terminal, cancellationToken);
        result.Plan.Save(output);
        RemoveTemporaryRun(arguments);

        var summary = new PlanSummary(result.Plan);
        var json = summary.ToJson();
        json.Insert(0, "model", folder);
        json.Insert(1, "output", output);
        terminal.Result(json, console =>
        {
            summary.Draw(console);
            console.WriteUnwrapped($"The plan is in {output}.");
            console.WriteUnwrapped($"Apply it:  {ShellCommand.Format(["apply", folder, output])}");
        });
    }
}
