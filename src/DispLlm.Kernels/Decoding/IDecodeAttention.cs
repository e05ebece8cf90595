using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Attention of one decode step in one kernel: rotary embedding, cache write and attention of what projections return.</summary>
internal interface IDecodeAttention
{
    /// <summary>Attention of one block.</summary>
    /// <param name="query"><c>[batch, 1, heads x head_dim]</c>; may be overwritten.</param>
    /// <param name="key"><c>[batch, 1, key-value heads x head_dim]</c>; may be overwritten.</param>
    /// <param name="value"><c>[batch, 1, key-value heads x head_dim]</c>.</param>
    /// <param name="rotary">Cosine and sine of all positions from 0, <c>[positions, rotary_dim]</c>; null for no rotary embedding.</param>
    /// <param name="held">Keys and values of the block, <c>[batch, key-value heads, capacity, head_dim]</c> each.</param>
    /// <returns><c>[batch, 1, heads x head_dim]</c>.</returns>
    Tensor Attend(Tensor query, Tensor key, Tensor value, (Tensor Cosine, Tensor Sine)? rotary, (Tensor Key, Tensor Value) held);
}
