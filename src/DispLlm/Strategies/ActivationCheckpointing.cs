namespace DispLlm.Training;

/// <summary>Which activations a learning step saves for its backward pass. The gradients are the same to the bit.</summary>
public enum ActivationCheckpointing
{
    /// <summary>
    /// <see cref="PerBlock"/> where <see cref="None"/> would not fit into the free memory or, where a backend cannot say what is free,
    /// would take more than the weights do. Chosen once, at the first step of a run.
    /// </summary>
    Automatic,

    /// <summary>All activations that the gradient needs are saved.</summary>
    None,

    /// <summary>Only the input of each block is saved; the rest is recomputed. Less memory, a third more work.</summary>
    PerBlock,
}
