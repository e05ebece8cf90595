namespace DispLlm;

/// <summary>What a corrected weight shall give.</summary>
public enum CompensationTarget
{
    /// <summary>What the dense weight gives for the input that it has in the cut network.</summary>
    OwnInput,

    /// <summary>What the dense weight gives in the dense network.</summary>
    DenseInput,

    /// <summary>As <see cref="DenseInput"/>, but what is written leads the stream back to the dense network's: it makes up for what earlier blocks left out.</summary>
    DenseStream,
}
