using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Operations that are computed differently by device, so that the modeling code knows no device. Thread-safe.</summary>
internal static class DeviceKernels
{
    // With a larger share of open gates, gathering a weight's columns costs more than the multiplication saves.
    private const double MaxOpenShare = 0.9;

    // Widths are rounded up to whole tiles. libtorch also generates code for each new width, and the number of open gates changes from step
    // to step.
    private const int MaxTileWidth = 32;

    // Logits that are in float32 at one time: enough to keep an accelerator busy, and little beside a block's activations.
    private const long MaxFloat32Logits = 16 << 20;

    /// <summary>Whether tensors on a device have data; on <c>meta</c> they have shapes only.</summary>
    public static bool HoldsNumbers(this Device? device) => device?.type != DeviceType.META;

    /// <summary>A tensor on a device: itself where it is there already, without another wrapper.</summary>
    public static Tensor On(this Tensor x, Device device) =>
        x.device_type == device.type && (device.type == DeviceType.CPU || x.device_index == device.index) ? x : x.to(device);

    /// <summary>The number of rows of <c>[..., width]</c>; 0 where the width is 0.</summary>
    public static long CountRows(Tensor x) => x.size(-1) is var width && width == 0 ? 0 : x.numel() / width;

    /// <summary>An uninitialized tensor of the device, type and shape of another, with another last dimension.</summary>
    public static Tensor EmptyLike(Tensor x, long width)
    {
        // Dimension by dimension: TorchSharp takes several times as long for the whole shape.
        long[] shape = new long[x.dim()];
        for (int i = 0; i < shape.Length - 1; i++)
        {
            shape[i] = x.size(i);
        }

        shape[^1] = width;
        return empty(shape, x.dtype, x.device_type == DeviceType.CPU ? null : x.device);
    }

    /// <summary>Whether a device is neither the CPU nor <c>meta</c>.</summary>
    public static bool IsAccelerator(this Device device) => device.type is not (DeviceType.CPU or DeviceType.META);

    /// <summary>
    /// The indices of the open gates, ascending, int64, where multiplications without the closed ones are faster; null where they are not.
    /// Closed ones fill the last tile: they add nothing. On an accelerator a full multiplication costs less than to wait for the gates.
    /// </summary>
    /// <param name="gates"><c>[size]</c>, float32; a closed one is exactly 0.</param>
    public static Tensor? SelectOpenGates(Tensor gates)
    {
        if (gates.device_type != DeviceType.CPU)
        {
            return null;
        }

        using var scope = NewDisposeScope();
        float[] values = gates.detach().data<float>().ToArray();
        int open = values.Count(value => value != 0);
        int tile = Math.Clamp(values.Length / 16, 1, MaxTileWidth), wanted = (open + tile - 1) / tile * tile, closed = wanted - open;
        if (open == 0 || wanted >= MaxOpenShare * values.Length)
        {
            return null;
        }

        long[] selected = [.. Enumerable.Range(0, values.Length).Where(i => values[i] != 0 || closed-- > 0).Select(i => (long)i)];
        return tensor(selected, ScalarType.Int64).MoveToOuterDisposeScope();
    }

    /// <summary>A projection <c>[..., in] -> [..., out]</c>, differentiable in its input.</summary>
    public static Tensor Linear(Tensor x, Tensor weight, Tensor? bias) =>
        WidenedMatmul.CanHandle(x) ? WidenedMatmul.Linear(x, weight, bias) : nn.functional.linear(x, weight, bias);

    /// <summary>Several projections of one input, in their order.</summary>
    public static Tensor[] Linear(Tensor x, (Tensor Weight, Tensor? Bias)[] projections) =>
        HostGemm.CanHandle(x) ? HostGemm.Apply(x, projections)
        : CudaDecodeKernels.For(x)?.Project(x, projections)
            ?? Array.ConvertAll(projections, projection => Linear(x, projection.Weight, projection.Bias));

    /// <summary>Matrix multiplication, without gradient.</summary>
    public static Tensor Mm(Tensor a, Tensor b) => WidenedMatmul.CanHandle(a) ? WidenedMatmul.Mm(a, b) : a.mm(b);

    /// <summary>Batched matrix multiplication, without gradient.</summary>
    public static Tensor Bmm(Tensor a, Tensor b) => WidenedMatmul.CanHandle(a) ? WidenedMatmul.Bmm(a, b) : a.bmm(b);

