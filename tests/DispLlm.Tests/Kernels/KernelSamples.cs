using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>Property checks at random sizes, one after another: kernels use all threads.</summary>
internal static class KernelSamples
{
    public static void Check<T>(Gen<T> sizes, Action<T> check, int times = 60) => sizes.Sample(
        size =>
        {
            using var scope = NewDisposeScope();
            check(size);
        },
        iter: times,
        threads: 1);

    /// <summary>Normal random numbers in bfloat16 or float32.</summary>
    public static Tensor Draw(bool isBFloat16, params long[] shape) =>
        randn(shape).to(isBFloat16 ? ScalarType.BFloat16 : ScalarType.Float32);

    public static Tensor ToSingle(Tensor x) => x.to(ScalarType.Float32);

    /// <summary>libtorch's attention in float32, masked or causal; neighbouring query heads share a key-value head.</summary>
    public static Tensor FusedAttention(Tensor query, Tensor key, Tensor value, Tensor? visible = null, bool causal = false)
    {
        long shared = query.size(1) / key.size(1);
        return nn.functional.scaled_dot_product_attention(
            ToSingle(query), ToSingle(key).repeat_interleave(shared, dim: 1), ToSingle(value).repeat_interleave(shared, dim: 1), visible,
                is_casual: causal);
    }

    /// <summary>The error of one rounding to bfloat16, or of float32.</summary>
    public static double Tolerance(bool isBFloat16) => isBFloat16 ? 5e-3 : 1e-4;
}
