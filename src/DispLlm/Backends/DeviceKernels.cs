using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>What has to be computed differently on one kind of device. It stands here so that no other room has to know of devices.</summary>
internal static class DeviceKernels
{
    /// <summary>Whether tensors on a device have numbers in them; on <c>meta</c> they have shapes only.</summary>
    public static bool HoldsNumbers(this Device? device) => device?.type != DeviceType.META;

    /// <summary>Causal attention of <c>[batch, heads, seq, head]</c>, through the framework's fused kernel.</summary>
    public static Tensor CausalAttention(Tensor query, Tensor key, Tensor value)
    {
        if (query.device.HoldsNumbers())
        {
            return nn.functional.scaled_dot_product_attention(query, key, value, is_casual: true);
        }

        // The fused operator has no shape-only kernel; these products have the same shapes.
        return query.matmul(key.transpose(-2, -1)).matmul(value);
    }

    /// <summary>Layer norm over the last dimension of <c>[..., d]</c>, statistics in float32, through the framework's fused kernel.</summary>
    public static Tensor LayerNorm(Tensor x, Tensor weight, Tensor bias, double epsilon) => x.device.HoldsNumbers()
        ? nn.functional.layer_norm(x, [x.shape[^1]], weight, bias, epsilon)
        : (x - x.mean([-1L], keepdim: true)) * weight + bias;

    /// <summary><c>max(x, 0)</c>.</summary>
    public static Tensor Relu(Tensor x) => x.device.HoldsNumbers() ? nn.functional.relu(x) : x.clamp_min(0);
}