    /// <summary><c>sum + a b</c>, in place, without gradient.</summary>
    public static Tensor AddMm(Tensor sum, Tensor a, Tensor b) =>
        WidenedMatmul.CanHandle(a) ? sum.AddInPlace(WidenedMatmul.Mm(a, b)) : sum.addmm_(a, b, 1, 1);

    /// <summary>
    /// The rows <c>[..., width]</c> of a table <c>[rows, width]</c>, by their numbers <c>[...]</c>, int64; without gradient.
    /// </summary>
    public static Tensor Embedding(Tensor table, Tensor numbers) =>
        HostMatrix.IsContiguousHostWithoutGradient(table) && numbers.device_type == DeviceType.CPU && numbers.is_contiguous()
            ? IndexSelectKernel.Rows(table, numbers)
            : table.index(numbers);

    /// <summary>The columns <c>[..., selected]</c> of <c>[..., d]</c>, without gradient.</summary>
    public static Tensor Columns(Tensor x, Tensor index) =>
        HostMatrix.IsContiguousHost(x) ? IndexSelectKernel.Columns(x, index) : x.index_select(-1, index);

    /// <summary><c>x * gates</c> of <c>[..., d]</c> and <c>[d]</c>: all features, or the selected ones; without gradient.</summary>
    public static Tensor Gated(Tensor x, Tensor gates, Tensor? index) =>
        Gating(gates, x) is { } kernels ? kernels.Gated(x, gates, index)
        : index is null ? x * gates.to(x.dtype)
        : x.index_select(-1, index).mul_(gates.index_select(0, index).to(x.dtype));

    /// <summary><c>stream + features * gates</c> of <c>[..., d]</c>, <c>[..., d]</c> and <c>[d]</c>, without gradient.</summary>
    public static Tensor AddGated(Tensor stream, Tensor features, Tensor gates) =>
        Gating(gates, stream, features)?.AddGated(stream, features, gates) ?? stream.AddCMul(features, gates.to(features.dtype));

    /// <summary>
    /// The backward pass of <see cref="Gated"/>: the gradient of the gates, <c>[d]</c> in float32. The gradient of the features is written
    /// over that of the gated ones, <c>[..., d]</c>.
    /// </summary>
    public static Tensor GateBackward(Tensor features, Tensor gradOutput, Tensor gates)
    {
        if (Gating(gates, features, gradOutput) is { } kernels)
        {
            return kernels.GateBackward(features, gradOutput, gates, null, inPlace: true).Gates;
        }

        Tensor gradient = GateGradient(features, gradOutput);
        gradOutput.mul_(gates.to(gradOutput.dtype));
        return gradient;
    }

    /// <summary>The same with the gradient of the features as a new tensor: of all of them, or of the selected ones.</summary>
    public static (Tensor Gates, Tensor Features) GateBackward(Tensor features, Tensor gradOutput, Tensor gates, Tensor? index) =>
        Gating(gates, features, gradOutput)?.GateBackward(features, gradOutput, gates, index, inPlace: false)
        ?? (GateGradient(features, gradOutput), Gated(gradOutput, gates, index));

    /// <summary>
    /// The mean cross-entropy of logits in nats, and its gradient, in the type of the logits. Some positions are computed at a time, so
    /// that there is no float32 copy of all logits.
    /// </summary>
    /// <param name="logits"><c>[positions, vocab]</c>, without gradient.</param>
    /// <param name="targets"><c>[positions]</c>, int64, on the device of the logits.</param>
    public static (double Loss, Tensor Gradient) CrossEntropy(Tensor logits, Tensor targets)
    {
        if (RowKernels.For(logits) is { } kernels)
        {
            using Tensor next = targets.contiguous();
            return kernels.CrossEntropy(logits, next);
        }

        using var scope = NewDisposeScope();
        long positions = logits.shape[0], max = Math.Max(1, MaxFloat32Logits / logits.shape[1]);
        Tensor gradient = empty_like(logits);
        Tensor sum = zeros(1, ScalarType.Float64, logits.device);
        for (long first = 0; first < positions; first += max)
        {
            using var step = NewDisposeScope();
            long count = Math.Min(max, positions - first);
            Tensor next = targets.narrow(0, first, count).unsqueeze(1);
            Tensor logProbabilities = logits.narrow(0, first, count).to(ScalarType.Float32).log_softmax(-1);
            sum.sub_(logProbabilities.gather(1, next).sum());
            Tensor part = logProbabilities.exp_().scatter_add_(1, next, ScalarOps.Full([count, 1], -1, ScalarType.Float32, logits.device));
            gradient.narrow(0, first, count).copy_(part.MulScalarInPlace(1.0 / positions));
        }

        return (sum.ReadDouble() / positions, gradient.MoveToOuterDisposeScope());
    }

