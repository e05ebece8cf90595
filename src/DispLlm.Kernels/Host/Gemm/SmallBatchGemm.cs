using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DispLlm.Kernels;

/// <summary>
/// Few rows: sums of as many products at a time as there are registers for, each along the features. Methods are compiled once and for good: what the runtime learned of them while they
/// ran made one process a third slower than the next.
/// </summary>
/// <typeparam name="T">What a weight is stored as.</typeparam>
/// <typeparam name="TFormat">How it is read.</typeparam>
/// <typeparam name="TVector">What it is read into.</typeparam>
/// <typeparam name="TWidth">How that is computed with.</typeparam>
internal readonly unsafe struct SmallBatchGemm<T, TFormat, TVector, TWidth> : IHostGemm<T>
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

        SmallBatchGemmTile<T, TFormat, TVector, TWidth>.Apply(x, rows, width, weight + (output * width), count - output, result + output, stride);
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
    public static float Dot(T* w, float* x, long width)
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

        return TWidth.Sum(s0, s1, s2, i < width ? SmallBatchGemmTile<T, TFormat, TVector, TWidth>.Rest(w + i, x + i, width - i, s3) : s3);
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

        SmallBatchGemmTile<T, TFormat, TVector, TWidth>.Put(TWidth.Sums(s0, s1, s2, s3), weight, x, width, result);
        SmallBatchGemmTile<T, TFormat, TVector, TWidth>.Put(TWidth.Sums(s4, s5, s6, s7), weight + (4 * width), x, width, result + 4);
    }
}
