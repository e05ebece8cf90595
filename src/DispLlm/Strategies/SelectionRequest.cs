using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DispLlm;

/// <summary>What a strategy is asked. An immutable value; it holds the caller's model and disposes nothing.</summary>
public sealed record SelectionRequest
{
    private readonly PruningLayout _layout;

    /// <summary>The dense model to select from.</summary>
    public required IPrunableModel Model { get; init; }

    /// <summary>How much of it may be kept.</summary>
    public required PruningBudget Budget { get; init; }

    /// <summary>Calibration text; null where the strategy needs none.</summary>
    public TokenCorpus? Calibration { get; init; }

    /// <summary>
    /// Every width is a multiple of this, or uncut. Default 1; hardware likes 8 to 128, and a GPU decodes fastest from 8 on.
    /// </summary>
    public int WidthMultiple { get; init; } = 1;

    /// <summary>Which sites may be cut, and which select alike. Default: the paper's five sites, each by itself.</summary>
    /// <exception cref="SelectionException">No such layout.</exception>
    public PruningLayout Layout
    {
        get => _layout;
        init => _layout = value.Checked();
    }

    /// <summary>What has to be left alone. Default: nothing.</summary>
    public BudgetConstraints Constraints { get; init; } = BudgetConstraints.None;

    /// <summary>
    /// Norm or selection first, while learning and after. Default <see cref="NormOrder.NormThenSelect"/>. A layout with one stream leaves
    /// <see cref="NormOrder.SelectThenNorm"/> only, and it is taken.
    /// </summary>
    public NormOrder NormOrder { get; init; }

    /// <summary>The run's seed. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>
    /// Where a strategy that learns or measures keeps its state, so that a stopped run can be resumed. Default: nowhere.
    /// </summary>
    public RunDirectory? RunDirectory { get; init; }

    /// <summary>The order that the layout leaves.</summary>
    internal NormOrder Order => Layout.Order(NormOrder);

    /// <summary>What <see cref="Modeling.ModelIdentity"/> says of the model, where that is known: it takes a while.</summary>
    internal IReadOnlyDictionary<string, string>? ModelIdentity { get; init; }

    /// <summary>
    /// Where every measured sequence and every learning step is reported to, on the thread that computes it. Default: nowhere.
    /// </summary>
    public IProgress<PruningProgress>? Progress { get; init; }

    /// <summary>Where the run is logged. Default: nowhere.</summary>
    public ILogger Logger { get; init; } = NullLogger.Instance;

    /// <summary>Projects a strategy's scores onto the budget.</summary>
    /// <param name="strategy">The strategy's name, for the plan's provenance.</param>
    /// <param name="scores">Its scores.</param>
    /// <returns>A plan within the budget.</returns>
    public SelectionPlan Project(string strategy, SelectionScores scores) =>
        BudgetProjection.Project(Model.Spec, scores, Budget, Projection(strategy));

    /// <summary>Refuses a budget that no selection of this model can meet.</summary>
    /// <param name="strategy">The strategy's name.</param>
    /// <exception cref="BudgetException">It cannot be met; the closest that can is named.</exception>
    public void EnsureReachable(string strategy) => BudgetProjection.EnsureReachable(Model.Spec, Budget, Projection(strategy));

    private BudgetProjectionOptions Projection(string strategy) => new()
    {
        WidthMultiple = WidthMultiple,
        Layout = Layout,
        Constraints = Constraints,
        NormOrder = Order,
        Family = Model.Family.Name,
        Strategy = strategy,
        Seed = Seed,
    };
}
