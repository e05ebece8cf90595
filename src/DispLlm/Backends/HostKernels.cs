using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>Vector code on the CPU's memory. Tensors are such as <see cref="HostRows.Lie"/> says.</summary>
internal sealed unsafe class HostKernels : IRowKernels
{
    private HostKernels()
    {
    }

    /// <summary>They hold nothing.</summary>
    public static HostKernels Shared { get; } = new();

    /// <inheritdoc/>
    public Tensor Norm(Tensor x, Tensor weight, Tensor? bias, bool centred, double epsilon, Tensor? index)
    {
        Tensor result = DeviceKernels.EmptyLike(x, index?.numel() ?? x.size(-1));
        HostRows inputs = HostRows.Of(x), outputs = HostRows.Of(result), weights = HostRows.Of(weight), biases = HostRows.Of(bias ?? weight);
        HostSelection? selection = index is null ? null : new HostSelection(index, inputs.Width, inputs.Count);
        bool shifts = bias is not null;
        long width = inputs.Width, normed = selection is null ? 0 : width;
        HostThreads.Share(inputs.Count, width, inputs.Scratch + outputs.Scratch + weights.Scratch + biases.Scratch + normed, (first, last, scratch) =>
        {
            float* room = scratch + inputs.Scratch, whole = room + outputs.Scratch, scale = weights.Read(0, whole + normed);
            float* shift = shifts ? biases.Read(0, whole + normed + weights.Scratch) : null;
            for (long row = first; row < last; row++)
            {
                float* from = inputs.Read(row, scratch), to = outputs.Room(row, room);
                float mean = centred ? HostNumbers.Sum(from, width) / width : 0;
                float spread = 1 / MathF.Sqrt((float)((HostNumbers.SquaredDistance(from, width, mean) / width) + epsilon));
                Scale(from, selection is null ? to : whole, scale, shift, width, mean, spread);
                selection?.Pick(whole, to);
                outputs.Keep(row, room);
            }
        });
        GC.KeepAlive(x);
        GC.KeepAlive(weight);
        GC.KeepAlive(bias);
        selection?.KeepAlive();
        return result;
    }

