using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary><see cref="TiledAttention"/> with its way back: of the way there it keeps what queries gathered and a number for each of them, whatever the number of positions.</summary>
internal sealed class TiledAttentionFunction : autograd.SingleTensorFunction<TiledAttentionFunction>
{
    public override string Name => nameof(TiledAttentionFunction);

    /// <summary>What queries gather, <c>[batch, heads, seq, head]</c>.</summary>
    /// <param name="query"><c>[batch, heads, seq, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, seq, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, seq, head]</c>.</param>
    public static Tensor Apply(Tensor query, Tensor key, Tensor value) => apply(query, key, value);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        using var scope = NewDisposeScope();
        var (query, key, value) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor)vars[2]);
        Tensor logarithms = empty([query.size(0), query.size(1), query.size(2)], ScalarType.Float32);
        Tensor gathered = TiledAttention.Apply(query, key, value, logarithms: logarithms);

        // A name of its own: what a function gives back would hold the function that holds it. They are taken over only after this method's end.
        ctx.save_for_backward([query, key, value, gathered.detach().MoveToOuterDisposeScope(), logarithms.MoveToOuterDisposeScope()]);
        return gathered.MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var (queries, keys, values) = Gradients([.. ctx.get_saved_variables(), grad_output]);
        return [scope.Return(queries), scope.Return(keys), scope.Return(values)];
    }

    private static (Tensor Queries, Tensor Keys, Tensor Values) Gradients(Tensor[] kept) =>
        Vector512.IsHardwareAccelerated ? Gradients<Vector512<float>, Width512>(kept)
        : Vector256.IsHardwareAccelerated ? Gradients<Vector256<float>, Width256>(kept)
        : Gradients<Vector128<float>, Width128>(kept);

    /// <summary>The gradients of queries, keys and values, in vectors of one width.</summary>
    /// <param name="kept">Queries, keys, values, what queries gathered, the logarithms of their sums, and what came back.</param>
    internal static unsafe (Tensor Queries, Tensor Keys, Tensor Values) Gradients<TVector, TWidth>(Tensor[] kept)
        where TVector : struct
        where TWidth : IVectorWidth<TVector>
    {
        const long Queries = QueryTileGradient<TVector, TWidth>.Queries, Keys = QueryTileGradient<TVector, TWidth>.Keys;
        Tensor query = kept[0], key = kept[1], back = kept[5].stride(3) == 1 ? kept[5] : kept[5].contiguous();
        long batch = query.size(0), heads = query.size(1), length = query.size(2), size = query.size(3), groups = key.size(1), shared = heads / groups;
        long width = QueryTileGradient<TVector, TWidth>.Width(size), rows = BatchedGemmTile<TVector, TWidth>.PadOutputs(length), tileScratch = QueryTileGradient<TVector, TWidth>.Scratch(size);

        // Query heads that share keys sum up their gradients afterwards, so that each can go its way alone.
        Tensor result = empty([batch, length, heads, size], query.dtype).transpose(1, 2);
        Tensor keySums = zeros([batch, heads, rows, width], ScalarType.Float32), valueSums = zeros_like(keySums);
        HostHeads queries = HostHeads.FromTensor(query), keys = HostHeads.FromTensor(key), values = HostHeads.FromTensor(kept[2]), gathered = HostHeads.FromTensor(kept[3]);
        HostHeads returned = HostHeads.FromTensor(back), results = HostHeads.FromTensor(result);
        float* keyGradients = HostMatrix.Pointer(keySums), valueGradients = HostMatrix.Pointer(valueSums), logarithms = HostMatrix.Pointer(kept[4]);
        float scale = 1 / MathF.Sqrt(size);
        HostThreads.Share(batch * heads, length * length * size, (((2 * rows) + Queries) * width) + tileScratch, (begin, end, scratch) =>
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
                    new Span<float>(tile.Asked, (int)(Queries * width)).Clear();
                    new Span<float>(tile.Returned, (int)(Queries * width)).Clear();
                    queries.Read(row, head, first, count, tile.Asked, width);
                    returned.Read(row, head, first, count, tile.Returned, width);
                    gathered.Read(row, head, first, count, some, width);
                    tile.Begin(some, logarithms + (item * length) + first, count, scale);
                    for (long from = 0; from < first + count; from += Keys)
                    {
                        long at = from * width, visible = Math.Min(Keys, first + count - from);
                        tile.Pass(headKeys + at, headValues + at, keyGradients + own + at, valueGradients + own + at, visible, from - first);
                    }

                    tile.End(some, count, scale);
                    results.Write(row, head, first, count, some);
                }
            }
        });
        GC.KeepAlive(kept);
        GC.KeepAlive(back);
        GC.KeepAlive(result);
        Tensor OfGroups(Tensor sums)
        {
            Tensor ofHeads = sums.narrow(2, 0, length).narrow(3, 0, size);
            return (shared == 1 ? ofHeads : ofHeads.view(batch, groups, shared, length, size).sum(2)).to(query.dtype);
        }

        return (result, OfGroups(keySums), OfGroups(valueSums));
    }
}
