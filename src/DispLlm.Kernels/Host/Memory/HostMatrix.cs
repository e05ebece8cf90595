using System.Runtime.CompilerServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// A matrix in host memory whose rows are read and written as float32: in place where it is float32, by way of scratch memory where it is
/// bfloat16. So each SIMD kernel is written once, for float32 rows. A row is short enough to stay in the cache. The tensor has to be kept
/// alive (<see cref="KeepAlive"/>).
/// </summary>
internal readonly unsafe struct HostMatrix
{
    private readonly void* _first;

    private HostMatrix(void* first, long count, long width, bool isBFloat16)
    {
        _first = first;
        Count = count;
        Width = width;
        IsBFloat16 = isBFloat16;
    }

    /// <summary>The number of rows.</summary>
    public long Count { get; }

    /// <summary>The number of columns.</summary>
    public long Width { get; }

    /// <summary>The scratch numbers that a row takes: none where rows are used in place.</summary>
    public long Scratch => IsBFloat16 ? Width : 0;

    /// <summary>Whether tensors are contiguous on the CPU, and all float32 or all bfloat16.</summary>
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

    /// <summary>The same, and none requires a gradient.</summary>
    public static bool IsContiguousHostWithoutGradient(params ReadOnlySpan<Tensor> tensors) =>
        !RowKernels.AnyHasGradient(tensors) && IsContiguousHost(tensors);

    /// <summary>The rows <c>[..., width]</c> of a tensor that <see cref="IsContiguousHost"/> accepts.</summary>
    public static HostMatrix FromTensor(Tensor x) => FromTensor(x, x.size(-1));

    /// <summary>The same numbers in rows of another width.</summary>
    public static HostMatrix FromTensor(Tensor x, long width) =>
        new(Address(x), width == 0 ? 0 : x.numel() / width, width, x.dtype == ScalarType.BFloat16);

    /// <summary>Whether numbers are bfloat16; else they are float32.</summary>
    public bool IsBFloat16 { get; }

    /// <summary>The address of a row.</summary>
    public void* At(long row) => (byte*)_first + (row * Width * (IsBFloat16 ? sizeof(ushort) : sizeof(float)));

    /// <summary>One of the rows.</summary>
    public HostMatrix Row(long row) => new(At(row), 1, Width, IsBFloat16);

    /// <summary>A row as float32: its own memory, or scratch.</summary>
    public float* Read(long row, float* scratch)
    {
        if (!IsBFloat16)
        {
            return (float*)At(row);
        }

        BFloat16Conversion.ToSingle((ushort*)At(row), scratch, Width);
        return scratch;
    }

    /// <summary>Copies a row as float32. The target may be the row itself.</summary>
    public void ReadInto(long row, float* numbers)
    {
        float* read = Read(row, numbers);
        if (read != numbers)
        {
            Buffer.MemoryCopy(read, numbers, Width * sizeof(float), Width * sizeof(float));
        }
    }

    /// <summary>Where a row is to be written as float32: its own memory, or scratch. <see cref="EndWrite"/> ends it.</summary>
    public float* BeginWrite(long row, float* scratch) => IsBFloat16 ? scratch : (float*)At(row);

    /// <summary>Rounds a row that was written to scratch into its place.</summary>
    public void EndWrite(long row, float* scratch)
    {
        if (IsBFloat16)
        {
            BFloat16Conversion.ToBFloat16(scratch, (ushort*)At(row), Width);
        }
    }

    /// <summary>The address of a contiguous float32 tensor.</summary>
    public static float* FloatPointer(Tensor tensor) => (float*)Address(tensor);

    /// <summary>The address of a contiguous tensor. The memory is native, does not move, and lives as long as its tensor.</summary>
    public static void* Address(Tensor tensor)
    {
        if (tensor.numel() * tensor.ElementSize > int.MaxValue)
        {
            // Longer than a span can be.
            return FirstElement(tensor);
        }

        fixed (byte* first = tensor.bytes)
        {
            return first;
        }
    }

    /// <summary>The address of the first number of a tensor of any strides.</summary>
    public static void* FirstElement(Tensor tensor)
    {
        if (tensor.numel() * tensor.ElementSize <= int.MaxValue && tensor.is_contiguous())
        {
            return Address(tensor);
        }

        using Tensor one = tensor.as_strided([1], [1], tensor.storage_offset());
        return Address(one);
    }

    /// <summary>Keeps the memory of tensors alive up to this call.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void KeepAlive(params ReadOnlySpan<Tensor?> tensors)
    {
        foreach (var tensor in tensors)
        {
            GC.KeepAlive(tensor);
        }
    }
}
