using System.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Vector code for float32 on the CPU where no gradient is wanted: what stands between the large matrix products of a forward pass, each in one pass over memory, and
/// products of few rows, which the framework computes on one core or at a fraction of the memory's speed. <see cref="Take"/> says whether tensors are of this kind;
/// where they are not, the caller computes the same with the framework's operators.
/// </summary>
internal static unsafe class HostKernels
{
    /// <summary>Rows up to which a product is taken from the framework: above, its blocked product is the faster one.</summary>
    private const long FewRows = 32;

    /// <summary>Elements that are worth a thread of their own.</summary>
    private const long Grain = 16_384;

    /// <summary>Whether a tensor is float32 on the CPU, in one piece, and outside any gradient.</summary>
    public static bool Take(params ReadOnlySpan<Tensor> tensors)
    {
        foreach (var x in tensors)
        {
            if (x.device_type != DeviceType.CPU || x.dtype != ScalarType.Float32 || x.requires_grad || !x.is_contiguous())
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Whether <see cref="Linear"/> is the faster way for an input.</summary>
    public static bool TakeProduct(Tensor x) => Take(x) && x.numel() <= FewRows * x.size(-1);

    /// <summary>
    /// Linear projections of one input of few rows, computed together: <c>[..., in] -> [..., out]</c> each.
    /// </summary>
    public static Tensor[] Linear(Tensor x, params ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
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
            parts[i] = new ProductPart(Pointer(weight), bias is null ? null : Pointer(bias), Pointer(results[i]), shape[^1], outputs);
            outputs += shape[^1];
        }

        float* input = Pointer(x);
        Share(outputs, width, (first, last) =>
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

    /// <summary>
    /// A norm over the last dimension, of which only selected features are written: <c>[..., d] -> [..., selected]</c>, or all of them.
    /// </summary>
    /// <param name="x"><c>[..., d]</c>.</param>
    /// <param name="weight"><c>[d]</c>.</param>
    /// <param name="bias"><c>[d]</c>; null for none.</param>
    /// <param name="centred">Whether the mean is subtracted.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="index">What is written, int64; null for everything.</param>
    public static Tensor Norm(Tensor x, Tensor weight, Tensor? bias, bool centred, double epsilon, Tensor? index)
    {
        long width = x.size(-1), rows = x.numel() / width, count = index?.numel() ?? width;
        long[] shape = x.shape;
        shape[^1] = count;
        Tensor result = empty(shape, ScalarType.Float32);
        float* input = Pointer(x), output = Pointer(result), scale = Pointer(weight), shift = bias is null ? null : Pointer(bias);
        long* selected = index is null ? null : (long*)Address(index);
        Share(rows, width, (first, last) =>
        {
            for (long row = first; row < last; row++)
            {
                float* from = input + (row * width), to = output + (row * count);
                float mean = centred ? Sum(from, width) / width : 0;
                float spread = 1 / MathF.Sqrt((float)((SquaredDistance(from, width, mean) / width) + epsilon));
                if (selected is null)
                {
                    Scale(from, to, scale, shift, width, mean, spread);
                }
                else
                {
                    for (long i = 0; i < count; i++)
                    {
                        long feature = selected[i];
                        float normed = (from[feature] - mean) * spread * scale[feature];
                        to[i] = shift is null ? normed : normed + shift[feature];
                    }
                }
            }
        });
        GC.KeepAlive(x);
        return result;
    }

    /// <summary>Adds <c>[..., selected]</c> to the selected features of <c>[..., d]</c>, in place.</summary>
    public static void AddAt(Tensor stream, Tensor index, Tensor output)
    {
        long width = stream.size(-1), rows = stream.numel() / width, count = index.numel();
        float* to = Pointer(stream), from = Pointer(output);
        long* selected = (long*)Address(index);
        Share(rows, count, (first, last) =>
        {
            for (long row = first; row < last; row++)
            {
                float* target = to + (row * width), added = from + (row * count);
                for (long i = 0; i < count; i++)
                {
                    target[selected[i]] += added[i];
                }
            }
        });
        GC.KeepAlive(output);
    }

    /// <summary><c>gate * sigmoid(gate) * up</c>, written over the gate.</summary>
    public static Tensor GatedSilu(Tensor gate, Tensor up)
    {
        float* gates = Pointer(gate), ups = Pointer(up);
        Share(gate.numel(), 4, (first, last) =>
        {
            long i = first;
            for (; i + Vector<float>.Count <= last; i += Vector<float>.Count)
            {
                var x = Vector.Load(gates + i);
                Vector.Store(x * Vector.Load(ups + i) / (Vector<float>.One + Vector.Exp(-x)), gates + i);
            }

            for (; i < last; i++)
            {
                gates[i] *= ups[i] / (1 + MathF.Exp(-gates[i]));
            }
        });
        GC.KeepAlive(up);
        return gate;
    }

    /// <summary>Turns the pairs (i, i + half) of the first features of every head of <c>[batch, seq, heads, head]</c>, in place.</summary>
    /// <param name="heads">What is turned.</param>
    /// <param name="cosine"><c>[seq, dimensions]</c> or <c>[batch, 1, seq, dimensions]</c>; both halves are the same.</param>
    /// <param name="sine">Of the same shape.</param>
    public static void Rotate(Tensor heads, Tensor cosine, Tensor sine)
    {
        long size = heads.size(-1), count = heads.size(-2), positions = heads.numel() / (size * count), dimensions = cosine.size(-1);
        long half = dimensions / 2, period = cosine.numel() / dimensions;
        float* data = Pointer(heads), cosines = Pointer(cosine), sines = Pointer(sine);
        Share(positions, count * size, (first, last) =>
        {
            for (long position = first; position < last; position++)
            {
                float* c = cosines + (position % period * dimensions), s = sines + (position % period * dimensions);
                for (long head = 0; head < count; head++)
                {
                    Turn(data + (((position * count) + head) * size), c, s, half);
                }
            }
        });
        GC.KeepAlive(cosine);
        GC.KeepAlive(sine);
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
            Put(part, output, at, Vector.Sum(s0) + Dot(v + whole, w0 + whole, rest));
            Put(part, output + 1, at, Vector.Sum(s1) + Dot(v + whole, w1 + whole, rest));
            Put(part, output + 2, at, Vector.Sum(s2) + Dot(v + whole, w2 + whole, rest));
            Put(part, output + 3, at, Vector.Sum(s3) + Dot(v + whole, w3 + whole, rest));
        }

        Finish(x, row, a0, a1, a2, a3);
        Finish(y, row + 1, b0, b1, b2, b3);
        Finish(z, row + 2, c0, c1, c2, c3);
    }

    private static float Dot(float* x, float* y, long count)
    {
        Vector<float> sum = default;
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            sum = Vector.FusedMultiplyAdd(Vector.Load(x + i), Vector.Load(y + i), sum);
        }

        float result = Vector.Sum(sum);
        for (; i < count; i++)
        {
            result += x[i] * y[i];
        }

        return result;
    }

    private static float Sum(float* x, long count)
    {
        Vector<float> sum = default;
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            sum += Vector.Load(x + i);
        }

        float result = Vector.Sum(sum);
        for (; i < count; i++)
        {
            result += x[i];
        }

        return result;
    }

