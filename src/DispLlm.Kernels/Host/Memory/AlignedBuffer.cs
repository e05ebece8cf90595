using System.Buffers;

namespace DispLlm.Kernels;

/// <summary>
/// Rented memory for float32 that begins at a cache line: an unaligned 512-bit vector always spans two lines, and is read twice.
/// </summary>
internal readonly unsafe ref struct AlignedBuffer
{
    /// <summary>The size of a cache line, in bytes.</summary>
    public const int Line = 64;

    private readonly float[] _rented;
    private readonly MemoryHandle _pin;

    public AlignedBuffer(long count)
    {
        _rented = ArrayPool<float>.Shared.Rent(checked((int)(count + (Line / sizeof(float)))));
        _pin = _rented.AsMemory().Pin();
        First = (float*)(((nuint)_pin.Pointer + Line - 1) & ~(nuint)(Line - 1));
    }

    /// <summary>The numbers of whole cache lines that hold as many: what follows them begins with a line.</summary>
    public static long RoundUpToCacheLine(long numbers) =>
        (numbers + (Line / sizeof(float)) - 1) / (Line / sizeof(float)) * (Line / sizeof(float));

    /// <summary>The first number.</summary>
    public float* First { get; }

    public void Dispose()
    {
        _pin.Dispose();
        ArrayPool<float>.Shared.Return(_rented);
    }
}
