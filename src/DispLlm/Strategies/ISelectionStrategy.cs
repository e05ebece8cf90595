namespace DispLlm;

/// <summary>
/// Decides what a model keeps. Derive from <see cref="ScoreStrategy"/> to decide by a score for each gate. Implementations are immutable
/// and can be used from many threads.
/// </summary>
public interface ISelectionStrategy
{
    /// <summary>The strategy's name, as plans record it.</summary>
    string Name { get; }

    /// <summary>Whether it needs calibration text.</summary>
    bool NeedsCalibration { get; }

    /// <summary>
    /// Every setting that changes what is selected, by name, as text that does not depend on the culture. Reports show it, and a run is
    /// resumed only with equal settings.
    /// </summary>
    IReadOnlyDictionary<string, string> Settings { get; }

    /// <summary>Decides what is kept, off the caller's thread.</summary>
    /// <param name="request">Model, budget and calibration.</param>
    /// <param name="cancellationToken">Stops at the next step; nothing native is left.</param>
    /// <exception cref="BudgetException">The budget cannot be met by this model; raised before any work.</exception>
    Task<SelectionOutcome> SelectAsync(SelectionRequest request, CancellationToken cancellationToken = default);
}
