using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>Checks of vector code at drawn sizes, one after another: kernels have threads of their own.</summary>
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

    /// <summary>Normal numbers in bfloat16, or in float32.</summary>
    public static Tensor Draw(bool narrow, params long[] shape) => randn(shape).to(narrow ? ScalarType.BFloat16 : ScalarType.Float32);

    public static Tensor Wide(Tensor x) => x.to(ScalarType.Float32);

    /// <summary>The framework's attention in float32, to what a mask lets be seen or to what came before; neighbouring query heads share a key-value head.</summary>
    public static Tensor FusedAttention(Tensor query, Tensor key, Tensor value, Tensor? visible = null, bool causal = false)
    {
        long shared = query.size(1) / key.size(1);
        return nn.functional.scaled_dot_product_attention(
            Wide(query), Wide(key).repeat_interleave(shared, dim: 1), Wide(value).repeat_interleave(shared, dim: 1), visible, is_casual: causal);
    }

    /// <summary>What one rounding to bfloat16 of a result that was computed in float32 may make of it.</summary>
    public static double Tolerance(bool narrow) => narrow ? 5e-3 : 1e-4;
}
