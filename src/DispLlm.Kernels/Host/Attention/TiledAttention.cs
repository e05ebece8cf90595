using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Causal attention of a prefill in SIMD tiles (<see cref="QueryTile{TVector, TWidth}"/>): float32 or bfloat16 in host memory, without
/// gradient. Neighbouring queries of all heads that share keys are computed together, and scores stay in the L1 cache. Sums are float32.
/// </summary>
internal static unsafe class TiledAttention
{
    // Tiles that share the conversion of keys and values.
    private const long TilesPerItem = 4;

    /// <summary>Whether there is more than one query, and features are contiguous in host memory.</summary>
    public static bool CanHandle(Tensor query, Tensor key, Tensor value) =>
        query.size(2) > 1 && !RowKernels.AnyHasGradient([query, key, value]) && HostHeads.IsContiguousHost(query, key, value);

    /// <summary>
    /// The result, <c>[batch, heads, seq, head]</c>: a view of <c>[batch, seq, heads, head]</c>, as the output projection reads it.
    /// </summary>
    /// <param name="query"><c>[batch, heads, seq, head]</c>: the last of the positions.</param>
    /// <param name="key"><c>[batch, key-value heads, positions, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, positions, head]</c>.</param>
    /// <param name="padding">The leading positions of each row that are masked for all but themselves; null for none.</param>
    /// <param name="logSumExp"><c>[batch, heads, seq]</c>, float32, which each query's log-sum-exp is written to; null for none.</param>
    public static Tensor Apply(Tensor query, Tensor key, Tensor value, IReadOnlyList<int>? padding = null, Tensor? logSumExp = null) =>
        Vector512.IsHardwareAccelerated ? Apply<Vector512<float>, Width512>(query, key, value, padding, logSumExp)
        : Vector256.IsHardwareAccelerated ? Apply<Vector256<float>, Width256>(query, key, value, padding, logSumExp)
        : Apply<Vector128<float>, Width128>(query, key, value, padding, logSumExp);

    /// <summary>The same in vectors of one width.</summary>
    internal static Tensor Apply<TVector, TWidth>(
        Tensor query, Tensor key, Tensor value, IReadOnlyList<int>? padding, Tensor? logSumExp = null)
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        const long Queries = QueryTile<TVector, TWidth>.Queries, Keys = QueryTile<TVector, TWidth>.Keys;
        long batch = query.size(0), heads = query.size(1), length = query.size(2), size = query.size(3), groups = key.size(1),
            shared = heads / groups;
        Tensor result = empty([batch, length, heads, size], query.dtype).transpose(1, 2);
        HostHeads queries = HostHeads.FromTensor(query), keys = HostHeads.FromTensor(key), values = HostHeads.FromTensor(value),
            results = HostHeads.FromTensor(result);
        long seen = key.size(2), before = seen - length, tilesOfHead = Math.Max(1, TilesPerItem / shared), atOnce = tilesOfHead * Queries;
        long parts = (length + atOnce - 1) / atOnce, stride = QueryTile<TVector, TWidth>.Outputs(size),
            tileScratch = QueryTile<TVector, TWidth>.Scratch(size);
        float scale = 1 / MathF.Sqrt(size);
        float* sums = logSumExp is null ? null : HostMatrix.FloatPointer(logSumExp);
        HostThreads.For(batch * groups * parts, shared * atOnce * seen * size, (2 * Keys * stride) + (shared * tilesOfHead * tileScratch),
            (begin, end, scratch) =>
        {
            float* someKeys = scratch, someValues = someKeys + (Keys * stride), rest = someValues + (Keys * stride);
            var tiles = new List<HeadTile<TVector, TWidth>>();
            for (long item = begin; item < end; item++)
            {
                long row = item / (groups * parts), group = item / parts % groups, first = Alternating(item % parts, parts) * atOnce,
                    last = Math.Min(length, first + atOnce);
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
                        tile.Queries.Attend(someKeys, someValues, Math.Min(some, tile.Count - position), position, hidden - from);
                    }
                }

                foreach (var tile in tiles)
                {
                    tile.Queries.End(someKeys, tile.Count, sums is null ? null
                        : sums + (((row * heads) + tile.Head) * length) + tile.First);
                    results.Write(row, tile.Head, tile.First, tile.Count, someKeys);
                }
            }
        });
        HostMatrix.KeepAlive(query, key, value, result, logSumExp);
        return result;
    }

    /// <summary>Alternates between both ends: late positions see more keys, and neighbours are one thread's work.</summary>
    private static long Alternating(long item, long count) => item % 2 == 0 ? item / 2 : count - 1 - (item / 2);

    /// <summary>A tile of a head's queries.</summary>
    private readonly record struct HeadTile<TVector, TWidth>(QueryTile<TVector, TWidth> Queries, long Head, long First, long Count)
        where TVector : struct
        where TWidth : IVectorWidth<TVector>;
}

/// <summary><see cref="TiledAttention"/> with its backward pass. It saves its inputs, its result and a number per query.</summary>
internal sealed class TiledAttentionFunction : autograd.SingleTensorFunction<TiledAttentionFunction>
{
    // Without it a float32 learning step takes 1.15x as long (2,048 tokens, hidden size 2048, 32 heads, MLP 8192), or saves all attention
    // weights.
    public override string Name => nameof(TiledAttentionFunction);

