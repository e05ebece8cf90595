namespace DispLlm.Kernels;

/// <summary>
/// Products of small matrices that stay in the first cache: rows of the result lie in the lanes of vectors, so that a number of the other matrix is taken to all of them by one instruction,
/// and it may lie in any order. Outputs are computed four by four: results have room for them, and beyond the last one stands whatever there is in the matrix.
/// </summary>
/// <typeparam name="TVector">Rows at a time.</typeparam>
/// <typeparam name="TWidth">How that is computed with.</typeparam>
internal static unsafe class BatchedGemmTile<TVector, TWidth>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    /// <summary>Lanes come in multiples of this, whatever the processor's width.</summary>
    public const int Lanes = 32;

    /// <summary>Outputs that are computed, and that there has to be room for.</summary>
    public static long PadOutputs(long count) => (count + 3) / 4 * 4;

    /// <summary>Writes <c>[outputs, lanes]</c>.</summary>
    /// <param name="x"><c>[features, lanes]</c>.</param>
    /// <param name="lanes">A multiple of <see cref="Lanes"/>.</param>
    /// <param name="features">What is summed over.</param>
    /// <param name="matrix">Where the first output's first number lies.</param>
    /// <param name="featureStep">Numbers from one feature to the next.</param>
    /// <param name="outputStep">Numbers from one output to the next.</param>
    /// <param name="outputs">How many are wanted.</param>
    /// <param name="results"><c>[<see cref="PadOutputs"/>, lanes]</c>.</param>
    public static void Write(float* x, long lanes, long features, float* matrix, long featureStep, long outputStep, long outputs, float* results) =>
        Multiply(x, lanes, features, matrix, featureStep, outputStep, outputs, results, null, added: false);

    /// <summary>The same, added to what is there; that is multiplied before by a factor for each lane, where there are any.</summary>
    public static void Add(float* x, long lanes, long features, float* matrix, long featureStep, long outputStep, long outputs, float* results, float* factors) =>
        Multiply(x, lanes, features, matrix, featureStep, outputStep, outputs, results, factors, added: true);

    private static void Multiply(
        float* x, long lanes, long features, float* matrix, long featureStep, long outputStep, long outputs, float* results, float* factors, bool added)
    {
        for (long lane = 0; lane < lanes; lane += 2 * TWidth.Lanes)
        {
            TVector fa = TWidth.Filled(1), fb = fa;
            if (factors is not null)
            {
                (fa, fb) = (TWidth.Load(factors + lane), TWidth.Load(factors + lane + TWidth.Lanes));
            }

            for (long output = 0; output < outputs; output += 4)
            {
                TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
                float* w0 = matrix + (output * outputStep), w1 = w0 + outputStep, w2 = w1 + outputStep, w3 = w2 + outputStep, from = x + lane;
                for (long i = 0; i < features; i++, from += lanes)
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

                float* to = results + (output * lanes) + lane;
                Put(a0, fa, to, added);
                Put(b0, fb, to + TWidth.Lanes, added);
                Put(a1, fa, to + lanes, added);
                Put(b1, fb, to + lanes + TWidth.Lanes, added);
                Put(a2, fa, to + (2 * lanes), added);
                Put(b2, fb, to + (2 * lanes) + TWidth.Lanes, added);
                Put(a3, fa, to + (3 * lanes), added);
                Put(b3, fb, to + (3 * lanes) + TWidth.Lanes, added);
            }
        }
    }

    private static void Put(TVector product, TVector factor, float* to, bool added) =>
        TWidth.Store(added ? TWidth.PlusProduct(product, factor, TWidth.Load(to)) : product, to);
}
