using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Rotary embedding in host memory: pairs (i, i + half) of the first features of each head are rotated. The backward pass is the inverse
/// rotation.
/// </summary>
internal static unsafe class RotaryKernel
{
    /// <summary>Rotates <c>[batch, seq, heads, head]</c>, in place or into a new tensor.</summary>
    /// <param name="heads">The heads.</param>
    /// <param name="cosine"><c>[seq, dimensions]</c> or <c>[batch, seq, dimensions]</c>; both halves are equal.</param>
    /// <param name="sine">Of the same shape; its first half is negated.</param>
    /// <param name="inverse">Whether to rotate by the negative angle, as the backward pass does.</param>
    /// <param name="inPlace">Whether heads are overwritten.</param>
    public static Tensor Apply(Tensor heads, Tensor cosine, Tensor sine, bool inverse, bool inPlace)
    {
        Tensor rotated = inPlace ? heads : empty(heads.shape, heads.dtype).copy_(heads);
        long width = heads.numel() / (heads.size(0) * heads.size(1));
        Apply(HostMatrix.FromTensor(rotated, width), heads.size(-1), HostMatrix.FromTensor(cosine), HostMatrix.FromTensor(sine), inverse);
        HostMatrix.KeepAlive(cosine, sine);
        return rotated;
    }

    /// <summary>Rotates rows of heads in place. Row i takes the angles of row i modulo their count.</summary>
    /// <param name="rows"><c>[rows, heads x head]</c>.</param>
    /// <param name="headSize">Features of a head.</param>
    /// <param name="cosines"><c>[positions, dimensions]</c>.</param>
    /// <param name="sines">Of the same shape.</param>
    /// <param name="inverse">Whether to rotate by the negative angle.</param>
    public static void Apply(HostMatrix rows, long headSize, HostMatrix cosines, HostMatrix sines, bool inverse) =>
        HostThreads.For(rows.Count, rows.Width, rows.Scratch + (2 * cosines.Scratch), (first, last, scratch) =>
        {
            float* angles = scratch + rows.Scratch;
            for (long row = first; row < last; row++)
            {
                float* c = cosines.Read(row % cosines.Count, angles), s = sines.Read(row % sines.Count, angles + cosines.Scratch);
                float* numbers = rows.Read(row, scratch);
                for (long head = 0; head < rows.Width / headSize; head++)
                {
                    Rotate(numbers + (head * headSize), c, s + (cosines.Width / 2), cosines.Width / 2, inverse ? -1 : 1);
                }

                rows.EndWrite(row, scratch);
            }
        });

    private static void Rotate(float* head, float* cosine, float* sine, long half, float sign)
    {
        var signs = Vector512.Create(sign);
        long i = 0;
        for (; i + SimdMath.Lanes <= half; i += SimdMath.Lanes)
        {
            Vector512<float> first = Vector512.Load(head + i), second = Vector512.Load(head + half + i);
            Vector512<float> c = Vector512.Load(cosine + i), s = Vector512.Load(sine + i) * signs;
            ((first * c) - (second * s)).Store(head + i);
            ((second * c) + (first * s)).Store(head + half + i);
        }

        if (i < half)
        {
            Vector512<float> first = SimdMath.Load(head, i, half), second = SimdMath.Load(head + half, i, half);
            Vector512<float> c = SimdMath.Load(cosine, i, half), s = SimdMath.Load(sine, i, half) * signs;
            SimdMath.Store((first * c) - (second * s), head, i, half);
            SimdMath.Store((second * c) + (first * s), head + half, i, half);
        }
    }
}

/// <summary>Rotary embedding of queries and keys. It saves the angles only.</summary>
internal sealed class RotaryFunction : autograd.SingleTensorFunction<RotaryFunction>
{
    public override string Name => nameof(RotaryFunction);

    /// <summary>Rotates <c>[batch, seq, heads, head]</c>, differentiable in it.</summary>
    public static Tensor Apply(Tensor heads, Tensor cosine, Tensor sine) => apply(heads, cosine, sine);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (heads, cosine, sine) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor)vars[2]);
        ctx.save_for_backward([cosine, sine]);
        return DeviceKernels.ApplyRotary(heads, cosine, sine, inverse: false, mayOverwrite: false);
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var saved = ctx.get_saved_variables();
        return [scope.Return(DeviceKernels.ApplyRotary(grad_output, saved[0], saved[1], inverse: true, mayOverwrite: false)), null!, null!];
    }
}
