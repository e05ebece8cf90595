using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DispLlm;

/// <summary>What a strategy is asked.</summary>
public sealed record SelectionRequest
{
    /// <summary>The dense model to select from.</summary>
    public required IPrunableModel Model { get; init; }

    /// <summary>How much of it may stay.</summary>
    public required PruningBudget Budget { get; init; }

    /// <summary>Calibration text; null where the strategy needs none.</summary>
    public TokenCorpus? Calibration { get; init; }

    /// <summary>Every width is a multiple of this, or uncut. Default 1; hardware likes 8 to 128, and a GPU writes token by token fastest from 8 on.</summary>
    public int WidthMultiple { get; init; } = 1;

    /// <summary>Norm or selection first, while learning and after. Default <see cref="NormOrder.NormThenSelect"/>.</summary>
    public NormOrder NormOrder { get; init; }

    /// <summary>The run's seed. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Where a strategy that learns keeps its state, so that a run that was stopped goes on. Default: nowhere.</summary>
    public RunDirectory? RunDirectory { get; init; }

    /// <summary>Told of every step of a strategy that learns. Default: nobody.</summary>
    public IProgress<SelectionProgress>? Progress { get; init; }

    /// <summary>Told of every window that is measured without learning. Default: nobody.</summary>
    public IProgress<MeasuringProgress>? Measuring { get; init; }

    /// <summary>Told of what matters. Default: nobody.</summary>
    public ILogger Logger { get; init; } = NullLogger.Instance;

    /// <summary>The projection that turns a strategy's scores into a plan within the budget.</summary>
    /// <param name="strategy">The strategy's name.</param>
    /// <param name="scores">Its scores.</param>
    /// <param name="sharedStream">Whether all sites of the stream share one selection (<see cref="BudgetProjectionOptions.SharedStream"/>).</param>
    public SelectionPlan Project(string strategy, SelectionScores scores, bool sharedStream = false) =>
        BudgetProjection.Project(Model.Spec, scores, Budget, Projection(strategy) with { SharedStream = sharedStream });

    /// <summary>Refuses a budget that no selection of this model can meet.</summary>
    /// <param name="strategy">The strategy's name.</param>
    /// <exception cref="BudgetException">It cannot be met; the closest that can is named.</exception>
    public void EnsureReachable(string strategy) => BudgetProjection.EnsureReachable(Model.Spec, Budget, Projection(strategy));

    private BudgetProjectionOptions Projection(string strategy) => new()
    {
        WidthMultiple = WidthMultiple,
        NormOrder = NormOrder,
        Family = Model.Family.Name,
        Strategy = strategy,
        Seed = Seed,
    };
}
