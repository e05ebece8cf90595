using System.Runtime.Intrinsics;

namespace DispLlm.Kernels;

/// <summary>
/// A tile of queries of one head with an online softmax, as in FlashAttention. Every lane of a vector is a query: a key's feature is
/// broadcast to all of them, and neither maxima nor sums are taken across lanes. Earlier results are scaled down when a larger score
/// appears.
/// </summary>
/// <typeparam name="TVector">A vector of queries.</typeparam>
/// <typeparam name="TWidth">Its width.</typeparam>
internal readonly unsafe struct QueryTile<TVector, TWidth>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    /// <summary>Queries of a tile, and keys of one step.</summary>
    public const int Queries = TileMatmul<TVector, TWidth>.Lanes, Keys = 64;

    // Below all scores, and far enough from the smallest number to be subtracted from.
    private const float InitialMaximum = float.MinValue / 2;

    private readonly long _size;
    private readonly float* _queries, _results, _scores, _maxima, _sums, _corrections;

    /// <summary>A tile in <see cref="Scratch"/> numbers of memory.</summary>
    public QueryTile(long size, float* scratch)
    {
        _size = size;
        _queries = scratch;
        _results = _queries + (size * Queries);
        _scores = _results + (Outputs(size) * Queries);
        _maxima = _scores + (Keys * Queries);
        _sums = _maxima + Queries;
        _corrections = _sums + Queries;
    }

    /// <summary>The scratch numbers of a tile.</summary>
    public static long Scratch(long size) => (size + Outputs(size) + Keys + 3) * Queries;

    /// <summary>The stride of keys and values.</summary>
    public static long Outputs(long size) => TileMatmul<TVector, TWidth>.PadOutputs(size);

    /// <summary>Begins with queries <c>[count, size]</c>; lanes without a query are 0.</summary>
    public void Begin(float* queries, long count, float scale)
    {
        new Span<float>(_queries, checked((int)(_size * Queries))).Clear();
        HostTranspose.Write(queries, _size, count, _size, _queries, Queries);
        SimdMath.Scale(_queries, _size * Queries, scale);
        new Span<float>(_results, checked((int)(Outputs(_size) * Queries))).Clear();
        new Span<float>(_maxima, Queries).Fill(InitialMaximum);
        new Span<float>(_sums, Queries).Clear();
    }

    /// <summary>Attends to some keys and values.</summary>
    /// <param name="keys"><c>[count, <see cref="Outputs"/>]</c>; readable up to a multiple of four keys.</param>
    /// <param name="values">Of the same shape.</param>
    /// <param name="count">At most <see cref="Keys"/>; 0 or less where all are after the queries.</param>
    /// <param name="position">The first key's position less the first query's.</param>
    /// <param name="hidden">The number of leading keys that are masked for all queries but the one at the same position.</param>
    public void Attend(float* keys, float* values, long count, long position, long hidden)
    {
        if (count <= 0)
        {
            return;
        }

        long outputs = Outputs(_size);
        TileMatmul<TVector, TWidth>.Write(_queries, Queries, _size, keys, 1, outputs, count, _scores);
        if (hidden > 0 || position + count > 1)
        {
            Mask(count, position, hidden);
        }

        UpdateSoftmax(count);
        TileMatmul<TVector, TWidth>.Add(_scores, Queries, count, values, outputs, 1, _size, _results, _corrections);
    }

    /// <summary>Writes the results, <c>[count, size]</c>, and each query's log-sum-exp where it is wanted.</summary>
    public void End(float* results, long count, float* logSumExp)
    {
        for (long query = 0; logSumExp is not null && query < count; query++)
        {
            logSumExp[query] = _maxima[query] + MathF.Log(_sums[query]);
        }

        for (int lane = 0; lane < Queries; lane += SimdMath.Lanes)
        {
            var shares = Vector512<float>.One / Vector512.Load(_sums + lane);
            for (float* at = _results + lane; at < _results + (_size * Queries); at += Queries)
            {
                (Vector512.Load(at) * shares).Store(at);
            }
        }

        HostTranspose.Write(_results, Queries, _size, count, results, _size);
    }

    private void Mask(long count, long position, long hidden)
    {
        for (int lane = 0; lane < Queries; lane += SimdMath.Lanes)
        {
            Vector512<int> own = Vector512<int>.Indices + Vector512.Create(lane);
            var none = Vector512.Create(float.NegativeInfinity);
            float* scores = _scores + lane;
            for (long key = 0; key < count; key++, scores += Queries)
            {
                var at = Vector512.Create((int)(position + key));
                var seen = key < hidden ? Vector512.Equals(at, own) : Vector512.LessThanOrEqual(at, own);
                Vector512.ConditionalSelect(seen.AsSingle(), Vector512.Load(scores), none).Store(scores);
            }
        }
    }

    /// <summary>Replaces scores by their exponentials over the maximum so far, and computes the correction of earlier results.</summary>
    private void UpdateSoftmax(long count)
    {
        for (int lane = 0; lane < Queries; lane += SimdMath.Lanes)
        {
            float* scores = _scores + lane;
            Vector512<float> before = Vector512.Load(_maxima + lane), maximum = before;
            for (long key = 0; key < count; key++)
            {
                maximum = Vector512.MaxNative(maximum, Vector512.Load(scores + (key * Queries)));
            }

            Vector512<float> correction = SimdMath.Exp(before - maximum), sum = Vector512.Load(_sums + lane) * correction;
            maximum.Store(_maxima + lane);
            correction.Store(_corrections + lane);
            for (long key = 0; key < count; key++, scores += Queries)
            {
                var weight = SimdMath.Exp(Vector512.Load(scores) - maximum);
                weight.Store(scores);
                sum += weight;
            }

            sum.Store(_sums + lane);
        }
    }
}

