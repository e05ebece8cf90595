using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>What the attention of one block is, beside its weights.</summary>
/// <param name="HeadDim">Features of a head.</param>
/// <param name="Rotary">The rotary embedding; null for none.</param>
/// <param name="Window">How many tokens each attends to, itself and those just before it; null for all.</param>
/// <param name="Softcap">Scores become <c>cap * tanh(scores / cap)</c>; null for scores as they are.</param>
internal sealed record BlockAttention(int HeadDim, RotaryEmbedding? Rotary, int? Window, double? Softcap);

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
    /// <param name="attention">What its attention is.</param>
    /// <param name="query"><c>[batch, heads, seq, head_dim]</c>, rotated.</param>
    /// <param name="key"><c>[batch, key-value heads, seq, head_dim]</c>, rotated.</param>
    /// <param name="value"><c>[batch, key-value heads, seq, head_dim]</c>.</param>
    /// <returns><c>[batch, heads, seq, head_dim]</c>.</returns>
    public Tensor Forward(int block, BlockAttention attention, Tensor query, Tensor key, Tensor value)
    {
        if (cache is not null)
        {
            (key, value) = cache.Append(block, key, value);
        }

        long total = key.size(2);
        long? window = attention.Window < total ? attention.Window : null;
        if (attention.Softcap is { } cap)
        {
            return DeviceAttention.SoftCapped(query, key, value, mask.On(query.device, window), cap);
        }

        if (window is { } newest && mask.IsCausal && length == 1 && cache?.Padding is null)
        {
            // One token, which attends to the newest keys, and to all of them.
            return DeviceAttention.Masked(
                query, key.narrow(2, total - newest, newest), value.narrow(2, total - newest, newest), visible: null);
        }

        if (!mask.IsCausal || window is not null)
        {
            return DeviceAttention.Masked(query, key, value, mask.On(query.device, window));
        }

        return _first > 0 || cache?.Padding is not null
            ? DeviceAttention.Causal(query, key, value, cache?.Padding, () => CausalMask(query))
            : DeviceAttention.Causal(query, key, value);
    }

    /// <summary>Rotary embedding and attention of a block in one kernel, where there is one for a decode step.</summary>
    /// <param name="block">The block's index.</param>
    /// <param name="attention">What its attention is.</param>
    /// <param name="projected">Queries, keys and values as projections return them, <c>[batch, 1, heads x head_dim]</c> each; may be
    /// overwritten.</param>
    /// <returns><c>[batch, 1, heads x head_dim]</c>; null where there is no such kernel.</returns>
    public Tensor? TryDecode(int block, BlockAttention attention, IReadOnlyList<Tensor> projected)
    {
        if (cache is null || length != 1 || attention.Softcap is not null || attention.Rotary is { DependsOnLength: true }
            || attention.Window <= _first || projected is not [var query, var key, var value]
            || KernelFor(query, attention.HeadDim) is not { } kernel)
        {
            return null;
        }

        var held = cache.Reserve(block, key, key.size(-1) / attention.HeadDim, attention.HeadDim);
        return kernel.Attend(query, key, value, attention.Rotary?.Table(held.Key.size(2), query.dtype), held);
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

        var kernel = DecodePath.TryCreateAttention(query, headDim, cache!, sequenceLength, () => CausalMask(query));
        _kernels.Add((type, index, kernel));
        return kernel;
    }

    // A token alone attends to all positions.
    private Tensor? CausalMask(Tensor query) => cache?.Padding is null && length == 1 ? null : mask.On(query.device, null);
}
