using System.Buffers;
using System.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Attention of one position to everything that a cache holds: float32 on the CPU, no gradient. All query heads that share keys go through them together, so that
/// every key and value is read from memory once.
/// </summary>
internal static unsafe class OnePositionAttention
{
    /// <summary>Whether a query is one position, and keys and values lie row by row as a cache holds them.</summary>
    public static bool Takes(Tensor query, Tensor key, Tensor value) =>
        query.size(2) == 1 && query.dtype == ScalarType.Float32 && HostRows.LieWithoutGradient(query) && LiesByRows(key) && LiesByRows(value);

    /// <summary>Attention <c>[batch, heads, 1, head]</c>.</summary>
    /// <param name="query"><c>[batch, heads, 1, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, seen, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, seen, head]</c>.</param>
    /// <param name="visible"><c>[batch, 1, 1, seen]</c>, bool; null for everything.</param>
    public static Tensor Apply(Tensor query, Tensor key, Tensor value, Tensor? visible)
    {
        long batch = query.size(0), heads = query.size(1), size = query.size(3), groups = key.size(1), seen = key.size(2), shared = heads / groups;
        Tensor result = empty(query.shape, ScalarType.Float32);
        float* queries = HostRows.Pointer(query), keys = First(key), values = First(value), results = HostRows.Pointer(result);
        long keyBatch = key.stride(0), keyGroup = key.stride(1), valueBatch = value.stride(0), valueGroup = value.stride(1);
        bool* sees = visible is null ? null : (bool*)HostRows.Address(visible);
        float scale = 1 / MathF.Sqrt(size);
        HostThreads.Share(batch * groups, 2 * shared * seen * size, (first, last) =>
        {
            float[] rented = ArrayPool<float>.Shared.Rent(checked((int)(shared * seen)));
            fixed (float* scores = rented)
            {
                for (long item = first; item < last; item++)
                {
                    long row = item / groups, group = item % groups, head = ((row * heads) + (group * shared)) * size;
                    FewRowProduct.Apply(queries + head, shared, size, keys + (row * keyBatch) + (group * keyGroup), seen, scores);
                    for (long query = 0; query < shared; query++)
                    {
                        var weights = new Span<float>(scores + (query * seen), (int)seen);
                        float share = Weigh(weights, sees is null ? null : sees + (row * seen), scale);
                        Mix(values + (row * valueBatch) + (group * valueGroup), scores + (query * seen), share, results + head + (query * size), seen, size);
                    }
                }
            }

            ArrayPool<float>.Shared.Return(rented);
        });
        GC.KeepAlive(query);
        GC.KeepAlive(key);
        GC.KeepAlive(value);
        GC.KeepAlive(visible);
        return result;
    }

    private static bool LiesByRows(Tensor x) =>
        x.device_type == DeviceType.CPU && x.dtype == ScalarType.Float32 && !x.requires_grad && x.stride(3) == 1 && x.stride(2) == x.size(3);

    private static float* First(Tensor x)
    {
        using Tensor row = x.select(0, 0), head = row.select(0, 0);
        return HostRows.Pointer(head);
    }

    /// <summary>Turns scores into the exponentials that positions weigh, 0 where a position is not seen; returns one over their sum.</summary>
    private static float Weigh(Span<float> scores, bool* sees, float scale)
    {
        for (int position = 0; sees is not null && position < scores.Length; position++)
        {
            scores[position] = sees[position] ? scores[position] : float.NegativeInfinity;
        }

        fixed (float* numbers = scores)
        {
            return 1 / HostNumbers.Exponentials(numbers, numbers, scores.Length, HostNumbers.Highest(numbers, scores.Length), scale);
        }
    }

    /// <summary>The weighted mean of values for one query: as many features at a time as there are registers for, each written once.</summary>
    private static void Mix(float* values, float* weights, float share, float* result, long seen, long size)
    {
        int step = Vector<float>.Count;
        long feature = 0;
        for (; feature + (8 * step) <= size; feature += 8 * step)
        {
            Vector<float> s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
            float* value = values + feature;
            for (long position = 0; position < seen; position++, value += size)
            {
                Vector<float> weight = new(weights[position]);
                s0 = Vector.FusedMultiplyAdd(weight, Vector.Load(value), s0);
                s1 = Vector.FusedMultiplyAdd(weight, Vector.Load(value + step), s1);
                s2 = Vector.FusedMultiplyAdd(weight, Vector.Load(value + (2 * step)), s2);
                s3 = Vector.FusedMultiplyAdd(weight, Vector.Load(value + (3 * step)), s3);
                s4 = Vector.FusedMultiplyAdd(weight, Vector.Load(value + (4 * step)), s4);
                s5 = Vector.FusedMultiplyAdd(weight, Vector.Load(value + (5 * step)), s5);
                s6 = Vector.FusedMultiplyAdd(weight, Vector.Load(value + (6 * step)), s6);
                s7 = Vector.FusedMultiplyAdd(weight, Vector.Load(value + (7 * step)), s7);
            }

            float* to = result + feature;
            Vector<float> shares = new(share);
            Vector.Store(s0 * shares, to);
            Vector.Store(s1 * shares, to + step);
            Vector.Store(s2 * shares, to + (2 * step));
            Vector.Store(s3 * shares, to + (3 * step));
            Vector.Store(s4 * shares, to + (4 * step));
            Vector.Store(s5 * shares, to + (5 * step));
            Vector.Store(s6 * shares, to + (6 * step));
            Vector.Store(s7 * shares, to + (7 * step));
        }

        for (; feature + step <= size; feature += step)
        {
            Vector<float> sum = default;
            for (long position = 0; position < seen; position++)
            {
                sum = Vector.FusedMultiplyAdd(new Vector<float>(weights[position]), Vector.Load(values + (position * size) + feature), sum);
            }

            Vector.Store(sum * share, result + feature);
        }

        for (; feature < size; feature++)
        {
            float sum = 0;
            for (long position = 0; position < seen; position++)
            {
                sum += weights[position] * values[(position * size) + feature];
            }

            result[feature] = sum * share;
        }
    }
}