/// <summary>
/// The backward pass of a <see cref="QueryTile{TVector, TWidth}"/>. Attention weights are recomputed from the scores and each query's
/// log-sum-exp, so nothing of size <c>[seq, seq]</c> is saved.
/// </summary>
/// <typeparam name="TVector">A vector of queries.</typeparam>
/// <typeparam name="TWidth">Its width.</typeparam>
internal readonly unsafe struct QueryTileGradient<TVector, TWidth>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    /// <summary>Queries of a tile, and keys of one step.</summary>
    public const int Queries = QueryTile<TVector, TWidth>.Queries, Keys = QueryTile<TVector, TWidth>.Keys;

    private readonly long _size, _width;
    private readonly float* _queries, _grads, _queriesTransposed, _gradsTransposed, _results, _weights, _scoreGrads, _logSumExp, _means;

    /// <summary>A tile in <see cref="Scratch"/> numbers of memory.</summary>
    public QueryTileGradient(long size, float* scratch)
    {
        (_size, _width) = (size, Width(size));
        _queries = scratch;
        _grads = _queries + (Queries * _width);
        _queriesTransposed = _grads + (Queries * _width);
        _gradsTransposed = _queriesTransposed + (Queries * _width);
        _results = _gradsTransposed + (Queries * _width);
        _weights = _results + (Queries * _width);
        _scoreGrads = _weights + (Queries * Keys);
        _logSumExp = _scoreGrads + (Queries * Keys);
        _means = _logSumExp + Queries;
    }

    /// <summary>The scratch numbers of a tile.</summary>
    public static long Scratch(long size) => ((5 * Width(size)) + (2 * Keys) + 2) * Queries;

    /// <summary>The stride of a head's rows: whole lanes.</summary>
    public static long Width(long size)
    {
        const int Lanes = TileMatmul<TVector, TWidth>.Lanes;
        return (size + Lanes - 1) / Lanes * Lanes;
    }

    /// <summary>
    /// The memory of the queries, <c>[<see cref="Queries"/>, <see cref="Width"/>]</c>, to be filled before <see cref="Begin"/>; zero after
    /// the last one.
    /// </summary>
    public float* QueryRows => _queries;

    /// <summary>The memory of the gradients of the results, of the same shape.</summary>
    public float* GradRows => _grads;

    /// <summary>Begins with the rows that were filled.</summary>
    /// <param name="outputs">The results of the forward pass, <c>[count, width]</c>.</param>
    /// <param name="logSumExp">Their log-sum-exp.</param>
    /// <param name="count">The number of queries.</param>
    /// <param name="scale">The factor of scores.</param>
    public void Begin(float* outputs, float* logSumExp, long count, float scale)
    {
        SimdMath.Scale(_queries, Queries * _width, scale);
        HostTranspose.Write(_queries, _width, Queries, _size, _queriesTransposed, Queries);
        HostTranspose.Write(_grads, _width, Queries, _size, _gradsTransposed, Queries);
        new Span<float>(_results, checked((int)(_width * Queries))).Clear();

        // A lane without a query has no weight.
        new Span<float>(_logSumExp, Queries).Fill(float.PositiveInfinity);
        new Span<float>(_means, Queries).Clear();
        for (long query = 0; query < count; query++)
        {
            _logSumExp[query] = logSumExp[query];
            _means[query] = SimdMath.Dot(_grads + (query * _width), outputs + (query * _width), _size);
        }
    }

    /// <summary>Adds the gradients of some keys and values.</summary>
    /// <param name="keys"><c>[count, width]</c>, as the others.</param>
    /// <param name="values">The values.</param>
    /// <param name="keyGradients">The gradients of the keys.</param>
    /// <param name="valueGradients">The gradients of the values.</param>
    /// <param name="count">At most <see cref="Keys"/>; the memory holds a multiple of four.</param>
    /// <param name="position">The first key's position less the first query's.</param>
    public void Accumulate(float* keys, float* values, float* keyGradients, float* valueGradients, long count, long position)
    {
        TileMatmul<TVector, TWidth>.Write(_queriesTransposed, Queries, _size, keys, 1, _width, count, _weights);
        TileMatmul<TVector, TWidth>.Write(_gradsTransposed, Queries, _size, values, 1, _width, count, _scoreGrads);
        ComputeWeights(count, position);
        TileMatmul<TVector, TWidth>.Add(_scoreGrads, Queries, count, keys, _width, 1, _size, _results, null);
        TileMatmul<TVector, TWidth>.Add(_grads, _width, Queries, _weights, 1, Queries, count, valueGradients, null);
        TileMatmul<TVector, TWidth>.Add(_queries, _width, Queries, _scoreGrads, 1, Queries, count, keyGradients, null);
    }

    /// <summary>Writes the gradients of the queries, <c>[count, size]</c>.</summary>
    public void End(float* results, long count, float scale)
    {
        SimdMath.Scale(_results, _size * Queries, scale);
        HostTranspose.Write(_results, Queries, _size, count, results, _size);
    }

    /// <summary>
    /// Replaces scores by weights, and the gradients of weights by those of scores: the weight times the difference from the mean.
    /// </summary>
    private void ComputeWeights(long count, long position)
    {
        for (int lane = 0; lane < Queries; lane += SimdMath.Lanes)
        {
            float* weights = _weights + lane, grads = _scoreGrads + lane;
            Vector512<float> logSum = Vector512.Load(_logSumExp + lane), mean = Vector512.Load(_means + lane);
            Vector512<int> own = Vector512<int>.Indices + Vector512.Create(lane);
            for (long key = 0; key < count; key++, weights += Queries, grads += Queries)
            {
                var weight = SimdMath.Exp(Vector512.Load(weights) - logSum);
                weight = Vector512.ConditionalSelect(
                    Vector512.LessThanOrEqual(Vector512.Create((int)(position + key)), own).AsSingle(), weight, default);
                weight.Store(weights);
                (weight * (Vector512.Load(grads) - mean)).Store(grads);
            }

            // The outputs up to a multiple of four are added to the gradients of other keys.
            for (long key = count; key % 4 != 0; key++, weights += Queries, grads += Queries)
            {
                default(Vector512<float>).Store(weights);
                default(Vector512<float>).Store(grads);
            }
        }
    }
}
