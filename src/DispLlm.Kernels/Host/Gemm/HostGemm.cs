using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Linear projections by SIMD kernels: float32 or bfloat16 in host memory, without gradient. libtorch computes one row, as a decode step
/// has it, on one core, and a few rows at a fraction of the memory's speed. Here each weight is read once for up to 128 rows, on all cores.
/// Sums are float32.
/// </summary>
internal static unsafe class HostGemm
{
    /// <summary>Rows up to which this is faster than MKL on every processor.</summary>
    private static readonly long s_maxRowsAnywhere = Vector512.IsHardwareAccelerated ? 64 : 32;

    /// <summary>
    /// Rows up to which this is faster than MKL. On processors with AVX512-BF16 but without AMX (Zen 4, Zen 5) it is at any number: a
    /// float32 prefill of 512 tokens takes 1.3x to 1.5x as long with MKL (hidden size 2048, MLP 5632 or 8192, and odd widths).
    /// </summary>
    private static readonly long s_maxRows =
        Vector512.IsHardwareAccelerated && BFloat16Support.IsAvailable && !BFloat16Support.HasAmx ? long.MaxValue : s_maxRowsAnywhere;

    /// <summary>Features from which more than <see cref="s_maxRowsAnywhere"/> rows are faster.</summary>
    private const long MinWidthOfManyRows = 128;

    /// <summary>Rows that stay in the L2 cache beside a weight; and rows that are distributed over threads together.</summary>
    private const long RowsPerGroup = 128, RowsPerPass = 4 * RowsPerGroup;

    /// <summary>Features up to which a call of libtorch costs more than AVX512-BF16 saves.</summary>
    private const long MaxShortRow = 1024;

    /// <summary>
    /// Rows up to which this is faster in bfloat16 on a processor with AVX512-BF16, and on one without AMX where rows are short.
    /// </summary>
    private const long MaxBFloat16Rows = 4, MaxShortBFloat16Rows = 16;

    /// <summary>Outputs whose sums stay in the cache until they are rounded.</summary>
    private const long OutputsPerBlock = 256;

    /// <summary>Whether this is faster than libtorch for an input.</summary>
    public static bool CanHandle(Tensor x) =>
        x.size(-1) is > 0 and var width && x.numel() / width <= MaxRows(width, x.dtype == ScalarType.BFloat16)
            && HostMatrix.IsContiguousHostWithoutGradient(x);

    /// <summary>Rows of a width up to which this is faster than libtorch; 0 where there are no features.</summary>
    public static long MaxRows(long width, bool isBFloat16)
    {
        long max = !isBFloat16 || !BFloat16Support.IsAvailable ? s_maxRows
            : BFloat16Support.HasAmx || width > MaxShortRow ? MaxBFloat16Rows
            : MaxShortBFloat16Rows;
        return width == 0 ? 0 : width >= MinWidthOfManyRows ? max : Math.Min(max, s_maxRowsAnywhere);
    }

    /// <summary>Linear projections of one input, computed together: <c>[..., in] -> [..., out]</c> each.</summary>
    public static Tensor[] Apply(Tensor x, params ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
    {
        var (results, parts) = CreateResults(x, projections);
        Apply(HostMatrix.FromTensor(x), parts);
        HostMatrix.KeepAlive(x);
        return results;
    }

    /// <summary>The same in vectors of one width.</summary>
    internal static Tensor[] Apply<TVector, TWidth>(Tensor x, params ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        var (results, parts) = CreateResults(x, projections);
        Apply<TVector, TWidth>(HostMatrix.FromTensor(x), parts);
        HostMatrix.KeepAlive(x);
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
        if (x.IsBFloat16)
        {
            Apply<ushort, BFloat16Format<TVector, TWidth>, TVector, TWidth>(x, projections);
        }
        else
        {
            Apply<float, Float32Format<TVector, TWidth>, TVector, TWidth>(x, projections);
        }
    }

    private static void Apply<T, TFormat, TVector, TWidth>(HostMatrix x, HostLinear[] projections)
        where T : unmanaged
        where TFormat : IWeightFormat<T, TVector>
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        // Batched GEMM pays from a third of the lanes on; from half of them where small-batch GEMM is at its best.
        long max = TWidth.Lanes / (SmallBatchGemm<T, TFormat, TVector, TWidth>.FitsL1Cache(x.Count, x.Width) ? 2 : 3);
        if (x.Count > max)
        {
            Run<T, BatchedGemm<T, TFormat, TVector, TWidth>>(x, projections);
        }
        else
        {
            Run<T, SmallBatchGemm<T, TFormat, TVector, TWidth>>(x, projections);
        }
    }

