namespace DispLlm;

/// <summary>How a selection is learned. Defaults are the paper's (method, sections 3 to 5).</summary>
public record HypernetworkOptions
{
    /// <summary>Optimizer steps. Default 10,000; at least 1.</summary>
    public int Steps { get; init; } = 10_000;

    /// <summary>AdamW's learning rate, constant. Default 1e-3; above 0.</summary>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>AdamW's weight decay. Default 0.05; at least 0.</summary>
    public double WeightDecay { get; init; } = 0.05;

    /// <summary>lambda, the weight of the budget loss. Default 6: smaller ones may not converge. Above 0.</summary>
    public double BudgetWeight { get; init; } = 6;

    /// <summary>c, what is added to every logit. Default 3: at the start 95 % of all gates are open. Finite.</summary>
    public double GateOffset { get; init; } = 3;

    /// <summary>tau, ReinMax's temperature. Default 1; above 0.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Windows in one forward pass. Default 1; at least 1.</summary>
    public int BatchSize { get; init; } = 1;

    /// <summary>Forward passes whose gate gradients make one step, all with the same gates. Default 1; at least 1.</summary>
    public int Accumulation { get; init; } = 1;

    /// <summary>Window length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? WindowLength { get; init; }

    /// <summary>Checks every value.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A value is out of its range; it is named.</exception>
    public void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Steps, 1);
        Require(LearningRate > 0 && double.IsFinite(LearningRate), nameof(LearningRate), LearningRate, "above 0");
        Require(WeightDecay >= 0 && double.IsFinite(WeightDecay), nameof(WeightDecay), WeightDecay, "at least 0");
        Require(BudgetWeight > 0 && double.IsFinite(BudgetWeight), nameof(BudgetWeight), BudgetWeight, "above 0");
        Require(double.IsFinite(GateOffset), nameof(GateOffset), GateOffset, "finite");
        Require(Temperature > 0 && double.IsFinite(Temperature), nameof(Temperature), Temperature, "above 0");
        ArgumentOutOfRangeException.ThrowIfLessThan(BatchSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(Accumulation, 1);
        Require(WindowLength is null or >= 2, nameof(WindowLength), WindowLength ?? 0, "at least 2");
    }

    private static void Require(bool holds, string name, double value, string range)
    {
        if (!holds)
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} has to be {range}.");
        }
    }
}
