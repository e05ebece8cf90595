using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Heads <c>[batch, heads, seq, head]</c> in the CPU's memory, of which only features lie side by side: projections write positions behind each other, a cache heads. They are read and
/// written as float32, some positions of one head at a time.
/// </summary>
internal readonly unsafe struct HostHeads
{
    private readonly byte* _first;
    private readonly bool _narrow;
    private readonly long _row, _head, _position, _rows, _positions;

    private HostHeads(Tensor x)
    {
        _first = (byte*)HostMatrix.First(x);
        _narrow = x.dtype == ScalarType.BFloat16;
        (_row, _head, _position) = (x.stride(0), x.stride(1), x.stride(2));
        (_rows, Count, _positions, Size) = (x.size(0), x.size(1), x.size(2), x.size(3));
    }

    /// <summary>How many heads there are.</summary>
    public long Count { get; }

    /// <summary>Features of a head.</summary>
    public long Size { get; }

    /// <summary>Whether there are so many rows, and positions or more.</summary>
    public bool Holds(long rows, long positions) => _rows == rows && _positions >= positions;

    /// <summary>Whether tensors are on the CPU, all float32 or all bfloat16, with features side by side.</summary>
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

    /// <summary>The heads of a tensor that lies so. It has to be kept alive while they are used.</summary>
    public static HostHeads FromTensor(Tensor x) => new(x);

    /// <summary>Reads some positions of one head into rows <paramref name="stride"/> numbers apart.</summary>
    public void Read(long row, long head, long position, long count, float* to, long stride)
    {
        for (long i = 0; i < count; i++, to += stride)
        {
            void* from = At(row, head, position + i);
            if (_narrow)
            {
                BFloat16Conversion.Widen((ushort*)from, to, Size);
            }
            else
            {
                Buffer.MemoryCopy(from, to, Size * sizeof(float), Size * sizeof(float));
            }
        }
    }

    /// <summary>Writes some positions of one head, which lie side by side.</summary>
    public void Write(long row, long head, long position, long count, float* from)
    {
        for (long i = 0; i < count; i++, from += Size)
        {
            void* to = At(row, head, position + i);
            if (_narrow)
            {
                BFloat16Conversion.Narrow(from, (ushort*)to, Size);
            }
            else
            {
                Buffer.MemoryCopy(from, to, Size * sizeof(float), Size * sizeof(float));
            }
        }
    }

    /// <summary>Where the features of a head at one position lie.</summary>
    public void* At(long row, long head, long position) =>
        _first + (((row * _row) + (head * _head) + (position * _position)) * (_narrow ? sizeof(ushort) : sizeof(float)));
}
