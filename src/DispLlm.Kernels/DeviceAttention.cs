using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Scaled dot-product attention by the fastest kernel for a device, a type and a shape.</summary>
internal static class DeviceAttention
{
    // The widest head of libtorch's flash kernel.
    private const long WidestFlashHead = 256;

    // Positions up to which tiled attention is faster than AVX512-BF16 matrix multiplications where no gradient is wanted.
    private const long MostTiled = 1024;

    /// <summary>
    /// Whether a learning step's attention on the CPU is computed by matrix multiplications, which save the attention weights: where AMX,
    /// or AVX512-BF16 with the rows of
    /// a whole group of heads, is faster than SIMD kernels in float32.
    /// </summary>
    public static bool UsesMatmul(ScalarType type, long heads, long keyValueHeads) =>
        type == ScalarType.BFloat16 && BFloat16Support.IsAvailable && (BFloat16Support.HasAmx || heads > keyValueHeads);

    /// <summary>
    /// Causal attention. Fewer key-value heads than query heads are shared by neighbouring query heads.
    /// </summary>
    /// <param name="query"><c>[batch, heads, seq, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, seq, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, seq, head]</c>.</param>
    public static Tensor Causal(Tensor query, Tensor key, Tensor value)
    {
        if (query.device_type != DeviceType.CPU)
        {
            return Fused(query, key, value, null, causal: true);
        }

        bool usesMatmul = UsesMatmul(query.dtype, query.size(1), key.size(1))
            && (query.requires_grad || (!BFloat16Support.HasAmx && query.size(2) > MostTiled));
        return usesMatmul ? MatmulAttentionFunction.Apply(query, key, value)
            : query.requires_grad && HostHeads.IsContiguousHost(query, key, value) ? TiledAttentionFunction.Apply(query, key, value)
            : IsTiled(query, key, value) ? TiledAttention.Apply(query, key, value)
            : Fused(query, key, value, null, causal: true);
    }

    /// <summary>Causal attention of the last positions to all of them.</summary>
    /// <param name="query"><c>[batch, heads, seq, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, positions, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, positions, head]</c>.</param>
    /// <param name="padding">Padding positions at the front of each row, which only attend to themselves; null where no row has
    /// any.</param>
    /// <param name="visible">Called where a mask is needed: <c>[batch or 1, 1, seq, positions]</c>, bool; null to attend to all
    /// positions.</param>
    public static Tensor Causal(Tensor query, Tensor key, Tensor value, IReadOnlyList<int>? padding, Func<Tensor?> visible) =>
        IsTiled(query, key, value) ? TiledAttention.Apply(query, key, value, padding) : Masked(query, key, value, visible());

    /// <summary>Attention under a mask.</summary>
    /// <param name="query"><c>[batch, heads, seq, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, seen, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, seen, head]</c>.</param>
    /// <param name="visible"><c>[batch or 1, 1, seq, seen]</c>, bool; null to attend to all positions.</param>
    public static Tensor Masked(Tensor query, Tensor key, Tensor value, Tensor? visible) =>
        Fused(query, key, value, visible, causal: false);

    /// <summary>
    /// Attention whose scores are capped: <c>cap * tanh(scores / cap)</c>. No fused kernel computes it; all scores are in memory.
    /// </summary>
    /// <param name="query"><c>[batch, heads, seq, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, seen, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, seen, head]</c>.</param>
    /// <param name="visible"><c>[batch or 1, 1, seq, seen]</c>, bool.</param>
    /// <param name="cap">The cap.</param>
    public static Tensor SoftCapped(Tensor query, Tensor key, Tensor value, Tensor visible, double cap)
    {
        long shared = query.size(1) / key.size(1);
        if (shared > 1)
        {
            (key, value) = (key.repeat_interleave(shared, dim: 1), value.repeat_interleave(shared, dim: 1));
        }

        Tensor scores = query.MulScalar(1 / (Math.Sqrt(query.size(3)) * cap)).matmul(key.transpose(-2, -1)).to(ScalarType.Float32);
        scores = scores.tanh().MulScalar(cap);

        // Without a kernel for the meta device, as above.
        scores = scores.device.HoldsNumbers() ? scores.MaskedFill(visible.logical_not(), double.NegativeInfinity) : scores;
        return scores.softmax(-1).to(value.dtype).matmul(value);
    }

    /// <summary>SIMD kernels are the fastest on the CPU, except for bfloat16 on processors with AMX, which libtorch's fused kernel
    /// uses.</summary>
    private static bool IsTiled(Tensor query, Tensor key, Tensor value) =>
        TiledAttention.CanHandle(query, key, value) && !(query.dtype == ScalarType.BFloat16 && BFloat16Support.HasAmx);

    private static Tensor Fused(Tensor query, Tensor key, Tensor value, Tensor? visible, bool causal)
    {
        if (DecodeAttention.CanHandle(query, key, value))
        {
            return DecodeAttention.Apply(query, key, value, visible);
        }

        long shared = query.size(1) / key.size(1);
        if (query.size(2) == 1)
        {
            // In a decode step the query heads of a group are rows of one query: no key is copied.
            Tensor rows = shared == 1 ? query : query.reshape(query.size(0), key.size(1), shared, query.size(3));
            return DecodeStep(rows, key, value, visible).reshape(query.shape);
        }

        if (shared > 1)
        {
            key = key.repeat_interleave(shared, dim: 1);
            value = value.repeat_interleave(shared, dim: 1);
        }

        return FusedEqualHeads(query, key, value, visible, causal);
    }

    private static Tensor DecodeStep(Tensor query, Tensor key, Tensor value, Tensor? visible)
    {
        // Elsewhere no kernel is compiled for a number of keys.
        if (!query.device.IsAccelerator() || query.dtype != ScalarType.BFloat16 || query.requires_grad)
        {
            return FusedEqualHeads(query, key, value, visible, causal: false);
        }

        // The number of keys changes with every token, and libtorch may compile a kernel for each.
        if (visible is null && query.size(3) % 8 == 0 && query.size(3) <= WidestFlashHead
            && TorchScriptKernels.IsFlashAttentionAvailable(query.device))
        {
            return TorchScriptKernels.Attention(query, key, value);
        }

        Tensor scores = query.MulScalar(1 / Math.Sqrt(query.size(3))).matmul(key.transpose(-2, -1)).to(ScalarType.Float32);
        scores = visible is null ? scores : scores.MaskedFill(visible.logical_not(), double.NegativeInfinity);
        return scores.softmax(-1).to(value.dtype).matmul(value);
    }

    private static Tensor FusedEqualHeads(Tensor query, Tensor key, Tensor value, Tensor? visible, bool causal) =>
        query.device.HoldsNumbers()
        ? nn.functional.scaled_dot_product_attention(query, key, value, visible, is_casual: causal)

            // The fused operator has no kernel for the meta device; these have the same shapes.
            : query.matmul(key.transpose(-2, -1)).matmul(value);
}
