using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// The way back of what <see cref="HostKernels"/> computes, and of the loss: each in one pass over the CPU's memory, where the framework takes an operator, and a tensor, for
/// every step of the formula. Tensors are such as <see cref="HostMatrix.IsContiguousHost"/> says.
/// </summary>
internal static unsafe class HostGradients
{
    // Numbers of a vocabulary that are summed in float32; their sums are summed in float64.
    private const long Together = 1024;

    /// <summary>The gradient by the features of a root-mean-square norm, <c>[..., d]</c>.</summary>
    /// <param name="x">What was normed.</param>
    /// <param name="weight"><c>[d]</c>.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="returned">The gradient by the result.</param>
    public static Tensor RootMeanSquareNorm(Tensor x, Tensor weight, double epsilon, Tensor returned)
    {
        Tensor result = empty_like(x);
        HostMatrix inputs = HostMatrix.FromTensor(x), weights = HostMatrix.FromTensor(weight), backs = HostMatrix.FromTensor(returned), results = HostMatrix.FromTensor(result);
        long width = inputs.Width;
        HostThreads.Share(inputs.Count, 2 * width, 3 * inputs.Scratch, (first, last, scratch) =>
        {
            float* room = scratch + inputs.Scratch, scale = weights.Read(0, room + inputs.Scratch);
            for (long row = first; row < last; row++)
            {
                float* from = inputs.Read(row, scratch), back = backs.Read(row, room), to = results.Room(row, room);
                float spread = 1 / MathF.Sqrt((float)((SimdMath.SquaredDistance(from, width, 0) / width) + epsilon));
                float pull = -spread * spread * spread * WeightedProduct(from, back, scale, width) / width;
                Vector512<float> spreads = Vector512.Create(spread), pulls = Vector512.Create(pull);
                long i = 0;
                for (; i + SimdMath.Lanes <= width; i += SimdMath.Lanes)
                {
                    ((Vector512.Load(back + i) * Vector512.Load(scale + i) * spreads) + (Vector512.Load(from + i) * pulls)).Store(to + i);
                }

                for (; i < width; i++)
                {
                    to[i] = (back[i] * scale[i] * spread) + (from[i] * pull);
                }

                results.Keep(row, room);
            }
        });
        GC.KeepAlive(returned);
        return result;
    }

