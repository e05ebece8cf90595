using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Selected features of rows in host memory: gather and scatter-add. The indices of a selection ascend, so AVX-512's compress and expand
/// handle sixteen features of a row at a time.
/// </summary>
internal readonly unsafe struct HostSelection
{
    // Bit masks cost more than they save for fewer rows.
    private const long MinRows = 4;

    private readonly long* _selected;
    private readonly long _width;
    private readonly ushort[]? _masks;

    /// <summary>A selection of features.</summary>
    /// <param name="index"><c>[selected]</c>, int64, contiguous on the CPU; kept alive by the caller.</param>
    /// <param name="width">Features of a row.</param>
    /// <param name="rows">The number of rows that it will be used on.</param>
    public HostSelection(Tensor index, long width, long rows)
    {
        _selected = (long*)HostMatrix.Address(index);
        _width = width;
        Count = index.numel();
        _masks = Avx512F.IsSupported && rows >= MinRows ? CreateMasks(_selected, Count, width) : null;
    }

    /// <summary>The selection of an index for rows like those of a tensor; null without an index.</summary>
    public static HostSelection? FromIndex(Tensor? index, Tensor x) =>
        index is null ? null : new HostSelection(index, x.size(-1), DeviceKernels.CountRows(x));

    /// <summary>The number of selected features.</summary>
    public long Count { get; }

    /// <summary>Writes the selected features of a row contiguously.</summary>
    public void Gather(float* row, float* to)
    {
        if (_masks is null)
        {
            for (long i = 0; i < Count; i++)
            {
                to[i] = row[_selected[i]];
            }

            return;
        }

        long written = 0;
        for (int block = 0; block < _masks.Length; block++)
        {
            // Lanes after the last selected one are written too, and overwritten by the next block.
            var selected = Avx512F.Compress(
                Vector512<float>.Zero, Lanes(_masks[block]), SimdMath.Load(row, block * (long)SimdMath.Lanes, _width));
            SimdMath.Store(selected, to, written, Count);
            written += BitOperations.PopCount(_masks[block]);
        }
    }

    /// <summary>The same for 16-bit numbers, as they are.</summary>
    public void Gather(ushort* row, ushort* to)
    {
        long written = 0;
        int block = 0;
        if (_masks is not null && Avx512Vbmi2.IsSupported)
        {
            // Two blocks at a time, as long as a whole vector fits.
            for (; (block + 2) * (long)SimdMath.Lanes <= _width && written + Vector512<ushort>.Count <= Count; block += 2)
            {
                uint mask = _masks[block] | ((uint)_masks[block + 1] << SimdMath.Lanes);
                var numbers = Vector512.Load(row + (block * (long)SimdMath.Lanes));
                Avx512Vbmi2.Compress(Vector512<ushort>.Zero, Lanes(mask), numbers).Store(to + written);
                written += BitOperations.PopCount(mask);
            }
        }

        for (; written < Count; written++)
        {
            to[written] = row[_selected[written]];
        }
    }

    /// <summary>Adds contiguous numbers to the selected features of a row.</summary>
    public void ScatterAdd(float* row, float* added)
    {
        if (_masks is null)
        {
            for (long i = 0; i < Count; i++)
            {
                row[_selected[i]] += added[i];
            }

            return;
        }

        long read = 0;
        for (int block = 0; block < _masks.Length; block++)
        {
            long first = block * (long)SimdMath.Lanes;
            var spread = Avx512F.Expand(Vector512<float>.Zero, Lanes(_masks[block]), SimdMath.Load(added, read, Count));
            SimdMath.Store(SimdMath.Load(row, first, _width) + spread, row, first, _width);
            read += BitOperations.PopCount(_masks[block]);
        }
    }

    /// <summary>A bit for each feature; null where the indices do not ascend.</summary>
    private static ushort[]? CreateMasks(long* selected, long count, long width)
    {
        ushort[] masks = new ushort[(width + SimdMath.Lanes - 1) / SimdMath.Lanes];
        for (long i = 0; i < count; i++)
        {
            if (i > 0 && selected[i] <= selected[i - 1])
            {
                return null;
            }

            masks[selected[i] / SimdMath.Lanes] |= (ushort)(1 << (int)(selected[i] % SimdMath.Lanes));
        }

        return masks;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Lanes(ushort mask)
    {
        var bits = Vector512.Create(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768);
        return Vector512.Equals(Vector512.Create((int)mask) & bits, bits).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ushort> Lanes(uint mask)
    {
        var bits = Vector512.Create(Vector256.Create((ushort)1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768));
        return Vector512.Equals(
            Vector512.Create(Vector256.Create((ushort)mask), Vector256.Create((ushort)(mask >> SimdMath.Lanes))) & bits, bits);
    }
}
