namespace DispLlm;

/// <summary>
/// How a selection is learned, by <see cref="HypernetworkSelection"/> or <see cref="HypernetworkTrainer"/>. The defaults are what measured
/// best (docs/results.md); <see cref="HypernetworkSelection.Paper"/> and <see cref="HypernetworkSelection.ReferenceImplementation"/> have
/// the published settings. An immutable value.
/// </summary>
public sealed record HypernetworkOptions
{
    /// <summary>Optimizer steps. Default 300; the paper takes 10,000. At least 1.</summary>
    public int Steps { get; init; } = 300;

    /// <summary>AdamW's learning rate at the first step. Default 5e-3 (paper: 1e-3); above 0.</summary>
    public double LearningRate { get; init; } = 5e-3;

    /// <summary>
    /// The last step's learning rate as a share of the first one's, on a cosine schedule. Default 0.05; 1 keeps it constant (paper). Above
    /// 0, at most 1.
    /// </summary>
    public double MinLearningRateRatio { get; init; } = 0.05;

    /// <summary>AdamW's weight decay. Default 0.05; at least 0. Not applied without a hypernetwork.</summary>
    public double WeightDecay { get; init; } = 0.05;

    /// <summary>
    /// The learning rate of the feature scales at the first step. Where it is above 0, a feature that passes its gate is multiplied by a
    /// scale, which begins at 1 and is learned in the same steps by the same gradient. Pruning multiplies the weights by it, so that the
    /// pruned model has nothing more to compute. Default 0.01; 0 holds all scales at 1 (paper). At least 0.
    /// </summary>
    public double ScaleLearningRate { get; init; } = 0.01;

    /// <summary>lambda, the weight of the budget loss. Default 16 (paper: 6, smaller ones may not converge). Above 0.</summary>
    public double BudgetLossWeight { get; init; } = 16;

    /// <summary>c, which is added to every logit. Default 3: at the start 95 % of all gates are open. Finite.</summary>
    public double InitialLogitBias { get; init; } = 3;

    /// <summary>How gates are sampled. Default <see cref="GateEstimator.ReinMax"/>.</summary>
    public GateEstimator Estimator { get; init; }

    /// <summary>tau: ReinMax's temperature, or the Gumbel-sigmoid's. Default 1; the authors' code takes 0.4. Above 0.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>
    /// A factor on the logits that grows from 1 at the first step to this at the last, so that samples come closer to the selection that is
    /// pruned by in the end. Default 3; 1 leaves it out (paper). Above 0.
    /// </summary>
    public double FinalInverseTemperature { get; init; } = 3;

    /// <summary>
    /// A further factor on the logits of key-value groups, at every step. A group is thousands of features: where samples close it by
    /// chance, the rest of the block learns to do without what will be kept. Default 3; 1 samples groups as all other gates. Above 0. No
    /// effect in layouts without S6.
    /// </summary>
    public double GroupInverseTemperature { get; init; } = 3;

    /// <summary>
    /// How much the initial scores count in the logits: <c>logit = network + weight * score</c>, scores centred and scaled to a deviation
    /// of 1 (docs/method.md, Starting scores). Default 2.5; 0 starts from nothing (paper). At least 0.
    /// </summary>
    public double InitialScoreWeight { get; init; } = 2.5;

    /// <summary>
    /// The share of the loss that is the divergence from the dense model's predictions, instead of the text's cross-entropy: 0 (default,
    /// paper) to 1. It costs another forward pass per step.
    /// </summary>
    public double DistillationWeight { get; init; }

    /// <summary>
    /// The share of the steps in which the budget shrinks from the dense model to its target. Default 0: the target holds from the first
    /// step. 0 to 1.
    /// </summary>
    public double BudgetWarmupFraction { get; init; }

    /// <summary>Sequences in one forward pass. Default 1; at least 1.</summary>
    public int BatchSize { get; init; } = 1;

    /// <summary>Forward passes whose gate gradients make one step, all with the same gates. Default 1; at least 1.</summary>
    public int GradientAccumulationSteps { get; init; } = 1;

