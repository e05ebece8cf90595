using System.CommandLine;
using System.Globalization;

namespace DispLlm.Tool;

/// <summary>A verb that decides what stays, by learning where the strategy does.</summary>
internal abstract class LearningVerb : Verb
{
    private readonly IReadOnlyList<string> _args;
    private PruningProgress? _last;

    /// <param name="name">The verb.</param>
    /// <param name="description">What it does.</param>
    /// <param name="args">The whole command line, to name the one that goes on.</param>
    /// <param name="examples">Examples for the help.</param>
    protected LearningVerb(string name, string description, IReadOnlyList<string> args, params IReadOnlyList<string> examples)
        : base(name, description, examples)
    {
        _args = args;
        Arguments.Add(Model);
    }

    protected Argument<string> Model { get; } = new("model") { Description = "Checkpoint folder of the dense model: config.json, weights, tokenizer" };

    protected LearningOptions Learning { get; } = new();

    /// <summary>The run's folder.</summary>
    protected RunDirectory ReadRunDirectory(ParseResult arguments)
    {
        var settings = Learning.Read(arguments);
        return new RunDirectory(settings.Run ?? Targets.RunFolder(Targets.Folder(arguments.GetRequiredValue(Model), settings.Budget)));
    }

    /// <summary>Decides what stays of a loaded model.</summary>
    /// <param name="arguments">The command line.</param>
    /// <param name="model">The model.</param>
    /// <param name="text">The text to learn on; null for a strategy that needs none.</param>
    /// <param name="terminal">Where it is shown.</param>
    /// <param name="cancellation">Stops, and saves the run.</param>
    protected Task<PruningResult> DecideAsync(ParseResult arguments, IPrunableModel model, TokenCorpus? text, Terminal terminal, CancellationToken cancellation)
    {
        var settings = Learning.Read(arguments);
        var strategy = settings.Strategy.With(settings.Steps, LearningOptions.WindowFor(settings.Window, model));
        var pipeline = PruningPipeline.For(model)
            .WithBudget(settings.Budget)
            .WithStrategy(strategy)
            .WithWidthMultiple(settings.WidthMultiple)
            .WithNormOrder(settings.NormOrder)
            .WithSeed(settings.Seed)
            .WithLogger(terminal.Logger);
        pipeline = text is null ? pipeline : pipeline.WithCalibration(text);
        pipeline = strategy.Learns() ? pipeline.WithRunDirectory(ReadRunDirectory(arguments).Path) : pipeline;
        return terminal.ShowAsync(strategy.Learns() ? "Learning" : $"Deciding by {strategy.Name}", stage =>
        {
            var display = new LearningDisplay(stage);
            var told = new Told<PruningProgress>(step =>
            {
                _last = step.Phase == PruningPhase.Learning ? step : _last;
                display.Report(step);
            });
            return pipeline.WithProgress(told).RunAsync(cancellation).GetAwaiter().GetResult();
        });
    }

    /// <summary>Refuses what cannot come to an end, before text is sampled and steps are learned.</summary>
    protected static void EnsureReachable(LearningSettings settings, IPrunableModel model)
    {
        BudgetProjection.EnsureReachable(
            model.Spec, settings.Budget, new BudgetProjectionOptions { WidthMultiple = settings.WidthMultiple, NormOrder = settings.NormOrder });
        LearningOptions.WindowFor(settings.Window, model);
    }

    /// <summary>Removes the run's folder once its result is safe, where nobody asked to keep it.</summary>
    protected void EndRun(ParseResult arguments)
    {
        if (Learning.Read(arguments) is { Run: null } settings && settings.Strategy.Learns())
        {
            ReadRunDirectory(arguments).Remove();
        }
    }

    protected override string AfterInterruption(ParseResult arguments)
    {
        var run = ReadRunDirectory(arguments);
        if (!Learning.Read(arguments).Strategy.Learns() || !run.HasState)
        {
            return "Stopped before the first step. Nothing was left behind.";
        }

        string steps = _last is { } last ? string.Create(CultureInfo.InvariantCulture, $" after {last.Step} of {last.Steps} steps") : string.Empty;
        return $"Stopped{steps}. The run is saved in {run.Path}, and goes on with:{Environment.NewLine}  {ShellCommand.Format(_args)}";
    }
}
