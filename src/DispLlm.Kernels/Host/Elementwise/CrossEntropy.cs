using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Mean cross-entropy in host memory with its gradient: each row of logits is read once and stays in the cache.</summary>
internal static unsafe class CrossEntropyKernel
{
    // Exponentials that are summed in float32; their sums are summed in float64.
    private const long SumLength = 1024;

    /// <summary>The mean cross-entropy in nats, and its gradient with respect to the logits, in their type.</summary>
    /// <param name="logits"><c>[positions, vocab]</c>.</param>
    /// <param name="targets"><c>[positions]</c>, int64, contiguous on the CPU.</param>
    public static (double Loss, Tensor Gradient) ForwardBackward(Tensor logits, Tensor targets)
    {
        Tensor gradient = empty_like(logits);
        HostMatrix rows = HostMatrix.FromTensor(logits), gradients = HostMatrix.FromTensor(gradient);
        double[] losses = new double[rows.Count];
        long* next = (long*)HostMatrix.Address(targets);
        long width = rows.Width;
        HostThreads.For(rows.Count, 4 * width, rows.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* from = rows.Read(row, scratch), to = gradients.BeginWrite(row, scratch);
                float max = SimdMath.Max(from, width), target = from[next[row]];
                double sum = 0;
                for (long i = 0; i < width; i += SumLength)
                {
                    sum += SimdMath.Exp(from + i, to + i, Math.Min(SumLength, width - i), max, 1);
                }

                losses[row] = Math.Log(sum) + max - target;
                SimdMath.Scale(to, width, (float)(1 / (sum * rows.Count)));
                to[next[row]] -= 1f / rows.Count;
                gradients.EndWrite(row, scratch);
            }
        });
        HostMatrix.KeepAlive(logits, targets);
        return (losses.Sum() / rows.Count, gradient);
    }
}
