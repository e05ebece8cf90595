namespace DispLlm.Kernels;

/// <summary>
/// Multiplication of small matrices in the L1 cache, for attention. Rows of the result are in the lanes of vectors, so that a number of the
/// other matrix, in any layout, is broadcast to all of them. Outputs are computed four at a time: results need space for a multiple of
/// four, and those after the last one are undefined.
/// </summary>
/// <typeparam name="TVector">A vector of rows.</typeparam>
/// <typeparam name="TWidth">Its width.</typeparam>
internal static unsafe class TileMatmul<TVector, TWidth>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    /// <summary>Lanes are a multiple of this on every processor.</summary>
    public const int Lanes = 32;

    /// <summary>The number of outputs that are computed.</summary>
    public static long PadOutputs(long count) => (count + 3) / 4 * 4;

    /// <summary>Writes <c>[outputs, lanes]</c>.</summary>
    /// <param name="x"><c>[features, lanes]</c>.</param>
    /// <param name="lanes">A multiple of <see cref="Lanes"/>.</param>
    /// <param name="features">The number of features, which are summed over.</param>
    /// <param name="matrix">The first number of the first output.</param>
    /// <param name="featureStep">The stride of features.</param>
    /// <param name="outputStep">The stride of outputs.</param>
    /// <param name="outputs">The number of outputs.</param>
    /// <param name="results"><c>[<see cref="PadOutputs"/>, lanes]</c>.</param>
    public static void Write(
        float* x, long lanes, long features, float* matrix, long featureStep, long outputStep, long outputs, float* results) =>
        Multiply(x, lanes, features, matrix, featureStep, outputStep, outputs, results, null, added: false);

    /// <summary>Adds the same to the results, which are first multiplied by a factor for each lane, where factors are given.</summary>
    public static void Add(
        float* x, long lanes, long features, float* matrix, long featureStep, long outputStep, long outputs, float* results,
        float* factors) =>
        Multiply(x, lanes, features, matrix, featureStep, outputStep, outputs, results, factors, added: true);

    private static void Multiply(
        float* x, long lanes, long features, float* matrix, long featureStep, long outputStep, long outputs, float* results,
            float* factors, bool added)
    {
        for (long lane = 0; lane < lanes; lane += 2 * TWidth.Lanes)
        {
            TVector fa = TWidth.Broadcast(1), fb = fa;
            if (factors is not null)
            {
                (fa, fb) = (TWidth.Load(factors + lane), TWidth.Load(factors + lane + TWidth.Lanes));
            }

            for (long output = 0; output < outputs; output += 4)
            {
                TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
                float* w0 = matrix + (output * outputStep), w1 = w0 + outputStep, w2 = w1 + outputStep, w3 = w2 + outputStep,
                    from = x + lane;
                for (long i = 0; i < features; i++, from += lanes)
                {
                    TVector a = TWidth.Load(from), b = TWidth.Load(from + TWidth.Lanes), w = TWidth.Broadcast(*w0);
                    a0 = TWidth.MultiplyAdd(a0, a, w);
                    b0 = TWidth.MultiplyAdd(b0, b, w);
                    w = TWidth.Broadcast(*w1);
                    a1 = TWidth.MultiplyAdd(a1, a, w);
                    b1 = TWidth.MultiplyAdd(b1, b, w);
                    w = TWidth.Broadcast(*w2);
                    a2 = TWidth.MultiplyAdd(a2, a, w);
                    b2 = TWidth.MultiplyAdd(b2, b, w);
                    w = TWidth.Broadcast(*w3);
                    a3 = TWidth.MultiplyAdd(a3, a, w);
                    b3 = TWidth.MultiplyAdd(b3, b, w);
                    w0 += featureStep;
                    w1 += featureStep;
                    w2 += featureStep;
                    w3 += featureStep;
                }

                float* to = results + (output * lanes) + lane;
                Store(a0, fa, to, added);
                Store(b0, fb, to + TWidth.Lanes, added);
                Store(a1, fa, to + lanes, added);
                Store(b1, fb, to + lanes + TWidth.Lanes, added);
                Store(a2, fa, to + (2 * lanes), added);
                Store(b2, fb, to + (2 * lanes) + TWidth.Lanes, added);
                Store(a3, fa, to + (3 * lanes), added);
                Store(b3, fb, to + (3 * lanes) + TWidth.Lanes, added);
            }
        }
    }

    private static void Store(TVector product, TVector factor, float* to, bool added) =>
        TWidth.Store(added ? TWidth.MultiplyAdd(product, factor, TWidth.Load(to)) : product, to);
}
