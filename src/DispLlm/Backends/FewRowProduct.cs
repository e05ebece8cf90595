using System.Numerics;
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
    public static bool Takes(Tensor x) => HostKernels.Take(x) && x.numel() <= MostRows * x.size(-1);

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
            parts[i] = new ProductPart(HostKernels.Pointer(weight), bias is null ? null : HostKernels.Pointer(bias), HostKernels.Pointer(results[i]), shape[^1], outputs);
            outputs += shape[^1];
        }

        float* input = HostKernels.Pointer(x);
        HostKernels.Share(outputs, width, (first, last) =>
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
            Put(part, output, 0, Dot1x1(part.Weight + (output * width), input, width));
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
                Put(part, output, row, HostKernels.Dot(part.Weight + (output * width), input + (row * width), width));
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

        ReadOnlySpan<Vector<float>> sums = [s0, s1, s2, s3, s4, s5, s6, s7];
        for (int i = 0; i < sums.Length; i++)
        {
            Put(part, output + i, 0, Vector.Sum(sums[i]) + HostKernels.Dot(x + whole, first + (i * width) + whole, width - whole));
        }
    }

    /// <summary>One output of one row: its weights are one stream, and so are those of all outputs together.</summary>
    private static float Dot1x1(float* w, float* x, long width)
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

        return Vector.Sum(s0 + s1 + (s2 + s3)) + HostKernels.Dot(w + i, x + i, width - i);
    }

    private static void Dot4x1(ProductPart part, long output, float* x, long width, long row)
    {
        float* w0 = part.Weight + (output * width), w1 = w0 + width, w2 = w1 + width, w3 = w2 + width;
        Vector<float> s0 = default, s1 = default, s2 = default, s3 = default;
        long i = 0;
        for (; i + Vector<float>.Count <= width; i += Vector<float>.Count)
        {
            var v = Vector.Load(x + i);
            s0 = Vector.FusedMultiplyAdd(v, Vector.Load(w0 + i), s0);
            s1 = Vector.FusedMultiplyAdd(v, Vector.Load(w1 + i), s1);
            s2 = Vector.FusedMultiplyAdd(v, Vector.Load(w2 + i), s2);
            s3 = Vector.FusedMultiplyAdd(v, Vector.Load(w3 + i), s3);
        }

        float r0 = Vector.Sum(s0), r1 = Vector.Sum(s1), r2 = Vector.Sum(s2), r3 = Vector.Sum(s3);
        for (; i < width; i++)
        {
            r0 += x[i] * w0[i];
            r1 += x[i] * w1[i];
            r2 += x[i] * w2[i];
            r3 += x[i] * w3[i];
        }

        Put(part, output, row, r0);
        Put(part, output + 1, row, r1);
        Put(part, output + 2, row, r2);
        Put(part, output + 3, row, r3);
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

        void Finish(float* v, long at, Vector<float> s0, Vector<float> s1, Vector<float> s2, Vector<float> s3)
        {
            long rest = width - whole;
            Put(part, output, at, Vector.Sum(s0) + HostKernels.Dot(v + whole, w0 + whole, rest));
            Put(part, output + 1, at, Vector.Sum(s1) + HostKernels.Dot(v + whole, w1 + whole, rest));
            Put(part, output + 2, at, Vector.Sum(s2) + HostKernels.Dot(v + whole, w2 + whole, rest));
            Put(part, output + 3, at, Vector.Sum(s3) + HostKernels.Dot(v + whole, w3 + whole, rest));
        }

        Finish(x, row, a0, a1, a2, a3);
        Finish(y, row + 1, b0, b1, b2, b3);
        Finish(z, row + 2, c0, c1, c2, c3);
    }
}
