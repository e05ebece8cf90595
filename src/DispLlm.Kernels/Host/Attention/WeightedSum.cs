namespace DispLlm.Kernels;

/// <summary>Means of a cache's values, weighted by attention, on one thread: as many features at a time as there are registers for, each written once.</summary>
/// <typeparam name="T">What a value is stored as.</typeparam>
/// <typeparam name="TFormat">How it is read.</typeparam>
/// <typeparam name="TVector">What it is read into.</typeparam>
/// <typeparam name="TWidth">How that is computed with.</typeparam>
internal static unsafe class WeightedSum<T, TFormat, TVector, TWidth>
    where T : unmanaged
    where TFormat : IWeightFormat<T, TVector>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    private static int Step => 2 * TWidth.Lanes;

    /// <summary>The means for all queries that share values.</summary>
    /// <param name="values"><c>[seen, size]</c>.</param>
    /// <param name="weights"><c>[queries, seen]</c>.</param>
    /// <param name="queries">How many queries there are.</param>
    /// <param name="results"><c>[queries, size]</c>.</param>
    /// <param name="seen">Positions.</param>
    /// <param name="size">Features of a value.</param>
    public static void Compute(T* values, float* weights, long queries, T* results, long seen, long size)
    {
        long query = 0;
        for (; size % (2 * Step) == 0 && query + 3 <= queries; query += 3)
        {
            for (long feature = 0; feature < size; feature += 2 * Step)
            {
                TwoSteps3(values + feature, weights + (query * seen), results + (query * size) + feature, seen, size);
            }
        }

        for (; query < queries; query++)
        {
            One(values, weights + (query * seen), results + (query * size), seen, size);
        }
    }

    /// <summary>Some features for three queries: what is read is widened once for all of them.</summary>
    private static void TwoSteps3(T* value, float* weights, T* result, long seen, long size)
    {
        TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        TVector c0 = default, c1 = default, c2 = default, c3 = default;
        for (long position = 0; position < seen; position++, value += size)
        {
            TVector a = TWidth.Filled(weights[position]), b = TWidth.Filled(weights[seen + position]), c = TWidth.Filled(weights[(2 * seen) + position]);
            TVector v = TFormat.First(value);
            a0 = TWidth.PlusProduct(a0, a, v);
            b0 = TWidth.PlusProduct(b0, b, v);
            c0 = TWidth.PlusProduct(c0, c, v);
            v = TFormat.Second(value);
            a1 = TWidth.PlusProduct(a1, a, v);
            b1 = TWidth.PlusProduct(b1, b, v);
            c1 = TWidth.PlusProduct(c1, c, v);
            v = TFormat.First(value + Step);
            a2 = TWidth.PlusProduct(a2, a, v);
            b2 = TWidth.PlusProduct(b2, b, v);
            c2 = TWidth.PlusProduct(c2, c, v);
            v = TFormat.Second(value + Step);
            a3 = TWidth.PlusProduct(a3, a, v);
            b3 = TWidth.PlusProduct(b3, b, v);
            c3 = TWidth.PlusProduct(c3, c, v);
        }

        TFormat.Store(a0, a1, result);
        TFormat.Store(a2, a3, result + Step);
        TFormat.Store(b0, b1, result + size);
        TFormat.Store(b2, b3, result + size + Step);
        TFormat.Store(c0, c1, result + (2 * size));
        TFormat.Store(c2, c3, result + (2 * size) + Step);
    }

    /// <summary>All features for one query.</summary>
    private static void One(T* values, float* weights, T* result, long seen, long size)
    {
        long feature = 0;
        for (; feature + (4 * Step) <= size; feature += 4 * Step)
        {
            FourSteps1(values + feature, weights, result + feature, seen, size);
        }

        for (; feature < size && size >= Step; feature += Step)
        {
            // The last step begins where it still fits: it may compute once more what another has.
            long first = Math.Min(feature, size - Step);
            OneStep1(values + first, weights, result + first, seen, size);
        }

        for (; feature < size; feature++)
        {
            float sum = 0;
            for (long position = 0; position < seen; position++)
            {
                sum += weights[position] * TFormat.Read(values[(position * size) + feature]);
            }

            result[feature] = TFormat.Rounded(sum);
        }
    }

    private static void OneStep1(T* value, float* weights, T* result, long seen, long size)
    {
        TVector first = default, second = default;
        for (long position = 0; position < seen; position++, value += size)
        {
            TVector weight = TWidth.Filled(weights[position]);
            first = TWidth.PlusProduct(first, weight, TFormat.First(value));
            second = TWidth.PlusProduct(second, weight, TFormat.Second(value));
        }

        TFormat.Store(first, second, result);
    }

    private static void FourSteps1(T* value, float* weights, T* result, long seen, long size)
    {
        TVector s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        for (long position = 0; position < seen; position++, value += size)
        {
            TVector weight = TWidth.Filled(weights[position]);
            s0 = TWidth.PlusProduct(s0, weight, TFormat.First(value));
            s1 = TWidth.PlusProduct(s1, weight, TFormat.Second(value));
            s2 = TWidth.PlusProduct(s2, weight, TFormat.First(value + Step));
            s3 = TWidth.PlusProduct(s3, weight, TFormat.Second(value + Step));
            s4 = TWidth.PlusProduct(s4, weight, TFormat.First(value + (2 * Step)));
            s5 = TWidth.PlusProduct(s5, weight, TFormat.Second(value + (2 * Step)));
            s6 = TWidth.PlusProduct(s6, weight, TFormat.First(value + (3 * Step)));
            s7 = TWidth.PlusProduct(s7, weight, TFormat.Second(value + (3 * Step)));
        }

        TFormat.Store(s0, s1, result);
        TFormat.Store(s2, s3, result + Step);
        TFormat.Store(s4, s5, result + (2 * Step));
        TFormat.Store(s6, s7, result + (3 * Step));
    }
}
