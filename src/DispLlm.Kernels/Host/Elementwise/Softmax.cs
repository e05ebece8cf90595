using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Softmax of attention scores in host memory, forward and backward, in place.</summary>
internal static unsafe class SoftmaxKernel
{
    /// <summary>The causal softmax: each query's row is the softmax over the keys up to its own position, and 0 after it.</summary>
    /// <param name="scores"><c>[..., queries, keys]</c>, overwritten.</param>
    /// <param name="queries">The number of queries; rows repeat after as many.</param>
    /// <param name="first">The position of the first query.</param>
    /// <param name="scale">The factor of scores.</param>
    public static void CausalForward(Tensor scores, long queries, long first, float scale)
    {
        HostMatrix rows = HostMatrix.FromTensor(scores);
        HostThreads.For(rows.Count, 4 * rows.Width, rows.Scratch, (begin, end, scratch) =>
        {
            for (long row = begin; row < end; row++)
            {
                long keys = first + (row % queries) + 1;
                float* numbers = rows.Read(row, scratch);
                Forward(numbers, keys, scale);
                new Span<float>(numbers + keys, (int)(rows.Width - keys)).Clear();
                rows.EndWrite(row, scratch);
            }
        });
        HostMatrix.KeepAlive(scores);
    }

    /// <summary>The softmax of one row of scores times a scale, in place.</summary>
    public static void Forward(float* scores, long count, float scale)
    {
        float sum = SimdMath.Exp(scores, scores, count, SimdMath.Max(scores, count), scale);
        SimdMath.Scale(scores, count, 1 / sum);
    }

    /// <summary>
    /// The gradient of the scores before their scale: <c>w (g - sum(w g)) scale</c>, written over the gradient of the weights.
    /// </summary>
    /// <param name="weights">The softmax over the last dimension.</param>
    /// <param name="gradient">The gradient of the weights, of the same shape; overwritten.</param>
    /// <param name="scale">The factor of scores.</param>
    public static void Backward(Tensor weights, Tensor gradient, float scale)
    {
        HostMatrix rows = HostMatrix.FromTensor(weights), grads = HostMatrix.FromTensor(gradient);
        long width = rows.Width;
        HostThreads.For(rows.Count, 2 * width, 2 * rows.Scratch, (first, last, scratch) =>
        {
            float* gradScratch = scratch + rows.Scratch;
            for (long row = first; row < last; row++)
            {
                float* weight = rows.Read(row, scratch), grad = grads.Read(row, gradScratch);
                Vector512<float> means = Vector512.Create(SimdMath.Dot(weight, grad, width)), scales = Vector512.Create(scale);
                long i = 0;
                for (; i + SimdMath.Lanes <= width; i += SimdMath.Lanes)
                {
                    ((Vector512.Load(grad + i) - means) * Vector512.Load(weight + i) * scales).Store(grad + i);
                }

                if (i < width)
                {
                    SimdMath.Store((SimdMath.Load(grad, i, width) - means) * SimdMath.Load(weight, i, width) * scales, grad, i, width);
                }

                grads.EndWrite(row, gradScratch);
            }
        });
        HostMatrix.KeepAlive(weights, gradient);
    }
}
