using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// What stands between the matrix products of a pass, each in one pass over memory: on the CPU vector code, on a GPU kernels of our own. Everything is computed in float32 and rounded once.
/// Tensors are such as <see cref="RowKernels"/> says; where they are not, the caller computes the same with the framework's operators. Nothing here has a gradient of its own.
/// </summary>
internal interface IRowKernels
{
    /// <summary>
    /// A norm over the last dimension, of which only selected features are written: <c>[..., d] -> [..., selected]</c>, or all of them.
    /// </summary>
    /// <param name="x"><c>[..., d]</c>.</param>
    /// <param name="weight"><c>[d]</c>.</param>
    /// <param name="bias"><c>[d]</c>; null for none.</param>
    /// <param name="centred">Whether the mean is subtracted.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="index">What is written, int64; null for everything.</param>
    Tensor Norm(Tensor x, Tensor weight, Tensor? bias, bool centred, double epsilon, Tensor? index);

    /// <summary>The gradient by the features of a root-mean-square norm, <c>[..., d]</c>.</summary>
    /// <param name="x">What was normed.</param>
    /// <param name="weight"><c>[d]</c>.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="returned">The gradient by the result.</param>
    Tensor NormBackward(Tensor x, Tensor weight, double epsilon, Tensor returned);

    /// <summary>A stream <c>[..., d]</c> with <c>[..., selected]</c> added to its selected features: in place, or as a tensor of its own.</summary>
    Tensor IndexAdd(Tensor stream, Tensor index, Tensor output, bool inPlace);

    /// <summary>Features <c>[..., d]</c> behind their gates: all of them, or only the selected ones, <c>[..., selected]</c>.</summary>
    /// <param name="x">The features.</param>
    /// <param name="gates"><c>[d]</c>, float32.</param>
    /// <param name="index">What is written, int64; null for everything.</param>
    Tensor Gated(Tensor x, Tensor gates, Tensor? index);

    /// <summary>A stream <c>[..., d]</c> with features behind their gates added.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="features"><c>[..., d]</c>.</param>
    /// <param name="gates"><c>[d]</c>, float32.</param>
    Tensor AddGated(Tensor stream, Tensor features, Tensor gates);

    /// <summary>
    /// The gradient of each gate, <c>[d]</c> in float32: over all tokens, what passed the gate times what came back. What came back is multiplied by the gates on the way: the gradient in
    /// front of them.
    /// </summary>
    /// <param name="features">What passed, <c>[..., d]</c>.</param>
    /// <param name="returned">What came back, <c>[..., d]</c>.</param>
    /// <param name="gates"><c>[d]</c>, float32.</param>
    /// <param name="index">Which of the features are wanted in front of the gates, int64; null for all.</param>
    /// <param name="inPlace">Whether those are written over what came back; all of them only.</param>
    (Tensor Gradient, Tensor Passed) GateBackward(Tensor features, Tensor returned, Tensor gates, Tensor? index, bool inPlace);

    /// <summary><c>gate * sigmoid(gate) * up</c>, written over the gate or, where a gradient will want it, into a tensor of its own.</summary>
    Tensor SwiGlu(Tensor gate, Tensor up, bool inPlace);

    /// <summary>The gradients of that by both.</summary>
    (Tensor Gate, Tensor Up) SwiGluBackward(Tensor gate, Tensor up, Tensor returned);

    /// <summary>Turns the pairs (i, i + half) of the first features of every head: <c>x cosine + (x with its halves swapped) sine</c>.</summary>
    /// <param name="heads"><c>[batch, seq, heads, head]</c>.</param>
    /// <param name="cosine"><c>[seq, dimensions]</c> or <c>[batch, seq, dimensions]</c>; both halves are the same.</param>
    /// <param name="sine">Of the same shape; its first half is negated.</param>
    /// <param name="back">Whether to turn the other way round, as gradients are.</param>
    /// <param name="inPlace">Whether heads are written over.</param>
    Tensor ApplyRotary(Tensor heads, Tensor cosine, Tensor sine, bool back, bool inPlace);

    /// <summary>Mean cross-entropy of logits in nats, and its gradient by them.</summary>
    /// <param name="logits"><c>[positions, vocab]</c>.</param>
    /// <param name="targets"><c>[positions]</c>, int64.</param>
    (double Loss, Tensor Gradient) CrossEntropy(Tensor logits, Tensor targets);
}

/// <summary>The kernels of the device that tensors are on.</summary>
internal static class RowKernels
{
    /// <summary>The kernels for tensors in one piece on one device, all float32 or all bfloat16; null where there are none.</summary>
    public static IRowKernels? For(params ReadOnlySpan<Tensor> tensors) => HostMatrix.IsContiguousHost(tensors) ? HostKernels.Shared : CudaKernels.For(tensors);

    /// <summary>The same, outside any gradient.</summary>
    public static IRowKernels? WithoutGradient(params ReadOnlySpan<Tensor> tensors) => AnyHasGradient(tensors) ? null : For(tensors);

    /// <summary>Whether a gradient is wanted of any of them.</summary>
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
