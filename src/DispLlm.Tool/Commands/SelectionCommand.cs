using System.CommandLine;
using System.Globalization;

namespace DispLlm.Tool;

/// <summary>A command that selects features.</summary>
internal abstract class SelectionCommand : ToolCommand
{
    private readonly IReadOnlyList<string> _args;
    private PruningProgress? _last;

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

    /// <summary>The run directory.</summary>
    protected RunDirectory ReadRunDirectory(ParseResult arguments)
    {
        var settings = Selection.Read(arguments);
        return new RunDirectory(
            settings.Run ?? OutputPaths.GetRunFolder(OutputPaths.GetModelFolder(arguments.GetRequiredValue(Model), settings.Budget)));
    }

    /// <summary>Selects the features of a model.</summary>
    /// <param name="arguments">The parsed command line.</param>
    /// <param name="model">The model.</param>
    /// <param name="text">The calibration text; null for a strategy that needs none.</param>
    /// <param name="terminal">Shows the progress.</param>
    /// <param name="cancellationToken">Stops and saves the run.</param>
    protected Task<PruningResult> SelectAsync(
        ParseResult arguments, IPrunableModel model, TokenCorpus? text, Terminal terminal, CancellationToken cancellationToken)
    {
        var settings = Selection.Read(arguments);
        var strategy = settings.Strategy.WithLengths(settings.Steps, SelectionOptions.GetSequenceLength(settings.SequenceLength, model));
        var pipeline = PruningPipeline.For(model)
            .WithBudget(settings.Budget)
            .WithStrategy(strategy)
            .WithWidthMultiple(settings.WidthMultiple)
            .WithNormOrder(settings.NormOrder)
            .WithSeed(settings.Seed)
            .WithLogger(terminal.Logger);
        pipeline = text is null ? pipeline : pipeline.WithCalibration(text);
        pipeline = strategy.Learns() ? pipeline.WithRunDirectory(ReadRunDirectory(arguments).Path) : pipeline;
        return terminal.ShowAsync(strategy.Learns() ? "Learning" : $"Selecting by {strategy.Name}", progressDisplay =>
        {
            var display = new TrainingDisplay(progressDisplay);
            var progress = new SynchronousProgress<PruningProgress>(step =>
            {
                _last = step.Phase == PruningPhase.Learning ? step : _last;
                display.Report(step);
            });
            return pipeline.WithProgress(progress).RunAsync(cancellationToken).GetAwaiter().GetResult();
        });
    }

    /// <summary>Rejects settings that cannot succeed, before text is generated.</summary>
    protected static void EnsureReachable(SelectionSettings settings, IPrunableModel model)
    {
        BudgetProjection.EnsureReachable(
            model.Spec,
            settings.Budget,
            new BudgetProjectionOptions { WidthMultiple = settings.WidthMultiple, NormOrder = settings.NormOrder });
        SelectionOptions.GetSequenceLength(settings.SequenceLength, model);
    }

    /// <summary>Removes the run directory after the result is written, unless the command line names it.</summary>
    protected void RemoveTemporaryRun(ParseResult arguments)
    {
        if (Selection.Read(arguments) is { Run: null } settings && settings.Strategy.Learns())
        {
            ReadRunDirectory(arguments).Remove();
        }
    }

    protected override string AfterInterruption(ParseResult arguments)
    {
        var run = ReadRunDirectory(arguments);
        if (!Selection.Read(arguments).Strategy.Learns() || !run.HasState)
        {
            return "Stopped before the first step. Nothing was saved.";
        }

        string steps = _last is { } last
            ? string.Create(CultureInfo.InvariantCulture, $" after {last.Step} of {last.Steps} steps")
            : string.Empty;
        return $"Stopped{steps}. The run is saved in {run.Path}. Resume it with:{Environment.NewLine}  {ShellCommand.Format(_args)}";
    }
}
