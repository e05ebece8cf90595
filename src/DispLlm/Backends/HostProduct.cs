using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Matrix products in vector code: float32 or bfloat16 on the CPU, no gradient. Of few rows, as decoding needs them, the framework computes one on one core, and several at a fraction of the
/// memory's speed; here every weight is read once for up to 128 rows, by all cores. Sums are float32 whatever the weights are.
/// </summary>
internal static unsafe class HostProduct
{
    /// <summary>Rows up to which this is faster than the framework's products where those are at home.</summary>
    private static readonly long s_manyRows = Vector512.IsHardwareAccelerated ? 64 : 32;

    /// <summary>
    /// Rows up to which this is the faster way. The framework's products are Intel's: on processors of others this is as fast or faster at any number of rows, and far faster where
    /// outputs are no multiple of what vectors hold.
    /// </summary>
    private static readonly long s_mostRows = IsIntels || !Vector256.IsHardwareAccelerated ? s_manyRows : long.MaxValue;

    /// <summary>Features from which many rows are taken.</summary>
    private static readonly long s_leastWidthOfMany = Vector512.IsHardwareAccelerated ? 128 : 1024;

    /// <summary>Rows that meet a weight together, as many as stay in the second cache beside it; and rows that are shared among threads together.</summary>
    private const long RowsAtOnce = 128, RowsShared = 4 * RowsAtOnce;

    /// <summary>Features up to which calling the framework costs more than its units for bfloat16 save.</summary>
    internal const long LongestShortRow = 1024;

    /// <summary>Rows up to which this is faster for bfloat16 where the processor has units for it, and where rows are short besides.</summary>
    private const long MostRowsBesideUnits = 4, MostShortRowsBesideUnits = 16;

    /// <summary>Outputs whose sums stay in the cache until they are rounded.</summary>
    private const long OutputsAtOnce = 256;

    /// <summary>Whether this is the faster way for an input.</summary>
    public static bool Takes(Tensor x)
    {
        long width = x.size(-1), rows = DeviceKernels.CountRows(x);
        return width > 0 && rows <= Most(x) && (rows <= s_manyRows || width >= s_leastWidthOfMany) && HostRows.LieWithoutGradient(x);
    }

    /// <summary>Linear projections of one input, computed together: <c>[..., in] -> [..., out]</c> each.</summary>
    public static Tensor[] Apply(Tensor x, params ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections) =>
        Vector512.IsHardwareAccelerated ? Apply<Vector512<float>, Width512>(x, projections)
        : Vector256.IsHardwareAccelerated ? Apply<Vector256<float>, Width256>(x, projections)
        : Apply<Vector128<float>, Width128>(x, projections);

