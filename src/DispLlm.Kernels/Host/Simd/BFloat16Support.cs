using System.Runtime.Intrinsics.X86;

namespace DispLlm.Kernels;

/// <summary>
/// Whether the processor multiplies bfloat16 numbers itself. Where it does, the framework's products take half the time of float32's; where it does not, several times as long.
/// </summary>
internal static class BFloat16Support
{
    /// <summary>Of x86 processors it is known; others are left to the framework, as if they had them.</summary>
    public static bool IsAvailable { get; } = !X86Base.IsSupported || (Avx512F.IsSupported && (X86Base.CpuId(7, 1).Eax & (1 << 5)) != 0);

    /// <summary>
    /// Whether it multiplies them a tile at a time (AMX), many times as fast as float32. The framework's fused attention uses that, and outruns plain products over pieces.
    /// </summary>
    public static bool HasAmx { get; } = Avx512F.IsSupported && (X86Base.CpuId(7, 0).Edx & (1 << 22)) != 0;
}
