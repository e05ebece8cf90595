namespace DispLlm;

/// <summary>What a corrected weight shall give.</summary>
public enum ReconstructionTarget
{
    /// <summary>What the dense weight gives for the input that it has in the cut network.</summary>
    PrunedActivations,

    /// <summary>What the dense weight gives in the dense network.</summary>
    DenseActivations,

    /// <summary>As <see cref="DenseActivations"/>, but what is written leads the stream back to the dense network's: it makes up for what earlier blocks left out.</summary>
    DenseResidualStream,
}
