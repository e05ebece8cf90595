using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>A linear projection in host memory.</summary>
/// <param name="Weight"><c>[out, in]</c>.</param>
/// <param name="Bias"><c>[1, out]</c>; null for none.</param>
/// <param name="Result">The result, <c>[rows, out]</c>.</param>
internal readonly record struct HostLinear(HostMatrix Weight, HostMatrix? Bias, HostMatrix Result)
{
    /// <summary>A projection by contiguous tensors, without a result yet.</summary>
    public static HostLinear FromTensors(Tensor weight, Tensor? bias) =>
        new(HostMatrix.FromTensor(weight), bias is null ? null : HostMatrix.FromTensor(bias), default);
}
