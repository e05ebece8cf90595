using System.Runtime.Intrinsics;

namespace DispLlm.Kernels;

/// <summary>
/// The way back through a <see cref="QueryTile{TVector, TWidth}"/>: what keys weighed is computed once more from the scores and the logarithm of each query's sum, so that nothing as large
/// as positions times positions is kept.
/// </summary>
/// <typeparam name="TVector">Queries at a time.</typeparam>
/// <typeparam name="TWidth">How that is computed with.</typeparam>
internal readonly unsafe struct QueryTileGradient<TVector, TWidth>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    /// <summary>Queries of a tile, and keys that it sees at a time.</summary>
    public const int Queries = QueryTile<TVector, TWidth>.Queries, Keys = QueryTile<TVector, TWidth>.Keys;

    private readonly long _size, _width;
    private readonly float* _queries, _returned, _turnedQueries, _turnedReturned, _results, _weights, _slopes, _logarithms, _means;

    /// <summary>A tile in <see cref="Scratch"/> numbers of memory.</summary>
    public QueryTileGradient(long size, float* scratch)
    {
        (_size, _width) = (size, Width(size));
        _queries = scratch;
        _returned = _queries + (Queries * _width);
        _turnedQueries = _returned + (Queries * _width);
        _turnedReturned = _turnedQueries + (Queries * _width);
        _results = _turnedReturned + (Queries * _width);
        _weights = _results + (Queries * _width);
        _slopes = _weights + (Queries * Keys);
        _logarithms = _slopes + (Queries * Keys);
        _means = _logarithms + Queries;
    }

    /// <summary>Numbers that a tile takes.</summary>
    public static long Scratch(long size) => ((5 * Width(size)) + (2 * Keys) + 2) * Queries;

    /// <summary>Numbers from one row of a head to the next: whole lanes.</summary>
    public static long Width(long size)
    {
        const int Lanes = BatchedGemmTile<TVector, TWidth>.Lanes;
        return (size + Lanes - 1) / Lanes * Lanes;
    }

    /// <summary>Where the queries are to be put, <c>[<see cref="Queries"/>, <see cref="Width"/>]</c>, before the tile begins; zeros beyond them.</summary>
    public float* Asked => _queries;

    /// <summary>Where what came back for each is to be put, of the same shape.</summary>
    public float* Returned => _returned;

    /// <summary>Begins with the queries that were put.</summary>
    /// <param name="gathered">What they gathered, <c>[count, width]</c>.</param>
    /// <param name="logarithms">The logarithms of their sums.</param>
    /// <param name="count">How many there are.</param>
    /// <param name="scale">What scores are multiplied by.</param>
    public void Begin(float* gathered, float* logarithms, long count, float scale)
    {
        SimdMath.Scale(_queries, Queries * _width, scale);
        HostTranspose.Write(_queries, _width, Queries, _size, _turnedQueries, Queries);
        HostTranspose.Write(_returned, _width, Queries, _size, _turnedReturned, Queries);
        new Span<float>(_results, checked((int)(_width * Queries))).Clear();

        // A lane without a query weighs nothing.
        new Span<float>(_logarithms, Queries).Fill(float.PositiveInfinity);
        new Span<float>(_means, Queries).Clear();
        for (long query = 0; query < count; query++)
        {
            _logarithms[query] = logarithms[query];
            _means[query] = SimdMath.Product(_returned + (query * _width), gathered + (query * _width), _size);
        }
    }

    /// <summary>Passes some keys and values, and adds to their gradients.</summary>
    /// <param name="keys"><c>[count, width]</c>, and so are the others.</param>
    /// <param name="values">The values.</param>
    /// <param name="keyGradients">Those of the keys.</param>
    /// <param name="valueGradients">Those of the values.</param>
    /// <param name="count">At most <see cref="Keys"/>. There is room for a multiple of four.</param>
    /// <param name="position">The first key's position less the first query's.</param>
    public void Pass(float* keys, float* values, float* keyGradients, float* valueGradients, long count, long position)
    {
        BatchedGemmTile<TVector, TWidth>.Write(_turnedQueries, Queries, _size, keys, 1, _width, count, _weights);
        BatchedGemmTile<TVector, TWidth>.Write(_turnedReturned, Queries, _size, values, 1, _width, count, _slopes);
        Weigh(count, position);
        BatchedGemmTile<TVector, TWidth>.Add(_slopes, Queries, count, keys, _width, 1, _size, _results, null);
        BatchedGemmTile<TVector, TWidth>.Add(_returned, _width, Queries, _weights, 1, Queries, count, valueGradients, null);
        BatchedGemmTile<TVector, TWidth>.Add(_queries, _width, Queries, _slopes, 1, Queries, count, keyGradients, null);
    }

    /// <summary>Writes the queries' gradients, <c>[count, size]</c>.</summary>
    public void End(float* results, long count, float scale)
    {
        SimdMath.Scale(_results, _size * Queries, scale);
        HostTranspose.Write(_results, Queries, _size, count, results, _size);
    }

    /// <summary>Turns scores into weights, and what came back through values into what comes back through scores: weight times its difference from the mean.</summary>
    private void Weigh(long count, long position)
    {
        for (int lane = 0; lane < Queries; lane += SimdMath.Lanes)
        {
            float* weights = _weights + lane, slopes = _slopes + lane;
            Vector512<float> logarithm = Vector512.Load(_logarithms + lane), mean = Vector512.Load(_means + lane);
            Vector512<int> own = Vector512<int>.Indices + Vector512.Create(lane);
            for (long key = 0; key < count; key++, weights += Queries, slopes += Queries)
            {
                var weight = SimdMath.Exp(Vector512.Load(weights) - logarithm);
                weight = Vector512.ConditionalSelect(Vector512.LessThanOrEqual(Vector512.Create((int)(position + key)), own).AsSingle(), weight, default);
                weight.Store(weights);
                (weight * (Vector512.Load(slopes) - mean)).Store(slopes);
            }

            // The last outputs of four are added to gradients of other keys.
            for (long key = count; key % 4 != 0; key++, weights += Queries, slopes += Queries)
            {
                default(Vector512<float>).Store(weights);
                default(Vector512<float>).Store(slopes);
            }
        }
    }
}
