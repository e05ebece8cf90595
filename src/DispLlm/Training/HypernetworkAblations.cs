namespace DispLlm.Training;

/// <summary>
/// Departures from the method, for comparison with it (docs/method.md, Ablations). The defaults are the method. An immutable value.
/// </summary>
public sealed record HypernetworkAblations
{
    /// <summary>What the logits are computed by. Default <see cref="HypernetworkKind.Gru"/>.</summary>
    public HypernetworkKind Kind { get; init; }

    /// <summary>
    /// Whether the hidden gate (S4) acts twice and each loss has a sample of its own, rounded for the budget, as in the authors' code.
    /// Default no; with it, scales cannot be learned.
    /// </summary>
    public bool ReferenceImplementationQuirks { get; init; }

    internal void Validate(HypernetworkOptions options)
    {
        HypernetworkOptions.Require(Enum.IsDefined(Kind), nameof(Kind), (int)Kind, "one of the three networks");
        HypernetworkOptions.Require(
            options.ScaleLearningRate == 0 || !ReferenceImplementationQuirks,
            nameof(options.ScaleLearningRate),
            options.ScaleLearningRate,
            $"0 with {nameof(ReferenceImplementationQuirks)}: the authors' code has no scales");
    }
}
