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
        query.size(2) == 1 && HostKernels.Take(query) && LiesByRows(key) && LiesByRows(value);

    /// <summary>Attention <c>[batch, heads, 1, head]</c>.</summary>
    /// <param name="query"><c>[batch, heads, 1, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, seen, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, seen, head]</c>.</param>
    /// <param name="visible"><c>[batch, 1, 1, seen]</c>, bool; null for everything.</param>
    public static Tensor Apply(Tensor query, Tensor key, Tensor value, Tensor? visible)
    {
        long batch = query.size(0), heads = query.size(1), size = query.size(3), groups = key.size(1), seen = key.size(2), shared = heads / groups;
        Tensor result = zeros(query.shape, ScalarType.Float32);
        float* queries = HostKernels.Pointer(query), keys = First(key), values = First(value), results = HostKernels.Pointer(result);
        long keyBatch = key.stride(0), keyGroup = key.stride(1), valueBatch = value.stride(0), valueGroup = value.stride(1);
        bool* sees = visible is null ? null : (bool*)HostKernels.Address(visible);
        float scale = 1 / MathF.Sqrt(size);
        HostKernels.Share(batch * groups, 2 * shared * seen * size, (first, last) =>
        {
            float[] rented = ArrayPool<float>.Shared.Rent(checked((int)(shared * seen)));
            fixed (float* scores = rented)
            {
                for (long item = first; item < last; item++)
                {
                    long row = item / groups, group = item % groups, head = ((row * heads) + (group * shared)) * size;
                    Score(queries + head, keys + (row * keyBatch) + (group * keyGroup), sees is null ? null : sees + (row * seen), scores, shared, seen, size, scale);
                    Mix(values + (row * valueBatch) + (group * valueGroup), scores, results + head, shared, seen, size);
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
        return HostKernels.Pointer(head);
    }

    /// <summary>The weights of all positions seen, for each query: exponentials over their sum.</summary>
    private static void Score(float* queries, float* keys, bool* sees, float* scores, long shared, long seen, long size, float scale)
    {
        for (long position = 0; position < seen; position++)
        {
            for (long query = 0; query < shared; query++)
            {
                scores[(query * seen) + position] = sees is null || sees[position]
                    ? scale * HostKernels.Dot(queries + (query * size), keys + (position * size), size)
                    : float.NegativeInfinity;
            }
        }

        for (long query = 0; query < shared; query++)
        {
            Normalize(new Span<float>(scores + (query * seen), (int)seen));
        }
    }

    private static void Normalize(Span<float> scores)
    {
        float highest = float.NegativeInfinity, sum = 0;
        foreach (float score in scores)
        {
            highest = Math.Max(highest, score);
        }

        int i = 0;
        for (; i + Vector<float>.Count <= scores.Length; i += Vector<float>.Count)
        {
            var weights = Vector.Exp(new Vector<float>(scores[i..]) - new Vector<float>(highest));
            weights.CopyTo(scores[i..]);
            sum += Vector.Sum(weights);
        }

        for (; i < scores.Length; i++)
        {
            scores[i] = MathF.Exp(scores[i] - highest);
            sum += scores[i];
        }

        foreach (ref float score in scores)
        {
            score /= sum;
        }
    }

    private static void Mix(float* values, float* weights, float* results, long shared, long seen, long size)
    {
        for (long position = 0; position < seen; position++)
        {
            for (long query = 0; query < shared; query++)
            {
                AddScaled(values + (position * size), weights[(query * seen) + position], results + (query * size), size);
            }
        }
    }

    private static void AddScaled(float* x, float factor, float* to, long count)
    {
        Vector<float> factors = new(factor);
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            Vector.Store(Vector.FusedMultiplyAdd(Vector.Load(x + i), factors, Vector.Load(to + i)), to + i);
        }

        for (; i < count; i++)
        {
            to[i] += factor * x[i];
        }
    }
}
