namespace DispLlm.Kernels;

/// <summary>
/// The sum of a cache's values weighted by attention, on one thread: as many features at a time as there are registers for, each written
/// once.
/// </summary>
/// <typeparam name="T">The stored type of a value.</typeparam>
/// <typeparam name="TFormat">How values are read.</typeparam>
/// <typeparam name="TVector">The vector that they are read into.</typeparam>
/// <typeparam name="TWidth">The width of the vector.</typeparam>
internal static unsafe class WeightedSum<T, TFormat, TVector, TWidth>
    where T : unmanaged
    where TFormat : IWeightFormat<T, TVector>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    private static int Step => 2 * TWidth.Lanes;

    /// <summary>The sums for all queries that share values.</summary>
    /// <param name="values"><c>[seen, size]</c>.</param>
    /// <param name="weights"><c>[queries, seen]</c>.</param>
    /// <param name="queries">The number of queries.</param>
    /// <param name="results"><c>[queries, size]</c>.</param>
    /// <param name="seen">The number of positions.</param>
    /// <param name="size">The number of features.</param>
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

    /// <summary>Some features for three queries: each value is converted once for all of them.</summary>
    private static void TwoSteps3(T* value, float* weights, T* result, long seen, long size)
    {
        TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        TVector c0 = default, c1 = default, c2 = default, c3 = default;
        for (long position = 0; position < seen; position++, value += size)
        {
            TVector a = TWidth.Broadcast(weights[position]), b = TWidth.Broadcast(weights[seen + position]),
                c = TWidth.Broadcast(weights[(2 * seen) + position]);
            TVector v = TFormat.LoadFirst(value);
            a0 = TWidth.MultiplyAdd(a0, a, v);
            b0 = TWidth.MultiplyAdd(b0, b, v);
            c0 = TWidth.MultiplyAdd(c0, c, v);
            v = TFormat.LoadSecond(value);
            a1 = TWidth.MultiplyAdd(a1, a, v);
            b1 = TWidth.MultiplyAdd(b1, b, v);
            c1 = TWidth.MultiplyAdd(c1, c, v);
            v = TFormat.LoadFirst(value + Step);
            a2 = TWidth.MultiplyAdd(a2, a, v);
            b2 = TWidth.MultiplyAdd(b2, b, v);
            c2 = TWidth.MultiplyAdd(c2, c, v);
            v = TFormat.LoadSecond(value + Step);
            a3 = TWidth.MultiplyAdd(a3, a, v);
            b3 = TWidth.MultiplyAdd(b3, b, v);
            c3 = TWidth.MultiplyAdd(c3, c, v);
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
            // The last step begins where it still fits, and may overlap the one before.
            long first = Math.Min(feature, size - Step);
            OneStep1(values + first, weights, result + first, seen, size);
        }

        for (; feature < size; feature++)
        {
            float sum = 0;
            for (long position = 0; position < seen; position++)
            {
                sum += weights[position] * TFormat.ToSingle(values[(position * size) + feature]);
            }

            result[feature] = TFormat.FromSingle(sum);
        }
    }

    private static void OneStep1(T* value, float* weights, T* result, long seen, long size)
    {
        TVector first = default, second = default;
        for (long position = 0; position < seen; position++, value += size)
        {
            TVector weight = TWidth.Broadcast(weights[position]);
            first = TWidth.MultiplyAdd(first, weight, TFormat.LoadFirst(value));
            second = TWidth.MultiplyAdd(second, weight, TFormat.LoadSecond(value));
        }

        TFormat.Store(first, second, result);
    }

    private static void FourSteps1(T* value, float* weights, T* result, long seen, long size)
    {
        TVector s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        for (long position = 0; position < seen; position++, value += size)
        {
            TVector weight = TWidth.Broadcast(weights[position]);
            s0 = TWidth.MultiplyAdd(s0, weight, TFormat.LoadFirst(value));
            s1 = TWidth.MultiplyAdd(s1, weight, TFormat.LoadSecond(value));
            s2 = TWidth.MultiplyAdd(s2, weight, TFormat.LoadFirst(value + Step));
            s3 = TWidth.MultiplyAdd(s3, weight, TFormat.LoadSecond(value + Step));
            s4 = TWidth.MultiplyAdd(s4, weight, TFormat.LoadFirst(value + (2 * Step)));
            s5 = TWidth.MultiplyAdd(s5, weight, TFormat.LoadSecond(value + (2 * Step)));
            s6 = TWidth.MultiplyAdd(s6, weight, TFormat.LoadFirst(value + (3 * Step)));
            s7 = TWidth.MultiplyAdd(s7, weight, TFormat.LoadSecond(value + (3 * Step)));
        }

        TFormat.Store(s0, s1, result);
        TFormat.Store(s2, s3, result + Step);
        TFormat.Store(s4, s5, result + (2 * Step));
        TFormat.Store(s6, s7, result + (3 * Step));
    }
}
