using System.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Vector code for float32 on the CPU where no gradient is wanted: what stands between the matrix products of a forward pass, each in one pass over memory.
/// <see cref="Take"/> says whether tensors are of this kind; where they are not, the caller computes the same with the framework's operators.
/// </summary>
internal static unsafe class HostKernels
{
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
    public static void Share(long items, long elementsEach, Action<long, long> work)
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

    /// <summary>Where the numbers of a tensor in one piece lie.</summary>
    public static float* Pointer(Tensor tensor) => (float*)Address(tensor);

    public static void* Address(Tensor tensor)
    {
        // The memory is native and does not move; it lives as long as its tensor.
        fixed (byte* first = tensor.bytes)
        {
            return first;
        }
    }
}
