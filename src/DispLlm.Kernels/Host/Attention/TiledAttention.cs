using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Causal attention of many positions in vector code: float32 or bfloat16 on the CPU, no gradient. Queries that see the same keys, neighbours and all heads of a group, go through them
/// together (<see cref="QueryTile{TVector, TWidth}"/>), and no scores stand anywhere but in the cache. Sums are float32 whatever keys and values are.
/// </summary>
internal static unsafe class TiledAttention
{
    // Tiles that share what is laid out of keys and values.
    private const long TilesAtOnce = 4;

    /// <summary>Whether there is more than one query, and features lie side by side in the CPU's memory.</summary>
    public static bool CanHandle(Tensor query, Tensor key, Tensor value) =>
        query.size(2) > 1 && !RowKernels.AnyHasGradient([query, key, value]) && HostHeads.IsContiguousHost(query, key, value);

    /// <summary>What queries gather, <c>[batch, heads, seq, head]</c>: a view of <c>[batch, seq, heads, head]</c>, as the output projection reads it.</summary>
    /// <param name="query"><c>[batch, heads, seq, head]</c>: the last of the positions.</param>
    /// <param name="key"><c>[batch, key-value heads, positions, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, positions, head]</c>.</param>
    /// <param name="padding">Positions at the front of each row that none sees but itself; null where there are none.</param>
    /// <param name="logarithms"><c>[batch, heads, seq]</c>, float32: where the logarithm of each query's sum of exponentials goes, if anywhere.</param>
    public static Tensor Apply(Tensor query, Tensor key, Tensor value, IReadOnlyList<int>? padding = null, Tensor? logarithms = null) =>
        Vector512.IsHardwareAccelerated ? Apply<Vector512<float>, Width512>(query, key, value, padding, logarithms)
        : Vector256.IsHardwareAccelerated ? Apply<Vector256<float>, Width256>(query, key, value, padding, logarithms)
        : Apply<Vector128<float>, Width128>(query, key, value, padding, logarithms);

    /// <summary>The same in vectors of one width.</summary>
    internal static Tensor Apply<TVector, TWidth>(Tensor query, Tensor key, Tensor value, IReadOnlyList<int>? padding, Tensor? logarithms = null)
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        const long Queries = QueryTile<TVector, TWidth>.Queries, Keys = QueryTile<TVector, TWidth>.Keys;
        long batch = query.size(0), heads = query.size(1), length = query.size(2), size = query.size(3), groups = key.size(1), shared = heads / groups;
        Tensor result = empty([batch, length, heads, size], query.dtype).transpose(1, 2);
        HostHeads queries = HostHeads.FromTensor(query), keys = HostHeads.FromTensor(key), values = HostHeads.FromTensor(value), results = HostHeads.FromTensor(result);
        long seen = key.size(2), before = seen - length, tilesOfHead = Math.Max(1, TilesAtOnce / shared), atOnce = tilesOfHead * Queries;
        long parts = (length + atOnce - 1) / atOnce, stride = QueryTile<TVector, TWidth>.Outputs(size), tileScratch = QueryTile<TVector, TWidth>.Scratch(size);
        float scale = 1 / MathF.Sqrt(size);
        float* sums = logarithms is null ? null : HostMatrix.Pointer(logarithms);
        HostThreads.Share(batch * groups * parts, shared * atOnce * seen * size, (2 * Keys * stride) + (shared * tilesOfHead * tileScratch), (begin, end, scratch) =>
        {
            float* someKeys = scratch, someValues = someKeys + (Keys * stride), rest = someValues + (Keys * stride);
            var tiles = new List<PlacedTile<TVector, TWidth>>();
            for (long item = begin; item < end; item++)
            {
                long row = item / (groups * parts), group = item / parts % groups, first = Alternating(item % parts, parts) * atOnce, last = Math.Min(length, first + atOnce);
                tiles.Clear();
                for (long head = group * shared; head < (group + 1) * shared; head++)
                {
                    for (long at = first; at < last; at += Queries)
                    {
                        tiles.Add(new(new(size, rest + (tiles.Count * tileScratch)), head, at, Math.Min(Queries, last - at)));
                    }
                }

                foreach (var tile in tiles)
                {
                    queries.Read(row, tile.Head, tile.First, tile.Count, someKeys, size);
                    tile.Queries.Begin(someKeys, tile.Count, scale);
                }

                long hidden = padding?[(int)row] ?? 0;
                for (long from = Math.Min(hidden, before + first); from < before + last; from += Keys)
                {
                    long some = Math.Min(Keys, before + last - from);
                    keys.Read(row, group, from, some, someKeys, stride);
                    values.Read(row, group, from, some, someValues, stride);
                    foreach (var tile in tiles)
                    {
                        long position = from - before - tile.First;
                        tile.Queries.See(someKeys, someValues, Math.Min(some, tile.Count - position), position, hidden - from);
                    }
                }

                foreach (var tile in tiles)
                {
                    tile.Queries.End(someKeys, tile.Count, sums is null ? null : sums + (((row * heads) + tile.Head) * length) + tile.First);
                    results.Write(row, tile.Head, tile.First, tile.Count, someKeys);
                }
            }
        });
        GC.KeepAlive(query);
        GC.KeepAlive(key);
        GC.KeepAlive(value);
        GC.KeepAlive(result);
        GC.KeepAlive(logarithms);
        return result;
    }

    /// <summary>From both ends in turns: late positions see more, and neighbours are one thread's work.</summary>
    private static long Alternating(long item, long count) => item % 2 == 0 ? item / 2 : count - 1 - (item / 2);

    /// <summary>A tile, and which of a head's queries it holds.</summary>
    private readonly record struct PlacedTile<TVector, TWidth>(QueryTile<TVector, TWidth> Queries, long Head, long First, long Count)
        where TVector : struct
        where TWidth : IVectorWidth<TVector>;
}
