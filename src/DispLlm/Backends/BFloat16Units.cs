using System.Runtime.Intrinsics.X86;

namespace DispLlm;

/// <summary>
/// Whether the processor multiplies bfloat16 numbers itself. Where it does, the framework's products take half the time of float32's; where it does not, several times as long.
/// </summary>
internal static class BFloat16Units
{
    /// <summary>Of x86 processors it is known; others are left to the framework, as if they had them.</summary>
    public static bool Exist { get; } = !X86Base.IsSupported || (Avx512F.IsSupported && (X86Base.CpuId(7, 1).Eax & (1 << 5)) != 0);
}
