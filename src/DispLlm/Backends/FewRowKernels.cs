using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DispLlm;

/// <summary>
/// Few rows: sums of as many products at a time as there are registers for, each along the features. Methods are compiled once and for good: what the runtime learned of them while they
/// ran made one process a third slower than the next.
/// </summary>
/// <typeparam name="T">What a weight is stored as.</typeparam>
/// <typeparam name="TFormat">How it is read.</typeparam>
/// <typeparam name="TVector">What it is read into.</typeparam>
/// <typeparam name="TWidth">How that is computed with.</typeparam>
internal readonly unsafe struct FewRowKernels<T, TFormat, TVector, TWidth> : IHostProductKernels<T>
    where T : unmanaged
    where TFormat : IWeightFormat<T, TVector>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    /// <summary>
    /// Bytes of a weight up to which one row reads weights one after another: all of them are one long stream then, which memory foresees best. Longer ones pay for
    /// eight streams side by side.
    /// </summary>
    private const long OneStream = 8192;

    /// <summary>Numbers of arranged input that take half of the first cache, and stay there while weights pass.</summary>
    private const long FirstCache = 4096;

    /// <summary>Numbers that are read at a time: two vectors of them.</summary>
    public static int Step => 2 * TWidth.Lanes;

    /// <summary>How many numbers an arranged row takes: whole steps.</summary>
    public static long ArrangedWidth(long width) => (width + Step - 1) / Step * Step;

    /// <summary>Whether some rows stay in the first cache, so that weights may pass one output after another.</summary>
    public static bool StayInFirstCache(long rows, long width) => ArrangedSize(rows, width) <= FirstCache;

    /// <inheritdoc/>
    public static long ArrangedSize(long rows, long width) => rows * ArrangedWidth(width);

    /// <inheritdoc/>
    public static long Scratch(long rows) => 0;

    /// <summary>Rows as float32, in the order in which the format reads weights, and zeros behind each up to whole steps.</summary>
    public static void Arrange(T* x, long rows, long width, float* to) => Arrange(x, rows, width, width, to, ArrangedWidth(width));

    /// <summary>The same with rows that lie <paramref name="stride"/> numbers apart, and are to lie <paramref name="toStride"/> apart.</summary>
    public static void Arrange(T* x, long rows, long width, long stride, float* to, long toStride)
    {
        for (long row = 0; row < rows; row++, x += stride, to += toStride)
        {
            long i = 0;
            for (; i + Step <= width; i += Step)
            {
                TWidth.Store(TFormat.First(x + i), to + i);
                TWidth.Store(TFormat.Second(x + i), to + i + (Step / 2));
            }

            if (i < width)
            {
                var (first, second) = TFormat.Rest(x + i, width - i);
                TWidth.Store(first, to + i);
                TWidth.Store(second, to + i + (Step / 2));
            }
        }
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Apply(float* x, long rows, long width, T* weight, long count, float* result, long stride, float* scratch)
    {
        if (rows > 1 && StayInFirstCache(rows, width))
        {
            ApplyOneByOne(x, rows, width, weight, count, result, stride);
            return;
        }

        long output = 0;
        for (; rows == 1 && width * sizeof(T) <= OneStream && output < count; output++)
        {
            result[output] = Dot(weight + (output * width), x, width);
        }

        for (; rows == 1 && output + 8 <= count; output += 8)
        {
            Dot8x1(weight + (output * width), x, width, result + output);
        }

        ApplyInFours(x, rows, width, weight + (output * width), count - output, result + output, stride);
    }

    /// <summary>Four outputs at a time, for all rows: each takes the fewest steps, where weights are short or near.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void ApplyInFours(float* x, long rows, long width, T* weight, long count, float* result, long stride)
    {
        long output = 0, arranged = ArrangedWidth(width);
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
                result[(row * stride) + output] = Dot(weight + (output * width), x + (row * arranged), width);
            }
        }
    }

    /// <summary>One output after another, for all rows: weights are one long stream.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ApplyOneByOne(float* x, long rows, long width, T* weight, long count, float* result, long stride)
    {
        for (long output = 0, arranged = ArrangedWidth(width); output < count; output++)
        {
            for (long row = 0; row < rows; row += 4)
            {
                Dot1x4(weight + (output * width), x + (row * arranged), Math.Min(4, rows - row), width, result + (row * stride) + output, stride);
            }
        }
    }

    /// <summary>One output of one row: its weights are one stream, and so are those of all outputs together.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Dot(T* w, float* x, long width)
    {
        TVector s0 = default, s1 = default, s2 = default, s3 = default;
        int half = Step / 2;
        long i = 0;
        for (; i + (2 * Step) <= width; i += 2 * Step)
        {
            s0 = TWidth.PlusProduct(s0, TWidth.Load(x + i), TFormat.First(w + i));
            s1 = TWidth.PlusProduct(s1, TWidth.Load(x + i + half), TFormat.Second(w + i));
            s2 = TWidth.PlusProduct(s2, TWidth.Load(x + i + Step), TFormat.First(w + i + Step));
            s3 = TWidth.PlusProduct(s3, TWidth.Load(x + i + Step + half), TFormat.Second(w + i + Step));
        }

        for (; i + Step <= width; i += Step)
        {
            s0 = TWidth.PlusProduct(s0, TWidth.Load(x + i), TFormat.First(w + i));
            s1 = TWidth.PlusProduct(s1, TWidth.Load(x + i + half), TFormat.Second(w + i));
        }

        return TWidth.Sum(s0, s1, s2, i < width ? Rest(w + i, x + i, width - i, s3) : s3);
    }

    /// <summary>
    /// One output of up to four rows. Fewer rows cost what four do, which is less than their weights take to come from memory: the last row stands in for those that are not there.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot1x4(T* w, float* x, long rows, long width, float* result, long stride)
    {
        long arranged = ArrangedWidth(width);
        int half = Step / 2;
        float* x1 = x + (Math.Min(1, rows - 1) * arranged), x2 = x + (Math.Min(2, rows - 1) * arranged), x3 = x + ((rows - 1) * arranged);
        TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        for (long i = 0; i < width; i += Step)
        {
            var (first, second) = i + Step <= width ? (TFormat.First(w + i), TFormat.Second(w + i)) : TFormat.Rest(w + i, width - i);
            a0 = TWidth.PlusProduct(a0, TWidth.Load(x + i), first);
            a1 = TWidth.PlusProduct(a1, TWidth.Load(x1 + i), first);
            a2 = TWidth.PlusProduct(a2, TWidth.Load(x2 + i), first);
            a3 = TWidth.PlusProduct(a3, TWidth.Load(x3 + i), first);
            b0 = TWidth.PlusProduct(b0, TWidth.Load(x + i + half), second);
            b1 = TWidth.PlusProduct(b1, TWidth.Load(x1 + i + half), second);
            b2 = TWidth.PlusProduct(b2, TWidth.Load(x2 + i + half), second);
            b3 = TWidth.PlusProduct(b3, TWidth.Load(x3 + i + half), second);
        }

        var sums = TWidth.Sums(a0, a1, a2, a3) + TWidth.Sums(b0, b1, b2, b3);
        for (int row = 0; row < rows; row++)
        {
            result[row * stride] = sums[row];
        }
    }

    /// <summary>Eight outputs of one row: that many streams of weights at a time come from memory the fastest.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot8x1(T* weight, float* x, long width, float* result)
    {
        TVector s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        for (long i = 0; i + Step <= width; i += Step)
        {
            TVector a = TWidth.Load(x + i), b = TWidth.Load(x + i + (Step / 2));
            T* w = weight + i;
            s0 = TWidth.PlusProduct(TWidth.PlusProduct(s0, a, TFormat.First(w)), b, TFormat.Second(w));
            w += width;
            s1 = TWidth.PlusProduct(TWidth.PlusProduct(s1, a, TFormat.First(w)), b, TFormat.Second(w));
            w += width;
            s2 = TWidth.PlusProduct(TWidth.PlusProduct(s2, a, TFormat.First(w)), b, TFormat.Second(w));
            w += width;
            s3 = TWidth.PlusProduct(TWidth.PlusProduct(s3, a, TFormat.First(w)), b, TFormat.Second(w));
            w += width;
            s4 = TWidth.PlusProduct(TWidth.PlusProduct(s4, a, TFormat.First(w)), b, TFormat.Second(w));
            w += width;
            s5 = TWidth.PlusProduct(TWidth.PlusProduct(s5, a, TFormat.First(w)), b, TFormat.Second(w));
            w += width;
            s6 = TWidth.PlusProduct(TWidth.PlusProduct(s6, a, TFormat.First(w)), b, TFormat.Second(w));
            w += width;
            s7 = TWidth.PlusProduct(TWidth.PlusProduct(s7, a, TFormat.First(w)), b, TFormat.Second(w));
        }

        PutFour(TWidth.Sums(s0, s1, s2, s3), weight, x, width, result);
        PutFour(TWidth.Sums(s4, s5, s6, s7), weight + (4 * width), x, width, result + 4);
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

        PutFour(TWidth.Sums(s0, s1, s2, s3), w0, x, width, result);
    }

    /// <summary>Four outputs of three rows: as many sums as there are registers for, so that a number that is loaded is used three or four times.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot4x3(T* w0, float* x, long width, float* result, long stride)
    {
        T* w1 = w0 + width, w2 = w1 + width, w3 = w2 + width;
        float* y = x + ArrangedWidth(width), z = y + ArrangedWidth(width);
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

        PutFour(TWidth.Sums(a0, a1, a2, a3), w0, x, width, result);
        PutFour(TWidth.Sums(b0, b1, b2, b3), w0, y, width, result + stride);
        PutFour(TWidth.Sums(c0, c1, c2, c3), w0, z, width, result + (2 * stride));
    }

    /// <summary>Four outputs of a row that lie side by side: what is summed, and the products of what fills no step.</summary>
    private static void PutFour(Vector128<float> sums, T* weight, float* x, long width, float* result)
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
    private static TVector Rest(T* w, float* x, long count, TVector sums = default)
    {
        var (first, second) = TFormat.Rest(w, count);
        return TWidth.PlusProduct(TWidth.PlusProduct(sums, TWidth.Load(x), first), TWidth.Load(x + (Step / 2)), second);
    }
}
