using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>What has to be computed differently on one kind of device. It stands here so that no other room has to know of devices.</summary>
internal static class DeviceKernels
{
    // With more gates open than this share, gathering a weight's columns costs more than the products save.
    private const double MostOpen = 0.9;

    // Positions up to which plain products outrun the fused kernel where no gradient is wanted.
    private const long MostRowwise = 1024;

    /// <summary>Whether tensors on a device have numbers in them; on <c>meta</c> they have shapes only.</summary>
    public static bool HoldsNumbers(this Device? device) => device?.type != DeviceType.META;

    /// <summary>
    /// The places of the gates that are not closed, int64, where products are faster without the closed ones; null where they are not. On an accelerator
    /// a full product costs less than to wait for the gates.
    /// </summary>
    /// <param name="gates"><c>[size]</c>, float32; a closed one is exactly 0.</param>
    public static Tensor? WorthGathering(Tensor gates)
    {
        if (gates.device_type != DeviceType.CPU)
        {
            return null;
        }

        using var scope = NewDisposeScope();
        float[] values = gates.detach().data<float>().ToArray();
        long[] open = [.. Enumerable.Range(0, values.Length).Where(i => values[i] != 0).Select(i => (long)i)];
        return open.Length > 0 && open.Length < MostOpen * values.Length
            ? tensor(open, ScalarType.Int64).MoveToOuterDisposeScope()
            : null;
    }

    /// <summary>
    /// Causal attention. Fewer key-value heads than query heads are shared by neighbouring query heads.
    /// </summary>
    /// <param name="query"><c>[batch, heads, seq, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, seq, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, seq, head]</c>.</param>
    public static Tensor CausalAttention(Tensor query, Tensor key, Tensor value)
    {
        bool plain = query.requires_grad || (query.dtype == ScalarType.Float32 && query.size(2) <= MostRowwise);
        if (query.device_type == DeviceType.CPU && plain && !OnePositionAttention.Takes(query, key, value))
        {
            return RowwiseAttention.Of(query, key, value);
        }

        return Fused(query, key, value, null, causal: true);
    }

    /// <summary>Attention of queries to what a mask lets them see, or to everything.</summary>
    /// <param name="query"><c>[batch, heads, seq, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, seen, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, seen, head]</c>.</param>
    /// <param name="visible"><c>[batch or 1, 1, seq, seen]</c>, bool; null for everything.</param>
    public static Tensor Attention(Tensor query, Tensor key, Tensor value, Tensor? visible) => Fused(query, key, value, visible, causal: false);

    private static Tensor Fused(Tensor query, Tensor key, Tensor value, Tensor? visible, bool causal)
    {
        if (OnePositionAttention.Takes(query, key, value))
        {
            return OnePositionAttention.Apply(query, key, value, visible);
        }

        long shared = query.size(1) / key.size(1);
        if (shared > 1 && query.size(2) == 1)
        {
            // One position sees what all query heads of a group see: they are rows of one query, and no key is copied.
            return Fused(query.view(query.size(0), key.size(1), shared, query.size(3)), key, value, visible, causal: false).reshape(query.shape);
        }

        if (shared > 1)
        {
            key = key.repeat_interleave(shared, dim: 1);
            value = value.repeat_interleave(shared, dim: 1);
        }

        if (query.device.HoldsNumbers())
        {
            return nn.functional.scaled_dot_product_attention(query, key, value, visible, is_casual: causal);
        }

        // The fused operator has no shape-only kernel; these products have the same shapes.
        return query.matmul(key.transpose(-2, -1)).matmul(value);
    }

    /// <summary>Layer norm over the last dimension of <c>[..., d]</c>, statistics in float32, through the framework's fused kernel.</summary>
    public static Tensor LayerNorm(Tensor x, Tensor weight, Tensor bias, double epsilon) => x.device.HoldsNumbers()
        ? nn.functional.layer_norm(x, [x.shape[^1]], weight, bias, epsilon)
        : ((x - x.mean([-1L], keepdim: true)) * weight).Plus(bias);

    /// <summary><c>max(x, 0)</c>.</summary>
    public static Tensor Relu(Tensor x) => x.device.HoldsNumbers() ? nn.functional.relu(x) : x.AtLeast(0L);
}