    /// <summary>The gradients of <c>gate * sigmoid(gate) * up</c> by both.</summary>
    public static (Tensor Gate, Tensor Up) SwiGlu(Tensor gate, Tensor up, Tensor returned)
    {
        Tensor gateGradient = empty_like(gate), upGradient = empty_like(up);
        HostMatrix gates = HostMatrix.FromTensor(gate), ups = HostMatrix.FromTensor(up), backs = HostMatrix.FromTensor(returned), byGate = HostMatrix.FromTensor(gateGradient), byUp = HostMatrix.FromTensor(upGradient);
        HostThreads.Share(gates.Count, 4 * gates.Width, 3 * gates.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* second = scratch + gates.Scratch, third = second + gates.Scratch;
                float* x = gates.Read(row, scratch), y = ups.Read(row, second), back = backs.Read(row, third);
                float* toGate = byGate.Room(row, scratch), toUp = byUp.Room(row, second);
                BackThroughSilu(x, y, back, toGate, toUp, gates.Width);
                byGate.Keep(row, scratch);
                byUp.Keep(row, second);
            }
        });
        GC.KeepAlive(gate);
        GC.KeepAlive(up);
        GC.KeepAlive(returned);
        return (gateGradient, upGradient);
    }

    /// <summary>
    /// Turns the gradient by a softmax's weights into the one by its scores in front of their scale, in place: <c>w (g - sum(w g)) scale</c>.
    /// </summary>
    /// <param name="weights">The softmax over the last dimension.</param>
    /// <param name="returned">The gradient by the weights, of the same shape.</param>
    /// <param name="scale">What scores were multiplied by.</param>
    public static void Softmax(Tensor weights, Tensor returned, float scale)
    {
        HostMatrix rows = HostMatrix.FromTensor(weights), backs = HostMatrix.FromTensor(returned);
        HostThreads.Share(rows.Count, 2 * rows.Width, 2 * rows.Scratch, (first, last, scratch) =>
        {
            float* room = scratch + rows.Scratch;
            for (long row = first; row < last; row++)
            {
                float* weight = rows.Read(row, scratch), back = backs.Read(row, room);
                float mean = SimdMath.Product(weight, back, rows.Width);
                Vector512<float> means = Vector512.Create(mean), scales = Vector512.Create(scale);
                long i = 0;
                for (; i + SimdMath.Lanes <= rows.Width; i += SimdMath.Lanes)
                {
                    ((Vector512.Load(back + i) - means) * Vector512.Load(weight + i) * scales).Store(back + i);
                }

                for (; i < rows.Width; i++)
                {
                    back[i] = (back[i] - mean) * weight[i] * scale;
                }

                backs.Keep(row, room);
            }
        });
        GC.KeepAlive(weights);
        GC.KeepAlive(returned);
    }

    /// <summary>
    /// The gradient of each gate, <c>[d]</c> in float32: over all tokens, what passed the gate times what came back. What came back is multiplied by the gates on the way: the gradient in
    /// front of them.
    /// </summary>
    /// <param name="features">What passed, <c>[..., d]</c>.</param>
    /// <param name="returned">What came back, <c>[..., d]</c>.</param>
    /// <param name="gates"><c>[d]</c>, float32.</param>
    /// <param name="index">Which of the features are wanted in front of the gates, int64; null for all.</param>
    /// <param name="passed">Where those are written, <c>[..., d or selected]</c>; where all are wanted it may be what came back.</param>
    public static Tensor GateBackward(Tensor features, Tensor returned, Tensor gates, Tensor? index, Tensor passed)
    {
        HostMatrix rows = HostMatrix.FromTensor(features), backs = HostMatrix.FromTensor(returned), results = HostMatrix.FromTensor(passed);
        HostSelection? selection = index is null ? null : new HostSelection(index, rows.Width, rows.Count);
        long width = rows.Width, pieces = HostThreads.Pieces(rows.Count, width, out long size), whole = selection is null ? 0 : width;
        float* factors = HostMatrix.Pointer(gates);

        // One row of sums for each piece; the first is the result.
        Tensor gradient = empty(width);
        using var others = new AlignedBuffer((pieces - 1) * width);
        float* sums = HostMatrix.Pointer(gradient);
        float* more = others.First - width;
        HostThreads.Share(pieces, size * width, rows.Scratch + backs.Scratch + results.Scratch + whole, (firstPiece, lastPiece, scratch) =>
        {
            float* room = scratch + rows.Scratch, gated = room + backs.Scratch, kept = gated + whole;
            for (long piece = firstPiece; piece < lastPiece; piece++)
            {
                float* sum = piece == 0 ? sums : more + (piece * width);
                new Span<float>(sum, (int)width).Clear();
                for (long row = piece * size; row < Math.Min(rows.Count, (piece + 1) * size); row++)
                {
                    float* back = backs.Read(row, room), to = results.Room(row, kept);
                    SimdMath.PlusProducts(sum, rows.Read(row, scratch), back, sum, width);
                    SimdMath.Multiply(back, factors, selection is null ? to : gated, width);
                    selection?.Pick(gated, to);
                    results.Keep(row, kept);
                }
            }
        });
        for (long piece = 1; piece < pieces; piece++)
        {
            SimdMath.Add(sums, more + (piece * width), width);
        }

        GC.KeepAlive(features);
        GC.KeepAlive(returned);
        GC.KeepAlive(gates);
        GC.KeepAlive(passed);
        selection?.KeepAlive();
        return gradient;
    }

    /// <summary>Mean cross-entropy of logits and its gradient by them: one row in the cache at a time.</summary>
    /// <param name="logits"><c>[positions, vocab]</c>.</param>
    /// <param name="targets"><c>[positions]</c>, int64, on the CPU and in one piece.</param>
    public static (double Loss, Tensor Gradient) CrossEntropy(Tensor logits, Tensor targets)
    {
        Tensor gradient = empty_like(logits);
        HostMatrix rows = HostMatrix.FromTensor(logits), slopes = HostMatrix.FromTensor(gradient);
        double[] losses = new double[rows.Count];
        long* next = (long*)HostMatrix.Address(targets);
        long width = rows.Width;
        HostThreads.Share(rows.Count, 4 * width, rows.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* from = rows.Read(row, scratch), to = slopes.Room(row, scratch);
                float top = SimdMath.Highest(from, width), target = from[next[row]];
                double sum = 0;
                for (long i = 0; i < width; i += Together)
                {
                    sum += SimdMath.Exponentials(from + i, to + i, Math.Min(Together, width - i), top, 1);
                }

                losses[row] = Math.Log(sum) + top - target;
                SimdMath.Scale(to, width, (float)(1 / (sum * rows.Count)));
                to[next[row]] -= 1f / rows.Count;
                slopes.Keep(row, scratch);
            }
        });
        GC.KeepAlive(logits);
        GC.KeepAlive(targets);
        return (losses.Sum() / rows.Count, gradient);
    }

    private static void BackThroughSilu(float* gate, float* up, float* back, float* toGate, float* toUp, long count)
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static (Vector512<float> Gate, Vector512<float> Up) Of(Vector512<float> gate, Vector512<float> up, Vector512<float> back)
        {
            Vector512<float> open = SimdMath.Sigmoid(gate), silu = gate * open;
            return (back * up * (open + (silu * (Vector512<float>.One - open))), back * silu);
        }

        long i = 0;
        for (; i + SimdMath.Lanes <= count; i += SimdMath.Lanes)
        {
            var (byGate, byUp) = Of(Vector512.Load(gate + i), Vector512.Load(up + i), Vector512.Load(back + i));
            byGate.Store(toGate + i);
            byUp.Store(toUp + i);
        }

        if (i < count)
        {
            var (byGate, byUp) = Of(SimdMath.Load(gate, i, count), SimdMath.Load(up, i, count), SimdMath.Load(back, i, count));
            SimdMath.Store(byGate, toGate, i, count);
            SimdMath.Store(byUp, toUp, i, count);
        }
    }

    private static float WeightedProduct(float* x, float* y, float* weight, long count)
    {
        Vector512<float> sum = default;
        long i = 0;
        for (; i + SimdMath.Lanes <= count; i += SimdMath.Lanes)
        {
            sum = Vector512.FusedMultiplyAdd(Vector512.Load(x + i) * Vector512.Load(y + i), Vector512.Load(weight + i), sum);
        }

        float result = Vector512.Sum(sum);
        for (; i < count; i++)
        {
            result += x[i] * y[i] * weight[i];
        }

        return result;
    }
}
