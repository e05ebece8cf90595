using CsCheck;
using static TorchSharp.torch;

namespace DispLlm.Tests.Backends;

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
}
