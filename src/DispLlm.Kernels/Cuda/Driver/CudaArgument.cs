using System.Runtime.InteropServices;
using TorchSharp;

namespace DispLlm.Kernels;

/// <summary>What a kernel is given: where a tensor's numbers lie on the device, or a number.</summary>
internal readonly partial struct CudaArgument
{
    private CudaArgument(long bits, torch.Tensor? tensor = null)
    {
        Bits = bits;
        Tensor = tensor;
    }

    /// <summary>Its bytes; of a number of four bytes, the lower four.</summary>
    public long Bits { get; }

    /// <summary>The tensor, if it is one: to be kept alive.</summary>
    public torch.Tensor? Tensor { get; }

    public static implicit operator CudaArgument(torch.Tensor? tensor) => tensor is null ? default : new(First(tensor.Handle), tensor);

    public static implicit operator CudaArgument(long number) => new(number);

    public static implicit operator CudaArgument(bool flag) => new(flag ? 1 : 0);

    public static implicit operator CudaArgument(float number) => new(BitConverter.SingleToUInt32Bits(number));

    // TorchSharp reads through it only what is in the CPU's memory.
    [LibraryImport("LibTorchSharp", EntryPoint = "THSTensor_data")]
    private static partial nint First(nint tensor);
}
