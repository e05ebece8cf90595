using System.Diagnostics;
using System.Globalization;
using TorchSharp;

namespace DispLlm.Experiments;

/// <summary>One model and its texts: runs a strategy and judges the plan on text that it has not seen.</summary>
internal sealed class Laboratory : IDisposable
{
    private readonly Settings _settings;
    private readonly KeptSelections? _kept;
    private readonly int[] _heldout;

    public Laboratory(Settings settings)
    {
        _settings = settings;
        _kept = settings.Kept is { } folder ? new KeptSelections(folder, settings) : null;
        Model = PrunableModel.Load(settings.Model, TorchBackend.Auto(settings.Type));
        Text = TokenCorpus.FromTextFile(settings.Calibration);
        _heldout = TokenCorpus.FromTextFile(settings.Heldout).Tokenize(CorpusContext.For(Model));
    }

    public PrunableModel Model { get; }

    /// <summary>The calibration text.</summary>
    public TokenCorpus Text { get; }

    public void Dispose() => Model.Dispose();

    /// <summary>The head of the tables: what was run on what.</summary>
    public string Conditions() => string.Create(
        CultureInfo.InvariantCulture,
        $"{Path.GetFileName(Path.TrimEndingDirectorySeparator(_settings.Model))}, {Model.Spec.NumLayers} blocks of {Model.Spec.HiddenSize} features, {_settings.Type}; calibrated on "
        + $"`{Path.GetFileName(_settings.Calibration)}` in windows of {_settings.Window} tokens, one a step; judged on the first {_settings.HeldoutWindows} windows of {_settings.Window} "
        + $"tokens of `{Path.GetFileName(_settings.Heldout)}`. Dense perplexity: {Perplexity(null):F2}.");

    /// <summary>Perplexity of a plan; of the dense model where there is none.</summary>
    public double Perplexity(SelectionPlan? plan) => Judge(plan is null ? null : Gates.FromPlan(plan, Model.Backend));

    /// <summary>Perplexity with any gates, which are disposed.</summary>
    public double Judge(Gates? gates)
    {
        using var disposed = gates;
        var options = new PerplexityOptions { WindowLength = _settings.Window, MaxWindows = _settings.HeldoutWindows };
        return DispLlm.Evaluation.Perplexity.Evaluate(Model, _heldout, options, gates).Perplexity;
    }

    /// <summary>Runs a strategy, or takes what an earlier command kept of the same run on the settings' own text.</summary>
    public SelectionOutcome Run(ISelectionStrategy strategy, double keep, long seed, TokenCorpus? text = null)
    {
        if (text is null && _kept?.Find(strategy, keep, seed, Model.GateLayout) is { } before)
        {
            return before;
        }

        var outcome = strategy.SelectAsync(new SelectionRequest
        {
            Model = Model, Budget = PruningBudget.FromKeepFraction(keep), Calibration = text ?? Text, Seed = seed,
        }).GetAwaiter().GetResult();
        if (text is null)
        {
            _kept?.Keep(strategy, keep, seed, outcome);
        }

        return outcome;
    }

    /// <summary>A row of a table: the strategy run with each seed, its perplexities and the seconds of a run.</summary>
    public string Row(string name, ISelectionStrategy strategy, double keep, int seeds, TokenCorpus? text = null)
    {
        var clock = Stopwatch.StartNew();
        var plans = Enumerable.Range(_settings.FirstSeed, seeds).Select(seed => Run(strategy, keep, seed, text).Plan).ToArray();
        double seconds = clock.Elapsed.TotalSeconds / seeds;
        double[] perplexities = [.. plans.Select(plan => Perplexity(plan))];
        double kept = (double)plans[0].KeptParameters.BlockWeights / new ParameterCounter(Model.Spec).Dense.BlockWeights;
        return string.Create(CultureInfo.InvariantCulture, $"| {name} | {kept:P2} | {Figure(perplexities)} | {seconds:F0} |");
    }

    /// <summary>Perplexity of a plan whose weights are corrected, read back from its pruned folder.</summary>
    public (double Perplexity, int Corrected) Compensated(SelectionPlan plan)
    {
        using var compensation = WeightReconstruction.FitAsync(Model, plan, Text, new ReconstructionOptions { SequenceLength = _settings.Window }).GetAwaiter().GetResult();
        using var pruned = Cut(plan, compensation);
        var options = new PerplexityOptions { WindowLength = _settings.Window, MaxWindows = _settings.HeldoutWindows };
        return (DispLlm.Evaluation.Perplexity.Evaluate(pruned, _heldout, options, null).Perplexity, compensation.Blocks.Count(block => block.Ridge is not null));
    }

    /// <summary>The pruned model of a strategy's plan.</summary>
    public PrunableModel Cut(ISelectionStrategy strategy, double keep, int widthMultiple) => Cut(strategy.SelectAsync(new SelectionRequest
    {
        Model = Model, Budget = PruningBudget.FromKeepFraction(keep), Calibration = Text, WidthMultiple = widthMultiple,
    }).GetAwaiter().GetResult().Plan, null);

    private PrunableModel Cut(SelectionPlan plan, WeightReconstruction? compensation)
    {
        string folder = Path.Combine(Path.GetTempPath(), $"displlm-experiment-{Guid.NewGuid():N}");
        try
        {
            new PrunedModelBuilder(Model.Folder, Model.Family, plan, compensation).BuildAsync(folder).GetAwaiter().GetResult();
            return PrunableModel.Load(folder, Model.Backend);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Mean, and each where there are several.</summary>
    public static string Figure(double[] values)
    {
        string Text(double value) => value.ToString(value < 1000 ? "F1" : "F0", CultureInfo.InvariantCulture);
        return values.Length == 1 ? Text(values[0]) : $"{Text(values.Average())} ({string.Join(", ", values.Select(Text))})";
    }

    /// <summary>Gates as the released code draws its final masks: once more, from the learned logits.</summary>
    public static Gates DrawnAsReleased(SelectionScores logits, HypernetworkSelection strategy, long seed)
    {
        using var scope = torch.NewDisposeScope();
        using var stream = new RandomSource(seed).Stream("released.final");
        var draw = GateSampler.Sample(GateEstimator.GumbelSigmoid, torch.tensor(logits.Values.ToArray()), stream.Uniform(logits.Layout.Count), strategy.Options.InitialLogitBias, strategy.Options.Temperature);
        return new Gates(GateSampler.Round(draw).Gates.MoveToOuterDisposeScope());
    }

    /// <summary>The fraction of block weights that gates keep.</summary>
    public double Kept(Gates gates)
    {
        using var scope = torch.NewDisposeScope();
        var budget = new BudgetRegularizer(Model.Spec, PruningBudget.FromKeepFraction(0.5));
        return budget.KeptParameters(gates.Values).ToDouble() / budget.Dense;
    }
}
