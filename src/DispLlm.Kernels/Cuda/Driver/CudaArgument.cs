using System.Runtime.InteropServices;
using TorchSharp;

namespace DispLlm.Kernels;

/// <summary>An argument of a kernel: the device address of a tensor, or a number.</summary>
internal readonly partial struct CudaArgument
{
    private CudaArgument(long bits, torch.Tensor? tensor = null)
    {
        Bits = bits;
        Tensor = tensor;
    }

    /// <summary>Its bytes; the lower four of a number of four bytes.</summary>
    public long Bits { get; }

    /// <summary>The tensor, if it is one; to be kept alive.</summary>
    public torch.Tensor? Tensor { get; }

    public static implicit operator CudaArgument(torch.Tensor? tensor) =>
        tensor is null ? default : new(DataPointer(tensor.Handle), tensor);

    public static implicit operator CudaArgument(long number) => new(number);

    public static implicit operator CudaArgument(bool flag) => new(flag ? 1 : 0);

    public static implicit operator CudaArgument(float number) => new(BitConverter.SingleToUInt32Bits(number));

    // Upstream gap (TorchSharp 0.107): no public data_ptr for a tensor on a GPU. When there is one, call it and delete this import.
    [LibraryImport("LibTorchSharp", EntryPoint = "THSTensor_data")]
    private static partial nint DataPointer(nint tensor);
}
