using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>Learns what a model can do without, and writes it down.</summary>
internal sealed class PlanVerb : LearningVerb
{
    private readonly Option<string?> _output = new("--output", "-o")
    {
        Description = "File of the plan; must not exist. Default: beside the model, as in ./model-pruned-30.json",
        HelpName = "file",
    };

    public PlanVerb(IReadOnlyList<string> args)
        : base(
            "plan",
            "Learn what a model can do without, and write the plan as JSON: one list of kept indices a line, to read, compare, edit and apply.",
            args,
            "displlm plan ./model --ratio 0.3",
            "displlm plan ./model --keep 0.5 --strategy fisher --text train.txt -o half.json")
    {
        Options.Add(_output);
        Learning.AddTo(this);
        AddCommonOptions();
    }

    protected override async Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellation)
    {
        var settings = Learning.Read(arguments);
        string folder = arguments.GetRequiredValue(Model);
        string output = arguments.GetValue(_output) ?? Targets.PlanFile(Targets.Folder(folder, settings.Budget));
        Targets.EnsureFree(output);
        using var model = await LoadDenseAsync(folder, Learning.Backend.Create(arguments, terminal), terminal, cancellation);
        EnsureReachable(settings, model);

        var text = settings.Strategy.NeedsCalibration ? await settings.ReadTextAsync(terminal, model, cancellation) : null;
        var result = await DecideAsync(arguments, model, text, terminal, cancellation);
        result.Plan.Save(output);
        EndRun(arguments);

        var summary = new PlanSummary(result.Plan);
        var json = summary.ToJson();
        json.Insert(0, "model", folder);
        json.Insert(1, "output", output);
        terminal.Result(json, console =>
        {
            summary.Draw(console);
            console.WriteUnwrapped($"The plan is in {output}.");
            console.WriteUnwrapped($"Cut by it:  {ShellCommand.Format(["apply", folder, output])}");
        });
    }
}
