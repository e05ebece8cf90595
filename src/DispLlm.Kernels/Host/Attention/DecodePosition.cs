using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Where one position of each row of a batch stands in the CPU's memory: how it is turned, where a block's cache takes it, and what it sees. Whoever makes it keeps the tensors alive.
/// </summary>
internal readonly unsafe struct DecodePosition
{
    /// <summary>A position.</summary>
    /// <param name="turns">Cosine and sine, a row for all rows of the batch or one for each; null for no turn.</param>
    /// <param name="seen">How many positions are seen, this one included.</param>
    /// <param name="visible"><c>[batch, 1, 1, seen]</c>, bool; null for everything.</param>
    public DecodePosition((HostMatrix Cosine, HostMatrix Sine)? turns, long seen, Tensor? visible)
    {
        (Rotary, Seen) = (turns, seen);
        Visible = visible is null ? null : (bool*)HostMatrix.Address(visible);
    }

    /// <summary>Cosine and sine; null for no turn.</summary>
    public (HostMatrix Cosine, HostMatrix Sine)? Rotary { get; }

    /// <summary>How many positions are seen, this one included.</summary>
    public long Seen { get; }

    /// <summary>What each row sees, <c>[batch, seen]</c>; null for everything.</summary>
    public bool* Visible { get; }

    /// <summary>A block's room for keys and values, <c>[batch, key-value heads, capacity, head]</c>.</summary>
    public (HostHeads Keys, HostHeads Values) Held { get; init; }
}
