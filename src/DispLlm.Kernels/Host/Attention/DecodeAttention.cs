using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Attention of a decode step to a key-value cache: float32 or bfloat16 in host memory, without gradient. Query heads that share keys are
/// computed together, so that each key and value is read from memory once.
/// </summary>
internal static unsafe class DecodeAttention
{
    // Positions whose values, and the next group's keys, are prefetched while scores are computed: the hardware prefetcher does not follow
    // the jump to the next group.
    private const long PrefetchedPositions = 8;

    private delegate void Attention(HostMatrix queries, in DecodePosition place, HostMatrix results);

    /// <summary>Whether the query is that of a decode step, and rows of keys and values are contiguous, as in a cache.</summary>
    public static bool CanHandle(Tensor query, Tensor key, Tensor value) =>
        query.size(2) == 1 && HostMatrix.IsContiguousHostWithoutGradient(query) && HasContiguousRows(key, query.dtype)
            && HasContiguousRows(value, query.dtype);

    /// <summary>Attention, of the query's shape.</summary>
    /// <param name="query"><c>[batch, heads, 1, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, positions, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, positions, head]</c>.</param>
    /// <param name="visible"><c>[batch, 1, 1, positions]</c>, bool; null for everything.</param>
    public static Tensor Apply(Tensor query, Tensor key, Tensor value, Tensor? visible) => Run(query, key, value, visible, Attend);

    /// <summary>The same in vectors of one width.</summary>
    internal static Tensor Apply<TVector, TWidth>(Tensor query, Tensor key, Tensor value, Tensor? visible)
        where TVector : struct
        where TWidth : IVectorWidth<TVector> => Run(query, key, value, visible, Attend<TVector, TWidth>);

    /// <summary>
    /// Attention of the output of projections: queries and keys are rotary-embedded in place, keys and values are written to the cache.
    /// </summary>
    /// <param name="queries"><c>[batch, heads x head]</c>.</param>
    /// <param name="keys"><c>[batch, key-value heads x head]</c>.</param>
    /// <param name="values">Of the same shape.</param>
    /// <param name="place">The position.</param>
    /// <param name="results"><c>[batch, heads x head]</c>.</param>
    public static void Apply(HostMatrix queries, HostMatrix keys, HostMatrix values, in DecodePosition place, HostMatrix results)
    {
        var (heldKeys, heldValues) = place.Held;
        if (place.Rotary is var (cosines, sines))
        {
            RotaryKernel.Apply(queries, heldKeys.Size, cosines, sines, inverse: false);
            RotaryKernel.Apply(keys, heldKeys.Size, cosines, sines, inverse: false);
        }

        WriteToCache(keys, heldKeys, place.Seen - 1);
        WriteToCache(values, heldValues, place.Seen - 1);
        Attend(queries, place, results);
    }

    private static Tensor Run(Tensor query, Tensor key, Tensor value, Tensor? visible, Attention attend)
    {
        Tensor result = DeviceKernels.EmptyLike(query, query.size(3));
        long width = query.size(1) * query.size(3);
        attend(HostMatrix.FromTensor(query, width),
            new DecodePosition(null, key.size(2), visible) { Held = (HostHeads.FromTensor(key), HostHeads.FromTensor(value)) },
            HostMatrix.FromTensor(result, width));
        HostMatrix.KeepAlive(query, key, value, visible);
        return result;
    }

    private static void Attend(HostMatrix queries, in DecodePosition place, HostMatrix results)
    {
        if (Vector512.IsHardwareAccelerated)
        {
            Attend<Vector512<float>, Width512>(queries, place, results);
        }
        else if (Vector256.IsHardwareAccelerated)
        {
            Attend<Vector256<float>, Width256>(queries, place, results);
        }
        else
        {
            Attend<Vector128<float>, Width128>(queries, place, results);
        }
    }

