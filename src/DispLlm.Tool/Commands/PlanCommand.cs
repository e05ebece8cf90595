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

    protected override string GetOutput(ParseResult arguments) => arguments.GetValue(_output)
        ?? OutputPaths.GetPlanFile(OutputPaths.GetModelFolder(arguments.GetRequiredValue(Model), Selection.Read(arguments).Budget));

    protected override void EnsureOutput(ParseResult arguments) => OutputChecks.EnsureNewFile(GetOutput(arguments));

    /// <remarks>Plans are text: a kept index and its comma take some bytes.</remarks>
    protected override long EstimateOutput(ParseResult arguments, PrunableModel dense) => 8L * dense.GateLayout.Count;

    protected override Task WriteAsync(
        ParseResult arguments, CompletedSelection selection, Terminal terminal, CancellationToken cancellationToken)
    {
        string folder = arguments.GetRequiredValue(Model), output = GetOutput(arguments);
        OutputChecks.CreateParent(output);
        selection.Result.Plan.Save(output);
        var summary = new PlanSummary(selection.Result.Plan);
        var json = summary.ToJson();
        json.Insert(0, "model", folder);
        json.Insert(1, "output", output);
        terminal.Result(json, console =>
        {
            summary.Draw(console);
            console.WriteUnwrapped($"The plan is in {output}.");
            console.WriteUnwrapped($"Apply it:  {ShellCommand.Format(["apply", folder, output])}");
        });
        return Task.CompletedTask;
    }
}
