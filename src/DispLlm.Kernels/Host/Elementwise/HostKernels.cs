using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// The SIMD kernels of the CPU, for tensors that <see cref="HostMatrix.IsContiguousHost"/> accepts. Each operation is in the file of its
/// name. Thread-safe: it has no state.
/// </summary>
internal sealed class HostKernels : IRowKernels
{
    private HostKernels()
    {
    }

    /// <summary>The only instance.</summary>
    public static HostKernels Shared { get; } = new();

    /// <inheritdoc/>
    public Tensor Norm(Tensor x, Tensor weight, Tensor? bias, bool centred, double epsilon, Tensor? index) =>
        HostNorm.Forward(x, weight, bias, centred, epsilon, index);

    /// <inheritdoc/>
    public Tensor NormBackward(Tensor x, Tensor weight, double epsilon, Tensor gradOutput) =>
        HostNorm.RmsBackward(x, weight, epsilon, gradOutput);

    /// <inheritdoc/>
    public Tensor IndexAdd(Tensor stream, Tensor index, Tensor output, bool inPlace) =>
        IndexAddKernel.Forward(stream, index, output, inPlace);

    /// <inheritdoc/>
    public Tensor Gated(Tensor x, Tensor gates, Tensor? index) => GatingKernel.Forward(x, gates, index);

    /// <inheritdoc/>
    public Tensor AddGated(Tensor stream, Tensor features, Tensor gates) => GatingKernel.AddForward(stream, features, gates);

    /// <inheritdoc/>
    public (Tensor Gates, Tensor Features) GateBackward(Tensor features, Tensor gradOutput, Tensor gates, Tensor? index, bool inPlace) =>
        GatingKernel.Backward(features, gradOutput, gates, index, inPlace);

    /// <inheritdoc/>
    public Tensor SwiGlu(Tensor gate, Tensor up, bool inPlace) => SwiGluKernel.Forward(gate, up, inPlace);

    /// <inheritdoc/>
    public (Tensor Gate, Tensor Up) SwiGluBackward(Tensor gate, Tensor up, Tensor gradOutput) =>
        SwiGluKernel.Backward(gate, up, gradOutput);

    /// <inheritdoc/>
    public Tensor ApplyRotary(Tensor heads, Tensor cosine, Tensor sine, bool inverse, bool inPlace) =>
        RotaryKernel.Apply(heads, cosine, sine, inverse, inPlace);

    /// <inheritdoc/>
    public (double Loss, Tensor Gradient) CrossEntropy(Tensor logits, Tensor targets) =>
        CrossEntropyKernel.ForwardBackward(logits, targets);
}
