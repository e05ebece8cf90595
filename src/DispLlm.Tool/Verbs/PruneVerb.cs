using System.CommandLine;
using System.Diagnostics;

namespace DispLlm.Tool;

/// <summary>Learns what a model can do without and cuts it out.</summary>
internal sealed class PruneVerb : LearningVerb
{
    private readonly ReconstructionOption _compensation = new();
    private readonly ReportOption _report = new();

    private readonly Option<string?> _output = new("--output", "-o")
    {
        Description = "Folder of the pruned model; must not exist. Default: beside the model, as in ./model-pruned-30",
        HelpName = "folder",
    };

    public PruneVerb(IReadOnlyList<string> args)
        : base(
            "prune",
            "Learn what a model can do without, and write a smaller checkpoint. Without --text it learns on text that the model samples from itself.",
            args,
            "displlm prune ./model --ratio 0.3",
            "displlm prune ./model --ratio 0.5 --text train.txt --width-multiple 32 --report half.html --test test.txt",
            "displlm prune ./model --keep 0.8 --strategy fisher --compensate -o ./smaller")
    {
        Options.Add(_output);
        Learning.AddTo(this);
        _compensation.AddTo(this);
        _report.AddTo(this);
        Learning.RefuseCompensation(this, _compensation.Wanted);
        AddCommonOptions();
    }

    protected override async Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        var settings = Learning.Read(arguments);
        string folder = arguments.GetRequiredValue(Model);
        string output = arguments.GetValue(_output) ?? Targets.Folder(folder, settings.Budget);
        Targets.EnsureFree(output);
        _report.EnsureFree(arguments);
        using var model = await LoadDenseAsync(folder, Learning.Backend.Create(arguments, terminal), terminal, cancellation);
        EnsureReachable(settings, model);

        bool compensates = arguments.GetValue(_compensation.Wanted);
        var text = settings.Strategy.NeedsCalibration || compensates ? await settings.ReadTextAsync(terminal, model, cancellation) : null;
        var result = await DecideAsync(arguments, model, text, terminal, cancellation);
        using var compensation = compensates
            ? await ReconstructionOption.FindAsync(model, result.Plan, text!, LearningOptions.WindowFor(settings.Window, model), settings.Seed, terminal, cancellation)
            : null;
        await terminal.ShowAsync($"Cutting into {output}", stage =>
        {
            var told = new Told<PruningProgress>(tensor => stage.Report((double)tensor.Step / tensor.Steps));
            result.SaveAsync(output, compensation, told, cancellation).GetAwaiter().GetResult();
            return true;
        });
        EndRun(arguments);
        string? page = await _report.LeaveAsync(arguments, result, model, output, settings.Window, settings.Seed, terminal, cancellation);

        var summary = new PruningSummary(folder, output, result.Plan) { Compensation = compensation, Report = page, Time = clock.Elapsed };
        terminal.Result(summary.ToJson(), console =>
        {
            summary.Draw(console);
            console.WriteUnwrapped($"See what it cost:  {ShellCommand.Format(["eval", folder, output])}");
        });
    }
}
