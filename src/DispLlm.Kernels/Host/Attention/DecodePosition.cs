using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// The position of one decode step in host memory: its rotary cosine and sine, its place in a block's cache, and its attention mask. The
/// caller keeps the
/// tensors alive.
/// </summary>
internal readonly unsafe struct DecodePosition
{
    /// <summary>Creates a position.</summary>
    /// <param name="rotary">Cosine and sine, one row for the whole batch; null for no rotary embedding.</param>
    /// <param name="seen">Number of positions attended to, this one included.</param>
    /// <param name="visible"><c>[batch, 1, 1, seen]</c>, bool; null for all positions.</param>
    public DecodePosition((HostMatrix Cosine, HostMatrix Sine)? rotary, long seen, Tensor? visible)
    {
        (Rotary, Seen) = (rotary, seen);
        Visible = visible is null ? null : (bool*)HostMatrix.Address(visible);
    }

    /// <summary>Cosine and sine; null for no rotary embedding.</summary>
    public (HostMatrix Cosine, HostMatrix Sine)? Rotary { get; }

    /// <summary>Number of positions attended to, this one included.</summary>
    public long Seen { get; }

    /// <summary>The attention mask of each row, <c>[batch, seen]</c>; null for all positions.</summary>
    public bool* Visible { get; }

    /// <summary>Keys and values of a block, <c>[batch, key-value heads, capacity, head_dim]</c>.</summary>
    public (HostHeads Keys, HostHeads Values) Held { get; init; }
}
