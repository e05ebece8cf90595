namespace DispLlm;

/// <summary>What a pruning decided, and what it came to. Holds no tensors.</summary>
public sealed class PruningResult
{
    private readonly SelectionOutcome _outcome;

    internal PruningResult(SelectionRequest request, ISelectionStrategy strategy, SelectionOutcome outcome)
    {
        Model = request.Model;
        Budget = request.Budget;
        Calibration = request.Calibration;
        Strategy = strategy;
        _outcome = outcome;
        var counter = new ParameterCounter(Model.Spec);
        Before = counter.Dense;
        After = counter.Count(Plan);
    }

    /// <summary>What was asked for.</summary>
    public PruningBudget Budget { get; }

    /// <summary>Who decided.</summary>
    public ISelectionStrategy Strategy { get; }

    /// <summary>The text that was calibrated on; null where there was none.</summary>
    public TokenCorpus? Calibration { get; }

    /// <summary>What is kept. It can be saved, read, edited and given to <see cref="PrunedModelBuilder"/>.</summary>
    public SelectionPlan Plan => _outcome.Plan;

    /// <summary>The scores behind the plan.</summary>
    public SelectionScores Scores => _outcome.Scores;

    /// <summary>Losses over time; empty for strategies that do not learn.</summary>
    public IReadOnlyList<PruningProgress> History => _outcome.History;

    /// <summary>Parameters of the dense model.</summary>
    public ParameterCount Before { get; }

    /// <summary>Parameters that stay.</summary>
    public ParameterCount After { get; }

    internal IPrunableModel Model { get; }

    /// <summary>The fraction that stays of what a scope counts.</summary>
    /// <param name="scope">What is counted. Default: block weights.</param>
    public double KeptFraction(ParameterScope scope = ParameterScope.BlockWeights) => (double)After[scope] / Before[scope];

    /// <summary>
    /// The plan that the same scores give for another ratio: one run serves many budgets. A run of its own for the ratio is a little better where the two are far apart. Gains go along (<see cref="FeatureScales.RescaledFor"/>).
    /// </summary>
    /// <param name="ratio">The share that is to go, of what this run's budget counts.</param>
    /// <exception cref="BudgetException">The ratio is out of range, or cannot be met by this model.</exception>
    public SelectionPlan PlanFor(double ratio) => _outcome.PlanFor(Model.Spec, PruningBudget.FromRatio(ratio) with { Scope = Budget.Scope });

    /// <summary>Cuts the model's checkpoint by the plan into a new folder.</summary>
    /// <param name="folder">The folder to make; it may not exist yet, or be empty.</param>
    /// <param name="progress">Told the fraction that is done, 0 to 1.</param>
    /// <param name="compensation">Corrected weights to write instead of the model's own (<see cref="WeightReconstruction.Fit"/>); null for none.</param>
    /// <param name="cancellationToken">Leaves no folder behind.</param>
    public Task SaveAsync(
        string folder, IProgress<double>? progress = null, WeightReconstruction? compensation = null, CancellationToken cancellationToken = default)
    {
        var builder = new PrunedModelBuilder(Model.Folder, Model.Family, Plan, compensation);
        return Task.Run(() => builder.Build(folder, progress, cancellationToken), cancellationToken);
    }
}
