namespace DispLlm;

/// <summary>What a pruning run is doing.</summary>
public enum PruningPhase
{
    /// <summary>Calibration sequences are measured: scores that need no learning, or the scores that learning starts from.</summary>
    Measuring,

    /// <summary>A selection is learned. A step is an optimizer step.</summary>
    Learning,

    /// <summary>Weights are reconstructed. A step is a block.</summary>
    Reconstructing,

    /// <summary>The pruned checkpoint is written. A step is a tensor.</summary>
    Saving,
}

/// <summary>
/// One step of a pruning run. An immutable value. The figures of learning are 0 or empty in the other phases, but for
/// <see cref="CrossEntropy"/>, which <see cref="PruningPhase.Reconstructing"/> has too.
/// </summary>
/// <param name="Phase">What the step belongs to.</param>
/// <param name="Step">The step just done, from 1.</param>
/// <param name="Steps">Steps of the phase in all.</param>
/// <param name="Elapsed">Time since the phase began; for a resumed run, the time that it ran.</param>
public sealed record PruningProgress(PruningPhase Phase, int Step, int Steps, TimeSpan Elapsed)
{
    /// <summary>
    /// Next-token cross-entropy in nats a token: of the gated model while learning, of held-out sequences while reconstructing.
    /// </summary>
    public double CrossEntropy { get; init; }

    /// <summary>The budget loss R (DISP-LLM, Eq. 6): 0 where the gates keep just the target.</summary>
    public double BudgetLoss { get; init; }

    /// <summary>Parameters that this step's gates keep, as a fraction of the dense model's in the budget's scope.</summary>
    public double KeptFraction { get; init; }

    /// <summary>Euclidean norm of the gradient with respect to all gates.</summary>
    public double GradientNorm { get; init; }

    /// <summary>Tokens learned on since the run began.</summary>
    public long Tokens { get; init; }

    /// <summary>Sites of which this step's sample closed every gate. A pruned model keeps at least one index of each.</summary>
    public IReadOnlyList<GateRange> CollapsedSites { get; init; } = [];

    /// <summary>Mean tokens per second since the run began.</summary>
    public double TokensPerSecond => Tokens / Math.Max(1e-9, Elapsed.TotalSeconds);

    /// <summary>Time left in the phase at the mean speed so far.</summary>
    public TimeSpan TimeLeft => Elapsed / Step * (Steps - Step);
}