    /// <summary>
    /// Which activations a step saves for its backward pass. Default: all where they fit, else block inputs; the gradients are the same.
    /// </summary>
    public ActivationCheckpointing ActivationCheckpointing { get; init; }

    /// <summary>Sequence length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? SequenceLength { get; init; }

    /// <summary>Checks every value.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A value is out of its range; it is named.</exception>
    public void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Steps, 1);
        Require(LearningRate > 0 && double.IsFinite(LearningRate), nameof(LearningRate), LearningRate, "above 0");
        Require(MinLearningRateRatio is > 0 and <= 1, nameof(MinLearningRateRatio), MinLearningRateRatio, "above 0 and at most 1");
        Require(WeightDecay >= 0 && double.IsFinite(WeightDecay), nameof(WeightDecay), WeightDecay, "at least 0");
        Require(ScaleLearningRate >= 0 && double.IsFinite(ScaleLearningRate), nameof(ScaleLearningRate), ScaleLearningRate, "at least 0");
        Require(BudgetLossWeight > 0 && double.IsFinite(BudgetLossWeight), nameof(BudgetLossWeight), BudgetLossWeight, "above 0");
        Require(double.IsFinite(InitialLogitBias), nameof(InitialLogitBias), InitialLogitBias, "finite");
        Require(Enum.IsDefined(Estimator), nameof(Estimator), (int)Estimator, "one of the three estimators");
        Require(Temperature > 0 && double.IsFinite(Temperature), nameof(Temperature), Temperature, "above 0");
        Require(FinalInverseTemperature > 0 && double.IsFinite(FinalInverseTemperature), nameof(FinalInverseTemperature),
            FinalInverseTemperature, "above 0");
        Require(GroupInverseTemperature > 0 && double.IsFinite(GroupInverseTemperature), nameof(GroupInverseTemperature),
            GroupInverseTemperature, "above 0 and finite");
        Require(InitialScoreWeight >= 0 && double.IsFinite(InitialScoreWeight), nameof(InitialScoreWeight), InitialScoreWeight,
            "at least 0");
        Require(DistillationWeight is >= 0 and <= 1, nameof(DistillationWeight), DistillationWeight, "from 0 to 1");
        Require(BudgetWarmupFraction is >= 0 and <= 1, nameof(BudgetWarmupFraction), BudgetWarmupFraction, "from 0 to 1");
        ArgumentOutOfRangeException.ThrowIfLessThan(BatchSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(GradientAccumulationSteps, 1);
        Require(Enum.IsDefined(ActivationCheckpointing), nameof(ActivationCheckpointing), (int)ActivationCheckpointing,
            "one of the three ways");
        Require(SequenceLength is null or >= 2, nameof(SequenceLength), SequenceLength ?? 0, "at least 2");
    }

    /// <summary>The learning rate of a step.</summary>
    /// <param name="step">The step, from 0.</param>
    internal double LearningRateAt(int step) =>
        LearningRate * (MinLearningRateRatio + (1 - MinLearningRateRatio) * 0.5 * (1 + Math.Cos(Math.PI * step / Steps)));

    /// <summary>The scales' learning rate of a step.</summary>
    /// <param name="step">The step, from 0.</param>
    internal double ScaleLearningRateAt(int step) => ScaleLearningRate / LearningRate * LearningRateAt(step);

    /// <summary>The factor on the logits at a step.</summary>
    /// <param name="step">The step, from 0.</param>
    internal double InverseTemperatureAt(int step) => 1 + (FinalInverseTemperature - 1) * step / Steps;

    /// <summary>How far from the dense model towards its target the budget is at a step: 1 is the target.</summary>
    /// <param name="step">The step, from 0.</param>
    internal double BudgetFractionAt(int step) => BudgetWarmupFraction == 0 ? 1 : Math.Min(1, (step + 1) / (BudgetWarmupFraction * Steps));

    internal static void Require(bool holds, string name, double value, string range)
    {
        if (!holds)
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} has to be {range}.");
        }
    }
}