    private static void Attend<TVector, TWidth>(HostMatrix queries, in DecodePosition place, HostMatrix results)
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        if (queries.IsBFloat16)
        {
            Attend<ushort, BFloat16Format<TVector, TWidth>, TVector, TWidth>(
                queries, place.Held.Keys, place.Held.Values, place.Seen, place.Visible, results);
        }
        else
        {
            Attend<float, Float32Format<TVector, TWidth>, TVector, TWidth>(
                queries, place.Held.Keys, place.Held.Values, place.Seen, place.Visible, results);
        }
    }

    private static void Attend<T, TFormat, TVector, TWidth>(
        HostMatrix queries, HostHeads keys, HostHeads values, long seen, bool* sees, HostMatrix results)
        where T : unmanaged
        where TFormat : IWeightFormat<T, TVector>
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        long groups = keys.Count, size = keys.Size, shared = queries.Width / (groups * size);
        float scale = 1 / MathF.Sqrt(size);
        long packed = SmallBatchGemm<T, TFormat, TVector, TWidth>.PackedWidth(size);
        HostThreads.For(queries.Count * groups, 2 * shared * seen * size, shared * (seen + packed), (first, last, scratch) =>
        {
            float* packedQueries = scratch, scores = scratch + (shared * packed);
            for (long item = first; item < last; item++)
            {
                long row = item / groups, group = item % groups, head = group * shared * size;
                SmallBatchGemm<T, TFormat, TVector, TWidth>.Pack((T*)queries.At(row) + head, shared, size, packedQueries);
                T* groupKeys = (T*)keys.At(row, group, 0), groupValues = (T*)values.At(row, group, 0),
                    nextKeys = (T*)keys.At((item + 1) / groups, (item + 1) % groups, 0);
                for (long from = 0; from < seen; from += PrefetchedPositions)
                {
                    long count = Math.Min(PrefetchedPositions, seen - from);
                    Prefetch(groupValues + (from * size), count * size);
                    Prefetch(nextKeys + (from * size), item + 1 < last ? count * size : 0);
                    SmallBatchGemm<T, TFormat, TVector, TWidth>.ApplyFourOutputs(
                        packedQueries, shared, size, groupKeys + (from * size), count, scores + from, seen);
                }

                for (long query = 0; query < shared; query++)
                {
                    Softmax(scores + (query * seen), seen, sees is null ? null : sees + (row * seen), scale);
                }

                WeightedSum<T, TFormat, TVector, TWidth>.Compute(groupValues, scores, shared, (T*)results.At(row) + head, seen, size);
            }
        });
    }

    /// <summary>Writes the heads of a decode step to a cache.</summary>
    private static void WriteToCache(HostMatrix heads, HostHeads held, long position)
    {
        long bytes = held.Size * (heads.IsBFloat16 ? sizeof(ushort) : sizeof(float));
        for (long row = 0; row < heads.Count; row++)
        {
            for (long head = 0; head < held.Count; head++)
            {
                Buffer.MemoryCopy((byte*)heads.At(row) + (head * bytes), held.At(row, head, position), bytes, bytes);
            }
        }
    }

    private static bool HasContiguousRows(Tensor x, ScalarType type) =>
        x.device_type == DeviceType.CPU && x.dtype == type && !x.requires_grad && x.stride(3) == 1 && x.stride(2) == x.size(3);

    private static void Prefetch<T>(T* numbers, long count)
        where T : unmanaged
    {
        for (long at = 0; Sse.IsSupported && at < count; at += AlignedBuffer.Line / sizeof(T))
        {
            Sse.Prefetch1(numbers + at);
        }
    }

    /// <summary>The softmax of scores, in place; 0 where a position is masked.</summary>
    private static void Softmax(float* scores, long seen, bool* sees, float scale)
    {
        for (long position = 0; sees is not null && position < seen; position++)
        {
            scores[position] = sees[position] ? scores[position] : float.NegativeInfinity;
        }

        SoftmaxKernel.Forward(scores, seen, scale);
    }
}