    /// <summary>The result, <c>[batch, heads, seq, head]</c>.</summary>
    /// <param name="query"><c>[batch, heads, seq, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, seq, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, seq, head]</c>.</param>
    public static Tensor Apply(Tensor query, Tensor key, Tensor value) => apply(query, key, value);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        using var scope = NewDisposeScope();
        var (query, key, value) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor)vars[2]);
        Tensor logSumExp = empty([query.size(0), query.size(1), query.size(2)], ScalarType.Float32);
        Tensor output = TiledAttention.Apply(query, key, value, logSumExp: logSumExp);

        // Detached: a result would hold the function that holds it. libtorch takes the saved tensors after this method's end.
        ctx.save_for_backward([query, key, value, output.detach().MoveToOuterDisposeScope(), logSumExp.MoveToOuterDisposeScope()]);
        return output.MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var (queries, keys, values) = Gradients([.. ctx.get_saved_variables(), grad_output]);
        return [scope.Return(queries), scope.Return(keys), scope.Return(values)];
    }

    private static (Tensor Queries, Tensor Keys, Tensor Values) Gradients(Tensor[] saved) =>
        Vector512.IsHardwareAccelerated ? Gradients<Vector512<float>, Width512>(saved)
        : Vector256.IsHardwareAccelerated ? Gradients<Vector256<float>, Width256>(saved)
        : Gradients<Vector128<float>, Width128>(saved);

    /// <summary>The gradients of queries, keys and values, in vectors of one width.</summary>
    /// <param name="saved">Queries, keys, values, results, their log-sum-exp, and the gradient of the results.</param>
    internal static unsafe (Tensor Queries, Tensor Keys, Tensor Values) Gradients<TVector, TWidth>(Tensor[] saved)
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        const long Queries = QueryTileGradient<TVector, TWidth>.Queries, Keys = QueryTileGradient<TVector, TWidth>.Keys;
        Tensor query = saved[0], key = saved[1], grad = saved[5].stride(3) == 1 ? saved[5] : saved[5].contiguous();
        long batch = query.size(0), heads = query.size(1), length = query.size(2), size = query.size(3), groups = key.size(1),
            shared = heads / groups;
        long width = QueryTileGradient<TVector, TWidth>.Width(size), rows = TileMatmul<TVector, TWidth>.PadOutputs(length);
        long tileScratch = QueryTileGradient<TVector, TWidth>.Scratch(size);

        // Each query head has gradients of its own; heads that share keys are summed at the end.
        Tensor result = empty([batch, length, heads, size], query.dtype).transpose(1, 2);
        Tensor keySums = zeros([batch, heads, rows, width], ScalarType.Float32), valueSums = zeros_like(keySums);
        HostHeads queries = HostHeads.FromTensor(query), keys = HostHeads.FromTensor(key), values = HostHeads.FromTensor(saved[2]);
        HostHeads outputs = HostHeads.FromTensor(saved[3]), grads = HostHeads.FromTensor(grad), results = HostHeads.FromTensor(result);
        float* keyGradients = HostMatrix.FloatPointer(keySums), valueGradients = HostMatrix.FloatPointer(valueSums);
        float* logSumExp = HostMatrix.FloatPointer(saved[4]);
        float scale = 1 / MathF.Sqrt(size);
        HostThreads.For(batch * heads, length * length * size, (((2 * rows) + Queries) * width) + tileScratch, (begin, end, scratch) =>
        {
            float* headKeys = scratch, headValues = headKeys + (rows * width), some = headValues + (rows * width);
            var tile = new QueryTileGradient<TVector, TWidth>(size, some + (Queries * width));
            for (long item = begin; item < end; item++)
            {
                long row = item / heads, head = item % heads, group = head / shared, own = item * rows * width;
                keys.Read(row, group, 0, length, headKeys, width);
                values.Read(row, group, 0, length, headValues, width);
                for (long first = 0; first < length; first += Queries)
                {
                    long count = Math.Min(Queries, length - first);
                    new Span<float>(tile.QueryRows, (int)(Queries * width)).Clear();
                    new Span<float>(tile.GradRows, (int)(Queries * width)).Clear();
                    queries.Read(row, head, first, count, tile.QueryRows, width);
                    grads.Read(row, head, first, count, tile.GradRows, width);
                    outputs.Read(row, head, first, count, some, width);
                    tile.Begin(some, logSumExp + (item * length) + first, count, scale);
                    for (long from = 0; from < first + count; from += Keys)
                    {
                        long at = from * width, visible = Math.Min(Keys, first + count - from);
                        tile.Accumulate(headKeys + at, headValues + at, keyGradients + own + at, valueGradients + own + at, visible,
                            from - first);
                    }

                    tile.End(some, count, scale);
                    results.Write(row, head, first, count, some);
                }
            }
        });
        GC.KeepAlive(saved);
        HostMatrix.KeepAlive(grad, result);
        Tensor SumOfGroups(Tensor sums)
        {
            Tensor perHead = sums.narrow(2, 0, length).narrow(3, 0, size);
            return (shared == 1 ? perHead : perHead.view(batch, groups, shared, length, size).sum(2)).to(query.dtype);
        }

        return (result, SumOfGroups(keySums), SumOfGroups(valueSums));
    }
}
