using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Creates the decode path of a network and the attention kernel of a decode step.</summary>
internal static class DecodePath
{
    /// <summary>The decode path of a network that begins on a device; null where its blocks are forwarded one by one.</summary>
    public static IDecodePath? TryCreate(Device device) => device.type == DeviceType.CUDA ? new CapturedGraphDecodePath() : null;

    /// <summary>The attention kernel of one decode step; null where attention takes separate operators.</summary>
    /// <param name="hidden">A block's input, <c>[batch, 1, d]</c>: its device, type and gradient decide.</param>
    /// <param name="headDim">Features of a head.</param>
    /// <param name="memory">The cache.</param>
    /// <param name="length">Where the kernel reads the sequence length, this step included, <c>[1]</c>, int32; null to take it from the
    /// cache.</param>
    /// <param name="mask">Gives the attention mask <c>[batch, 1, 1, length]</c>, bool, of a cache with padding; called where the kernel
    /// needs it.</param>
    public static IDecodeAttention? TryCreateAttention(
        Tensor hidden, long headDim, IKeyValueMemory memory, Tensor? length, Func<Tensor?> mask) =>
        CudaDecodeKernels.For(hidden) is { } kernels && kernels.CanAttend(headDim) ? new CudaDecodeAttention(kernels, memory, length)
        : HostMatrix.IsContiguousHostWithoutGradient(hidden)
            ? new HostDecodeAttention(memory.Length, memory.Padding, memory.Padding is null ? null : mask())
        : null;
}
