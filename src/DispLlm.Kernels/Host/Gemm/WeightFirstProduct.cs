using System.Runtime.Intrinsics.X86;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Products of as many rows as fill some vectors, on processors that multiply bfloat16 a vector at a time: the framework computes them up to one and a half times as fast with the weight
/// on the left, where rows are what its vectors hold.
/// </summary>
internal static class WeightFirstProduct
{
    private const long Lanes = 16, MostRows = 64;

    // Weights at such a distance from each other share few places in the cache, and the framework reads many of them at a time.
    private const long CrowdedWidth = 2048;

    /// <summary>Whether this is the faster way for an input.</summary>
    public static bool CanHandle(Tensor x)
    {
        if (!X86Base.IsSupported || !BFloat16Support.IsAvailable || BFloat16Support.HasAmx || x.dtype != ScalarType.BFloat16 || !HostMatrix.IsContiguousHostWithoutGradient(x))
        {
            return false;
        }

        long width = x.size(-1), rows = DeviceKernels.CountRows(x);
        return width > HostGemm.LongestShortRow && width % CrowdedWidth != 0 && rows is > 0 and <= MostRows && rows % Lanes == 0;
    }

    /// <summary><c>[..., in] -> [..., out]</c>.</summary>
    public static Tensor Linear(Tensor x, Tensor weight, Tensor? bias)
    {
        using var scope = NewDisposeScope();
        long outputs = weight.size(0);
        Tensor columns = x.view(-1, x.size(-1)).t(), result = DeviceKernels.EmptyLike(x, outputs);
        Tensor product = bias is null ? weight.mm(columns) : addmm(bias.unsqueeze(1), weight, columns, 1, 1);
        result.view(-1, outputs).copy_(product.t());
        return result.MoveToOuterDisposeScope();
    }
}
