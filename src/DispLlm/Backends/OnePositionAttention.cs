using System.Numerics;
using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Attention of one position to everything that a cache holds: float32 or bfloat16 on the CPU, no gradient. All query heads that share keys go through them together, so that
/// every key and value is read from memory once.
/// </summary>
internal static unsafe class OnePositionAttention
{
    /// <summary>Whether a query is one position, and keys and values lie row by row as a cache holds them.</summary>
    public static bool Takes(Tensor query, Tensor key, Tensor value) =>
        query.size(2) == 1 && HostRows.LieWithoutGradient(query) && LiesByRows(key, query.dtype) && LiesByRows(value, query.dtype);

    /// <summary>Attention <c>[batch, heads, 1, head]</c>.</summary>
    /// <param name="query"><c>[batch, heads, 1, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, seen, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, seen, head]</c>.</param>
    /// <param name="visible"><c>[batch, 1, 1, seen]</c>, bool; null for everything.</param>
    public static Tensor Apply(Tensor query, Tensor key, Tensor value, Tensor? visible) => query.dtype == ScalarType.BFloat16
        ? Apply<ushort, BFloat16Format>(query, key, value, visible)
        : Apply<float, Float32Format>(query, key, value, visible);

    private static Tensor Apply<T, TFormat>(Tensor query, Tensor key, Tensor value, Tensor? visible)
        where T : unmanaged
        where TFormat : IWeightFormat<T>
    {
        long batch = query.size(0), heads = query.size(1), size = query.size(3), groups = key.size(1), seen = key.size(2), shared = heads / groups;
        Tensor result = empty(query.shape, query.dtype);
        T* queries = (T*)HostRows.Address(query), keys = (T*)First(key), values = (T*)First(value), results = (T*)HostRows.Address(result);
        long keyBatch = key.stride(0), keyGroup = key.stride(1), valueBatch = value.stride(0), valueGroup = value.stride(1);
        bool* sees = visible is null ? null : (bool*)HostRows.Address(visible);
        float scale = 1 / MathF.Sqrt(size);
        HostThreads.Share(batch * groups, 2 * shared * seen * size, shared * (seen + size), (first, last, scratch) =>
        {
            float* room = scratch + (shared * seen);
            for (long item = first; item < last; item++)
            {
                long row = item / groups, group = item % groups, head = ((row * heads) + (group * shared)) * size;
                float* asked = FewRowKernels<T, TFormat>.Arranged(queries + head, shared, size, room);
                FewRowKernels<T, TFormat>.Apply(asked, shared, size, keys + (row * keyBatch) + (group * keyGroup), seen, scratch, seen);
                for (long query = 0; query < shared; query++)
                {
                    Weigh(scratch + (query * seen), seen, sees is null ? null : sees + (row * seen), scale);
                }

                Mix<T, TFormat>(values + (row * valueBatch) + (group * valueGroup), scratch, shared, results + head, seen, size);
            }
        });
        GC.KeepAlive(query);
        GC.KeepAlive(key);
        GC.KeepAlive(value);
        GC.KeepAlive(visible);
        return result;
    }

    private static bool LiesByRows(Tensor x, ScalarType type) =>
        x.device_type == DeviceType.CPU && x.dtype == type && !x.requires_grad && x.stride(3) == 1 && x.stride(2) == x.size(3);

