using System.Runtime.Intrinsics;

namespace DispLlm;

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
    public const int Queries = 32, Keys = 64;

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

    /// <summary>Numbers from one key, or value, to the next: four features are computed together.</summary>
    public static long Outputs(long size) => (size + 3) / 4 * 4;

    /// <summary>Begins with queries <c>[count, size]</c> that have seen nothing; lanes without a query are 0.</summary>
    public void Begin(float* queries, long stride, long count, float scale)
    {
        new Span<float>(_queries, checked((int)(_size * Queries))).Clear();
        HostTransposition.Write(queries, stride, count, _size, _queries, Queries);
        HostNumbers.Scale(_queries, _size * Queries, scale);
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
        Multiply(_queries, _size, keys, 1, outputs, count, _scores, null);
        if (hidden > 0 || position + count > 1)
        {
            Hide(count, position, hidden);
        }

        Weigh(count);
        Multiply(_scores, count, values, outputs, 1, _size, _results, _factors);
    }

    /// <summary>Writes what queries gathered, <c>[count, size]</c>.</summary>
    public void End(float* results, long stride, long count)
    {
        for (int lane = 0; lane < Queries; lane += HostNumbers.Lanes)
        {
            var shares = Vector512<float>.One / Vector512.Load(_sums + lane);
            for (float* at = _results + lane; at < _results + (_size * Queries); at += Queries)
            {
                (Vector512.Load(at) * shares).Store(at);
            }
        }

        HostTransposition.Write(_results, Queries, _size, count, results, stride);
    }

    private void Hide(long count, long position, long hidden)
    {
        for (int lane = 0; lane < Queries; lane += HostNumbers.Lanes)
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
        for (int lane = 0; lane < Queries; lane += HostNumbers.Lanes)
        {
            float* scores = _scores + lane;
            Vector512<float> before = Vector512.Load(_highest + lane), highest = before;
            for (long key = 0; key < count; key++)
            {
                highest = Vector512.MaxNative(highest, Vector512.Load(scores + (key * Queries)));
            }

            Vector512<float> factor = HostNumbers.Exp(before - highest), sum = Vector512.Load(_sums + lane) * factor;
            highest.Store(_highest + lane);
            factor.Store(_factors + lane);
            for (long key = 0; key < count; key++, scores += Queries)
            {
                var weight = HostNumbers.Exp(Vector512.Load(scores) - highest);
                weight.Store(scores);
                sum += weight;
            }

            sum.Store(_sums + lane);
        }
    }

    /// <summary>
    /// Products <c>[outputs, queries]</c> of <c>[features, queries]</c> with a matrix that lies as its steps say; added to what is there, scaled, where there are factors.
    /// </summary>
    private static void Multiply(float* x, long features, float* matrix, long featureStep, long outputStep, long outputs, float* results, float* factors)
    {
        for (int lane = 0; lane < Queries; lane += 2 * TWidth.Lanes)
        {
            TVector fa = factors is null ? default : TWidth.Load(factors + lane), fb = factors is null ? default : TWidth.Load(factors + lane + TWidth.Lanes);
            for (long output = 0; output < outputs; output += 4)
            {
                TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
                float* w0 = matrix + (output * outputStep), w1 = w0 + outputStep, w2 = w1 + outputStep, w3 = w2 + outputStep, from = x + lane;
                for (long i = 0; i < features; i++, from += Queries)
                {
                    TVector a = TWidth.Load(from), b = TWidth.Load(from + TWidth.Lanes), w = TWidth.Filled(*w0);
                    a0 = TWidth.PlusProduct(a0, a, w);
                    b0 = TWidth.PlusProduct(b0, b, w);
                    w = TWidth.Filled(*w1);
                    a1 = TWidth.PlusProduct(a1, a, w);
                    b1 = TWidth.PlusProduct(b1, b, w);
                    w = TWidth.Filled(*w2);
                    a2 = TWidth.PlusProduct(a2, a, w);
                    b2 = TWidth.PlusProduct(b2, b, w);
                    w = TWidth.Filled(*w3);
                    a3 = TWidth.PlusProduct(a3, a, w);
                    b3 = TWidth.PlusProduct(b3, b, w);
                    w0 += featureStep;
                    w1 += featureStep;
                    w2 += featureStep;
                    w3 += featureStep;
                }

                float* to = results + (output * Queries) + lane;
                Put(a0, fa, to, factors);
                Put(b0, fb, to + TWidth.Lanes, factors);
                Put(a1, fa, to + Queries, factors);
                Put(b1, fb, to + Queries + TWidth.Lanes, factors);
                Put(a2, fa, to + (2 * Queries), factors);
                Put(b2, fb, to + (2 * Queries) + TWidth.Lanes, factors);
                Put(a3, fa, to + (3 * Queries), factors);
                Put(b3, fb, to + (3 * Queries) + TWidth.Lanes, factors);
            }
        }
    }

    private static void Put(TVector product, TVector factor, float* to, float* factors) =>
        TWidth.Store(factors is null ? product : TWidth.PlusProduct(product, factor, TWidth.Load(to)), to);
}
