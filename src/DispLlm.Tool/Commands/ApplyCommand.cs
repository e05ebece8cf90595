using System.CommandLine;
using System.Diagnostics;

namespace DispLlm.Tool;

/// <summary>Prunes a model by a plan.</summary>
internal sealed class ApplyCommand : ToolCommand
{
    private readonly Argument<string> _model = new("model") { Description = "Checkpoint folder of the dense model" };
    private readonly Argument<string> _plan = new("plan") { Description = "Plan file, or a pruned folder with the plan" };
    private readonly ReconstructionOption _reconstruction = new();
    private readonly TextOptions _text = new("to reconstruct on");
    private readonly BackendOptions _backend = new();

    private readonly Option<string?> _output = new("--output", "-o")
    {
        Description = "Folder of the pruned model; must not exist. Default: next to the model, such as ./model-pruned-30",
        HelpName = "folder",
    };

    private readonly Option<int?> _sequenceLength = new Option<int?>("--sequence-length")
    {
        Description = "Tokens per calibration sequence of the reconstruction. Default: 512, or the positions of the model if that is less",
        HelpName = "tokens",
    }.AtLeast(2);

    private readonly Option<long> _seed =
        new("--seed") { Description = "Seed of generated text", HelpName = "n", DefaultValueFactory = _ => 0 };

    public ApplyCommand()
        : base(
            "apply",
            "Prune a model by a plan, without a new selection.",
            "displlm apply ./model model-pruned-30.json",
            "displlm apply ./model ./model-pruned-30 -o ./again --reconstruct")
    {
        Arguments.Add(_model);
        Arguments.Add(_plan);
        Options.Add(_output);
        _reconstruction.AddTo(this);
        _text.AddTo(this);
        Options.Add(_sequenceLength);
        Options.Add(_seed);
        _backend.AddTo(this);
        AddCommonOptions();
        Validators.Add(result =>
        {
            foreach (var option in (Option[])[_text.Files, _sequenceLength])
            {
                if (result.IsSpecified(option) && !result.GetValue(_reconstruction.Enabled))
                {
                    result.AddError($"'{option.Name}' needs '--reconstruct'.");
                }
            }
        });
    }

    protected override async Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        string folder = arguments.GetRequiredValue(_model);
        var plan = PlanLoader.Load(arguments.GetRequiredValue(_plan));
        string output = arguments.GetValue(_output) ?? OutputPaths.GetModelFolder(folder, plan);
        bool reconstruct = arguments.GetValue(_reconstruction.Enabled);
        TokenCorpus? text = null;
        using (var dense = DescribeDense(folder))
        {
            PrunedModelBuilder.EnsureFits(plan, dense.Spec, dense.Family, folder);
            OutputChecks.EnsureNewFolder(output);
            DiskSpace.EnsureFor((output, DiskSpace.EstimateModel(dense, plan.KeptParameters.WholeModel)));
            if (reconstruct)
            {
                ReconstructionOption.EnsurePossible(plan);
                int length = SelectionOptions.GetSequenceLength(arguments.GetValue(_sequenceLength), dense);
                int minimum = ReconstructionOption.GetMinimumTokens(length);
                text = await _text.PrepareAsync(arguments, terminal, dense, arguments.GetValue(_seed), minimum, cancellationToken);
            }
        }

        using var reconstruction =
            text is null ? null : await ReconstructAsync(arguments, folder, plan, text, terminal, cancellationToken);
        var builder = new PrunedModelBuilder(folder, null, plan, reconstruction);
        await terminal.ShowAsync($"Writing {output}", display =>
        {
            builder.BuildAsync(output, display.Steps, cancellationToken).GetAwaiter().GetResult();
            return true;
        });
        var summary = new PruningSummary(folder, output, plan) { Reconstruction = reconstruction, Time = clock.Elapsed };
        terminal.Result(summary.ToJson(), summary.Draw);
    }

    private async Task<WeightReconstruction> ReconstructAsync(
        ParseResult arguments,
        string folder,
        SelectionPlan plan,
        TokenCorpus text,
        Terminal terminal,
        CancellationToken cancellationToken)
    {
        using var model = await LoadAsync(folder, _backend.Create(arguments, terminal), terminal, cancellationToken);
        text = await TextOptions.GenerateAsync(text, null, terminal, model, cancellationToken);
        int length = SelectionOptions.GetSequenceLength(arguments.GetValue(_sequenceLength), model);
        return await ReconstructionOption.FitAsync(model, plan, text, length, arguments.GetValue(_seed), terminal, cancellationToken);
    }
}
