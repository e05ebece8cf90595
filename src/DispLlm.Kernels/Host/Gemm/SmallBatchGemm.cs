using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DispLlm.Kernels;

/// <summary>
/// Small-batch GEMM on one thread: features are in the lanes of vectors, and as many dot products run at a time as there are registers for.
/// Methods are compiled with full optimization at once: with tiered PGO one process was a third slower than the next.
/// </summary>
/// <typeparam name="T">The stored type of a weight.</typeparam>
/// <typeparam name="TFormat">How weights are read.</typeparam>
/// <typeparam name="TVector">The vector that they are read into.</typeparam>
/// <typeparam name="TWidth">The width of the vector.</typeparam>
internal readonly unsafe struct SmallBatchGemm<T, TFormat, TVector, TWidth> : IHostGemm<T>
    where T : unmanaged
    where TFormat : IWeightFormat<T, TVector>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    /// <summary>
    /// Bytes of a weight's row up to which one input row reads weights in one stream, which the prefetcher likes best. Longer ones read
    /// eight streams.
    /// </summary>
    private const long OneStream = 8192;

    /// <summary>Numbers of packed input that take half of the L1 cache, and stay there while weights pass.</summary>
    private const long L1Numbers = 4096;

    /// <summary>Numbers that are read at a time: two vectors.</summary>
    public static int Step => 2 * TWidth.Lanes;

    /// <summary>The numbers of a packed row: whole steps.</summary>
    public static long PackedWidth(long width) => (width + Step - 1) / Step * Step;

    /// <summary>Whether packed rows stay in the L1 cache, so that weights may pass one output after another.</summary>
    public static bool FitsL1Cache(long rows, long width) => PackedSize(rows, width) <= L1Numbers;

    /// <inheritdoc/>
    public static long PackedSize(long rows, long width) => rows * PackedWidth(width);

    /// <inheritdoc/>
    public static long Scratch(long rows) => 0;

    /// <summary>Rows as float32, in the order in which the format reads weights, with zeros after each up to whole steps.</summary>
    public static void Pack(T* x, long rows, long width, float* to) => Pack(x, rows, width, width, to, PackedWidth(width));

    /// <summary>The same with a stride of the input, and of the result.</summary>
    public static void Pack(T* x, long rows, long width, long stride, float* to, long toStride)
    {
        for (long row = 0; row < rows; row++, x += stride, to += toStride)
        {
            long i = 0;
            for (; i + Step <= width; i += Step)
            {
                TWidth.Store(TFormat.LoadFirst(x + i), to + i);
                TWidth.Store(TFormat.LoadSecond(x + i), to + i + (Step / 2));
            }

            if (i < width)
            {
                var (first, second) = TFormat.LoadPartial(x + i, width - i);
                TWidth.Store(first, to + i);
                TWidth.Store(second, to + i + (Step / 2));
            }
        }
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Apply(float* x, long rows, long width, T* weight, long count, float* result, long stride, float* scratch)
    {
        if (rows > 1 && FitsL1Cache(rows, width))
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

        ApplyFourOutputs(x, rows, width, weight + (output * width), count - output, result + output, stride);
    }

    /// <summary>One output after another, for all rows: weights are one stream.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ApplyOneByOne(float* x, long rows, long width, T* weight, long count, float* result, long stride)
    {
        for (long output = 0, packed = PackedWidth(width); output < count; output++)
        {
            for (long row = 0; row < rows; row += 4)
            {
                Dot1x4(weight + (output * width), x + (row * packed), Math.Min(4, rows - row), width, result + (row * stride) + output,
                    stride);
            }
        }
    }

    /// <summary>One output of one row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Dot(T* w, float* x, long width)
    {
        TVector s0 = default, s1 = default, s2 = default, s3 = default;
        int half = Step / 2;
        long i = 0;
        for (; i + (2 * Step) <= width; i += 2 * Step)
        {
            s0 = TWidth.MultiplyAdd(s0, TWidth.Load(x + i), TFormat.LoadFirst(w + i));
            s1 = TWidth.MultiplyAdd(s1, TWidth.Load(x + i + half), TFormat.LoadSecond(w + i));
            s2 = TWidth.MultiplyAdd(s2, TWidth.Load(x + i + Step), TFormat.LoadFirst(w + i + Step));
            s3 = TWidth.MultiplyAdd(s3, TWidth.Load(x + i + Step + half), TFormat.LoadSecond(w + i + Step));
        }

        for (; i + Step <= width; i += Step)
        {
            s0 = TWidth.MultiplyAdd(s0, TWidth.Load(x + i), TFormat.LoadFirst(w + i));
            s1 = TWidth.MultiplyAdd(s1, TWidth.Load(x + i + half), TFormat.LoadSecond(w + i));
        }

        return TWidth.Sum(s0, s1, s2, i < width ? AddPartial(w + i, x + i, width - i, s3) : s3);
    }

    /// <summary>
    /// One output of up to four rows. Fewer cost as much, which is less than reading the weights: the last row is computed in place of
    /// missing ones.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot1x4(T* w, float* x, long rows, long width, float* result, long stride)
    {
        long packed = PackedWidth(width);
        int half = Step / 2;
        float* x1 = x + (Math.Min(1, rows - 1) * packed), x2 = x + (Math.Min(2, rows - 1) * packed), x3 = x + ((rows - 1) * packed);
        TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        for (long i = 0; i < width; i += Step)
        {
            var (first, second) = i + Step <= width ? (TFormat.LoadFirst(w + i), TFormat.LoadSecond(w + i))
                : TFormat.LoadPartial(w + i, width - i);
            a0 = TWidth.MultiplyAdd(a0, TWidth.Load(x + i), first);
            a1 = TWidth.MultiplyAdd(a1, TWidth.Load(x1 + i), first);
            a2 = TWidth.MultiplyAdd(a2, TWidth.Load(x2 + i), first);
            a3 = TWidth.MultiplyAdd(a3, TWidth.Load(x3 + i), first);
            b0 = TWidth.MultiplyAdd(b0, TWidth.Load(x + i + half), second);
            b1 = TWidth.MultiplyAdd(b1, TWidth.Load(x1 + i + half), second);
            b2 = TWidth.MultiplyAdd(b2, TWidth.Load(x2 + i + half), second);
            b3 = TWidth.MultiplyAdd(b3, TWidth.Load(x3 + i + half), second);
        }

        var sums = TWidth.SumEach(a0, a1, a2, a3) + TWidth.SumEach(b0, b1, b2, b3);
        for (int row = 0; row < rows; row++)
        {
            result[row * stride] = sums[row];
        }
    }

    /// <summary>Eight outputs of one row: memory is fastest with as many streams.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot8x1(T* weight, float* x, long width, float* result)
    {
        TVector s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        for (long i = 0; i + Step <= width; i += Step)
        {
            TVector a = TWidth.Load(x + i), b = TWidth.Load(x + i + (Step / 2));
            T* w = weight + i;
            s0 = TWidth.MultiplyAdd(TWidth.MultiplyAdd(s0, a, TFormat.LoadFirst(w)), b, TFormat.LoadSecond(w));
            w += width;
            s1 = TWidth.MultiplyAdd(TWidth.MultiplyAdd(s1, a, TFormat.LoadFirst(w)), b, TFormat.LoadSecond(w));
            w += width;
            s2 = TWidth.MultiplyAdd(TWidth.MultiplyAdd(s2, a, TFormat.LoadFirst(w)), b, TFormat.LoadSecond(w));
            w += width;
            s3 = TWidth.MultiplyAdd(TWidth.MultiplyAdd(s3, a, TFormat.LoadFirst(w)), b, TFormat.LoadSecond(w));
            w += width;
            s4 = TWidth.MultiplyAdd(TWidth.MultiplyAdd(s4, a, TFormat.LoadFirst(w)), b, TFormat.LoadSecond(w));
            w += width;
            s5 = TWidth.MultiplyAdd(TWidth.MultiplyAdd(s5, a, TFormat.LoadFirst(w)), b, TFormat.LoadSecond(w));
            w += width;
            s6 = TWidth.MultiplyAdd(TWidth.MultiplyAdd(s6, a, TFormat.LoadFirst(w)), b, TFormat.LoadSecond(w));
            w += width;
            s7 = TWidth.MultiplyAdd(TWidth.MultiplyAdd(s7, a, TFormat.LoadFirst(w)), b, TFormat.LoadSecond(w));
        }

        WriteFour(TWidth.SumEach(s0, s1, s2, s3), weight, x, width, result);
        WriteFour(TWidth.SumEach(s4, s5, s6, s7), weight + (4 * width), x, width, result + 4);
    }

    /// <summary>
    /// Four outputs at a time of all packed rows. Their sums across lanes are taken together, which is cheapest for short rows, and each
    /// load serves several multiplications.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void ApplyFourOutputs(float* x, long rows, long width, T* weight, long count, float* result, long stride)
    {
        long output = 0, packed = PackedWidth(width);
        for (; output + 4 <= count; output += 4)
        {
            long row = 0;
            T* weights = weight + (output * width);
            for (; row + 3 <= rows; row += 3)
            {
                Dot4x3(weights, x + (row * packed), width, result + (row * stride) + output, stride);
            }

            for (; row < rows; row++)
            {
                Dot4x1(weights, x + (row * packed), width, result + (row * stride) + output);
            }
        }

        for (; output < count; output++)
        {
            for (long row = 0; row < rows; row++)
            {
                result[(row * stride) + output] = Dot(weight + (output * width), x + (row * packed), width);
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
            s0 = TWidth.MultiplyAdd(TWidth.MultiplyAdd(s0, a, TFormat.LoadFirst(w0 + i)), b, TFormat.LoadSecond(w0 + i));
            s1 = TWidth.MultiplyAdd(TWidth.MultiplyAdd(s1, a, TFormat.LoadFirst(w1 + i)), b, TFormat.LoadSecond(w1 + i));
            s2 = TWidth.MultiplyAdd(TWidth.MultiplyAdd(s2, a, TFormat.LoadFirst(w2 + i)), b, TFormat.LoadSecond(w2 + i));
            s3 = TWidth.MultiplyAdd(TWidth.MultiplyAdd(s3, a, TFormat.LoadFirst(w3 + i)), b, TFormat.LoadSecond(w3 + i));
        }

        WriteFour(TWidth.SumEach(s0, s1, s2, s3), w0, x, width, result);
    }

    /// <summary>Four outputs of three rows: as many sums as there are registers for.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot4x3(T* w0, float* x, long width, float* result, long stride)
    {
        T* w1 = w0 + width, w2 = w1 + width, w3 = w2 + width;
        long packed = PackedWidth(width);
        float* y = x + packed, z = y + packed;
        TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        TVector c0 = default, c1 = default, c2 = default, c3 = default;
        for (long i = 0; i + Step <= width; i += Step)
        {
            TVector a = TWidth.Load(x + i), b = TWidth.Load(y + i), c = TWidth.Load(z + i), w = TFormat.LoadFirst(w0 + i);
            a0 = TWidth.MultiplyAdd(a0, a, w);
            b0 = TWidth.MultiplyAdd(b0, b, w);
            c0 = TWidth.MultiplyAdd(c0, c, w);
            w = TFormat.LoadFirst(w1 + i);
            a1 = TWidth.MultiplyAdd(a1, a, w);
            b1 = TWidth.MultiplyAdd(b1, b, w);
            c1 = TWidth.MultiplyAdd(c1, c, w);
            w = TFormat.LoadFirst(w2 + i);
            a2 = TWidth.MultiplyAdd(a2, a, w);
            b2 = TWidth.MultiplyAdd(b2, b, w);
            c2 = TWidth.MultiplyAdd(c2, c, w);
            w = TFormat.LoadFirst(w3 + i);
            a3 = TWidth.MultiplyAdd(a3, a, w);
            b3 = TWidth.MultiplyAdd(b3, b, w);
            c3 = TWidth.MultiplyAdd(c3, c, w);

            long second = i + (Step / 2);
            (a, b, c, w) = (TWidth.Load(x + second), TWidth.Load(y + second), TWidth.Load(z + second), TFormat.LoadSecond(w0 + i));
            a0 = TWidth.MultiplyAdd(a0, a, w);
            b0 = TWidth.MultiplyAdd(b0, b, w);
            c0 = TWidth.MultiplyAdd(c0, c, w);
            w = TFormat.LoadSecond(w1 + i);
            a1 = TWidth.MultiplyAdd(a1, a, w);
            b1 = TWidth.MultiplyAdd(b1, b, w);
            c1 = TWidth.MultiplyAdd(c1, c, w);
            w = TFormat.LoadSecond(w2 + i);
            a2 = TWidth.MultiplyAdd(a2, a, w);
            b2 = TWidth.MultiplyAdd(b2, b, w);
            c2 = TWidth.MultiplyAdd(c2, c, w);
            w = TFormat.LoadSecond(w3 + i);
            a3 = TWidth.MultiplyAdd(a3, a, w);
            b3 = TWidth.MultiplyAdd(b3, b, w);
            c3 = TWidth.MultiplyAdd(c3, c, w);
        }

        WriteFour(TWidth.SumEach(a0, a1, a2, a3), w0, x, width, result);
        WriteFour(TWidth.SumEach(b0, b1, b2, b3), w0, y, width, result + stride);
        WriteFour(TWidth.SumEach(c0, c1, c2, c3), w0, z, width, result + (2 * stride));
    }

    /// <summary>Writes four neighbouring outputs of a row: their sums, and the dot product of the last, partial step.</summary>
    private static void WriteFour(Vector128<float> sums, T* weight, float* x, long width, float* result)
    {
        long rest = width % Step;
        if (rest > 0)
        {
            weight += width - rest;
            x += width - rest;
            sums += TWidth.SumEach(
                AddPartial(weight, x, rest), AddPartial(weight + width, x, rest), AddPartial(weight + (2 * width), x, rest),
                    AddPartial(weight + (3 * width), x, rest));
        }

        sums.Store(result);
    }

    /// <summary>Adds the dot product of the last, partial step. The packed input is zero after it.</summary>
    private static TVector AddPartial(T* w, float* x, long count, TVector sums = default)
    {
        var (first, second) = TFormat.LoadPartial(w, count);
        return TWidth.MultiplyAdd(TWidth.MultiplyAdd(sums, TWidth.Load(x), first), TWidth.Load(x + (Step / 2)), second);
    }
}
