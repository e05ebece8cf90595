namespace DispLlm.Training;

/// <summary>What one step measured, before its update.</summary>
/// <param name="CrossEntropy">Next-token cross-entropy of the gated model, in nats a token.</param>
/// <param name="BudgetLoss">R of the drawn gates.</param>
/// <param name="KeptParameters">T of the drawn gates, in the budget's scope.</param>
/// <param name="GradientNorm">Euclidean norm of the gradient by all gates.</param>
public readonly record struct StepLosses(double CrossEntropy, double BudgetLoss, double KeptParameters, double GradientNorm)
{
    /// <summary>Tokens in the step's windows.</summary>
    public long Tokens { get; init; }

    /// <summary>Sites of which the draw closed every gate.</summary>
    public IReadOnlyList<GateRange> CollapsedSites { get; init; } = [];
}
