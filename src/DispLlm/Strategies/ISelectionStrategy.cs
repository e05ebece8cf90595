using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DispLlm;

/// <summary>A way to decide what a model keeps.</summary>
public interface ISelectionStrategy
{
    /// <summary>The strategy's name, as plans record it.</summary>
    string Name { get; }

    /// <summary>Whether it needs calibration text.</summary>
    bool NeedsCalibration { get; }

    /// <summary>Decides. Runs on the calling thread until it is done.</summary>
    /// <param name="request">Model, budget and calibration.</param>
    /// <param name="cancellationToken">Stops at the next step; nothing native is left behind.</param>
    /// <exception cref="BudgetException">The budget cannot be met by this model; raised before any work.</exception>
    SelectionOutcome Select(SelectionRequest request, CancellationToken cancellationToken = default);
}

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
    public RunCheckpoint? Checkpoint { get; init; }

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

/// <summary>A folder in which a run that learns keeps its state and its log: killed at any moment and started again, it ends with the same plan.</summary>
/// <param name="Folder">The folder; it is made where there is none. One run has it at a time.</param>
public sealed record RunCheckpoint(string Folder)
{
    /// <summary>Steps between two saves. Default 25; at least 1. A save writes three times the hypernetwork's size.</summary>
    public int EverySteps { get; init; } = 25;

    /// <summary>The file of the state, <c>state.safetensors</c> in <see cref="Folder"/>.</summary>
    public string StateFile => Path.Combine(Folder, "state.safetensors");

    /// <summary>The file of the log, <c>steps.jsonl</c> in <see cref="Folder"/>: one line a step.</summary>
    public string LogFile => Path.Combine(Folder, "steps.jsonl");

    /// <summary>Whether there is a state to go on from.</summary>
    public bool HasState => File.Exists(StateFile);

    /// <summary>The file that a run holds while it lives.</summary>
    internal string LockFile => Path.Combine(Folder, "run.lock");

    /// <summary>Removes what the run left, once its result is safe; and the folder, where nothing else is in it.</summary>
    /// <exception cref="IOException">A file cannot be removed, or a run has the folder at this moment.</exception>
    public void Remove()
    {
        foreach (string file in (string[])[StateFile, LogFile, LockFile])
        {
            if (File.Exists(file))
            {
                File.Delete(file);
            }
        }

        if (Directory.Exists(Folder) && !Directory.EnumerateFileSystemEntries(Folder).Any())
        {
            Directory.Delete(Folder);
        }
    }
}

/// <summary>What a strategy decided.</summary>
/// <param name="Plan">What is kept: within the budget.</param>
/// <param name="Scores">The real-valued scores behind it; they can be projected on other budgets.</param>
/// <param name="History">One entry a learning step; empty for strategies that do not learn.</param>
public sealed record SelectionOutcome(SelectionPlan Plan, SelectionScores Scores, IReadOnlyList<SelectionProgress> History)
{
    /// <summary>Whether the scores are to be projected with one selection for all sites of the stream. Default no.</summary>
    public bool SharedStream { get; init; }

    /// <summary>
    /// The plan that the same scores give for another budget: one run serves many. A run of its own for the budget is a little better where the two are far apart. Gains go along
    /// (<see cref="GateGains.ForRemoving"/>).
    /// </summary>
    /// <param name="spec">The spec of the model that was selected from.</param>
    /// <param name="budget">How much of it may stay.</param>
    /// <exception cref="BudgetException">The budget cannot be met by this model.</exception>
    public SelectionPlan PlanFor(DecoderSpec spec, PruningBudget budget)
    {
        ArgumentNullException.ThrowIfNull(budget);
        var plan = BudgetProjection.Project(spec, Scores, budget, new BudgetProjectionOptions
        {
            WidthMultiple = Plan.Provenance.WidthMultiple ?? 1,
            SharedStream = SharedStream,
            NormOrder = Plan.NormOrder,
            Family = Plan.Family,
            Strategy = Plan.Provenance.Strategy,
            Seed = Plan.Provenance.Seed,
        });
        return plan with { Gains = Plan.Gains?.ForRemoving(1 - plan.KeptFraction(budget.Scope), 1 - Plan.KeptFraction(budget.Scope)) };
    }
}

/// <summary>One step of a strategy that learns.</summary>
/// <param name="Step">The step just done, from 1.</param>
/// <param name="Steps">Steps in all.</param>
/// <param name="CrossEntropy">Next-token cross-entropy of the gated model, in nats a token.</param>
/// <param name="BudgetLoss">R: 0 where the gates keep just the target.</param>
/// <param name="KeptFraction">Parameters that this step's gates keep, as a fraction of the dense model's in the budget's scope.</param>
/// <param name="GradientNorm">Euclidean norm of the gradient by all gates.</param>
/// <param name="Tokens">Tokens seen since the run began.</param>
/// <param name="Elapsed">Time since the run began; of a run that went on, the time that it ran.</param>
public sealed record SelectionProgress(
    int Step,
    int Steps,
    double CrossEntropy,
    double BudgetLoss,
    double KeptFraction,
    double GradientNorm,
    long Tokens,
    TimeSpan Elapsed)
{
    /// <summary>Sites of which this step's draw closed every gate. A cut model keeps at least one index of each.</summary>
    public IReadOnlyList<GateRange> CollapsedSites { get; init; } = [];

    /// <summary>Mean speed since the run began.</summary>
    public double TokensPerSecond => Tokens / Math.Max(1e-9, Elapsed.TotalSeconds);

    /// <summary>At the mean speed so far.</summary>
    public TimeSpan TimeLeft => Elapsed / Step * (Steps - Step);
}
