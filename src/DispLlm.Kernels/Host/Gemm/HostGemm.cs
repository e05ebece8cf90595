using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Matrix products in vector code: float32 or bfloat16 on the CPU, no gradient. Of few rows, as decoding needs them, the framework computes one on one core, and several at a fraction of the
/// memory's speed; here every weight is read once for up to 128 rows, by all cores. Sums are float32 whatever the weights are.
/// </summary>
internal static unsafe class HostGemm
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
    public static bool CanHandle(Tensor x) =>
        x.size(-1) is > 0 and var width && x.numel() / width <= MostRows(width, x.dtype == ScalarType.BFloat16) && HostMatrix.IsContiguousHostWithoutGradient(x);

    /// <summary>Rows of so many features up to which this is the faster way; none where there are no features, and nothing is computed.</summary>
    public static long MostRows(long width, bool narrow)
    {
        long most = !narrow || !BFloat16Support.IsAvailable ? s_mostRows
            : BFloat16Support.HasAmx || width > LongestShortRow ? MostRowsBesideUnits
            : MostShortRowsBesideUnits;
        return width == 0 ? 0 : width >= s_leastWidthOfMany ? most : Math.Min(most, s_manyRows);
    }

    /// <summary>Linear projections of one input, computed together: <c>[..., in] -> [..., out]</c> each.</summary>
    public static Tensor[] Apply(Tensor x, params ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
    {
        var (results, parts) = Parts(x, projections);
        Apply(HostMatrix.FromTensor(x), parts);
        GC.KeepAlive(x);
        return results;
    }

    /// <summary>The same in vectors of one width.</summary>
    internal static Tensor[] Apply<TVector, TWidth>(Tensor x, params ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        var (results, parts) = Parts(x, projections);
        Apply<TVector, TWidth>(HostMatrix.FromTensor(x), parts);
        GC.KeepAlive(x);
        return results;
    }

    /// <summary>Linear projections of the same rows, computed together.</summary>
    public static void Apply(HostMatrix x, params HostLinear[] projections)
    {
        if (Vector512.IsHardwareAccelerated)
        {
            Apply<Vector512<float>, Width512>(x, projections);
        }
        else if (Vector256.IsHardwareAccelerated)
        {
            Apply<Vector256<float>, Width256>(x, projections);
        }
        else
        {
            Apply<Vector128<float>, Width128>(x, projections);
        }
    }

    private static void Apply<TVector, TWidth>(HostMatrix x, HostLinear[] projections)
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        if (x.AreNarrow)
        {
            Apply<ushort, BFloat16Format<TVector, TWidth>, TVector, TWidth>(x, projections);
        }
        else
        {
            Apply<float, Float32Format<TVector, TWidth>, TVector, TWidth>(x, projections);
        }
    }

    private static bool IsIntels => X86Base.IsSupported && X86Base.CpuId(0, 0).Ebx == 0x756E6547; // "Genu"

    private static void Apply<T, TFormat, TVector, TWidth>(HostMatrix x, HostLinear[] projections)
        where T : unmanaged
        where TFormat : IWeightFormat<T, TVector>
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        // A third of the lanes is what makes up for those that are empty; half of them where the rows' own way is at its best.
        long most = TWidth.Lanes / (SmallBatchGemm<T, TFormat, TVector, TWidth>.StayInFirstCache(x.Count, x.Width) ? 2 : 3);
        if (x.Count > most)
        {
            With<T, BatchedGemm<T, TFormat, TVector, TWidth>>(x, projections);
        }
        else
        {
            With<T, SmallBatchGemm<T, TFormat, TVector, TWidth>>(x, projections);
        }
    }

    private static void With<T, TKernels>(HostMatrix x, HostLinear[] projections)
        where T : unmanaged
        where TKernels : IHostGemm<T>
    {
        long outputs = 0;
        foreach (var projection in projections)
        {
            outputs += projection.Weight.Count;
        }

        for (long first = 0; first < x.Count && outputs > 0; first += RowsShared)
        {
            Share<T, TKernels>((T*)x.At(first), first, Math.Min(RowsShared, x.Count - first), x.Width, outputs, projections);
        }
    }

    /// <summary>All outputs of some rows, shared among threads.</summary>
    private static void Share<T, TKernels>(T* x, long firstRow, long rows, long width, long outputs, HostLinear[] projections)
        where T : unmanaged
        where TKernels : IHostGemm<T>
    {
        long groups = (rows + RowsAtOnce - 1) / RowsAtOnce, most = Math.Min(rows, RowsAtOnce), size = TKernels.ArrangedSize(most, width);
        long RowsOf(long group) => Math.Min(most, rows - (group * most));

        using var room = new AlignedBuffer(groups * size);
        float* input = room.First;
        for (long group = 0; group < groups; group++)
        {
            TKernels.Arrange(x + (group * most * width), RowsOf(group), width, input + (group * size));
        }

        HostThreads.Share(groups * outputs, width, ((most + 1) * OutputsAtOnce) + TKernels.Scratch(most), (first, last, scratch) =>
        {
            for (long group = first / outputs; group * outputs < last; group++)
            {
                long start = group * outputs;
                foreach (var projection in projections)
                {
                    long to = Math.Min(last - start, projection.Weight.Count);
                    for (long from = Math.Max(first - start, 0); from < to; from += OutputsAtOnce)
                    {
                        Compute<T, TKernels>(
                            input + (group * size), firstRow + (group * most), RowsOf(group), projection, from, Math.Min(OutputsAtOnce, to - from), scratch);
                    }

                    start += projection.Weight.Count;
                }
            }
        });
    }

    /// <summary>Some outputs of one projection, for some rows.</summary>
    private static void Compute<T, TKernels>(float* input, long firstRow, long rows, HostLinear projection, long from, long count, float* scratch)
        where T : unmanaged
        where TKernels : IHostGemm<T>
    {
        // float32 is computed where it belongs, and what is to be rounded beside it.
        var (weight, biases, results) = projection;
        bool inPlace = typeof(T) == typeof(float);
        float* rounded = scratch, widened = rounded + (rows * OutputsAtOnce), rest = widened + OutputsAtOnce;
        T* result = (T*)results.At(firstRow) + from;
        float* sums = inPlace ? (float*)result : rounded;
        long stride = inPlace ? weight.Count : count;
        TKernels.Apply(input, rows, weight.Width, (T*)weight.At(from), count, sums, stride, rest);
        float* bias = null;
        if (biases is { } row)
        {
            T* added = (T*)row.At(0) + from;
            bias = inPlace ? (float*)added : widened;
            if (!inPlace)
            {
                BFloat16Conversion.Widen((ushort*)added, bias, count);
            }
        }

        for (long i = 0; i < rows; i++)
        {
            if (bias is not null)
            {
                SimdMath.Add(sums + (i * stride), bias, count);
            }

            if (!inPlace)
            {
                BFloat16Conversion.Narrow(sums + (i * stride), (ushort*)result + (i * weight.Count), count);
            }
        }
    }

    /// <summary>Tensors for the results, and projections into them.</summary>
    private static (Tensor[] Results, HostLinear[] Parts) Parts(Tensor x, ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
    {
        long width = x.size(-1);
        var results = new Tensor[projections.Length];
        var parts = new HostLinear[projections.Length];
        for (int i = 0; i < projections.Length; i++)
        {
            var (weight, bias) = projections[i];
            EnsureFits(x, weight, bias, width);
            results[i] = DeviceKernels.EmptyLike(x, weight.size(0));
            parts[i] = HostLinear.FromTensors(weight, bias) with { Result = HostMatrix.FromTensor(results[i]) };
        }

        return (results, parts);
    }

    private static void EnsureFits(Tensor x, Tensor weight, Tensor? bias, long width)
    {
        if (weight.size(1) != width)
        {
            throw new ArgumentException($"A projection of {weight.size(1)} features cannot be applied to {width}.", nameof(weight));
        }

        if (!HostMatrix.IsContiguousHost(bias is null ? [x, weight] : [x, weight, bias]))
        {
            throw new ArgumentException($"A projection of {weight.dtype} cannot be applied to {x.dtype}; both have to be in one piece on the CPU.", nameof(weight));
        }
    }
}
