using System.Runtime.Intrinsics;

namespace DispLlm.Kernels;

/// <summary>
/// Some queries of one head on their way through keys and values, a stretch at a time: every lane of a vector is a query. A key's feature is taken to all of them by one instruction, scores
/// lie as a product writes them and the next one reads them, and neither highest scores nor sums are taken across lanes. What was weighed before a higher score came is scaled down.
/// </summary>
/// <typeparam name="TVector">Queries at a time.</typeparam>
/// <typeparam name="TWidth">How that is computed with.</typeparam>
internal readonly unsafe struct QueryTile<TVector, TWidth>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    /// <summary>Queries of a tile, and keys that it sees at a time.</summary>
    public const int Queries = BatchedGemmTile<TVector, TWidth>.Lanes, Keys = 64;

    // Below all scores, and far enough from the lowest number to be subtracted.
    private const float NoScore = float.MinValue / 2;

    private readonly long _size;
    private readonly float* _queries, _results, _scores, _highest, _sums, _factors;

    /// <summary>A tile in <see cref="Scratch"/> numbers of memory.</summary>
    public QueryTile(long size, float* scratch)
    {
        _size = size;
        _queries = scratch;
        _results = _queries + (size * Queries);
        _scores = _results + (Outputs(size) * Queries);
        _highest = _scores + (Keys * Queries);
        _sums = _highest + Queries;
        _factors = _sums + Queries;
    }

    /// <summary>Numbers that a tile takes.</summary>
    public static long Scratch(long size) => (size + Outputs(size) + Keys + 3) * Queries;

    /// <summary>Numbers from one key, or value, to the next.</summary>
    public static long Outputs(long size) => BatchedGemmTile<TVector, TWidth>.PadOutputs(size);

    /// <summary>Begins with queries <c>[count, size]</c> that have seen nothing; lanes without a query are 0.</summary>
    public void Begin(float* queries, long count, float scale)
    {
        new Span<float>(_queries, checked((int)(_size * Queries))).Clear();
        HostTranspose.Write(queries, _size, count, _size, _queries, Queries);
        SimdMath.Scale(_queries, _size * Queries, scale);
        new Span<float>(_results, checked((int)(Outputs(_size) * Queries))).Clear();
        new Span<float>(_highest, Queries).Fill(NoScore);
        new Span<float>(_sums, Queries).Clear();
    }

    /// <summary>Sees some keys and takes their values.</summary>
    /// <param name="keys"><c>[count, <see cref="Outputs"/>]</c>; there are readable numbers up to a multiple of four keys.</param>
    /// <param name="values">Of the same shape.</param>
    /// <param name="count">At most <see cref="Keys"/>; none of them, or fewer than none, where all lie behind the queries.</param>
    /// <param name="position">The first key's position less the first query's.</param>
    /// <param name="hidden">How many keys, from the first one on, are seen by none but the query in the same place.</param>
    public void See(float* keys, float* values, long count, long position, long hidden)
    {
        if (count <= 0)
        {
            return;
        }

        long outputs = Outputs(_size);
        BatchedGemmTile<TVector, TWidth>.Write(_queries, Queries, _size, keys, 1, outputs, count, _scores);
        if (hidden > 0 || position + count > 1)
        {
            Hide(count, position, hidden);
        }

        Weigh(count);
        BatchedGemmTile<TVector, TWidth>.Add(_scores, Queries, count, values, outputs, 1, _size, _results, _factors);
    }

    /// <summary>Writes what queries gathered, <c>[count, size]</c>, and where it is wanted the logarithm of each query's sum of exponentials.</summary>
    public void End(float* results, long count, float* logarithms)
    {
        for (long query = 0; logarithms is not null && query < count; query++)
        {
            logarithms[query] = _highest[query] + MathF.Log(_sums[query]);
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

    private void Hide(long count, long position, long hidden)
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

    /// <summary>Turns scores into weights over the highest score so far, and says what those before are to be scaled by.</summary>
    private void Weigh(long count)
    {
        for (int lane = 0; lane < Queries; lane += SimdMath.Lanes)
        {
            float* scores = _scores + lane;
            Vector512<float> before = Vector512.Load(_highest + lane), highest = before;
            for (long key = 0; key < count; key++)
            {
                highest = Vector512.MaxNative(highest, Vector512.Load(scores + (key * Queries)));
            }

            Vector512<float> factor = SimdMath.Exp(before - highest), sum = Vector512.Load(_sums + lane) * factor;
            highest.Store(_highest + lane);
            factor.Store(_factors + lane);
            for (long key = 0; key < count; key++, scores += Queries)
            {
                var weight = SimdMath.Exp(Vector512.Load(scores) - highest);
                weight.Store(scores);
                sum += weight;
            }

            sum.Store(_sums + lane);
        }
    }
}
