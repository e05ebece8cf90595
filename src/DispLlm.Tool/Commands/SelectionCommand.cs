using System.CommandLine;
using System.Diagnostics;
using System.Globalization;

namespace DispLlm.Tool;

/// <summary>A command that selects features. All that can fail early is checked before the weights are loaded.</summary>
internal abstract class SelectionCommand : ToolCommand
{
    private readonly IReadOnlyList<string> _args;
    private CommandRun? _run;
    private PruningProgress? _last;
    private bool _planIsKept;

    /// <param name="name">Its name.</param>
    /// <param name="description">Its description.</param>
    /// <param name="args">The whole command line, with which an interrupted run resumes.</param>
    /// <param name="examples">Examples for the help.</param>
    protected SelectionCommand(string name, string description, IReadOnlyList<string> args, params IReadOnlyList<string> examples)
        : base(name, description, examples)
    {
        _args = args;
        Arguments.Add(Model);
    }

    protected Argument<string> Model { get; } =
        new("model") { Description = "Checkpoint folder of the dense model: config.json, weights, tokenizer" };

    protected SelectionOptions Selection { get; } = new();

    /// <summary>Whether the output is written, by this run or by an earlier one that ended before its report.</summary>
    protected bool IsWritten { get; set; }

    /// <summary>The output: that of the command line, or the default.</summary>
    protected abstract string GetOutput(ParseResult arguments);

    /// <summary>The fewest tokens of calibration text that what follows the selection needs; 0 for none.</summary>
    protected virtual int GetMinimumTokens(ParseResult arguments, int sequenceLength) => 0;

    /// <summary>Rejects outputs that exist or cannot be written.</summary>
    protected abstract void EnsureOutput(ParseResult arguments);

    /// <summary>About the bytes that are written to the output.</summary>
    protected abstract long EstimateOutput(ParseResult arguments, PrunableModel dense);

    /// <summary>Reads what else is needed after the selection, before the weights are loaded.</summary>
    protected virtual Task PrepareAsync(
        ParseResult arguments, PrunableModel dense, Terminal terminal, CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Writes the output.</summary>
    protected abstract Task WriteAsync(
        ParseResult arguments, CompletedSelection selection, Terminal terminal, CancellationToken cancellationToken);

    /// <summary>The command line that finishes with a plan that is kept; null for the same one again.</summary>
    protected virtual IReadOnlyList<string>? GetFinish(ParseResult arguments, string plan) => null;

    protected sealed override async Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        var settings = Selection.Read(arguments);
        string folder = arguments.GetRequiredValue(Model), output = GetOutput(arguments);
        var backend = Selection.Backend.Create(arguments, terminal);
        ISelectionStrategy strategy;
        TokenCorpus? text;
        using (var dense = DescribeDense(folder))
        {
            EnsureReachable(settings, dense);
            int length = SelectionOptions.GetSequenceLength(settings.SequenceLength, dense), extra = GetMinimumTokens(arguments, length);
            strategy = settings.Strategy.WithLengths(settings.Steps, length);
            string description = string.Join('\n', (string[])
            [
                $"{Name} {PartialPath.Resolve(folder)}",
                $"compute type {backend.ComputeType}, sequences of {length} tokens{(extra > 0 ? ", reconstruction" : string.Empty)}",
                .. Selection.DescribeSettings(arguments, strategy),
            ]);
            string run = settings.Run ?? OutputPaths.GetRunFolder(output, description);
            IsWritten = CommandRun.HasWritten(run, description, output);
            EnsureOutput(arguments);
            DiskSpace.EnsureFor((output, EstimateOutput(arguments, dense)), (run, DiskSpace.EstimateRun(dense, strategy)));
            text = strategy.NeedsCalibration || extra > 0
                ? await Selection.Text.PrepareAsync(
                    arguments, terminal, dense, settings.Seed, Math.Max(extra, length), cancellationToken)
                : null;
            await PrepareAsync(arguments, dense, terminal, cancellationToken);
            _run = CommandRun.Open(run, _args, description);
        }

        using var own = _run;
        using var model = await LoadAsync(folder, backend, terminal, cancellationToken);
        text = text is null
            ? null
            : await TextOptions.GenerateAsync(text, _run.Directory.TextFile, terminal, model, cancellationToken);
        var result = await SelectAsync(settings, strategy, model, text, terminal, cancellationToken);
        Keep(result.Plan, terminal);
        await WriteAsync(arguments, new CompletedSelection(model, result, text, _run, clock), terminal, cancellationToken);
        if (settings.Run is null)
        {
            _run.Remove();
        }
    }

