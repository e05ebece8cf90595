using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Matrix products of few rows, as decoding needs them: float32 or bfloat16 on the CPU, no gradient. The framework computes one row on one core, and several rows at a fraction of the
/// memory's speed; here every weight is read once, by all cores, whatever the number of rows. Sums are float32 whatever the weights are.
/// </summary>
internal static unsafe class FewRowProduct
{
    /// <summary>Rows up to which this is the faster way: above, the framework's blocked product is.</summary>
    private static readonly long s_mostRows = Vector512.IsHardwareAccelerated ? 64 : 32;

    /// <summary>The same for bfloat16 where the processor has units for it; and for rows so short that calling the framework costs more than its units save.</summary>
    private const long MostRowsBesideUnits = 4, MostShortRowsBesideUnits = 16, LongestShortRow = 1024;

    /// <summary>Outputs whose sums stay in the cache until they are rounded.</summary>
    private const long AtOnce = 256;

    /// <summary>Whether this is the faster way for an input.</summary>
    public static bool Takes(Tensor x) => x.numel() <= x.size(-1) * Most(x) && HostRows.LieWithoutGradient(x);

    /// <summary>
    /// Linear projections of one input of few rows, computed together: <c>[..., in] -> [..., out]</c> each.
    /// </summary>
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
        long width = x.size(-1), rows = x.numel() / width;

        // A third of the lanes is what makes up for those that are empty; half of them where the rows' own way is at its best.
        long most = TWidth.Lanes / (FewRowKernels<T, TFormat, TVector, TWidth>.StayInFirstCache(rows, width) ? 2 : 3);
        return rows > most
            ? With<T, RowLaneKernels<T, TFormat, TVector, TWidth>>(x, projections)
            : With<T, FewRowKernels<T, TFormat, TVector, TWidth>>(x, projections);
    }

    private static Tensor[] With<T, TKernels>(Tensor x, ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
        where T : unmanaged
        where TKernels : IFewRowKernels<T>
    {
        long width = x.size(-1), rows = x.numel() / width, outputs = 0;
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

        using var room = new HostRoom(TKernels.ArrangedSize(rows, width));
        float* input = room.First;
        TKernels.Arrange((T*)HostRows.Address(x), rows, width, input);
        HostThreads.Share(outputs, width, ((rows + 1) * AtOnce) + TKernels.Scratch(rows), (first, last, scratch) =>
        {
            foreach (var part in parts)
            {
                long to = Math.Min(last, part.Offset + part.Count) - part.Offset;
                for (long from = Math.Max(first, part.Offset) - part.Offset; from < to; from += AtOnce)
                {
                    Compute<T, TKernels>(input, rows, width, part, from, Math.Min(AtOnce, to - from), scratch);
                }
            }
        });
        GC.KeepAlive(x);
        return results;
    }

    /// <summary>Some outputs of one projection, for all rows.</summary>
    private static void Compute<T, TKernels>(float* input, long rows, long width, Part<T> part, long from, long count, float* scratch)
        where T : unmanaged
        where TKernels : IFewRowKernels<T>
    {
        // float32 is computed where it belongs, and what is to be rounded beside it.
        bool inPlace = typeof(T) == typeof(float);
        float* rounded = scratch, biases = rounded + (rows * AtOnce), rest = biases + AtOnce;
        float* sums = inPlace ? (float*)part.Result + from : rounded;
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
                BFloat16Numbers.Narrow(sums + (row * stride), (ushort*)part.Result + (row * part.Count) + from, count);
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
