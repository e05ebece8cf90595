using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// The rows of a tensor in the CPU's memory, as float32: where they lie, or widened where they are bfloat16. Vector code is written once, for float32 rows, and
/// serves both; a row is short enough to stay in the cache meanwhile.
/// </summary>
internal readonly unsafe struct HostMatrix
{
    private readonly void* _first;

    private HostMatrix(void* first, long count, long width, bool narrow)
    {
        _first = first;
        Count = count;
        Width = width;
        AreNarrow = narrow;
    }

    /// <summary>How many rows there are.</summary>
    public long Count { get; }

    /// <summary>Numbers of a row.</summary>
    public long Width { get; }

    /// <summary>Numbers of scratch that a row takes: none where rows are used where they lie.</summary>
    public long Scratch => AreNarrow ? Width : 0;

    /// <summary>Whether tensors are on the CPU, in one piece, and all float32 or all bfloat16.</summary>
    public static bool IsContiguousHost(params ReadOnlySpan<Tensor> tensors)
    {
        var type = tensors[0].dtype;
        if (type is not (ScalarType.Float32 or ScalarType.BFloat16))
        {
            return false;
        }

        foreach (var x in tensors)
        {
            if (x.device_type != DeviceType.CPU || x.dtype != type || !x.is_contiguous())
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Whether they <see cref="IsContiguousHost"/> so, outside any gradient.</summary>
    public static bool IsContiguousHostWithoutGradient(params ReadOnlySpan<Tensor> tensors) => !RowKernels.AnyHasGradient(tensors) && IsContiguousHost(tensors);

    /// <summary>The rows <c>[..., width]</c> of a tensor that lies so. It has to be kept alive while they are used.</summary>
    public static HostMatrix FromTensor(Tensor x) => FromTensor(x, x.size(-1));

    /// <summary>The same numbers as rows of another width.</summary>
    public static HostMatrix FromTensor(Tensor x, long width) => new(Address(x), width == 0 ? 0 : x.numel() / width, width, x.dtype == ScalarType.BFloat16);

    /// <summary>Whether numbers are bfloat16, of 16 bits.</summary>
    public bool AreNarrow { get; }

    /// <summary>Where a row lies.</summary>
    public void* At(long row) => (byte*)_first + (row * Width * (AreNarrow ? sizeof(ushort) : sizeof(float)));

    /// <summary>One of the rows.</summary>
    public HostMatrix Row(long row) => new(At(row), 1, Width, AreNarrow);

    /// <summary>A row to be read.</summary>
    public float* Read(long row, float* scratch)
    {
        if (!AreNarrow)
        {
            return (float*)At(row);
        }

        BFloat16Conversion.Widen((ushort*)At(row), scratch, Width);
        return scratch;
    }

    /// <summary>Reads a row into some numbers, which may be its own.</summary>
    public void ReadInto(long row, float* numbers)
    {
        float* read = Read(row, numbers);
        if (read != numbers)
        {
            Buffer.MemoryCopy(read, numbers, Width * sizeof(float), Width * sizeof(float));
        }
    }

    /// <summary>Room for a row that is to be written; <see cref="Keep"/> it when it is.</summary>
    public float* Room(long row, float* scratch) => AreNarrow ? scratch : (float*)At(row);

    /// <summary>Keeps a row that was written into its <see cref="Room"/>.</summary>
    public void Keep(long row, float* scratch)
    {
        if (AreNarrow)
        {
            BFloat16Conversion.Narrow(scratch, (ushort*)At(row), Width);
        }
    }

    /// <summary>Where the float32 numbers of a tensor in one piece lie.</summary>
    public static float* Pointer(Tensor tensor) => (float*)Address(tensor);

    /// <summary>Where a tensor in one piece lies. The memory is native and does not move; it lives as long as its tensor.</summary>
    public static void* Address(Tensor tensor)
    {
        if (tensor.numel() * tensor.ElementSize > int.MaxValue)
        {
            // Longer than a span can be.
            return First(tensor);
        }

        fixed (byte* first = tensor.bytes)
        {
            return first;
        }
    }

    /// <summary>Where a tensor's first number lies, in however many pieces the tensor is.</summary>
    public static void* First(Tensor tensor)
    {
        if (tensor.numel() * tensor.ElementSize <= int.MaxValue && tensor.is_contiguous())
        {
            return Address(tensor);
        }

        using Tensor one = tensor.as_strided([1], [1], tensor.storage_offset());
        return Address(one);
    }
}
