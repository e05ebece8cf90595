using System.Numerics;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DispLlm;

/// <summary>The loops of <see cref="FewRowProduct"/>, on one thread: sums of as many products at a time as there are registers for.</summary>
/// <typeparam name="T">What a weight is stored as.</typeparam>
/// <typeparam name="TFormat">How it is read.</typeparam>
internal static unsafe class FewRowKernels<T, TFormat>
    where T : unmanaged
    where TFormat : IWeightFormat<T>
{
    /// <summary>
    /// Bytes of a weight up to which one row reads weights one after another: all of them are one long stream then, which memory foresees best. Longer ones pay for
    /// eight streams side by side.
    /// </summary>
    private const long OneStream = 8192;

    private static int Step => 2 * Vector<float>.Count;

    /// <summary>Rows as float32, in the order in which the format reads weights: where they lie, or in room that is given.</summary>
    public static float* Arranged(T* x, long rows, long width, float* room)
    {
        if (typeof(T) == typeof(float))
        {
            return (float*)x;
        }

        for (long row = 0; row < rows; row++)
        {
            T* from = x + (row * width);
            float* to = room + (row * width);
            long i = 0;
            for (; i + Step <= width; i += Step)
            {
                Vector.Store(TFormat.First(from + i), to + i);
                Vector.Store(TFormat.Second(from + i), to + i + (Step / 2));
            }

            for (; i < width; i++)
            {
                to[i] = TFormat.Read(from[i]);
            }
        }

        return room;
    }

    /// <summary>Some outputs for all rows of an arranged input: each weight is read once, from memory, whatever the number of rows.</summary>
    /// <param name="x"><c>[rows, width]</c>, arranged.</param>
    /// <param name="rows">How many rows there are.</param>
    /// <param name="width">Features of a row.</param>
    /// <param name="weight"><c>[count, width]</c>.</param>
    /// <param name="count">How many outputs there are.</param>
    /// <param name="result">Row by row, <paramref name="stride"/> numbers from one to the next.</param>
    /// <param name="stride">At least <paramref name="count"/>.</param>
    public static void Apply(float* x, long rows, long width, T* weight, long count, float* result, long stride)
    {
        long output = 0;
        for (; rows == 1 && width * sizeof(T) <= OneStream && output < count; output++)
        {
            result[output] = Dot(weight + (output * width), x, width);
        }

        for (; rows == 1 && output + 8 <= count; output += 8)
        {
            Dot8x1(weight + (output * width), x, width, result + output);
        }

        for (; output + 4 <= count; output += 4)
        {
            long row = 0;
            for (; row + 3 <= rows; row += 3)
            {
                Dot4x3(weight + (output * width), x + (row * width), width, result + (row * stride) + output, stride);
            }

            for (; row < rows; row++)
            {
                Dot4x1(weight + (output * width), x + (row * width), width, result + (row * stride) + output);
            }
        }

        for (; output < count; output++)
        {
            for (long row = 0; row < rows; row++)
            {
                result[(row * stride) + output] = Dot(weight + (output * width), x + (row * width), width);
            }
        }
    }

    /// <summary>One output of one row: its weights are one stream, and so are those of all outputs together.</summary>
    private static float Dot(T* w, float* x, long width)
    {
        Vector<float> s0 = default, s1 = default, s2 = default, s3 = default;
        int half = Step / 2;
        long i = 0;
        for (; i + (2 * Step) <= width; i += 2 * Step)
        {
            s0 = Vector.FusedMultiplyAdd(Vector.Load(x + i), TFormat.First(w + i), s0);
            s1 = Vector.FusedMultiplyAdd(Vector.Load(x + i + half), TFormat.Second(w + i), s1);
            s2 = Vector.FusedMultiplyAdd(Vector.Load(x + i + Step), TFormat.First(w + i + Step), s2);
            s3 = Vector.FusedMultiplyAdd(Vector.Load(x + i + Step + half), TFormat.Second(w + i + Step), s3);
        }

        for (; i + Step <= width; i += Step)
        {
            s0 = Vector.FusedMultiplyAdd(Vector.Load(x + i), TFormat.First(w + i), s0);
            s1 = Vector.FusedMultiplyAdd(Vector.Load(x + i + half), TFormat.Second(w + i), s1);
        }

        float sum = Vector.Sum(s0 + s1 + (s2 + s3));
        for (; i < width; i++)
        {
            sum += x[i] * TFormat.Read(w[i]);
        }

        return sum;
    }

    /// <summary>Eight outputs of one row: that many streams of weights at a time come from memory the fastest.</summary>
    private static void Dot8x1(T* weight, float* x, long width, float* result)
    {
        Vector<float> s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        long whole = width - (width % Step);
        for (long i = 0; i < whole; i += Step)
        {
            Vector<float> a = Vector.Load(x + i), b = Vector.Load(x + i + (Step / 2));
            T* w = weight + i;
            s0 = Vector.FusedMultiplyAdd(b, TFormat.Second(w), Vector.FusedMultiplyAdd(a, TFormat.First(w), s0));
            w += width;
            s1 = Vector.FusedMultiplyAdd(b, TFormat.Second(w), Vector.FusedMultiplyAdd(a, TFormat.First(w), s1));
            w += width;
            s2 = Vector.FusedMultiplyAdd(b, TFormat.Second(w), Vector.FusedMultiplyAdd(a, TFormat.First(w), s2));
            w += width;
            s3 = Vector.FusedMultiplyAdd(b, TFormat.Second(w), Vector.FusedMultiplyAdd(a, TFormat.First(w), s3));
            w += width;
            s4 = Vector.FusedMultiplyAdd(b, TFormat.Second(w), Vector.FusedMultiplyAdd(a, TFormat.First(w), s4));
            w += width;
            s5 = Vector.FusedMultiplyAdd(b, TFormat.Second(w), Vector.FusedMultiplyAdd(a, TFormat.First(w), s5));
            w += width;
            s6 = Vector.FusedMultiplyAdd(b, TFormat.Second(w), Vector.FusedMultiplyAdd(a, TFormat.First(w), s6));
            w += width;
            s7 = Vector.FusedMultiplyAdd(b, TFormat.Second(w), Vector.FusedMultiplyAdd(a, TFormat.First(w), s7));
        }

        PutFour(Sums(s0, s1, s2, s3), weight, x, width, whole, result);
        PutFour(Sums(s4, s5, s6, s7), weight + (4 * width), x, width, whole, result + 4);
    }

    private static void Dot4x1(T* w0, float* x, long width, float* result)
    {
        T* w1 = w0 + width, w2 = w1 + width, w3 = w2 + width;
        Vector<float> s0 = default, s1 = default, s2 = default, s3 = default;
        long whole = width - (width % Step);
        for (long i = 0; i < whole; i += Step)
        {
            Vector<float> a = Vector.Load(x + i), b = Vector.Load(x + i + (Step / 2));
            s0 = Vector.FusedMultiplyAdd(b, TFormat.Second(w0 + i), Vector.FusedMultiplyAdd(a, TFormat.First(w0 + i), s0));
            s1 = Vector.FusedMultiplyAdd(b, TFormat.Second(w1 + i), Vector.FusedMultiplyAdd(a, TFormat.First(w1 + i), s1));
            s2 = Vector.FusedMultiplyAdd(b, TFormat.Second(w2 + i), Vector.FusedMultiplyAdd(a, TFormat.First(w2 + i), s2));
            s3 = Vector.FusedMultiplyAdd(b, TFormat.Second(w3 + i), Vector.FusedMultiplyAdd(a, TFormat.First(w3 + i), s3));
        }

        PutFour(Sums(s0, s1, s2, s3), w0, x, width, whole, result);
    }

    /// <summary>Four outputs of three rows: as many sums as there are registers for, so that a number that is loaded is used three or four times.</summary>
    private static void Dot4x3(T* w0, float* x, long width, float* result, long stride)
    {
        T* w1 = w0 + width, w2 = w1 + width, w3 = w2 + width;
        float* y = x + width, z = y + width;
        Vector<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        Vector<float> c0 = default, c1 = default, c2 = default, c3 = default;
        long whole = width - (width % Step);
        for (long i = 0; i < whole; i += Step)
        {
            Vector<float> a = Vector.Load(x + i), b = Vector.Load(y + i), c = Vector.Load(z + i), w = TFormat.First(w0 + i);
            a0 = Vector.FusedMultiplyAdd(a, w, a0);
            b0 = Vector.FusedMultiplyAdd(b, w, b0);
            c0 = Vector.FusedMultiplyAdd(c, w, c0);
            w = TFormat.First(w1 + i);
            a1 = Vector.FusedMultiplyAdd(a, w, a1);
            b1 = Vector.FusedMultiplyAdd(b, w, b1);
            c1 = Vector.FusedMultiplyAdd(c, w, c1);
            w = TFormat.First(w2 + i);
            a2 = Vector.FusedMultiplyAdd(a, w, a2);
            b2 = Vector.FusedMultiplyAdd(b, w, b2);
            c2 = Vector.FusedMultiplyAdd(c, w, c2);
            w = TFormat.First(w3 + i);
            a3 = Vector.FusedMultiplyAdd(a, w, a3);
            b3 = Vector.FusedMultiplyAdd(b, w, b3);
            c3 = Vector.FusedMultiplyAdd(c, w, c3);

            long second = i + (Step / 2);
            (a, b, c, w) = (Vector.Load(x + second), Vector.Load(y + second), Vector.Load(z + second), TFormat.Second(w0 + i));
            a0 = Vector.FusedMultiplyAdd(a, w, a0);
            b0 = Vector.FusedMultiplyAdd(b, w, b0);
            c0 = Vector.FusedMultiplyAdd(c, w, c0);
            w = TFormat.Second(w1 + i);
            a1 = Vector.FusedMultiplyAdd(a, w, a1);
            b1 = Vector.FusedMultiplyAdd(b, w, b1);
            c1 = Vector.FusedMultiplyAdd(c, w, c1);
            w = TFormat.Second(w2 + i);
            a2 = Vector.FusedMultiplyAdd(a, w, a2);
            b2 = Vector.FusedMultiplyAdd(b, w, b2);
            c2 = Vector.FusedMultiplyAdd(c, w, c2);
            w = TFormat.Second(w3 + i);
            a3 = Vector.FusedMultiplyAdd(a, w, a3);
            b3 = Vector.FusedMultiplyAdd(b, w, b3);
            c3 = Vector.FusedMultiplyAdd(c, w, c3);
        }

        PutFour(Sums(a0, a1, a2, a3), w0, x, width, whole, result);
        PutFour(Sums(b0, b1, b2, b3), w0, y, width, whole, result + stride);
        PutFour(Sums(c0, c1, c2, c3), w0, z, width, whole, result + (2 * stride));
    }

    /// <summary>The sums of four vectors. Short products end so often that taking them one by one would cost a good part of the product.</summary>
    private static Vector128<float> Sums(Vector<float> s0, Vector<float> s1, Vector<float> s2, Vector<float> s3)
    {
        if (!Avx.IsSupported || Vector<float>.Count != Vector256<float>.Count)
        {
            return Vector128.Create(Vector.Sum(s0), Vector.Sum(s1), Vector.Sum(s2), Vector.Sum(s3));
        }

        var halves = Avx.HorizontalAdd(Avx.HorizontalAdd(s0.AsVector256(), s1.AsVector256()), Avx.HorizontalAdd(s2.AsVector256(), s3.AsVector256()));
        return halves.GetLower() + halves.GetUpper();
    }

    /// <summary>Four outputs of a row that lie side by side: what is summed of the first features, and the product of those that fill no step.</summary>
    private static void PutFour(Vector128<float> sums, T* weight, float* x, long width, long whole, float* result)
    {
        for (long i = whole; i < width; i++)
        {
            var weights = Vector128.Create(
                TFormat.Read(weight[i]), TFormat.Read(weight[width + i]), TFormat.Read(weight[(2 * width) + i]), TFormat.Read(weight[(3 * width) + i]));
            sums += weights * x[i];
        }

        sums.Store(result);
    }
}
