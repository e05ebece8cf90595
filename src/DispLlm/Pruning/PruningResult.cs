namespace DispLlm;

/// <summary>
/// What a pruning run decided, and what remains of the model. Holds no model and no tensors:
/// <see cref="SaveAsync(string, IProgress{PruningProgress}?, CancellationToken)"/> reads the folder that the model was loaded from.
/// Immutable, so it can be used from many threads.
/// </summary>
public sealed class PruningResult
{
    private readonly SelectionOutcome _outcome;

    internal PruningResult(SelectionRequest request, ISelectionStrategy strategy, SelectionOutcome outcome)
    {
        Spec = request.Model.Spec;
        Family = request.Model.Family;
        Folder = request.Model.Folder;
        Backend = request.Model.Backend.ToString();
        Budget = request.Budget;
        Calibration = request.Calibration;
        Strategy = strategy;
        _outcome = outcome;
        var counter = new ParameterCounter(Spec);
        Before = counter.Dense;
        After = counter.Count(Plan);
    }

    /// <summary>The budget that was asked for.</summary>
    public PruningBudget Budget { get; }

    /// <summary>The strategy that decided.</summary>
    public ISelectionStrategy Strategy { get; }

    /// <summary>The calibration text; null where there was none.</summary>
    public TokenCorpus? Calibration { get; }

    /// <summary>What is kept. It can be saved, read, edited and given to <see cref="PrunedModelBuilder"/>.</summary>
    public SelectionPlan Plan => _outcome.Plan;

    /// <summary>The scores that the plan was made from.</summary>
    public SelectionScores Scores => _outcome.Scores;

    /// <summary>One entry per learning step; empty for strategies that do not learn.</summary>
    public IReadOnlyList<PruningProgress> History => _outcome.History;

    /// <summary>Parameters of the dense model.</summary>
    public ParameterCount Before { get; }

    /// <summary>Parameters that are kept.</summary>
    public ParameterCount After { get; }

    internal DecoderSpec Spec { get; }

    internal IModelFamily Family { get; }

    internal string Folder { get; }

    internal string? Backend { get; }

    /// <summary>The fraction of block weights that is kept.</summary>
    public double KeptFraction() => KeptFraction(ParameterScope.BlockWeights);

    /// <summary>The fraction that is kept of what a scope counts.</summary>
    /// <param name="scope">What is counted.</param>
    public double KeptFraction(ParameterScope scope) => (double)After[scope] / Before[scope];

    /// <summary>
    /// The plan that the same scores give for another ratio. A run of its own for the ratio is a little better where the two are far apart.
    /// Scales are kept, adapted to the ratio (<see cref="FeatureScales.RescaledFor"/>).
    /// </summary>
    /// <param name="ratio">The share that is to be removed, of what this run's budget counts.</param>
    /// <exception cref="BudgetException">The ratio is out of range, or cannot be met by this model.</exception>
    public SelectionPlan PlanFor(double ratio) => _outcome.PlanFor(Spec, PruningBudget.FromRatio(ratio) with { Scope = Budget.Scope });

    /// <summary>Prunes a model in memory: no folder is read or written.</summary>
    /// <param name="model">The dense model that was selected from, or another of its shape. It is not changed.</param>
    /// <returns>The pruned model. The caller disposes it; the dense one may be disposed before it.</returns>
    /// <exception cref="ModelAlreadyPrunedException">The model is pruned already.</exception>
    /// <exception cref="SelectionException">The model is of another shape or family.</exception>
    public PrunableModel ApplyTo(PrunableModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        return model.Prune(Plan);
    }

    /// <summary>The same, with reconstructed weights.</summary>
    /// <param name="model">The dense model that was selected from, or another of its shape. It is not changed.</param>
    /// <param name="reconstruction">Weights to take instead of the model's own. The caller disposes it.</param>
    /// <returns>The pruned model. The caller disposes it; the dense one may be disposed before it.</returns>
    /// <exception cref="ArgumentException">The reconstruction is for another plan.</exception>
    public PrunableModel ApplyTo(PrunableModel model, WeightReconstruction reconstruction)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(reconstruction);
        reconstruction.EnsureFor(Plan);
        return model.Prune(Plan, reconstruction.Weight);
    }

    /// <summary>Prunes the checkpoint that the model was loaded from into a new folder.</summary>
    /// <param name="folder">The folder to create; it may not exist yet, or be empty.</param>
    /// <param name="progress">Where every written tensor is reported to.</param>
    /// <param name="cancellationToken">Leaves no folder.</param>
    /// <exception cref="DispLlmException">The target holds files, or the model was not loaded from a folder.</exception>
    public Task SaveAsync(string folder, IProgress<PruningProgress>? progress = null, CancellationToken cancellationToken = default) =>
        SaveCoreAsync(folder, null, progress, cancellationToken);

    /// <summary>The same, with reconstructed weights.</summary>
    /// <param name="folder">The folder to create; it may not exist yet, or be empty.</param>
    /// <param name="reconstruction">Weights to write instead of the model's own. The caller disposes it.</param>
    /// <param name="progress">Where every written tensor is reported to.</param>
    /// <param name="cancellationToken">Leaves no folder.</param>
    /// <exception cref="DispLlmException">The target holds files, or the model was not loaded from a folder.</exception>
    public Task SaveAsync(
        string folder, WeightReconstruction? reconstruction, IProgress<PruningProgress>? progress = null,
            CancellationToken cancellationToken = default) =>
        SaveCoreAsync(folder, reconstruction, progress, cancellationToken);

    private async Task SaveCoreAsync(string folder, WeightReconstruction? reconstruction, IProgress<PruningProgress>? progress,
        CancellationToken cancellationToken)
    {
        if (string.IsNullOrEmpty(Folder))
        {
            throw new DispLlmException("The model was not loaded from a folder, so there is no checkpoint to prune.");
        }

        await new PrunedModelBuilder(Folder, Family, Plan, reconstruction).BuildAsync(folder, progress,
            cancellationToken).ConfigureAwait(false);
    }
}
