using System.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// The way back of what <see cref="HostKernels"/> computes, and of the loss: each in one pass over the CPU's memory, where the framework takes an operator, and a tensor, for
/// every step of the formula. Tensors are such as <see cref="HostRows.Lie"/> says.
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
        HostRows inputs = HostRows.Of(x), weights = HostRows.Of(weight), backs = HostRows.Of(returned), results = HostRows.Of(result);
        long width = inputs.Width;
        HostThreads.Share(inputs.Count, 2 * width, 3 * inputs.Scratch, (first, last, scratch) =>
        {
            float* room = scratch + inputs.Scratch, scale = weights.Read(0, room + inputs.Scratch);
            for (long row = first; row < last; row++)
            {
                float* from = inputs.Read(row, scratch), back = backs.Read(row, room), to = results.Room(row, room);
                float spread = 1 / MathF.Sqrt((float)((HostNumbers.SquaredDistance(from, width, 0) / width) + epsilon));
                float pull = -spread * spread * spread * WeightedProduct(from, back, scale, width) / width;
                Vector<float> spreads = new(spread), pulls = new(pull);
                long i = 0;
                for (; i + Vector<float>.Count <= width; i += Vector<float>.Count)
                {
                    Vector.Store((Vector.Load(back + i) * Vector.Load(scale + i) * spreads) + (Vector.Load(from + i) * pulls), to + i);
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
    public static (Tensor Gate, Tensor Up) GatedSilu(Tensor gate, Tensor up, Tensor returned)
    {
        Tensor gateGradient = empty_like(gate), upGradient = empty_like(up);
        HostRows gates = HostRows.Of(gate), ups = HostRows.Of(up), backs = HostRows.Of(returned), byGate = HostRows.Of(gateGradient), byUp = HostRows.Of(upGradient);
        HostThreads.Share(gates.Count, 4 * gates.Width, 3 * gates.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* second = scratch + gates.Scratch, third = second + gates.Scratch;
                float* x = gates.Read(row, scratch), y = ups.Read(row, second), back = backs.Read(row, third);
                float* toGate = byGate.Room(row, scratch), toUp = byUp.Room(row, second);
                long i = 0;
                for (; i + Vector<float>.Count <= gates.Width; i += Vector<float>.Count)
                {
                    Vector<float> value = Vector.Load(x + i), gradient = Vector.Load(back + i), open = HostNumbers.Sigmoid(value), silu = value * open;
                    Vector.Store(gradient * Vector.Load(y + i) * (open + (silu * (Vector<float>.One - open))), toGate + i);
                    Vector.Store(gradient * silu, toUp + i);
                }

                for (; i < gates.Width; i++)
                {
                    float open = 1 / (1 + MathF.Exp(-x[i])), silu = x[i] * open, slope = open + (silu * (1 - open));
                    (toGate[i], toUp[i]) = (back[i] * y[i] * slope, back[i] * silu);
                }

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
        HostRows rows = HostRows.Of(weights), backs = HostRows.Of(returned);
        HostThreads.Share(rows.Count, 2 * rows.Width, 2 * rows.Scratch, (first, last, scratch) =>
        {
            float* room = scratch + rows.Scratch;
            for (long row = first; row < last; row++)
            {
                float* weight = rows.Read(row, scratch), back = backs.Read(row, room);
                float mean = Product(weight, back, rows.Width);
                Vector<float> means = new(mean), scales = new(scale);
                long i = 0;
                for (; i + Vector<float>.Count <= rows.Width; i += Vector<float>.Count)
                {
                    Vector.Store((Vector.Load(back + i) - means) * Vector.Load(weight + i) * scales, back + i);
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
    /// The gradient of each gate, <c>[d]</c> in float32: over all tokens, what passed the gate times what came back. Where gates are given, what came back is multiplied by
    /// them besides, in place: the gradient in front of the gates.
    /// </summary>
    /// <param name="features">What passed, <c>[..., d]</c>.</param>
    /// <param name="returned">What came back, <c>[..., d]</c>.</param>
    /// <param name="gates"><c>[d]</c>, float32; null to leave what came back as it is.</param>
    public static Tensor GateSums(Tensor features, Tensor returned, Tensor? gates)
    {
        HostRows rows = HostRows.Of(features), backs = HostRows.Of(returned);
        long width = rows.Width, pieces = HostThreads.Pieces(rows.Count, width, out long size);
        float* factors = gates is null ? null : HostRows.Pointer(gates);
        using Tensor sums = zeros(pieces, width);
        float* all = HostRows.Pointer(sums);
        HostThreads.Share(pieces, size * width, 2 * rows.Scratch, (firstPiece, lastPiece, scratch) =>
        {
            for (long piece = firstPiece; piece < lastPiece; piece++)
            {
                for (long row = piece * size; row < Math.Min(rows.Count, (piece + 1) * size); row++)
                {
                    float* room = scratch + rows.Scratch, back = backs.Read(row, room);
                    AddProducts(rows.Read(row, scratch), back, all + (piece * width), width);
                    if (factors is not null)
                    {
                        HostNumbers.Multiply(back, factors, back, width);
                        backs.Keep(row, room);
                    }
                }
            }
        });
        GC.KeepAlive(features);
        GC.KeepAlive(returned);
        GC.KeepAlive(gates);
        return sums.sum([0L]);
    }

    /// <summary>Mean cross-entropy of logits and its gradient by them: one row in the cache at a time.</summary>
    /// <param name="logits"><c>[positions, vocab]</c>.</param>
    /// <param name="targets"><c>[positions]</c>, int64, on the CPU and in one piece.</param>
    public static (double Loss, Tensor Gradient) CrossEntropy(Tensor logits, Tensor targets)
    {
        Tensor gradient = empty_like(logits);
        HostRows rows = HostRows.Of(logits), slopes = HostRows.Of(gradient);
        double[] losses = new double[rows.Count];
        long* next = (long*)HostRows.Address(targets);
        long width = rows.Width;
        HostThreads.Share(rows.Count, 4 * width, rows.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* from = rows.Read(row, scratch), to = slopes.Room(row, scratch);
                float top = HostNumbers.Highest(from, width), target = from[next[row]];
                double sum = 0;
                for (long i = 0; i < width; i += Together)
                {
                    sum += HostNumbers.Exponentials(from + i, to + i, Math.Min(Together, width - i), top, 1);
                }

                losses[row] = Math.Log(sum) + top - target;
                HostNumbers.Scale(to, width, (float)(1 / (sum * rows.Count)));
                to[next[row]] -= 1f / rows.Count;
                slopes.Keep(row, scratch);
            }
        });
        GC.KeepAlive(logits);
        GC.KeepAlive(targets);
        return (losses.Sum() / rows.Count, gradient);
    }

    private static float Product(float* x, float* y, long count)
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

    private static float WeightedProduct(float* x, float* y, float* weight, long count)
    {
        Vector<float> sum = default;
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            sum = Vector.FusedMultiplyAdd(Vector.Load(x + i) * Vector.Load(y + i), Vector.Load(weight + i), sum);
        }

        float result = Vector.Sum(sum);
        for (; i < count; i++)
        {
            result += x[i] * y[i] * weight[i];
        }

        return result;
    }

    private static void AddProducts(float* x, float* y, float* sums, long count)
    {
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            Vector.Store(Vector.FusedMultiplyAdd(Vector.Load(x + i), Vector.Load(y + i), Vector.Load(sums + i)), sums + i);
        }

        for (; i < count; i++)
        {
            sums[i] += x[i] * y[i];
        }
    }
}