    private static void Run<T, TKernels>(HostMatrix x, HostLinear[] projections)
        where T : unmanaged
        where TKernels : IHostGemm<T>
    {
        long outputs = 0;
        foreach (var projection in projections)
        {
            outputs += projection.Weight.Count;
        }

        for (long first = 0; first < x.Count && outputs > 0; first += RowsPerPass)
        {
            RunPass<T, TKernels>((T*)x.At(first), first, Math.Min(RowsPerPass, x.Count - first), x.Width, outputs, projections);
        }
    }

    /// <summary>All outputs of some rows, distributed over threads.</summary>
    private static void RunPass<T, TKernels>(T* x, long firstRow, long rows, long width, long outputs, HostLinear[] projections)
        where T : unmanaged
        where TKernels : IHostGemm<T>
    {
        long groups = (rows + RowsPerGroup - 1) / RowsPerGroup, max = Math.Min(rows, RowsPerGroup), size = TKernels.PackedSize(max, width);
        long RowsIn(long group) => Math.Min(max, rows - (group * max));

        using var packed = new AlignedBuffer(groups * size);
        float* input = packed.First;
        for (long group = 0; group < groups; group++)
        {
            TKernels.Pack(x + (group * max * width), RowsIn(group), width, input + (group * size));
        }

        HostThreads.For(groups * outputs, width, ((max + 1) * OutputsPerBlock) + TKernels.Scratch(max), (first, last, scratch) =>
        {
            for (long group = first / outputs; group * outputs < last; group++)
            {
                long start = group * outputs;
                foreach (var projection in projections)
                {
                    long to = Math.Min(last - start, projection.Weight.Count);
                    for (long from = Math.Max(first - start, 0); from < to; from += OutputsPerBlock)
                    {
                        Compute<T, TKernels>(
                            input + (group * size), firstRow + (group * max), RowsIn(group), projection, from,
                                Math.Min(OutputsPerBlock, to - from), scratch);
                    }

                    start += projection.Weight.Count;
                }
            }
        });
    }

    /// <summary>Some outputs of one projection, for some rows.</summary>
    private static void Compute<T, TKernels>(
        float* input, long firstRow, long rows, HostLinear projection, long from, long count, float* scratch)
        where T : unmanaged
        where TKernels : IHostGemm<T>
    {
        // float32 is computed in place, bfloat16 in scratch memory and rounded.
        var (weight, biases, results) = projection;
        bool inPlace = typeof(T) == typeof(float);
        float* rounded = scratch, biasScratch = rounded + (rows * OutputsPerBlock), rest = biasScratch + OutputsPerBlock;
        T* result = (T*)results.At(firstRow) + from;
        float* sums = inPlace ? (float*)result : rounded;
        long stride = inPlace ? weight.Count : count;
        TKernels.Apply(input, rows, weight.Width, (T*)weight.At(from), count, sums, stride, rest);
        float* bias = null;
        if (biases is { } row)
        {
            T* added = (T*)row.At(0) + from;
            bias = inPlace ? (float*)added : biasScratch;
            if (!inPlace)
            {
                BFloat16Conversion.ToSingle((ushort*)added, bias, count);
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
                BFloat16Conversion.ToBFloat16(sums + (i * stride), (ushort*)result + (i * weight.Count), count);
            }
        }
    }

    /// <summary>Tensors of the results, and projections into them.</summary>
    private static (Tensor[] Results, HostLinear[] Parts) CreateResults(Tensor x, ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
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
            throw new ArgumentException(
                $"A projection of {weight.dtype} cannot be applied to {x.dtype}; both have to be contiguous on the CPU.", nameof(weight));
        }
    }
}
