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
