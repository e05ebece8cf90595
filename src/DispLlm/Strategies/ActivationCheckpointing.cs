namespace DispLlm.Training;

/// <summary>What a learning step keeps between its way forward and its way back.</summary>
public enum ActivationCheckpointing
{
    /// <summary><see cref="PerBlock"/> where <see cref="None"/> would not fit into the memory that is free, or, where a backend cannot say what is free, would take more than the weights do. Chosen once, at the first step of a run.</summary>
    Automatic,

    /// <summary>All that the gradient needs.</summary>
    None,

    /// <summary>What enters each block; the rest is computed once more. Less memory, the same numbers, a third more work.</summary>
    PerBlock,
}
