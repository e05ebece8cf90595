namespace DispLlm.Kernels;

/// <summary>What the time of a block goes to.</summary>
internal enum BlockPiece
{
    /// <summary>Products with weights.</summary>
    Products,

    /// <summary>Attention; for one position in the CPU's memory with its rotation, and with what is put into the cache.</summary>
    Attention,

    /// <summary>Norms, and what is selected of them.</summary>
    Norm,

    /// <summary>Sums with the stream.</summary>
    Sum,

    /// <summary>Rotation by position.</summary>
    Rotation,

    /// <summary>The MLP's activation.</summary>
    MlpActivation,
}