    /// <inheritdoc/>
    public Tensor PlusAt(Tensor stream, Tensor index, Tensor output, bool inPlace)
    {
        Tensor result = inPlace ? stream : DeviceKernels.EmptyLike(stream, stream.size(-1));
        HostRows streams = HostRows.Of(stream), outputs = HostRows.Of(output), sums = HostRows.Of(result);
        var selection = new HostSelection(index, streams.Width, streams.Count);
        HostThreads.Share(streams.Count, outputs.Width, streams.Scratch + outputs.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* sum = sums.Room(row, scratch);
                streams.ReadInto(row, sum);
                selection.AddAt(sum, outputs.Read(row, scratch + streams.Scratch));
                sums.Keep(row, scratch);
            }
        });
        GC.KeepAlive(stream);
        GC.KeepAlive(output);
        selection.KeepAlive();
        return result;
    }

    /// <summary>The selected columns of <c>[..., d]</c>: <c>[..., selected]</c>. The framework's operator is many times slower for bfloat16.</summary>
    public static Tensor Columns(Tensor x, Tensor index)
    {
        Tensor result = DeviceKernels.EmptyLike(x, index.numel());
        HostRows inputs = HostRows.Of(x), outputs = HostRows.Of(result);
        var selection = new HostSelection(index, inputs.Width, inputs.Count);
        HostThreads.Share(inputs.Count, outputs.Width, (first, last) =>
        {
            for (long row = first; row < last; row++)
            {
                if (inputs.AreNarrow)
                {
                    selection.Pick((ushort*)inputs.At(row), (ushort*)outputs.At(row));
                }
                else
                {
                    selection.Pick((float*)inputs.At(row), (float*)outputs.At(row));
                }
            }
        });
        GC.KeepAlive(x);
        selection.KeepAlive();
        return result;
    }

    /// <inheritdoc/>
    public Tensor Gated(Tensor x, Tensor gates, Tensor? index)
    {
        Tensor result = DeviceKernels.EmptyLike(x, index?.numel() ?? x.size(-1));
        HostRows inputs = HostRows.Of(x), outputs = HostRows.Of(result);
        HostSelection? selection = index is null ? null : new HostSelection(index, inputs.Width, inputs.Count);
        float* factors = HostRows.Pointer(gates);
        long passed = selection is null ? 0 : inputs.Width;
        HostThreads.Share(inputs.Count, outputs.Width, inputs.Scratch + outputs.Scratch + passed, (first, last, scratch) =>
        {
            float* room = scratch + inputs.Scratch, whole = room + outputs.Scratch;
            for (long row = first; row < last; row++)
            {
                float* from = inputs.Read(row, scratch), to = outputs.Room(row, room);
                HostNumbers.Multiply(from, factors, selection is null ? to : whole, inputs.Width);
                selection?.Pick(whole, to);
                outputs.Keep(row, room);
            }
        });
        GC.KeepAlive(x);
        GC.KeepAlive(gates);
        selection?.KeepAlive();
        return result;
    }

    /// <inheritdoc/>
    public Tensor PlusGated(Tensor stream, Tensor features, Tensor gates)
    {
        Tensor result = empty_like(stream);
        HostRows streams = HostRows.Of(stream), added = HostRows.Of(features), sums = HostRows.Of(result);
        float* factors = HostRows.Pointer(gates);
        HostThreads.Share(streams.Count, 2 * streams.Width, 2 * streams.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* from = streams.Read(row, scratch), to = sums.Room(row, scratch);
                HostNumbers.PlusProducts(from, added.Read(row, scratch + streams.Scratch), factors, to, streams.Width);
                sums.Keep(row, scratch);
            }
        });
        GC.KeepAlive(stream);
        GC.KeepAlive(features);
        GC.KeepAlive(gates);
        return result;
    }

    /// <inheritdoc/>
    public Tensor GatedSilu(Tensor gate, Tensor up, bool inPlace)
    {
        Tensor result = inPlace ? gate : empty_like(gate);
        HostRows gates = HostRows.Of(gate), ups = HostRows.Of(up), hidden = HostRows.Of(result);
        HostThreads.Share(gates.Count, 4 * gates.Width, 2 * gates.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* x = gates.Read(row, scratch), y = ups.Read(row, scratch + gates.Scratch), to = hidden.Room(row, scratch);
                Silu(x, y, to, gates.Width);
                hidden.Keep(row, scratch);
            }
        });
        GC.KeepAlive(gate);
        GC.KeepAlive(up);
        return result;
    }

    /// <inheritdoc/>
    public Tensor BackThroughNorm(Tensor x, Tensor weight, double epsilon, Tensor returned) => HostGradients.RootMeanSquareNorm(x, weight, epsilon, returned);

    /// <inheritdoc/>
    public (Tensor Gradient, Tensor Passed) BackThroughGates(Tensor features, Tensor returned, Tensor gates, Tensor? index, bool inPlace)
    {
        Tensor passed = inPlace ? returned : DeviceKernels.EmptyLike(returned, index?.numel() ?? returned.size(-1));
        return (HostGradients.BackThroughGates(features, returned, gates, index, passed), passed);
    }

    /// <inheritdoc/>
    public (Tensor Gate, Tensor Up) BackThroughGatedSilu(Tensor gate, Tensor up, Tensor returned) => HostGradients.GatedSilu(gate, up, returned);

    /// <inheritdoc/>
    public (double Loss, Tensor Gradient) CrossEntropy(Tensor logits, Tensor targets) => HostGradients.CrossEntropy(logits, targets);

    /// <inheritdoc/>
    public Tensor Turned(Tensor heads, Tensor cosine, Tensor sine, bool back, bool inPlace)
    {
        Tensor turned = inPlace ? heads : empty(heads.shape, heads.dtype).copy_(heads);
        Rotate(turned, heads.size(-1), cosine, sine, back);
        return turned;
    }

    /// <summary>Turns the pairs (i, i + half) of the first features of every head, in place.</summary>
    /// <param name="heads"><c>[batch, seq, heads, head]</c> or <c>[batch, seq, heads x head]</c>.</param>
    /// <param name="size">Features of a head.</param>
    /// <param name="cosine"><c>[seq, dimensions]</c> or <c>[batch, 1, seq, dimensions]</c>; both halves are the same.</param>
    /// <param name="sine">Of the same shape.</param>
    /// <param name="back">Whether to turn the other way round, as gradients are.</param>
    public static void Rotate(Tensor heads, long size, Tensor cosine, Tensor sine, bool back = false)
    {
        long width = heads.numel() / (heads.size(0) * heads.size(1)), count = width / size;
        HostRows rows = HostRows.Of(heads, width), cosines = HostRows.Of(cosine), sines = HostRows.Of(sine);
        HostThreads.Share(rows.Count, rows.Width, rows.Scratch + (2 * cosines.Scratch), (first, last, scratch) =>
        {
            float* room = scratch + rows.Scratch;
            for (long row = first; row < last; row++)
            {
                float* c = cosines.Read(row % cosines.Count, room), s = sines.Read(row % sines.Count, room + cosines.Scratch);
                float* numbers = rows.Read(row, scratch);
                for (long head = 0; head < count; head++)
                {
                    Turn(numbers + (head * size), c, s + (cosines.Width / 2), cosines.Width / 2, back ? -1 : 1);
                }

                rows.Keep(row, scratch);
            }
        });
        GC.KeepAlive(heads);
        GC.KeepAlive(cosine);
        GC.KeepAlive(sine);
    }

    /// <summary>
    /// Turns scores of queries and keys into the weights of values, in place: each query's row is its softmax over the keys up to its own position, and 0 behind it.
    /// </summary>
    /// <param name="scores"><c>[..., queries, seen]</c>: rows come in turns of <paramref name="queries"/> that follow each other in position.</param>
    /// <param name="queries">How many positions ask.</param>
    /// <param name="first">The position of the first of them.</param>
    /// <param name="scale">What scores are multiplied by.</param>
    public static void CausalSoftmax(Tensor scores, long queries, long first, float scale)
    {
        HostRows rows = HostRows.Of(scores);
        HostThreads.Share(rows.Count, 4 * rows.Width, rows.Scratch, (begin, end, scratch) =>
        {
            for (long row = begin; row < end; row++)
            {
                long seen = first + (row % queries) + 1;
                float* numbers = rows.Read(row, scratch);
                float sum = HostNumbers.Exponentials(numbers, numbers, seen, HostNumbers.Highest(numbers, seen), scale);
                HostNumbers.Scale(numbers, seen, 1 / sum);
                new Span<float>(numbers + seen, (int)(rows.Width - seen)).Clear();
                rows.Keep(row, scratch);
            }
        });
        GC.KeepAlive(scores);
    }

    private static void Silu(float* gate, float* up, float* to, long count)
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<float> Of(Vector512<float> gate, Vector512<float> up) => gate * HostNumbers.Sigmoid(gate) * up;

        long i = 0;
        for (; i + HostNumbers.Lanes <= count; i += HostNumbers.Lanes)
        {
            Of(Vector512.Load(gate + i), Vector512.Load(up + i)).Store(to + i);
        }

        if (i < count)
        {
            HostNumbers.Store(Of(HostNumbers.Load(gate, i, count), HostNumbers.Load(up, i, count)), to, i, count);
        }
    }

    private static void Scale(float* from, float* to, float* scale, float* shift, long count, float mean, float spread)
    {
        Vector512<float> centre = Vector512.Create(mean), factor = Vector512.Create(spread);
        long i = 0;
        for (; i + HostNumbers.Lanes <= count; i += HostNumbers.Lanes)
        {
            var normed = (Vector512.Load(from + i) - centre) * factor * Vector512.Load(scale + i);
            (shift is null ? normed : normed + Vector512.Load(shift + i)).Store(to + i);
        }

        for (; i < count; i++)
        {
            float normed = (from[i] - mean) * spread * scale[i];
            to[i] = shift is null ? normed : normed + shift[i];
        }
    }

    private static void Turn(float* head, float* cosine, float* sine, long half, float direction)
    {
        var directions = Vector512.Create(direction);
        long i = 0;
        for (; i + HostNumbers.Lanes <= half; i += HostNumbers.Lanes)
        {
            Vector512<float> first = Vector512.Load(head + i), second = Vector512.Load(head + half + i);
            Vector512<float> c = Vector512.Load(cosine + i), s = Vector512.Load(sine + i) * directions;
            ((first * c) - (second * s)).Store(head + i);
            ((second * c) + (first * s)).Store(head + half + i);
        }

        for (; i < half; i++)
        {
            (float first, float second, float s) = (head[i], head[half + i], sine[i] * direction);
            head[i] = (first * cosine[i]) - (second * s);
            head[half + i] = (second * cosine[i]) + (first * s);
        }
    }
}