    private static float SquaredDistance(float* x, long count, float mean)
    {
        Vector<float> sum = default, centre = new(mean);
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            var distance = Vector.Load(x + i) - centre;
            sum = Vector.FusedMultiplyAdd(distance, distance, sum);
        }

        float result = Vector.Sum(sum);
        for (; i < count; i++)
        {
            result += (x[i] - mean) * (x[i] - mean);
        }

        return result;
    }

    private static void Scale(float* from, float* to, float* scale, float* shift, long count, float mean, float spread)
    {
        Vector<float> centre = new(mean), factor = new(spread);
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            var normed = (Vector.Load(from + i) - centre) * factor * Vector.Load(scale + i);
            Vector.Store(shift is null ? normed : normed + Vector.Load(shift + i), to + i);
        }

        for (; i < count; i++)
        {
            float normed = (from[i] - mean) * spread * scale[i];
            to[i] = shift is null ? normed : normed + shift[i];
        }
    }

    private static void Turn(float* head, float* cosine, float* sine, long half)
    {
        long i = 0;
        for (; i + Vector<float>.Count <= half; i += Vector<float>.Count)
        {
            Vector<float> first = Vector.Load(head + i), second = Vector.Load(head + half + i), c = Vector.Load(cosine + i), s = Vector.Load(sine + i);
            Vector.Store((first * c) - (second * s), head + i);
            Vector.Store((second * c) + (first * s), head + half + i);
        }

        for (; i < half; i++)
        {
            (float first, float second) = (head[i], head[half + i]);
            head[i] = (first * cosine[i]) - (second * sine[i]);
            head[half + i] = (second * cosine[i]) + (first * sine[i]);
        }
    }

    /// <summary>Shares items among as many threads as the framework may use, where there is enough to share.</summary>
    private static void Share(long items, long elementsEach, Action<long, long> work)
    {
        long threads = Math.Min(get_num_threads(), items * elementsEach / Grain);
        if (threads <= 1)
        {
            work(0, items);
            return;
        }

        // More pieces than threads: one that is held up leaves the rest to the others.
        long pieces = Math.Min(items, threads * 4), size = (items + pieces - 1) / pieces;
        Parallel.For(0L, pieces, new ParallelOptions { MaxDegreeOfParallelism = (int)threads }, piece =>
            work(Math.Min(items, piece * size), Math.Min(items, (piece + 1) * size)));
    }

    private static float* Pointer(Tensor tensor) => (float*)Address(tensor);

    private static void* Address(Tensor tensor)
    {
        // The memory is native and does not move; it lives as long as its tensor.
        fixed (byte* first = tensor.bytes)
        {
            return first;
        }
    }
}
