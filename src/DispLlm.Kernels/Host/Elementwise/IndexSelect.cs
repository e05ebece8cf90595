using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Rows and columns of a matrix in host memory, by index.</summary>
internal static unsafe class IndexSelectKernel
{
    /// <summary>The rows <c>[..., width]</c> of a table, by their numbers <c>[...]</c>, int64.</summary>
    public static Tensor Rows(Tensor table, Tensor numbers)
    {
        Tensor result = empty([.. numbers.shape, table.size(1)], table.dtype);
        HostMatrix from = HostMatrix.FromTensor(table), to = HostMatrix.FromTensor(result);
        long* chosen = (long*)HostMatrix.Address(numbers);
        long bytes = from.Width * table.ElementSize;
        for (long row = 0; row < to.Count; row++)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)chosen[row], (ulong)from.Count, nameof(numbers));
        }

        HostThreads.For(to.Count, to.Width, (first, last) =>
        {
            for (long row = first; row < last; row++)
            {
                Buffer.MemoryCopy(from.At(chosen[row]), to.At(row), bytes, bytes);
            }
        });
        HostMatrix.KeepAlive(table, numbers);
        return result;
    }

    /// <summary>
    /// The selected columns of <c>[..., d]</c>: <c>[..., selected]</c>. libtorch's operator is many times slower in bfloat16.
    /// </summary>
    public static Tensor Columns(Tensor x, Tensor index)
    {
        Tensor result = DeviceKernels.EmptyLike(x, index.numel());
        HostMatrix inputs = HostMatrix.FromTensor(x), outputs = HostMatrix.FromTensor(result);
        var selection = new HostSelection(index, inputs.Width, inputs.Count);
        HostThreads.For(inputs.Count, outputs.Width, (first, last) =>
        {
            for (long row = first; row < last; row++)
            {
                if (inputs.IsBFloat16)
                {
                    selection.Gather((ushort*)inputs.At(row), (ushort*)outputs.At(row));
                }
                else
                {
                    selection.Gather((float*)inputs.At(row), (float*)outputs.At(row));
                }
            }
        });
        HostMatrix.KeepAlive(x, index);
        return result;
    }
}
