namespace DispLlm.Training;

/// <summary>What one step measured, before its update. An immutable value.</summary>
/// <param name="CrossEntropy">Next-token cross-entropy of the gated model, in nats a token.</param>
/// <param name="BudgetLoss">R of the sampled gates.</param>
/// <param name="KeptParameters">T of the sampled gates, in the budget's scope.</param>
/// <param name="GradientNorm">Euclidean norm of the gradient with respect to all gates.</param>
public readonly record struct StepLosses(double CrossEntropy, double BudgetLoss, double KeptParameters, double GradientNorm)
{
    /// <summary>Tokens of the step.</summary>
    public long Tokens { get; init; }

    /// <summary>Sites of which the sample closed every gate.</summary>
    public IReadOnlyList<GateRange> CollapsedSites { get; init; } = [];
}
