using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// The operations between matrix multiplications, each in one pass over memory: SIMD kernels on the CPU, CUDA kernels on a GPU. They
/// compute in float32 and round once. For tensors that <see cref="RowKernels"/> does not accept, callers use libtorch's operators. None is
/// differentiable. Thread-safe.
/// </summary>
internal interface IRowKernels
{
    /// <summary>
    /// A norm over the last dimension, <c>[..., d] -> [..., d]</c>, or of its selected features, <c>[..., d] -> [..., selected]</c>.
    /// </summary>
    /// <param name="x"><c>[..., d]</c>.</param>
    /// <param name="weight"><c>[d]</c>.</param>
    /// <param name="bias"><c>[d]</c>; null for none.</param>
    /// <param name="centred">Whether the mean is subtracted, as layer norm does.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="index"><c>[selected]</c>, int64; null for all features.</param>
    Tensor Norm(Tensor x, Tensor weight, Tensor? bias, bool centred, double epsilon, Tensor? index);

    /// <summary>The gradient of an RMS norm with respect to its input, <c>[..., d]</c>.</summary>
    /// <param name="x">The input.</param>
    /// <param name="weight"><c>[d]</c>.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="gradOutput">The gradient of the result.</param>
    Tensor NormBackward(Tensor x, Tensor weight, double epsilon, Tensor gradOutput);

    /// <summary>A stream <c>[..., d]</c> with <c>[..., selected]</c> added to its selected features, in place or as a new tensor.</summary>
    Tensor IndexAdd(Tensor stream, Tensor index, Tensor output, bool inPlace);

    /// <summary><c>x * gates</c>: all features, <c>[..., d]</c>, or the selected ones, <c>[..., selected]</c>.</summary>
    /// <param name="x">The features, <c>[..., d]</c>.</param>
    /// <param name="gates"><c>[d]</c>, float32.</param>
    /// <param name="index"><c>[selected]</c>, int64; null for all features.</param>
    Tensor Gated(Tensor x, Tensor gates, Tensor? index);

    /// <summary><c>stream + features * gates</c>, <c>[..., d]</c>.</summary>
    /// <param name="stream">The stream, <c>[..., d]</c>.</param>
    /// <param name="features"><c>[..., d]</c>.</param>
    /// <param name="gates"><c>[d]</c>, float32.</param>
    Tensor AddGated(Tensor stream, Tensor features, Tensor gates);

    /// <summary>The backward pass of <see cref="Gated"/>.</summary>
    /// <param name="features">The features before their gates, <c>[..., d]</c>.</param>
    /// <param name="gradOutput">The gradient of the gated features, <c>[..., d]</c>.</param>
    /// <param name="gates"><c>[d]</c>, float32.</param>
    /// <param name="index">The features whose gradient is wanted, int64; null for all.</param>
    /// <param name="inPlace">Whether the gradient of the features is written over <paramref name="gradOutput"/>; without an index
    /// only.</param>
    /// <returns>The gradient of the gates, <c>[d]</c> in float32, summed over all tokens, and that of the features, <c>[..., d or
    /// selected]</c>.</returns>
    (Tensor Gates, Tensor Features) GateBackward(Tensor features, Tensor gradOutput, Tensor gates, Tensor? index, bool inPlace);

    /// <summary><c>gate * sigmoid(gate) * up</c>, written over the gate or into a new tensor.</summary>
    Tensor SwiGlu(Tensor gate, Tensor up, bool inPlace);

    /// <summary>The gradients of gate and up.</summary>
    (Tensor Gate, Tensor Up) SwiGluBackward(Tensor gate, Tensor up, Tensor gradOutput);

    /// <summary>Rotary embedding of the first features of every head: <c>x cosine + (x with its halves swapped) sine</c>.</summary>
    /// <param name="heads"><c>[batch, seq, heads, head]</c>.</param>
    /// <param name="cosine"><c>[seq, dimensions]</c> or <c>[batch, seq, dimensions]</c>; both halves are equal.</param>
    /// <param name="sine">Of the same shape; its first half is negated.</param>
    /// <param name="inverse">Whether to rotate by the negative angle, as the backward pass does.</param>
    /// <param name="inPlace">Whether heads are overwritten.</param>
    Tensor ApplyRotary(Tensor heads, Tensor cosine, Tensor sine, bool inverse, bool inPlace);

    /// <summary>The mean cross-entropy of logits in nats, and its gradient, in the type of the logits.</summary>
    /// <param name="logits"><c>[positions, vocab]</c>.</param>
    /// <param name="targets"><c>[positions]</c>, int64.</param>
    (double Loss, Tensor Gradient) CrossEntropy(Tensor logits, Tensor targets);
}

/// <summary>The row kernels of the device that tensors are on.</summary>
internal static class RowKernels
{
    /// <summary>The kernels for contiguous tensors on one device, all float32 or all bfloat16; null where there are none.</summary>
    public static IRowKernels? For(params ReadOnlySpan<Tensor> tensors) =>
        HostMatrix.IsContiguousHost(tensors) ? HostKernels.Shared : CudaKernels.For(tensors);

    /// <summary>The same for tensors that require no gradient.</summary>
    public static IRowKernels? WithoutGradient(params ReadOnlySpan<Tensor> tensors) => AnyHasGradient(tensors) ? null : For(tensors);

    /// <summary>Whether any of the tensors requires a gradient.</summary>
    public static bool AnyHasGradient(ReadOnlySpan<Tensor> tensors)
    {
        foreach (var x in tensors)
        {
            if (x.requires_grad)
            {
                return true;
            }
        }

        return false;
    }
}
