using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DispLlm.Kernels;

/// <summary>
/// Four outputs of few rows at a time: their sums across lanes are taken together, which is the fewest steps where weights are short, and what is loaded is used several times.
/// </summary>
/// <typeparam name="T">What a weight is stored as.</typeparam>
/// <typeparam name="TFormat">How it is read.</typeparam>
/// <typeparam name="TVector">What it is read into.</typeparam>
/// <typeparam name="TWidth">How that is computed with.</typeparam>
internal static unsafe class SmallBatchGemmTile<T, TFormat, TVector, TWidth>
    where T : unmanaged
    where TFormat : IWeightFormat<T, TVector>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    private static int Step => SmallBatchGemm<T, TFormat, TVector, TWidth>.Step;

    /// <summary>Outputs for all rows of an arranged input, as <see cref="SmallBatchGemm{T, TFormat, TVector, TWidth}"/> has it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Apply(float* x, long rows, long width, T* weight, long count, float* result, long stride)
    {
        long output = 0, arranged = SmallBatchGemm<T, TFormat, TVector, TWidth>.ArrangedWidth(width);
        for (; output + 4 <= count; output += 4)
        {
            long row = 0;
            T* weights = weight + (output * width);
            for (; row + 3 <= rows; row += 3)
            {
                Dot4x3(weights, x + (row * arranged), width, result + (row * stride) + output, stride);
            }

            for (; row < rows; row++)
            {
                Dot4x1(weights, x + (row * arranged), width, result + (row * stride) + output);
            }
        }

        for (; output < count; output++)
        {
            for (long row = 0; row < rows; row++)
            {
                result[(row * stride) + output] = SmallBatchGemm<T, TFormat, TVector, TWidth>.Dot(weight + (output * width), x + (row * arranged), width);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot4x1(T* w0, float* x, long width, float* result)
    {
        T* w1 = w0 + width, w2 = w1 + width, w3 = w2 + width;
        TVector s0 = default, s1 = default, s2 = default, s3 = default;
        for (long i = 0; i + Step <= width; i += Step)
        {
            TVector a = TWidth.Load(x + i), b = TWidth.Load(x + i + (Step / 2));
            s0 = TWidth.PlusProduct(TWidth.PlusProduct(s0, a, TFormat.First(w0 + i)), b, TFormat.Second(w0 + i));
            s1 = TWidth.PlusProduct(TWidth.PlusProduct(s1, a, TFormat.First(w1 + i)), b, TFormat.Second(w1 + i));
            s2 = TWidth.PlusProduct(TWidth.PlusProduct(s2, a, TFormat.First(w2 + i)), b, TFormat.Second(w2 + i));
            s3 = TWidth.PlusProduct(TWidth.PlusProduct(s3, a, TFormat.First(w3 + i)), b, TFormat.Second(w3 + i));
        }

        Put(TWidth.Sums(s0, s1, s2, s3), w0, x, width, result);
    }

    /// <summary>Four outputs of three rows: as many sums as there are registers for, so that a number that is loaded is used three or four times.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot4x3(T* w0, float* x, long width, float* result, long stride)
    {
        T* w1 = w0 + width, w2 = w1 + width, w3 = w2 + width;
        long arranged = SmallBatchGemm<T, TFormat, TVector, TWidth>.ArrangedWidth(width);
        float* y = x + arranged, z = y + arranged;
        TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        TVector c0 = default, c1 = default, c2 = default, c3 = default;
        for (long i = 0; i + Step <= width; i += Step)
        {
            TVector a = TWidth.Load(x + i), b = TWidth.Load(y + i), c = TWidth.Load(z + i), w = TFormat.First(w0 + i);
            a0 = TWidth.PlusProduct(a0, a, w);
            b0 = TWidth.PlusProduct(b0, b, w);
            c0 = TWidth.PlusProduct(c0, c, w);
            w = TFormat.First(w1 + i);
            a1 = TWidth.PlusProduct(a1, a, w);
            b1 = TWidth.PlusProduct(b1, b, w);
            c1 = TWidth.PlusProduct(c1, c, w);
            w = TFormat.First(w2 + i);
            a2 = TWidth.PlusProduct(a2, a, w);
            b2 = TWidth.PlusProduct(b2, b, w);
            c2 = TWidth.PlusProduct(c2, c, w);
            w = TFormat.First(w3 + i);
            a3 = TWidth.PlusProduct(a3, a, w);
            b3 = TWidth.PlusProduct(b3, b, w);
            c3 = TWidth.PlusProduct(c3, c, w);

            long second = i + (Step / 2);
            (a, b, c, w) = (TWidth.Load(x + second), TWidth.Load(y + second), TWidth.Load(z + second), TFormat.Second(w0 + i));
            a0 = TWidth.PlusProduct(a0, a, w);
            b0 = TWidth.PlusProduct(b0, b, w);
            c0 = TWidth.PlusProduct(c0, c, w);
            w = TFormat.Second(w1 + i);
            a1 = TWidth.PlusProduct(a1, a, w);
            b1 = TWidth.PlusProduct(b1, b, w);
            c1 = TWidth.PlusProduct(c1, c, w);
            w = TFormat.Second(w2 + i);
            a2 = TWidth.PlusProduct(a2, a, w);
            b2 = TWidth.PlusProduct(b2, b, w);
            c2 = TWidth.PlusProduct(c2, c, w);
            w = TFormat.Second(w3 + i);
            a3 = TWidth.PlusProduct(a3, a, w);
            b3 = TWidth.PlusProduct(b3, b, w);
            c3 = TWidth.PlusProduct(c3, c, w);
        }

        Put(TWidth.Sums(a0, a1, a2, a3), w0, x, width, result);
        Put(TWidth.Sums(b0, b1, b2, b3), w0, y, width, result + stride);
        Put(TWidth.Sums(c0, c1, c2, c3), w0, z, width, result + (2 * stride));
    }

    /// <summary>Four outputs of a row that lie side by side: what is summed, and the products of what fills no step.</summary>
    public static void Put(Vector128<float> sums, T* weight, float* x, long width, float* result)
    {
        long rest = width % Step;
        if (rest > 0)
        {
            weight += width - rest;
            x += width - rest;
            sums += TWidth.Sums(
                Rest(weight, x, rest), Rest(weight + width, x, rest), Rest(weight + (2 * width), x, rest), Rest(weight + (3 * width), x, rest));
        }

        sums.Store(result);
    }

    /// <summary>Sums, and the products of what fills no step; behind it the input is zero.</summary>
    public static TVector Rest(T* w, float* x, long count, TVector sums = default)
    {
        var (first, second) = TFormat.Rest(w, count);
        return TWidth.PlusProduct(TWidth.PlusProduct(sums, TWidth.Load(x), first), TWidth.Load(x + (Step / 2)), second);
    }
}
