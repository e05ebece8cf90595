using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Heads <c>[batch, heads, seq, head]</c> in host memory, contiguous in their features only: a projection writes <c>[seq, heads]</c>, a
/// cache holds <c>[heads, seq]</c>. They are read and written as float32, some positions of one head at a time. The tensor has to be kept
/// alive.
/// </summary>
internal readonly unsafe struct HostHeads
{
    private readonly byte* _first;
    private readonly bool _isBFloat16;
    private readonly long _row, _head, _position;

    private HostHeads(Tensor x)
    {
        _first = (byte*)HostMatrix.FirstElement(x);
        _isBFloat16 = x.dtype == ScalarType.BFloat16;
        (_row, _head, _position) = (x.stride(0), x.stride(1), x.stride(2));
        (Count, Size) = (x.size(1), x.size(3));
    }

    /// <summary>The number of heads.</summary>
    public long Count { get; }

    /// <summary>Features of a head.</summary>
    public long Size { get; }

    /// <summary>Whether tensors are on the CPU, all float32 or all bfloat16, with contiguous features.</summary>
    public static bool IsContiguousHost(params ReadOnlySpan<Tensor> tensors)
    {
        var type = tensors[0].dtype;
        foreach (var x in tensors)
        {
            if (x.device_type != DeviceType.CPU || x.dtype != type || x.stride(3) != 1)
            {
                return false;
            }
        }

        return type is ScalarType.Float32 or ScalarType.BFloat16;
    }

    /// <summary>The heads of a tensor that <see cref="IsContiguousHost"/> accepts.</summary>
    public static HostHeads FromTensor(Tensor x) => new(x);

    /// <summary>Reads some positions of one head into rows with a stride.</summary>
    public void Read(long row, long head, long position, long count, float* to, long stride)
    {
        for (long i = 0; i < count; i++, to += stride)
        {
            void* from = At(row, head, position + i);
            if (_isBFloat16)
            {
                BFloat16Conversion.ToSingle((ushort*)from, to, Size);
            }
            else
            {
                Buffer.MemoryCopy(from, to, Size * sizeof(float), Size * sizeof(float));
            }
        }
    }

    /// <summary>Writes some positions of one head from contiguous rows.</summary>
    public void Write(long row, long head, long position, long count, float* from)
    {
        for (long i = 0; i < count; i++, from += Size)
        {
            void* to = At(row, head, position + i);
            if (_isBFloat16)
            {
                BFloat16Conversion.ToBFloat16(from, (ushort*)to, Size);
            }
            else
            {
                Buffer.MemoryCopy(from, to, Size * sizeof(float), Size * sizeof(float));
            }
        }
    }

    /// <summary>The address of a head's features at one position.</summary>
    public void* At(long row, long head, long position) =>
        _first + (((row * _row) + (head * _head) + (position * _position)) * (_isBFloat16 ? sizeof(ushort) : sizeof(float)));
}
