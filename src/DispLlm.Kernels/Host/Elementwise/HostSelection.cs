using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Selected numbers of rows in the CPU's memory. Indices of a selection ascend, so that a processor that can squeeze the marked lanes of a vector together, and spread them again, takes
/// sixteen numbers of a row at a time instead of one selected number.
/// </summary>
internal readonly unsafe struct HostSelection
{
    // Fewer rows are not worth marking lanes for.
    private const long FewestRows = 4;

    private readonly Tensor _index;
    private readonly long* _selected;
    private readonly long _width;
    private readonly ushort[]? _marks;

    /// <summary>A selection of some features.</summary>
    /// <param name="index"><c>[selected]</c>, int64, on the CPU and in one piece.</param>
    /// <param name="width">Features of a row.</param>
    /// <param name="rows">How many rows it will be used on.</param>
    public HostSelection(Tensor index, long width, long rows)
    {
        _index = index;
        _selected = (long*)HostMatrix.Address(index);
        _width = width;
        Count = index.numel();
        _marks = Avx512F.IsSupported && rows >= FewestRows ? Marks(_selected, Count, width) : null;
    }

    /// <summary>How many features are selected.</summary>
    public long Count { get; }

    /// <summary>Writes the selected ones of a row side by side.</summary>
    public void Pick(float* row, float* to)
    {
        if (_marks is null)
        {
            for (long i = 0; i < Count; i++)
            {
                to[i] = row[_selected[i]];
            }

            return;
        }

        long written = 0;
        for (int block = 0; block < _marks.Length; block++)
        {
            // Lanes behind the last marked one are written too, and written over by what comes next.
            var picked = Avx512F.Compress(Vector512<float>.Zero, Lanes(_marks[block]), SimdMath.Load(row, block * (long)SimdMath.Lanes, _width));
            SimdMath.Store(picked, to, written, Count);
            written += BitOperations.PopCount(_marks[block]);
        }
    }

    /// <summary>The same of numbers of 16 bits, which nothing is computed with.</summary>
    public void Pick(ushort* row, ushort* to)
    {
        long written = 0;
        int block = 0;
        if (_marks is not null && Avx512Vbmi2.IsSupported)
        {
            // Two blocks at a time, where there is room for all lanes.
            for (; (block + 2) * (long)SimdMath.Lanes <= _width && written + Vector512<ushort>.Count <= Count; block += 2)
            {
                uint marks = _marks[block] | ((uint)_marks[block + 1] << SimdMath.Lanes);
                var numbers = Vector512.Load(row + (block * (long)SimdMath.Lanes));
                Avx512Vbmi2.Compress(Vector512<ushort>.Zero, Lanes(marks), numbers).Store(to + written);
                written += BitOperations.PopCount(marks);
            }
        }

        for (; written < Count; written++)
        {
            to[written] = row[_selected[written]];
        }
    }

    /// <summary>Adds numbers that stand side by side to the selected ones of a row.</summary>
    public void AddAt(float* row, float* added)
    {
        if (_marks is null)
        {
            for (long i = 0; i < Count; i++)
            {
                row[_selected[i]] += added[i];
            }

            return;
        }

        long read = 0;
        for (int block = 0; block < _marks.Length; block++)
        {
            long first = block * (long)SimdMath.Lanes;
            var spread = Avx512F.Expand(Vector512<float>.Zero, Lanes(_marks[block]), SimdMath.Load(added, read, Count));
            SimdMath.Store(SimdMath.Load(row, first, _width) + spread, row, first, _width);
            read += BitOperations.PopCount(_marks[block]);
        }
    }

    /// <summary>Keeps the indices alive up to here.</summary>
    public void KeepAlive() => GC.KeepAlive(_index);

    /// <summary>A bit for each feature; null where indices do not ascend.</summary>
    private static ushort[]? Marks(long* selected, long count, long width)
    {
        ushort[] marks = new ushort[(width + SimdMath.Lanes - 1) / SimdMath.Lanes];
        for (long i = 0; i < count; i++)
        {
            if (i > 0 && selected[i] <= selected[i - 1])
            {
                return null;
            }

            marks[selected[i] / SimdMath.Lanes] |= (ushort)(1 << (int)(selected[i] % SimdMath.Lanes));
        }

        return marks;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Lanes(ushort marks)
    {
        var bits = Vector512.Create(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768);
        return Vector512.Equals(Vector512.Create((int)marks) & bits, bits).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ushort> Lanes(uint marks)
    {
        var bits = Vector512.Create(Vector256.Create((ushort)1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768));
        return Vector512.Equals(Vector512.Create(Vector256.Create((ushort)marks), Vector256.Create((ushort)(marks >> SimdMath.Lanes))) & bits, bits);
    }
}
