namespace DispLlm;

/// <summary>
/// How a selection is learned. The defaults are what measured best (docs/results.md); <see cref="HypernetworkSelection.Paper"/> and
/// <see cref="HypernetworkSelection.ReferenceImplementation"/> are the published settings.
/// </summary>
public sealed record HypernetworkOptions
{
    /// <summary>Optimizer steps. Default 300; the paper takes 10,000. At least 1.</summary>
    public int Steps { get; init; } = 300;

    /// <summary>AdamW's learning rate at the first step. Default 5e-3 (paper: 1e-3); above 0.</summary>
    public double LearningRate { get; init; } = 5e-3;

    /// <summary>The last step's learning rate as a share of the first one's; a cosine lies between. Default 0.05; 1 keeps it constant (paper). Above 0, at most 1.</summary>
    public double MinLearningRateRatio { get; init; } = 0.05;

    /// <summary>AdamW's weight decay. Default 0.05; at least 0. Free logits do not decay.</summary>
    public double WeightDecay { get; init; } = 0.05;

    /// <summary>
    /// The learning rate of the gains, at the first step. Where it is above 0, a feature that passes its gate is multiplied by a gain of its own, which begins at 1 and is
    /// learned in the same steps by the same gradient; the cut multiplies the weights by it, so that the pruned model has nothing more to compute. Default 0.01;
    /// 0 leaves all gains at 1 (paper). At least 0.
    /// </summary>
    public double ScaleLearningRate { get; init; } = 0.01;

    /// <summary>lambda, the weight of the budget loss. Default 16 (paper: 6, smaller ones may not converge). Above 0.</summary>
    public double BudgetLossWeight { get; init; } = 16;

    /// <summary>c, what is added to every logit. Default 3: at the start 95 % of all gates are open. Finite.</summary>
    public double InitialLogitBias { get; init; } = 3;

    /// <summary>How gates are drawn. Default <see cref="GateEstimator.ReinMax"/>.</summary>
    public GateEstimator Estimator { get; init; }

    /// <summary>tau: ReinMax's temperature, or the Gumbel-sigmoid's. Default 1; the released code takes 0.4. Above 0.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>
    /// A factor on the logits that grows from 1 at the first step to this at the last: draws become more decided, until the networks that learning
    /// sees are the one that will be cut. Default 3; 1 leaves it out (paper). Above 0.
    /// </summary>
    public double FinalInverseTemperature { get; init; } = 3;

    /// <summary>
    /// How much the starting scores weigh in the logits: <c>logit = network + weight * score</c>, scores centred and scaled to a deviation of 1. Default
    /// 2.5; 0 starts from nothing (paper). At least 0.
    /// </summary>
    public double InitialScoreWeight { get; init; } = 2.5;

    /// <summary>
    /// How much of the loss is the divergence from the dense model's predictions, instead of the text's: 0 (default, paper) to 1. It costs another
    /// forward pass a step.
    /// </summary>
    public double DistillationWeight { get; init; }

    /// <summary>The share of the steps in which the budget closes in on its target from the dense model. Default 0: from the first step on. 0 to 1.</summary>
    public double BudgetWarmupFraction { get; init; }

    /// <summary>Windows in one forward pass. Default 1; at least 1.</summary>
    public int BatchSize { get; init; } = 1;

    /// <summary>Forward passes whose gate gradients make one step, all with the same gates. Default 1; at least 1.</summary>
    public int GradientAccumulationSteps { get; init; } = 1;

    /// <summary>What a step keeps between its way forward and its way back. Default: all where it fits, else block inputs; the numbers are the same.</summary>
    public ActivationCheckpointing ActivationCheckpointing { get; init; }

    /// <summary>Window length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
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
        Require(FinalInverseTemperature > 0 && double.IsFinite(FinalInverseTemperature), nameof(FinalInverseTemperature), FinalInverseTemperature, "above 0");
        Require(InitialScoreWeight >= 0 && double.IsFinite(InitialScoreWeight), nameof(InitialScoreWeight), InitialScoreWeight, "at least 0");
        Require(DistillationWeight is >= 0 and <= 1, nameof(DistillationWeight), DistillationWeight, "from 0 to 1");
        Require(BudgetWarmupFraction is >= 0 and <= 1, nameof(BudgetWarmupFraction), BudgetWarmupFraction, "from 0 to 1");
        ArgumentOutOfRangeException.ThrowIfLessThan(BatchSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(GradientAccumulationSteps, 1);
        Require(Enum.IsDefined(ActivationCheckpointing), nameof(ActivationCheckpointing), (int)ActivationCheckpointing, "one of the three ways");
        Require(SequenceLength is null or >= 2, nameof(SequenceLength), SequenceLength ?? 0, "at least 2");
    }

    /// <summary>The learning rate of a step.</summary>
    /// <param name="step">The step, from 0.</param>
    public double LearningRateAt(int step) =>
        LearningRate * (MinLearningRateRatio + (1 - MinLearningRateRatio) * 0.5 * (1 + Math.Cos(Math.PI * step / Steps)));

    /// <summary>The gains' learning rate of a step.</summary>
    /// <param name="step">The step, from 0.</param>
    public double ScaleLearningRateAt(int step) => ScaleLearningRate / LearningRate * LearningRateAt(step);

    /// <summary>The factor on the logits at a step.</summary>
    /// <param name="step">The step, from 0.</param>
    public double InverseTemperatureAt(int step) => 1 + (FinalInverseTemperature - 1) * step / Steps;

    /// <summary>The share of the cut that the budget asks for at a step: 1 is all of it.</summary>
    /// <param name="step">The step, from 0.</param>
    public double BudgetFractionAt(int step) => BudgetWarmupFraction == 0 ? 1 : Math.Min(1, (step + 1) / (BudgetWarmupFraction * Steps));

    internal static void Require(bool holds, string name, double value, string range)
    {
        if (!holds)
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} has to be {range}.");
        }
    }
}
