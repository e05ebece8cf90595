using System.Collections.ObjectModel;

namespace DispLlm;

/// <summary>What a <see cref="ScoreStrategy"/> computed. An immutable value.</summary>
/// <param name="Scores">A score for each gate: the higher, the sooner it is kept.</param>
public sealed record ScoreResult(SelectionScores Scores)
{
    /// <summary>What kept features are multiplied by; null for 1 everywhere.</summary>
    public FeatureScales? Scales { get; init; }

    /// <summary>One entry per learning step; empty for strategies that do not learn.</summary>
    public IReadOnlyList<PruningProgress> History { get; init; } = [];
}

/// <summary>
/// A strategy that scores every gate and keeps the highest scores that the budget allows. A derived class computes the scores; the base
/// checks before any work that the budget can be reached, and projects the scores onto the budget afterwards. Immutable, so it can be used
/// from many threads.
/// </summary>
public abstract record ScoreStrategy : ISelectionStrategy
{
    /// <inheritdoc/>
    public abstract string Name { get; }

    /// <inheritdoc/>
    /// <remarks>Default: no.</remarks>
    public virtual bool NeedsCalibration => false;

    /// <inheritdoc/>
    /// <remarks>Default: none. Override it where the strategy has settings.</remarks>
    public virtual IReadOnlyDictionary<string, string> Settings => ReadOnlyDictionary<string, string>.Empty;

    /// <inheritdoc/>
    public async Task<SelectionOutcome> SelectAsync(SelectionRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        Validate();
        request.EnsureReachable(Name);

        // One thread from begin to end: dispose scopes and no_grad belong to a thread.
        return await Task.Run(() => Select(request, cancellationToken), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Checks the settings before any work. Default: nothing to check.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range; it is named.</exception>
    protected virtual void Validate()
    {
    }

    /// <summary>Scores every gate. Runs on one thread of the pool; the budget is reachable.</summary>
    /// <param name="request">Model, budget and calibration.</param>
    /// <param name="cancellationToken">Stops at the next step; nothing native may be left.</param>
    protected abstract ScoreResult ComputeScores(SelectionRequest request, CancellationToken cancellationToken);

    /// <summary>The scores alone, for a strategy that starts from them, on the caller's thread.</summary>
    internal SelectionScores Score(SelectionRequest request, CancellationToken cancellationToken)
    {
        Validate();
        return ComputeScores(request, cancellationToken).Scores;
    }

    private SelectionOutcome Select(SelectionRequest request, CancellationToken cancellationToken)
    {
        using var own = request.RunDirectory is { IsLocked: false } directory ? RunLock.Acquire(directory) : null;
        request = request with { RunDirectory = request.RunDirectory is { } run ? run with { IsLocked = true } : null };
        var result = ComputeScores(request, cancellationToken);
        var plan = request.Project(Name, result.Scores) with { Scales = result.Scales };
        return new SelectionOutcome(plan, result.Scores, result.History)
        {
            Constraints = request.Constraints,
        };
    }
}
