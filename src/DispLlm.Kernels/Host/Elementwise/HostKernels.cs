using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Vector code on the CPU's memory. Tensors are such as <see cref="HostMatrix.IsContiguousHost"/> says.</summary>
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
        HostSelection? selection = index is null ? null : new HostSelection(index, x.size(-1), DeviceKernels.CountRows(x));
        new HostNorm(HostMatrix.FromTensor(weight), bias is null ? null : HostMatrix.FromTensor(bias), centred, epsilon).Apply(HostMatrix.FromTensor(x), selection, HostMatrix.FromTensor(result));
        GC.KeepAlive(x);
        GC.KeepAlive(weight);
        GC.KeepAlive(bias);
        selection?.KeepAlive();
        return result;
    }

    /// <inheritdoc/>
    public Tensor IndexAdd(Tensor stream, Tensor index, Tensor output, bool inPlace)
    {
        Tensor result = inPlace ? stream : DeviceKernels.EmptyLike(stream, stream.size(-1));
        HostMatrix streams = HostMatrix.FromTensor(stream);
        var selection = new HostSelection(index, streams.Width, streams.Count);
        HostElementwise.IndexAdd(streams, selection, HostMatrix.FromTensor(output), HostMatrix.FromTensor(result));
        GC.KeepAlive(stream);
        GC.KeepAlive(output);
        selection.KeepAlive();
        return result;
    }

    /// <summary>The rows <c>[..., width]</c> of a table, by their numbers <c>[...]</c>, int64.</summary>
    public static Tensor Embedding(Tensor table, Tensor numbers)
    {
        Tensor result = empty([.. numbers.shape, table.size(1)], table.dtype);
        HostMatrix from = HostMatrix.FromTensor(table), to = HostMatrix.FromTensor(result);
        long* chosen = (long*)HostMatrix.Address(numbers);
        long bytes = from.Width * table.ElementSize;
        for (long row = 0; row < to.Count; row++)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)chosen[row], (ulong)from.Count, nameof(numbers));
        }

        HostThreads.Share(to.Count, to.Width, (first, last) =>
        {
            for (long row = first; row < last; row++)
            {
                Buffer.MemoryCopy(from.At(chosen[row]), to.At(row), bytes, bytes);
            }
        });
        GC.KeepAlive(table);
        GC.KeepAlive(numbers);
        return result;
    }

    /// <summary>The selected columns of <c>[..., d]</c>: <c>[..., selected]</c>. The framework's operator is many times slower for bfloat16.</summary>
    public static Tensor Columns(Tensor x, Tensor index)
    {
        Tensor result = DeviceKernels.EmptyLike(x, index.numel());
        HostMatrix inputs = HostMatrix.FromTensor(x), outputs = HostMatrix.FromTensor(result);
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
        HostMatrix inputs = HostMatrix.FromTensor(x), outputs = HostMatrix.FromTensor(result);
        HostSelection? selection = index is null ? null : new HostSelection(index, inputs.Width, inputs.Count);
        float* factors = HostMatrix.Pointer(gates);
        long passed = selection is null ? 0 : inputs.Width;
        HostThreads.Share(inputs.Count, outputs.Width, inputs.Scratch + outputs.Scratch + passed, (first, last, scratch) =>
        {
            float* room = scratch + inputs.Scratch, whole = room + outputs.Scratch;
            for (long row = first; row < last; row++)
            {
                float* from = inputs.Read(row, scratch), to = outputs.Room(row, room);
                SimdMath.Multiply(from, factors, selection is null ? to : whole, inputs.Width);
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
    public Tensor AddGated(Tensor stream, Tensor features, Tensor gates)
    {
        Tensor result = empty_like(stream);
        HostMatrix streams = HostMatrix.FromTensor(stream), added = HostMatrix.FromTensor(features), sums = HostMatrix.FromTensor(result);
        float* factors = HostMatrix.Pointer(gates);
        HostThreads.Share(streams.Count, 2 * streams.Width, 2 * streams.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* from = streams.Read(row, scratch), to = sums.Room(row, scratch);
                SimdMath.PlusProducts(from, added.Read(row, scratch + streams.Scratch), factors, to, streams.Width);
                sums.Keep(row, scratch);
            }
        });
        GC.KeepAlive(stream);
        GC.KeepAlive(features);
        GC.KeepAlive(gates);
        return result;
    }

    /// <inheritdoc/>
    public Tensor SwiGlu(Tensor gate, Tensor up, bool inPlace)
    {
        Tensor result = inPlace ? gate : empty_like(gate);
        HostElementwise.SwiGlu(HostMatrix.FromTensor(gate), HostMatrix.FromTensor(up), HostMatrix.FromTensor(result));
        GC.KeepAlive(gate);
        GC.KeepAlive(up);
        return result;
    }

    /// <inheritdoc/>
    public Tensor NormBackward(Tensor x, Tensor weight, double epsilon, Tensor returned) => HostGradients.RootMeanSquareNorm(x, weight, epsilon, returned);

    /// <inheritdoc/>
    public (Tensor Gradient, Tensor Passed) GateBackward(Tensor features, Tensor returned, Tensor gates, Tensor? index, bool inPlace)
    {
        Tensor passed = inPlace ? returned : DeviceKernels.EmptyLike(returned, index?.numel() ?? returned.size(-1));
        return (HostGradients.GateBackward(features, returned, gates, index, passed), passed);
    }

    /// <inheritdoc/>
    public (Tensor Gate, Tensor Up) SwiGluBackward(Tensor gate, Tensor up, Tensor returned) => HostGradients.SwiGlu(gate, up, returned);

    /// <inheritdoc/>
    public (double Loss, Tensor Gradient) CrossEntropy(Tensor logits, Tensor targets) => HostGradients.CrossEntropy(logits, targets);

    /// <inheritdoc/>
    public Tensor ApplyRotary(Tensor heads, Tensor cosine, Tensor sine, bool back, bool inPlace)
    {
        Tensor turned = inPlace ? heads : empty(heads.shape, heads.dtype).copy_(heads);
        long width = heads.numel() / (heads.size(0) * heads.size(1));
        HostElementwise.Rotate(HostMatrix.FromTensor(turned, width), heads.size(-1), HostMatrix.FromTensor(cosine), HostMatrix.FromTensor(sine), back);
        GC.KeepAlive(cosine);
        GC.KeepAlive(sine);
        return turned;
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
        HostMatrix rows = HostMatrix.FromTensor(scores);
        HostThreads.Share(rows.Count, 4 * rows.Width, rows.Scratch, (begin, end, scratch) =>
        {
            for (long row = begin; row < end; row++)
            {
                long seen = first + (row % queries) + 1;
                float* numbers = rows.Read(row, scratch);
                float sum = SimdMath.Exponentials(numbers, numbers, seen, SimdMath.Highest(numbers, seen), scale);
                SimdMath.Scale(numbers, seen, 1 / sum);
                new Span<float>(numbers + seen, (int)(rows.Width - seen)).Clear();
                rows.Keep(row, scratch);
            }
        });
        GC.KeepAlive(scores);
    }
}
