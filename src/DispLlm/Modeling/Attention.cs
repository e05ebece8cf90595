using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>The attention of one forward pass, over its own tokens and those in a cache.</summary>
/// <param name="mask">Which positions tokens attend to.</param>
/// <param name="length">Number of tokens in each row.</param>
/// <param name="cache">The cache; null for none.</param>
/// <param name="sequenceLength">Where a captured graph reads the sequence length; null outside one.</param>
internal sealed class Attention(AttentionMask mask, long length, KeyValueCache? cache, Tensor? sequenceLength)
{
    private readonly long _first = cache?.Length ?? 0;
    private readonly List<(DeviceType Type, int Index, IDecodeAttention? Kernel)> _kernels = [];

    /// <summary>Attention of a block, whose keys and values are added to the cache.</summary>
    /// <param name="block">The block's index.</param>
    /// <param name="query"><c>[batch, heads, seq, head_dim]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, seq, head_dim]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, seq, head_dim]</c>.</param>
    /// <returns><c>[batch, heads, seq, head_dim]</c>.</returns>
    public Tensor Forward(int block, Tensor query, Tensor key, Tensor value)
    {
        if (cache is not null)
        {
            (key, value) = cache.Append(block, key, value);
        }

        if (!mask.IsCausal)
        {
            return DeviceAttention.Masked(query, key, value, mask.On(query.device));
        }

        return _first > 0 || cache?.Padding is not null
            ? DeviceAttention.Causal(query, key, value, cache?.Padding, () => mask.On(query.device))
            : DeviceAttention.Causal(query, key, value);
    }

    /// <summary>Rotary embedding and attention of a block in one kernel, where there is one for a decode step.</summary>
    /// <param name="block">The block's index.</param>
    /// <param name="projected">Queries, keys and values as projections return them, <c>[batch, 1, heads x head_dim]</c> each; may be
    /// overwritten.</param>
    /// <param name="headDim">Features of a head.</param>
    /// <param name="rotary">The rotary embedding; null for none.</param>
    /// <returns><c>[batch, 1, heads x head_dim]</c>; null where there is no such kernel.</returns>
    public Tensor? TryDecode(int block, IReadOnlyList<Tensor> projected, long headDim, RotaryEmbedding? rotary)
    {
        if (cache is null || length != 1 || projected is not [var query, var key, var value] || KernelFor(query, headDim) is not { } kernel)
        {
            return null;
        }

        var held = cache.Reserve(block, key, key.size(-1) / headDim, headDim);
        return kernel.Attend(query, key, value, rotary?.Table(held.Key.size(2), query.dtype), held);
    }

    /// <summary>The kernel of this decode step on a tensor's device: the same for all blocks there.</summary>
    private IDecodeAttention? KernelFor(Tensor query, long headDim)
    {
        var (type, index) = (query.device_type, query.device_index);
        foreach (var known in _kernels)
        {
            if (known.Type == type && known.Index == index)
            {
                return known.Kernel;
            }
        }

        var kernel = DecodePath.TryCreateAttention(query, headDim, cache!, sequenceLength, () => mask.On(query.device));
        _kernels.Add((type, index, kernel));
        return kernel;
    }
}
