namespace DispLlm;

/// <summary>What a corrected weight is to compute.</summary>
public enum ReconstructionTarget
{
    /// <summary>What the dense weight computes from its input in the pruned network.</summary>
    PrunedActivations,

    /// <summary>What the dense weight computes in the dense network.</summary>
    DenseActivations,

    /// <summary>
    /// As <see cref="DenseActivations"/>, but what is written brings the residual stream back to the dense network's, which also corrects
    /// earlier blocks' errors.
    /// </summary>
    DenseResidualStream,
}
