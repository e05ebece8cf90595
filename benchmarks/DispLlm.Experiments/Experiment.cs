using System.Diagnostics;
using System.Globalization;
using TorchSharp;

namespace DispLlm.Experiments;

/// <summary>One model and its texts: runs a strategy and evaluates the plan on held-out text.</summary>
internal sealed class Experiment : IDisposable
{
    private readonly Settings _settings;
    private readonly SelectionCache? _cache;
    private readonly int[] _heldout;

    public Experiment(Settings settings)
    {
        _settings = settings;
        _cache = settings.CacheFolder is { } folder ? new SelectionCache(folder, settings) : null;
        Model = PrunableModel.Load(settings.Model, TorchBackend.Auto(settings.Type));
        Text = TokenCorpus.FromTextFile(settings.Calibration);
        _heldout = TokenCorpus.FromTextFile(settings.Heldout).Tokenize(CorpusContext.For(Model));
    }

    public PrunableModel Model { get; }

    /// <summary>The calibration text.</summary>
    public TokenCorpus Text { get; }

    public void Dispose() => Model.Dispose();

    /// <summary>The conditions of the experiment, as the head of the tables.</summary>
    public string Conditions() => string.Create(
        CultureInfo.InvariantCulture,
        $"{Path.GetFileName(Path.TrimEndingDirectorySeparator(_settings.Model))}, {Model.Spec.NumLayers} blocks of "
            + $"{Model.Spec.HiddenSize} features, {_settings.Type}; calibrated on "
        + $"`{Path.GetFileName(_settings.Calibration)}` with sequences of {_settings.Window} tokens, one per step; evaluated on the first "
        + $"{_settings.HeldoutWindows} windows of {_settings.Window} "
        + $"tokens of `{Path.GetFileName(_settings.Heldout)}`. Dense perplexity: {Perplexity(null):F2}.");

    /// <summary>Perplexity of a plan, or of the dense model for null.</summary>
    public double Perplexity(SelectionPlan? plan) => Evaluate(plan is null ? null : Gates.FromPlan(plan, Model.Backend));

    /// <summary>Perplexity with gates, which are disposed.</summary>
    public double Evaluate(Gates? gates)
    {
        using var disposed = gates;
        var options = new PerplexityOptions { WindowLength = _settings.Window, MaxWindows = _settings.HeldoutWindows };
        return DispLlm.Evaluation.Perplexity.Evaluate(Model, _heldout, options, gates).Perplexity;
    }

    /// <summary>Runs a strategy, or takes its selection from the cache.</summary>
    public SelectionOutcome Run(
        ISelectionStrategy strategy, double keep, long seed, TokenCorpus? text = null, PruningLayout layout = PruningLayout.Paper)
    {
        if (text is null && _cache?.Find(strategy, layout, keep, seed, Model.GateLayout) is { } before)
        {
            return before;
        }

        var outcome = strategy.SelectAsync(new SelectionRequest
        {
            Model = Model,
            Budget = PruningBudget.FromKeepFraction(keep),
            Calibration = text ?? Text,
            Layout = layout,
            Seed = seed,
        }).GetAwaiter().GetResult();
        if (text is null)
        {
            _cache?.Save(strategy, layout, keep, seed, outcome);
        }

        return outcome;
    }

    /// <summary>A row of a table: the strategy run with each seed, its perplexities and the seconds per run.</summary>
    public string Row(string name, ISelectionStrategy strategy, double keep, int seeds, TokenCorpus? text = null,
        PruningLayout layout = PruningLayout.Paper)
    {
        var clock = Stopwatch.StartNew();
        var plans = Enumerable.Range(_settings.FirstSeed, seeds).Select(seed => Run(strategy, keep, seed, text, layout).Plan).ToArray();
        double seconds = clock.Elapsed.TotalSeconds / seeds;
        double[] perplexities = [.. plans.Select(plan => Perplexity(plan))];
        double kept = (double)plans[0].KeptParameters.BlockWeights / new ParameterCounter(Model.Spec).Dense.BlockWeights;
        return string.Create(CultureInfo.InvariantCulture, $"| {name} | {kept:P2} | {Format(perplexities)} | {seconds:F0} |");
    }

    /// <summary>Perplexity of a pruned model with reconstructed weights.</summary>
    public (double Perplexity, int Blocks) EvaluateReconstructed(SelectionPlan plan)
    {
        using var reconstruction = WeightReconstruction.FitAsync(
            Model, plan, Text, new ReconstructionOptions { SequenceLength = _settings.Window }).GetAwaiter().GetResult();
        using var pruned = Prune(plan, reconstruction);
        var options = new PerplexityOptions { WindowLength = _settings.Window, MaxWindows = _settings.HeldoutWindows };
        return (
            DispLlm.Evaluation.Perplexity.Evaluate(pruned, _heldout, options, null).Perplexity,
            reconstruction.Blocks.Count(block => block.Ridge is not null));
    }

    /// <summary>Prunes the model by a strategy.</summary>
    public PrunableModel Prune(ISelectionStrategy strategy, double keep, int widthMultiple) =>
        Prune(strategy.SelectAsync(new SelectionRequest
        {
            Model = Model,
            Budget = PruningBudget.FromKeepFraction(keep),
            Calibration = Text,
            WidthMultiple = widthMultiple,
        }).GetAwaiter().GetResult().Plan, null);

    private PrunableModel Prune(SelectionPlan plan, WeightReconstruction? reconstruction)
    {
        string folder = Path.Combine(Path.GetTempPath(), $"displlm-experiment-{Guid.NewGuid():N}");
        try
        {
            new PrunedModelBuilder(Model.Folder, Model.Family, plan, reconstruction).BuildAsync(folder).GetAwaiter().GetResult();
            return PrunableModel.Load(folder, Model.Backend);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Formats the mean, and each value if there are several.</summary>
    public static string Format(double[] values)
    {
        string Text(double value) => value.ToString(value < 1000 ? "F1" : "F0", CultureInfo.InvariantCulture);
        return values.Length == 1 ? Text(values[0]) : $"{Text(values.Average())} ({string.Join(", ", values.Select(Text))})";
    }

    /// <summary>Samples the final masks as the reference implementation does: once more, from the learned logits.</summary>
    public static Gates DrawReferenceGates(SelectionScores logits, HypernetworkSelection strategy, long seed)
    {
        using var scope = torch.NewDisposeScope();
        using var stream = new RandomSource(seed).Stream("released.final");
        var sample = GateSampler.Sample(
            GateEstimator.GumbelSigmoid, torch.tensor(logits.Values.ToArray()), stream.Uniform(logits.Layout.Count),
            strategy.Options.InitialLogitBias, strategy.Options.Temperature);
        return new Gates(GateSampler.Round(sample).Gates.MoveToOuterDisposeScope());
    }

    /// <summary>The fraction of block weights that gates keep.</summary>
    public double Kept(Gates gates)
    {
        using var scope = torch.NewDisposeScope();
        var budget = new BudgetRegularizer(Model.Spec, PruningBudget.FromKeepFraction(0.5));
        return budget.KeptParameters(gates.Values).ToDouble() / budget.Dense;
    }
}
