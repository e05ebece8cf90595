using System.Runtime.Intrinsics.X86;

namespace DispLlm.Kernels;

/// <summary>
/// Whether the processor multiplies bfloat16. With AVX512-BF16 a matrix multiplication of libtorch takes half the time of float32; without,
/// several times as long.
/// </summary>
internal static class BFloat16Support
{
    /// <summary>Whether there is AVX512-BF16. Other architectures than x86 are left to libtorch, as if they had it.</summary>
    public static bool IsAvailable { get; } = !X86Base.IsSupported || (Avx512F.IsSupported && (X86Base.CpuId(7, 1).Eax & (1 << 5)) != 0);

    /// <summary>
    /// Whether there is AMX, many times as fast as float32. libtorch's fused attention uses it, and is faster than attention by matrix
    /// multiplications.
    /// </summary>
    public static bool HasAmx { get; } = Avx512F.IsSupported && (X86Base.CpuId(7, 0).Edx & (1 << 22)) != 0;
}
