using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// RMS norm or layer norm over the rows of a matrix in host memory. All features are written, or the selected ones. Statistics are float32;
/// the result is rounded once.
/// </summary>
/// <param name="weight">One row.</param>
/// <param name="bias">One row; null for none.</param>
/// <param name="centred">Whether the mean is subtracted, as layer norm does.</param>
/// <param name="epsilon">Added to the mean square.</param>
internal readonly unsafe struct HostNorm(HostMatrix weight, HostMatrix? bias, bool centred, double epsilon)
{
    /// <summary>The norm of <c>[..., d]</c>: <c>[..., d]</c>, or <c>[..., selected]</c> where an index is given.</summary>
    public static Tensor Forward(Tensor x, Tensor weight, Tensor? bias, bool centred, double epsilon, Tensor? index)
    {
        Tensor result = DeviceKernels.EmptyLike(x, index?.numel() ?? x.size(-1));
        var norm = new HostNorm(HostMatrix.FromTensor(weight), bias is null ? null : HostMatrix.FromTensor(bias), centred, epsilon);
        norm.Apply(HostMatrix.FromTensor(x), HostSelection.FromIndex(index, x), HostMatrix.FromTensor(result));
        HostMatrix.KeepAlive(x, weight, bias, index);
        return result;
    }

    /// <summary>The norm of each row.</summary>
    /// <param name="inputs"><c>[rows, d]</c>.</param>
    /// <param name="selection">The features that are written; null for all.</param>
    /// <param name="outputs"><c>[rows, d or selected]</c>.</param>
    public void Apply(HostMatrix inputs, HostSelection? selection, HostMatrix outputs)
    {
        HostMatrix weights = weight, biases = bias ?? weight;
        bool hasBias = bias is not null, centres = centred;
        double added = epsilon;
        long width = inputs.Width, normed = selection is null ? 0 : width;
        HostThreads.For(inputs.Count, width, inputs.Scratch + outputs.Scratch + weights.Scratch + biases.Scratch + normed,
            (first, last, scratch) =>
        {
            float* outputScratch = scratch + inputs.Scratch, whole = outputScratch + outputs.Scratch,
                scale = weights.Read(0, whole + normed);
            float* shift = hasBias ? biases.Read(0, whole + normed + weights.Scratch) : null;
            for (long row = first; row < last; row++)
            {
                float* from = inputs.Read(row, scratch), to = outputs.BeginWrite(row, outputScratch);
                float mean = centres ? SimdMath.Sum(from, width) / width : 0;
                float rsqrt = 1 / MathF.Sqrt((float)((SimdMath.SquaredDistance(from, width, mean) / width) + added));
                Normalize(from, selection is null ? to : whole, scale, shift, width, mean, rsqrt);
                selection?.Gather(whole, to);
                outputs.EndWrite(row, outputScratch);
            }
        });
    }

    /// <summary>The gradient of an RMS norm with respect to its input, <c>[..., d]</c>. The weight is frozen.</summary>
    /// <param name="x">The input.</param>
    /// <param name="weight"><c>[d]</c>.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="gradOutput">The gradient of the result.</param>
    public static Tensor RmsBackward(Tensor x, Tensor weight, double epsilon, Tensor gradOutput)
    {
        Tensor result = empty_like(x);
        HostMatrix inputs = HostMatrix.FromTensor(x), weights = HostMatrix.FromTensor(weight);
        HostMatrix grads = HostMatrix.FromTensor(gradOutput), results = HostMatrix.FromTensor(result);
        long width = inputs.Width;
        HostThreads.For(inputs.Count, 2 * width, 3 * inputs.Scratch, (first, last, scratch) =>
        {
            float* gradScratch = scratch + inputs.Scratch, scale = weights.Read(0, gradScratch + inputs.Scratch);
            for (long row = first; row < last; row++)
            {
                float* from = inputs.Read(row, scratch), grad = grads.Read(row, gradScratch), to = results.BeginWrite(row, gradScratch);
                float rsqrt = 1 / MathF.Sqrt((float)((SimdMath.SquaredDistance(from, width, 0) / width) + epsilon));
                float slope = -rsqrt * rsqrt * rsqrt * SimdMath.Dot(from, grad, scale, width) / width;
                Vector512<float> rsqrts = Vector512.Create(rsqrt), slopes = Vector512.Create(slope);
                long i = 0;
                for (; i + SimdMath.Lanes <= width; i += SimdMath.Lanes)
                {
                    var direct = Vector512.Load(grad + i) * Vector512.Load(scale + i) * rsqrts;
                    (direct + (Vector512.Load(from + i) * slopes)).Store(to + i);
                }

                if (i < width)
                {
                    var direct = SimdMath.Load(grad, i, width) * SimdMath.Load(scale, i, width) * rsqrts;
                    SimdMath.Store(direct + (SimdMath.Load(from, i, width) * slopes), to, i, width);
                }

                results.EndWrite(row, gradScratch);
            }
        });
        HostMatrix.KeepAlive(x, weight, gradOutput);
        return result;
    }

    private static void Normalize(float* from, float* to, float* scale, float* shift, long count, float mean, float rsqrt)
    {
        Vector512<float> centre = Vector512.Create(mean), factor = Vector512.Create(rsqrt);
        long i = 0;
        for (; i + SimdMath.Lanes <= count; i += SimdMath.Lanes)
        {
            var normed = (Vector512.Load(from + i) - centre) * factor * Vector512.Load(scale + i);
            (shift is null ? normed : normed + Vector512.Load(shift + i)).Store(to + i);
        }

        if (i < count)
        {
            var normed = (SimdMath.Load(from, i, count) - centre) * factor * SimdMath.Load(scale, i, count);
            SimdMath.Store(shift is null ? normed : normed + SimdMath.Load(shift, i, count), to, i, count);
        }
    }
}

/// <summary>
/// RMS norm with a backward pass of one kernel. It saves its input only, where libtorch saves a tensor for each step of the formula.
/// </summary>
internal sealed class RmsNormFunction : autograd.SingleTensorFunction<RmsNormFunction>
{
    public override string Name => nameof(RmsNormFunction);

    /// <summary>
    /// The norm of <c>[..., d]</c>, differentiable in it; the weight is frozen. Requires kernels (<see cref="RowKernels.For"/>).
    /// </summary>
    public static Tensor Apply(Tensor x, Tensor weight, double epsilon) => apply(x, weight, epsilon);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (x, weight, epsilon) = ((Tensor)vars[0], (Tensor)vars[1], (double)vars[2]);
        ctx.save_for_backward([x, weight]);
        ctx.save_data(nameof(epsilon), epsilon);
        return RowKernels.For(x, weight)!.Norm(x, weight, null, centred: false, epsilon, index: null);
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var saved = ctx.get_saved_variables();
        double epsilon = (double)ctx.get_data(nameof(epsilon));
        return [scope.Return(RowKernels.For(saved[0])!.NormBackward(saved[0], saved[1], epsilon, grad_output.contiguous())), null!, null!];
    }
}
