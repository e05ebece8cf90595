using System.Buffers;

namespace DispLlm.Kernels;

/// <summary>
/// Memory for numbers for a while, from where a cache line begins: a vector that lies across two lines is read twice, which at 512 bits would be every one.
/// </summary>
internal readonly unsafe ref struct AlignedBuffer
{
    /// <summary>Bytes of a cache line.</summary>
    public const int Line = 64;

    private readonly float[] _rented;
    private readonly MemoryHandle _pin;

    public AlignedBuffer(long count)
    {
        _rented = ArrayPool<float>.Shared.Rent(checked((int)(count + (Line / sizeof(float)))));
        _pin = _rented.AsMemory().Pin();
        First = (float*)(((nuint)_pin.Pointer + Line - 1) & ~(nuint)(Line - 1));
    }

    /// <summary>As many numbers as fill the cache lines that some numbers take, so that what lies behind them begins with a line.</summary>
    public static long RoundUpToCacheLine(long numbers) => (numbers + (Line / sizeof(float)) - 1) / (Line / sizeof(float)) * (Line / sizeof(float));

    /// <summary>The first of the numbers.</summary>
    public float* First { get; }

    public void Dispose()
    {
        _pin.Dispose();
        ArrayPool<float>.Shared.Return(_rented);
    }
}
