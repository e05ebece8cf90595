using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Attention of one decode step on a GPU. The kernel computes padding and positions itself.</summary>
/// <param name="kernels">The kernels.</param>
/// <param name="memory">The cache.</param>
/// <param name="length">Where the kernel reads the sequence length, this step included, <c>[1]</c>, int32; null to take it from the
/// cache.</param>
internal sealed class CudaDecodeAttention(CudaDecodeKernels kernels, IKeyValueMemory memory, Tensor? length) : IDecodeAttention
{
    /// <inheritdoc/>
    public Tensor Attend(Tensor query, Tensor key, Tensor value, (Tensor Cosine, Tensor Sine)? rotary, (Tensor Key, Tensor Value) held)
    {
        Tensor? padding = memory.Padding is { } counts ? CudaDecodeState.For(memory).PaddingOn(query.device, counts) : null;
        return kernels.Attend(Contiguous(query), Contiguous(key), Contiguous(value), rotary, padding, held, memory.Length + 1, length);
    }

    private static Tensor Contiguous(Tensor x) => x.is_contiguous() ? x : x.contiguous();
}
