using System.CommandLine;
using System.Diagnostics;

namespace DispLlm.Tool;

/// <summary>Cuts a model by a plan that is there already.</summary>
internal sealed class ApplyVerb : Verb
{
    private readonly Argument<string> _model = new("model") { Description = "Checkpoint folder of the dense model" };
    private readonly Argument<string> _plan = new("plan") { Description = "Plan file, or a pruned folder whose plan is to be taken" };
    private readonly ReconstructionOption _compensation = new();
    private readonly TextOptions _text = new("to compensate on");
    private readonly BackendOptions _backend = new();

    private readonly Option<string?> _output = new("--output", "-o")
    {
        Description = "Folder of the pruned model; must not exist. Default: beside the model, as in ./model-pruned-30",
        HelpName = "folder",
    };

    private readonly Option<int?> _window = new Option<int?>("--window")
    {
        Description = "Tokens that the model sees at once while it is compensated. Default: 512, or what the model was made for where that is less",
        HelpName = "tokens",
    }.AtLeast(2);

    private readonly Option<long> _seed = new("--seed") { Description = "Seed of the text that is sampled", HelpName = "n", DefaultValueFactory = _ => 0 };

    public ApplyVerb()
        : base(
            "apply",
            "Cut a model by a plan, without learning again.",
            "displlm apply ./model model-pruned-30.json",
            "displlm apply ./model ./model-pruned-30 -o ./again --compensate")
    {
        Arguments.Add(_model);
        Arguments.Add(_plan);
        Options.Add(_output);
        _compensation.AddTo(this);
        _text.AddTo(this);
        Options.Add(_window);
        Options.Add(_seed);
        _backend.AddTo(this);
        AddCommonOptions();
        Validators.Add(result =>
        {
            foreach (var option in (Option[])[_text.Files, _window])
            {
                if (result.Given(option) && !result.GetValue(_compensation.Wanted))
                {
                    result.AddError($"'{option.Name}' is for '--compensate'; cutting alone reads no text.");
                }
            }
        });
    }

    protected override async Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        string folder = arguments.GetRequiredValue(_model);
        var plan = PlanSource.Load(arguments.GetRequiredValue(_plan));
        string output = arguments.GetValue(_output) ?? Targets.Folder(folder, plan);
        Targets.EnsureFree(output);

        using var compensation = arguments.GetValue(_compensation.Wanted) ? await CompensateAsync(arguments, folder, plan, terminal, cancellation) : null;
        var builder = new PrunedModelBuilder(folder, null, plan, compensation);
        await terminal.ShowAsync($"Cutting into {output}", stage =>
        {
            builder.BuildAsync(output, new Told<PruningProgress>(tensor => stage.Report((double)tensor.Step / tensor.Steps)), cancellation).GetAwaiter().GetResult();
            return true;
        });
        var summary = new PruningSummary(folder, output, plan) { Compensation = compensation, Time = clock.Elapsed };
        terminal.Result(summary.ToJson(), summary.Draw);
    }

    private async Task<WeightReconstruction> CompensateAsync(ParseResult arguments, string folder, SelectionPlan plan, Terminal terminal, CancellationToken cancellation)
    {
        using var model = await LoadDenseAsync(folder, _backend.Create(arguments, terminal), terminal, cancellation);
        long seed = arguments.GetValue(_seed);
        var text = await _text.ReadAsync(arguments, terminal, model, seed, cancellation);
        return await ReconstructionOption.FindAsync(model, plan, text, LearningOptions.WindowFor(arguments.GetValue(_window), model), seed, terminal, cancellation);
    }
}
