using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>Native tensors that somebody still holds.</summary>
public static class LiveTensors
{
    /// <summary>The count to begin from: what earlier tests left to the garbage collector goes before, and not while a test
    /// counts.</summary>
    public static long Before()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return Tensor.TotalCount;
    }
}