    protected override KeptWork? GetKeptWork(ParseResult arguments, Exception? error) => _planIsKept
        ? new KeptWork(
            $"The plan is kept in {_run!.PlanFile}. Finish with:", ShellCommand.Format(GetFinish(arguments, _run.PlanFile) ?? _args))
        : _last is null || error is NumericalException ? null : GetSavedRun();

    protected override string AfterInterruption(ParseResult arguments)
    {
        if ((GetKeptWork(arguments, null) ?? GetSavedRun()) is not { } kept)
        {
            return "Stopped before the first step. Nothing was saved.";
        }

        string steps = _last is { } last && !_planIsKept
            ? string.Create(
                CultureInfo.InvariantCulture,
                $" after {last.Step} of {last.Steps} {(last.Phase == PruningPhase.Learning ? "steps" : "measured sequences")}")
            : string.Empty;
        return $"Stopped{steps}. {kept}";
    }

    private KeptWork? GetSavedRun() => _run?.Directory.HasState == true
        ? new KeptWork($"The run is saved in {_run.Directory.Path}. Resume it with:", ShellCommand.Format(_args))
        : null;

    private Task<PruningResult> SelectAsync(
        SelectionSettings settings,
        ISelectionStrategy strategy,
        PrunableModel model,
        TokenCorpus? text,
        Terminal terminal,
        CancellationToken cancellationToken)
    {
        var pipeline = PruningPipeline.For(model)
            .WithBudget(settings.Budget)
            .WithStrategy(strategy)
            .WithWidthMultiple(settings.WidthMultiple)
            .WithLayout(settings.Layout)
            .WithMinAttentionGroups(settings.MinAttentionGroups)
            .WithNormOrder(settings.NormOrder)
            .WithSeed(settings.Seed)
            .WithRunDirectory(_run!.Directory)
            .WithLogger(terminal.Logger);
        pipeline = text is null ? pipeline : pipeline.WithCalibration(text);
        return terminal.ShowAsync(strategy.Learns() ? "Learning" : $"Selecting by {strategy.Name}", progressDisplay =>
        {
            var display = new TrainingDisplay(progressDisplay);
            var progress = new SynchronousProgress<PruningProgress>(step =>
            {
                _last = step;
                display.Report(step);
            });
            return pipeline.WithProgress(progress).RunAsync(cancellationToken).GetAwaiter().GetResult();
        });
    }

    /// <summary>Rejects settings that cannot succeed.</summary>
    private static void EnsureReachable(SelectionSettings settings, PrunableModel model) => BudgetProjection.EnsureReachable(
        model.Spec,
        settings.Budget,
        new BudgetProjectionOptions
        {
            WidthMultiple = settings.WidthMultiple,
            Layout = settings.Layout,
            Constraints = new BudgetConstraints { MinAttentionGroups = settings.MinAttentionGroups },
            NormOrder = settings.NormOrder,
        });

    /// <summary>Keeps the plan until the output is written; the run directory may be on another disk, which is full.</summary>
    private void Keep(SelectionPlan plan, Terminal terminal)
    {
        try
        {
            plan.Save(_run!.PlanFile);
            _planIsKept = true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            terminal.Warn($"The plan cannot be kept in {_run!.PlanFile}: {e.Message}");
        }
    }
}
