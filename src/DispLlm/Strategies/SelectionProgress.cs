using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DispLlm;

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
