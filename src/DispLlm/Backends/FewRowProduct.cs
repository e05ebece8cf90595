using System.Numerics;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Matrix products of few rows, as decoding needs them: float32 on the CPU, no gradient. The framework computes one row on one core, and several rows at a fraction of the
/// memory's speed; here every weight is read once, by all cores, whatever the number of rows.
/// </summary>
internal static unsafe class FewRowProduct
{
    /// <summary>Rows up to which this is the faster way: above, the framework's blocked product is.</summary>
    private const long MostRows = 32;

    /// <summary>
    /// Width up to which one row reads its weights one after another: short ones that are read side by side make too many short streams for the memory to
    /// foresee.
    /// </summary>
    private const long NarrowWidth = 512;

    /// <summary>Whether this is the faster way for an input.</summary>
    public static bool Takes(Tensor x) => x.dtype == ScalarType.Float32 && HostRows.LieWithoutGradient(x) && x.numel() <= MostRows * x.size(-1);

    /// <summary>
    /// Linear projections of one input of few rows, computed together: <c>[..., in] -> [..., out]</c> each.
    /// </summary>
    public static Tensor[] Apply(Tensor x, params ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
    {
        long width = x.size(-1), rows = x.numel() / width, outputs = 0;
        long[] shape = x.shape;
        var results = new Tensor[projections.Length];
        var parts = new ProductPart[projections.Length];
        for (int i = 0; i < projections.Length; i++)
        {
            var (weight, bias) = projections[i];
            shape[^1] = weight.size(0);
            EnsureFits(weight, width);
            results[i] = empty(shape, ScalarType.Float32);
            parts[i] = new ProductPart(HostRows.Pointer(weight), bias is null ? null : HostRows.Pointer(bias), HostRows.Pointer(results[i]), shape[^1], outputs);
            outputs += shape[^1];
        }

        float* input = HostRows.Pointer(x);
        HostThreads.Share(outputs, width, (first, last) =>
        {
            foreach (var part in parts)
            {
                long from = Math.Max(first, part.Offset) - part.Offset, to = Math.Min(last, part.Offset + part.Count) - part.Offset;
                if (from < to)
                {
                    Product(input, rows, width, part, from, to);
                }
            }
        });
        GC.KeepAlive(x);
        return results;
    }

    /// <summary>One projection without a bias, on this thread: <c>[rows, width] -> [rows, count]</c>.</summary>
    public static void Apply(float* input, long rows, long width, float* weight, long count, float* result) =>
        Product(input, rows, width, new ProductPart(weight, null, result, count, 0), 0, count);

    private readonly struct ProductPart(float* weight, float* bias, float* result, long count, long offset)
    {
        public readonly float* Weight = weight, Bias = bias, Result = result;
        public readonly long Count = count, Offset = offset;
    }

    private static void EnsureFits(Tensor weight, long width)
    {
        if (weight.size(1) != width)
        {
            throw new ArgumentException($"A projection of {weight.size(1)} features cannot be applied to {width}.", nameof(weight));
        }
    }

    /// <summary>Some outputs of a projection for all rows of the input: each weight is read once, from memory, whatever the number of rows.</summary>
    private static void Product(float* input, long rows, long width, ProductPart part, long first, long last)
    {
        long output = first;
        for (; rows == 1 && width <= NarrowWidth && output < last; output++)
        {
            Put(part, output, 0, Dot(part.Weight + (output * width), input, width));
        }

        for (; rows == 1 && output + 8 <= last; output += 8)
        {
            Dot8x1(part, output, input, width);
        }

        for (; output + 4 <= last; output += 4)
        {
            long row = 0;
            for (; row + 3 <= rows; row += 3)
            {
                Dot4x3(part, output, input + (row * width), width, row);
            }

            for (; row < rows; row++)
            {
                Dot4x1(part, output, input + (row * width), width, row);
            }
        }

        for (; output < last; output++)
        {
            for (long row = 0; row < rows; row++)
            {
                Put(part, output, row, Dot(part.Weight + (output * width), input + (row * width), width));
            }
        }
    }

    private static void Put(ProductPart part, long output, long row, float value) =>
        part.Result[(row * part.Count) + output] = part.Bias is null ? value : value + part.Bias[output];

    /// <summary>Eight outputs of one row: that many streams of weights at a time come from memory the fastest.</summary>
    private static void Dot8x1(ProductPart part, long output, float* x, long width)
    {
        Vector<float> s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        float* first = part.Weight + (output * width);
        long whole = width - (width % Vector<float>.Count);
        for (long i = 0; i < whole; i += Vector<float>.Count)
        {
            var v = Vector.Load(x + i);
            float* w = first + i;
            s0 = Vector.FusedMultiplyAdd(v, Vector.Load(w), s0);
            s1 = Vector.FusedMultiplyAdd(v, Vector.Load(w += width), s1);
            s2 = Vector.FusedMultiplyAdd(v, Vector.Load(w += width), s2);
            s3 = Vector.FusedMultiplyAdd(v, Vector.Load(w += width), s3);
            s4 = Vector.FusedMultiplyAdd(v, Vector.Load(w += width), s4);
            s5 = Vector.FusedMultiplyAdd(v, Vector.Load(w += width), s5);
            s6 = Vector.FusedMultiplyAdd(v, Vector.Load(w += width), s6);
            s7 = Vector.FusedMultiplyAdd(v, Vector.Load(w + width), s7);
        }

        PutFour(part, output, 0, Sums(s0, s1, s2, s3), x, width, whole);
        PutFour(part, output + 4, 0, Sums(s4, s5, s6, s7), x, width, whole);
    }

    /// <summary>One output of one row: its weights are one stream, and so are those of all outputs together.</summary>
    private static float Dot(float* w, float* x, long width)
    {
        Vector<float> s0 = default, s1 = default, s2 = default, s3 = default;
        int step = Vector<float>.Count;
        long i = 0;
        for (; i + (4 * step) <= width; i += 4 * step)
        {
            s0 = Vector.FusedMultiplyAdd(Vector.Load(x + i), Vector.Load(w + i), s0);
            s1 = Vector.FusedMultiplyAdd(Vector.Load(x + i + step), Vector.Load(w + i + step), s1);
            s2 = Vector.FusedMultiplyAdd(Vector.Load(x + i + (2 * step)), Vector.Load(w + i + (2 * step)), s2);
            s3 = Vector.FusedMultiplyAdd(Vector.Load(x + i + (3 * step)), Vector.Load(w + i + (3 * step)), s3);
        }

        for (; i + step <= width; i += step)
        {
            s0 = Vector.FusedMultiplyAdd(Vector.Load(x + i), Vector.Load(w + i), s0);
        }

        float sum = Vector.Sum(s0 + s1 + (s2 + s3));
        for (; i < width; i++)
        {
            sum += x[i] * w[i];
        }

        return sum;
    }

    private static void Dot4x1(ProductPart part, long output, float* x, long width, long row)
    {
        float* w0 = part.Weight + (output * width), w1 = w0 + width, w2 = w1 + width, w3 = w2 + width;
        Vector<float> s0 = default, s1 = default, s2 = default, s3 = default;
        long whole = width - (width % Vector<float>.Count);
        for (long i = 0; i < whole; i += Vector<float>.Count)
        {
            var v = Vector.Load(x + i);
            s0 = Vector.FusedMultiplyAdd(v, Vector.Load(w0 + i), s0);
            s1 = Vector.FusedMultiplyAdd(v, Vector.Load(w1 + i), s1);
            s2 = Vector.FusedMultiplyAdd(v, Vector.Load(w2 + i), s2);
            s3 = Vector.FusedMultiplyAdd(v, Vector.Load(w3 + i), s3);
        }

        PutFour(part, output, row, Sums(s0, s1, s2, s3), x, width, whole);
    }

    /// <summary>Four outputs of three rows: as many sums as there are registers for, so that a number that is loaded is used three or four times.</summary>
    private static void Dot4x3(ProductPart part, long output, float* x, long width, long row)
    {
        float* w0 = part.Weight + (output * width), w1 = w0 + width, w2 = w1 + width, w3 = w2 + width, y = x + width, z = y + width;
        Vector<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        Vector<float> c0 = default, c1 = default, c2 = default, c3 = default;
        long whole = width - (width % Vector<float>.Count);
        for (long i = 0; i < whole; i += Vector<float>.Count)
        {
            Vector<float> a = Vector.Load(x + i), b = Vector.Load(y + i), c = Vector.Load(z + i);
            var w = Vector.Load(w0 + i);
            a0 = Vector.FusedMultiplyAdd(a, w, a0);
            b0 = Vector.FusedMultiplyAdd(b, w, b0);
            c0 = Vector.FusedMultiplyAdd(c, w, c0);
            w = Vector.Load(w1 + i);
            a1 = Vector.FusedMultiplyAdd(a, w, a1);
            b1 = Vector.FusedMultiplyAdd(b, w, b1);
            c1 = Vector.FusedMultiplyAdd(c, w, c1);
            w = Vector.Load(w2 + i);
            a2 = Vector.FusedMultiplyAdd(a, w, a2);
            b2 = Vector.FusedMultiplyAdd(b, w, b2);
            c2 = Vector.FusedMultiplyAdd(c, w, c2);
            w = Vector.Load(w3 + i);
            a3 = Vector.FusedMultiplyAdd(a, w, a3);
            b3 = Vector.FusedMultiplyAdd(b, w, b3);
            c3 = Vector.FusedMultiplyAdd(c, w, c3);
        }

        PutFour(part, output, row, Sums(a0, a1, a2, a3), x, width, whole);
        PutFour(part, output, row + 1, Sums(b0, b1, b2, b3), y, width, whole);
        PutFour(part, output, row + 2, Sums(c0, c1, c2, c3), z, width, whole);
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

    /// <summary>Four outputs of a row that lie side by side: what is summed of the first features, the product of those that fill no vector, and the bias.</summary>
    private static void PutFour(ProductPart part, long output, long row, Vector128<float> sums, float* x, long width, long whole)
    {
        float* weight = part.Weight + (output * width);
        for (long i = whole; i < width; i++)
        {
            sums += Vector128.Create(weight[i], weight[width + i], weight[(2 * width) + i], weight[(3 * width) + i]) * x[i];
        }

        sums = part.Bias is null ? sums : sums + Vector128.Load(part.Bias + output);
        sums.Store(part.Result + (row * part.Count) + output);
    }
}