    private static void* First(Tensor x)
    {
        using Tensor row = x.select(0, 0), head = row.select(0, 0);
        return HostRows.Address(head);
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

    /// <summary>The weighted means of values for the queries that share them.</summary>
    private static void Mix<T, TFormat>(T* values, float* weights, long queries, T* results, long seen, long size)
        where T : unmanaged
        where TFormat : IWeightFormat<T>
    {
        const int Together = 2 * HostNumbers.Lanes;
        long query = 0;
        for (; size % Together == 0 && query + 3 <= queries; query += 3)
        {
            for (long feature = 0; feature < size; feature += Together)
            {
                MixThree<T, TFormat>(values + feature, weights + (query * seen), results + (query * size) + feature, seen, size);
            }
        }

        for (; query < queries; query++)
        {
            MixOne<T, TFormat>(values, weights + (query * seen), results + (query * size), seen, size);
        }
    }

    /// <summary>Some features for three queries: what is read is widened once for all of them.</summary>
    private static void MixThree<T, TFormat>(T* value, float* weights, T* result, long seen, long size)
        where T : unmanaged
        where TFormat : IWeightFormat<T>
    {
        Vector512<float> a0 = default, a1 = default, b0 = default, b1 = default, c0 = default, c1 = default;
        for (long position = 0; position < seen; position++, value += size)
        {
            Vector512<float> first = TFormat.WideFirst(value), second = TFormat.WideSecond(value), weight = Vector512.Create(weights[position]);
            a0 = Vector512.FusedMultiplyAdd(weight, first, a0);
            a1 = Vector512.FusedMultiplyAdd(weight, second, a1);
            weight = Vector512.Create(weights[seen + position]);
            b0 = Vector512.FusedMultiplyAdd(weight, first, b0);
            b1 = Vector512.FusedMultiplyAdd(weight, second, b1);
            weight = Vector512.Create(weights[(2 * seen) + position]);
            c0 = Vector512.FusedMultiplyAdd(weight, first, c0);
            c1 = Vector512.FusedMultiplyAdd(weight, second, c1);
        }

        TFormat.StoreWide(a0, a1, result);
        TFormat.StoreWide(b0, b1, result + size);
        TFormat.StoreWide(c0, c1, result + (2 * size));
    }

    /// <summary>All features for one query: as many at a time as there are registers for, each written once.</summary>
    private static void MixOne<T, TFormat>(T* values, float* weights, T* result, long seen, long size)
        where T : unmanaged
        where TFormat : IWeightFormat<T>
    {
        int step = 2 * Vector<float>.Count;
        long feature = 0;
        for (; feature + (4 * step) <= size; feature += 4 * step)
        {
            Vector<float> s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
            T* value = values + feature;
            for (long position = 0; position < seen; position++, value += size)
            {
                Vector<float> weight = new(weights[position]);
                s0 = Vector.FusedMultiplyAdd(weight, TFormat.First(value), s0);
                s1 = Vector.FusedMultiplyAdd(weight, TFormat.Second(value), s1);
                s2 = Vector.FusedMultiplyAdd(weight, TFormat.First(value + step), s2);
                s3 = Vector.FusedMultiplyAdd(weight, TFormat.Second(value + step), s3);
                s4 = Vector.FusedMultiplyAdd(weight, TFormat.First(value + (2 * step)), s4);
                s5 = Vector.FusedMultiplyAdd(weight, TFormat.Second(value + (2 * step)), s5);
                s6 = Vector.FusedMultiplyAdd(weight, TFormat.First(value + (3 * step)), s6);
                s7 = Vector.FusedMultiplyAdd(weight, TFormat.Second(value + (3 * step)), s7);
            }

            T* to = result + feature;
            TFormat.Store(s0, s1, to);
            TFormat.Store(s2, s3, to + step);
            TFormat.Store(s4, s5, to + (2 * step));
            TFormat.Store(s6, s7, to + (3 * step));
        }

        for (; feature + step <= size; feature += step)
        {
            Vector<float> first = default, second = default;
            T* value = values + feature;
            for (long position = 0; position < seen; position++, value += size)
            {
                Vector<float> weight = new(weights[position]);
                first = Vector.FusedMultiplyAdd(weight, TFormat.First(value), first);
                second = Vector.FusedMultiplyAdd(weight, TFormat.Second(value), second);
            }

            TFormat.Store(first, second, result + feature);
        }

        for (; feature < size; feature++)
        {
            float sum = 0;
            for (long position = 0; position < seen; position++)
            {
                sum += weights[position] * TFormat.Read(values[(position * size) + feature]);
            }

            result[feature] = TFormat.Rounded(sum);
        }
    }
}