    /// <summary><c>x + y</c>, written over x where that is allowed and neither requires a gradient.</summary>
    public static Tensor Sum(Tensor x, Tensor y, bool mayOverwrite) =>
        Capturable(x, y) is { } kernels ? kernels.Add(x, y, mayOverwrite)
        : mayOverwrite && !RowKernels.AnyHasGradient([x, y]) ? x.AddInPlace(y)
        : x.Add(y);

    /// <summary>Layer norm over the last dimension of <c>[..., d]</c>, statistics in float32.</summary>
    public static Tensor LayerNorm(Tensor x, Tensor weight, Tensor? bias, double epsilon) =>
        Capturable(x, weight) is { } kernels ? kernels.Norm(x, weight, bias, centred: true, epsilon, index: null)
        : x.device.HoldsNumbers() ? nn.functional.layer_norm(x, [x.shape[^1]], weight, bias, epsilon)
        : (x - x.mean([-1L], keepdim: true)) * weight;

    /// <summary>
    /// Rotary embedding of heads <c>[batch, seq, heads, head]</c>: <c>x cosine + (x with its halves swapped) sine</c> over the first
    /// features; without gradient.
    /// </summary>
    /// <param name="heads">The heads.</param>
    /// <param name="cosine"><c>[seq, dimensions]</c> or <c>[batch, seq, dimensions]</c>.</param>
    /// <param name="sine">Of the same shape.</param>
    /// <param name="inverse">Whether to rotate by the negative angle, as the backward pass does.</param>
    /// <param name="mayOverwrite">Whether heads may be overwritten, if they are contiguous; else the result is a new tensor.</param>
    public static Tensor ApplyRotary(Tensor heads, Tensor cosine, Tensor sine, bool inverse, bool mayOverwrite)
    {
        if (RowKernels.For(cosine, sine) is { } kernels && heads.dtype == cosine.dtype)
        {
            return kernels.ApplyRotary(heads, cosine, sine, inverse, inPlace: mayOverwrite && heads.is_contiguous());
        }

        using var scope = NewDisposeScope();
        long dimensions = cosine.size(-1), half = dimensions / 2, rest = heads.size(-1) - dimensions;
        (cosine, sine) = (cosine.unsqueeze(-2), sine.unsqueeze(-2));
        Tensor first = rest == 0 ? heads : heads.narrow(-1, 0, dimensions);
        Tensor rotated = first * cosine;
        for (int i = 0; i < 2; i++)
        {
            rotated.narrow(-1, i * half, half).AddCMulInPlace(
                first.narrow(-1, (1 - i) * half, half), sine.narrow(-1, i * half, half), inverse ? -1 : 1);
        }

        return (rest == 0 ? rotated : cat([rotated, heads.narrow(-1, dimensions, rest)], -1)).MoveToOuterDisposeScope();
    }

    /// <summary><c>max(x, 0)</c>.</summary>
    public static Tensor Relu(Tensor x) =>
        Capturable(x)?.Elementwise("relu", x) ?? (x.device.HoldsNumbers() ? nn.functional.relu(x) : x.ClampMin(0L));

    /// <summary><c>0.5 x (1 + erf(x / sqrt(2)))</c>.</summary>
    public static Tensor Gelu(Tensor x) => Capturable(x)?.Elementwise("gelu", x) ?? nn.functional.gelu(x);

    /// <summary><c>0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))</c>.</summary>
    public static Tensor GeluTanh(Tensor x) =>
        Capturable(x)?.Elementwise("gelu_tanh", x) ?? x.gelu(TorchSharp.Modules.GELU.Approximate.tanh);

    /// <summary>
    /// Kernels that a graph can capture (<see cref="CapturedDecodeGraph"/>), for tensors that require no gradient; null where there are
    /// none.
    /// </summary>
    private static CudaKernels? Capturable(params ReadOnlySpan<Tensor> tensors) =>
        RowKernels.AnyHasGradient(tensors) ? null : CudaKernels.For(tensors);

    private static IRowKernels? Gating(Tensor gates, params ReadOnlySpan<Tensor> features) =>
        gates.dtype == ScalarType.Float32 && gates.is_contiguous() ? RowKernels.For(features) : null;

    private static Tensor GateGradient(Tensor features, Tensor gradOutput) =>
        (features * gradOutput).view(-1, features.shape[^1]).sum(0, type: ScalarType.Float32);
}
