using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Attention of one position to everything that a cache holds: float32 or bfloat16 on the CPU, no gradient. All query heads that share keys go through them together, so that
/// every key and value is read from memory once.
/// </summary>
internal static unsafe class OnePositionAttention
{
    // Positions whose values, and the next group's keys, are fetched while scores are computed: each group lies elsewhere, and memory foresees no jump.
    private const long FetchedAtOnce = 8;

    /// <summary>Whether a query is one position, and keys and values lie row by row as a cache holds them.</summary>
    public static bool Takes(Tensor query, Tensor key, Tensor value) =>
        query.size(2) == 1 && HostRows.LieWithoutGradient(query) && LiesByRows(key, query.dtype) && LiesByRows(value, query.dtype);

    /// <summary>Attention, of the query's shape.</summary>
    /// <param name="query"><c>[batch, heads, 1, head]</c> or <c>[batch, 1, heads x head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, positions, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, positions, head]</c>.</param>
    /// <param name="seen">How many of the positions there are to see, from the first one on.</param>
    /// <param name="visible"><c>[batch, 1, 1, seen]</c>, bool; null for everything.</param>
    public static Tensor Apply(Tensor query, Tensor key, Tensor value, long seen, Tensor? visible) =>
        Vector512.IsHardwareAccelerated ? Apply<Vector512<float>, Width512>(query, key, value, seen, visible)
        : Vector256.IsHardwareAccelerated ? Apply<Vector256<float>, Width256>(query, key, value, seen, visible)
        : Apply<Vector128<float>, Width128>(query, key, value, seen, visible);

    /// <summary>The same in vectors of one width.</summary>
    internal static Tensor Apply<TVector, TWidth>(Tensor query, Tensor key, Tensor value, long seen, Tensor? visible)
        where TVector : struct
        where TWidth : IVectorWidth<TVector> => query.dtype == ScalarType.BFloat16
            ? Apply<ushort, BFloat16Format<TVector, TWidth>, TVector, TWidth>(query, key, value, seen, visible)
            : Apply<float, Float32Format<TVector, TWidth>, TVector, TWidth>(query, key, value, seen, visible);

    private static Tensor Apply<T, TFormat, TVector, TWidth>(Tensor query, Tensor key, Tensor value, long seen, Tensor? visible)
        where T : unmanaged
        where TFormat : IWeightFormat<T, TVector>
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        long batch = key.size(0), groups = key.size(1), size = key.size(3), heads = query.numel() / (batch * size), shared = heads / groups;
        Tensor result = DeviceKernels.EmptyLike(query, query.size(-1));
        T* queries = (T*)HostRows.Address(query), keys = (T*)First(key), values = (T*)First(value), results = (T*)HostRows.Address(result);
        long keyBatch = key.stride(0), keyGroup = key.stride(1), valueBatch = value.stride(0), valueGroup = value.stride(1);
        bool* sees = visible is null ? null : (bool*)HostRows.Address(visible);
        float scale = 1 / MathF.Sqrt(size);
        long arranged = FewRowKernels<T, TFormat, TVector, TWidth>.ArrangedWidth(size);
        HostThreads.Share(batch * groups, 2 * shared * seen * size, shared * (seen + arranged), (first, last, scratch) =>
        {
            float* asked = scratch, scores = scratch + (shared * arranged);
            for (long item = first; item < last; item++)
            {
                long row = item / groups, group = item % groups, head = ((row * heads) + (group * shared)) * size;
                FewRowKernels<T, TFormat, TVector, TWidth>.Arrange(queries + head, shared, size, asked);
                T* groupKeys = keys + (row * keyBatch) + (group * keyGroup), groupValues = values + (row * valueBatch) + (group * valueGroup);
                T* nextKeys = keys + ((item + 1) / groups * keyBatch) + ((item + 1) % groups * keyGroup);
                for (long from = 0; from < seen; from += FetchedAtOnce)
                {
                    long count = Math.Min(FetchedAtOnce, seen - from);
                    Fetch(groupValues + (from * size), count * size);
                    Fetch(nextKeys + (from * size), item + 1 < last ? count * size : 0);
                    FewRowKernels<T, TFormat, TVector, TWidth>.Apply(asked, shared, size, groupKeys + (from * size), count, scores + from, seen, null);
                }

                for (long query = 0; query < shared; query++)
                {
                    Weigh(scores + (query * seen), seen, sees is null ? null : sees + (row * seen), scale);
                }

                WeightedMeans<T, TFormat, TVector, TWidth>.Of(groupValues, scores, shared, results + head, seen, size);
            }
        });
        GC.KeepAlive(query);
        GC.KeepAlive(key);
        GC.KeepAlive(value);
        GC.KeepAlive(visible);
        return result;
    }

    /// <summary>Puts one position's heads <c>[batch, 1, heads x head]</c> where a cache <c>[batch, heads, capacity, head]</c> holds it.</summary>
    public static void Put(Tensor heads, Tensor held, long position)
    {
        HostRows from = HostRows.Of(heads, held.size(3)), to = HostRows.Of(held);
        long capacity = held.size(2), bytes = held.size(3) * held.ElementSize;
        for (long head = 0; head < from.Count; head++)
        {
            Buffer.MemoryCopy(from.At(head), to.At((head * capacity) + position), bytes, bytes);
        }

        GC.KeepAlive(heads);
        GC.KeepAlive(held);
    }

    private static bool LiesByRows(Tensor x, ScalarType type) =>
        x.device_type == DeviceType.CPU && x.dtype == type && !x.requires_grad && x.stride(3) == 1 && x.stride(2) == x.size(3);

    private static void* First(Tensor x) => x.is_contiguous() ? HostRows.Address(x) : HostRows.First(x);

    private static void Fetch<T>(T* numbers, long count)
        where T : unmanaged
    {
        for (long at = 0; Sse.IsSupported && at < count; at += HostRoom.Line / sizeof(T))
        {
            Sse.Prefetch1(numbers + at);
        }
    }

    /// <summary>Turns scores into what positions weigh, 0 where one is not seen: a softmax.</summary>
    private static void Weigh(float* scores, long seen, bool* sees, float scale)
    {
        for (long position = 0; sees is not null && position < seen; position++)
        {
            scores[position] = sees[position] ? scores[position] : float.NegativeInfinity;
        }

        float sum = HostNumbers.Exponentials(scores, scores, seen, HostNumbers.Highest(scores, seen), scale);
        HostNumbers.Scale(scores, seen, 1 / sum);
    }
}