    /// <summary>The same in vectors of one width.</summary>
    internal static Tensor[] Apply<TVector, TWidth>(Tensor x, params ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
        where TVector : struct
        where TWidth : IVectorWidth<TVector> => x.dtype == ScalarType.BFloat16
            ? Apply<ushort, BFloat16Format<TVector, TWidth>, TVector, TWidth>(x, projections)
            : Apply<float, Float32Format<TVector, TWidth>, TVector, TWidth>(x, projections);

    private static bool IsIntels => X86Base.IsSupported && X86Base.CpuId(0, 0).Ebx == 0x756E6547; // "Genu"

    private static long Most(Tensor x) =>
        x.dtype != ScalarType.BFloat16 || !BFloat16Units.Exist ? s_mostRows
        : BFloat16Units.AreTiles || x.size(-1) > LongestShortRow ? MostRowsBesideUnits
        : MostShortRowsBesideUnits;

    private static Tensor[] Apply<T, TFormat, TVector, TWidth>(Tensor x, ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
        where T : unmanaged
        where TFormat : IWeightFormat<T, TVector>
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        long width = x.size(-1), rows = DeviceKernels.CountRows(x);

        // A third of the lanes is what makes up for those that are empty; half of them where the rows' own way is at its best.
        long most = TWidth.Lanes / (FewRowKernels<T, TFormat, TVector, TWidth>.StayInFirstCache(rows, width) ? 2 : 3);
        return rows > most
            ? With<T, RowLaneKernels<T, TFormat, TVector, TWidth>>(x, rows, width, projections)
            : With<T, FewRowKernels<T, TFormat, TVector, TWidth>>(x, rows, width, projections);
    }

    private static Tensor[] With<T, TKernels>(Tensor x, long rows, long width, ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
        where T : unmanaged
        where TKernels : IHostProductKernels<T>
    {
        long outputs = 0;
        var results = new Tensor[projections.Length];
        var parts = new Part<T>[projections.Length];
        for (int i = 0; i < projections.Length; i++)
        {
            var (weight, bias) = projections[i];
            EnsureFits(x, weight, bias, width);
            long count = weight.size(0);
            results[i] = DeviceKernels.EmptyLike(x, count);
            parts[i] = new Part<T>(
                (T*)HostRows.Address(weight), bias is null ? null : HostRows.Address(bias), HostRows.Address(results[i]), count, outputs);
            outputs += count;
        }

        T* from = (T*)HostRows.Address(x);
        for (long first = 0; first < rows && outputs > 0; first += RowsShared)
        {
            Share<T, TKernels>(from + (first * width), first, Math.Min(RowsShared, rows - first), width, outputs, parts);
        }

        GC.KeepAlive(x);
        return results;
    }

    /// <summary>All outputs of some rows, shared among threads.</summary>
    private static void Share<T, TKernels>(T* x, long firstRow, long rows, long width, long outputs, Part<T>[] parts)
        where T : unmanaged
        where TKernels : IHostProductKernels<T>
    {
        long groups = (rows + RowsAtOnce - 1) / RowsAtOnce, most = Math.Min(rows, RowsAtOnce), size = TKernels.ArrangedSize(most, width);
        long RowsOf(long group) => Math.Min(most, rows - (group * most));

        using var room = new HostRoom(groups * size);
        float* input = room.First;
        for (long group = 0; group < groups; group++)
        {
            TKernels.Arrange(x + (group * most * width), RowsOf(group), width, input + (group * size));
        }

        HostThreads.Share(groups * outputs, width, ((most + 1) * OutputsAtOnce) + TKernels.Scratch(most), (first, last, scratch) =>
        {
            for (long group = first / outputs; group * outputs < last; group++)
            {
                foreach (var part in parts)
                {
                    long start = (group * outputs) + part.Offset, to = Math.Min(last - start, part.Count);
                    for (long from = Math.Max(first - start, 0); from < to; from += OutputsAtOnce)
                    {
                        Compute<T, TKernels>(
                            input + (group * size), firstRow + (group * most), RowsOf(group), width, part, from, Math.Min(OutputsAtOnce, to - from), scratch);
                    }
                }
            }
        });
    }

    /// <summary>Some outputs of one projection, for some rows.</summary>
    private static void Compute<T, TKernels>(float* input, long firstRow, long rows, long width, Part<T> part, long from, long count, float* scratch)
        where T : unmanaged
        where TKernels : IHostProductKernels<T>
    {
        // float32 is computed where it belongs, and what is to be rounded beside it.
        bool inPlace = typeof(T) == typeof(float);
        float* rounded = scratch, biases = rounded + (rows * OutputsAtOnce), rest = biases + OutputsAtOnce;
        long start = (firstRow * part.Count) + from;
        float* sums = inPlace ? (float*)part.Result + start : rounded;
        long stride = inPlace ? part.Count : count;
        TKernels.Apply(input, rows, width, part.Weight + (from * width), count, sums, stride, rest);
        float* bias = part.Bias is null || inPlace ? (float*)part.Bias + from : biases;
        if (part.Bias is not null && !inPlace)
        {
            BFloat16Numbers.Widen((ushort*)part.Bias + from, bias, count);
        }

        for (long row = 0; row < rows; row++)
        {
            if (part.Bias is not null)
            {
                HostNumbers.Add(sums + (row * stride), bias, count);
            }

            if (!inPlace)
            {
                BFloat16Numbers.Narrow(sums + (row * stride), (ushort*)part.Result + start + (row * part.Count), count);
            }
        }
    }

    private static void EnsureFits(Tensor x, Tensor weight, Tensor? bias, long width)
    {
        if (weight.size(1) != width)
        {
            throw new ArgumentException($"A projection of {weight.size(1)} features cannot be applied to {width}.", nameof(weight));
        }

        if (!HostRows.Lie(bias is null ? [x, weight] : [x, weight, bias]))
        {
            throw new ArgumentException($"A projection of {weight.dtype} cannot be applied to {x.dtype}; both have to be in one piece on the CPU.", nameof(weight));
        }
    }

    private readonly struct Part<T>(T* weight, void* bias, void* result, long count, long offset)
        where T : unmanaged
    {
        public readonly T* Weight = weight;
        public readonly void* Bias = bias, Result = result;
        public readonly long Count = count, Offset = offset;
    }
}
