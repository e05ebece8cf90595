using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>What has to be computed differently on one kind of device. It stands here so that no other room has to know of devices.</summary>
internal static class DeviceKernels
{
    // With more gates open than this share, gathering a weight's columns costs more than the products save.
    private const double MostOpen = 0.9;

    // Widths that products like. The framework also makes code for every width that it has not seen: a step's gates are seldom as many as the last one's.
    private const int WidestTile = 32;

    // Logits that stand in float32 at one time: enough to keep an accelerator busy, and little beside a block's activations.
    private const long MostWideLogits = 16 << 20;

    /// <summary>Whether tensors on a device have numbers in them; on <c>meta</c> they have shapes only.</summary>
    public static bool HoldsNumbers(this Device? device) => device?.type != DeviceType.META;

    /// <summary>A tensor on a device: itself where it is there. The framework would make another of the same memory.</summary>
    public static Tensor On(this Tensor x, Device device) => x.device_type == device.type && (device.type == DeviceType.CPU || x.device_index == device.index) ? x : x.to(device);

    /// <summary>How many rows a tensor <c>[..., width]</c> has; none where they have no width.</summary>
    public static long CountRows(Tensor x) => x.size(-1) is var width && width == 0 ? 0 : x.numel() / width;

    /// <summary>An empty tensor where another one is, of its type and shape, with another width.</summary>
    public static Tensor EmptyLike(Tensor x, long width)
    {
        // Dimension by dimension: to ask for the whole shape takes the framework several times as long.
        long[] shape = new long[x.dim()];
        for (int i = 0; i < shape.Length - 1; i++)
        {
            shape[i] = x.size(i);
        }

        shape[^1] = width;
        return empty(shape, x.dtype, x.device_type == DeviceType.CPU ? null : x.device);
    }

    /// <summary>Whether a device computes with kernels of its own instead of the CPU's vector code.</summary>
    public static bool IsAccelerator(this Device device) => device.type is not (DeviceType.CPU or DeviceType.META);

    /// <summary>
    /// The places of the gates that products take, ascending, int64, where they are faster without the others; null where they are not. Taken are all that are not closed, and as many
    /// closed ones as fill the last tile: they add nothing. On an accelerator a full product costs less than to wait for the gates.
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
        int tile = Math.Clamp(values.Length / 16, 1, WidestTile), wanted = (open + tile - 1) / tile * tile, closed = wanted - open;
        if (open == 0 || wanted >= MostOpen * values.Length)
        {
            return null;
        }

        long[] taken = [.. Enumerable.Range(0, values.Length).Where(i => values[i] != 0 || closed-- > 0).Select(i => (long)i)];
        return tensor(taken, ScalarType.Int64).MoveToOuterDisposeScope();
    }

    /// <summary>A projection <c>[..., in] -> [..., out]</c>, differentiable in its input.</summary>
    public static Tensor Linear(Tensor x, Tensor weight, Tensor? bias) =>
        WidenedMatmul.CanHandle(x) ? WidenedMatmul.Linear(x, weight, bias)
        : WeightFirstProduct.CanHandle(x) ? WeightFirstProduct.Linear(x, weight, bias)
        : nn.functional.linear(x, weight, bias);

    /// <summary>Several projections of the same input, in their order.</summary>
    public static Tensor[] Linear(Tensor x, (Tensor Weight, Tensor? Bias)[] projections) =>
        HostGemm.CanHandle(x) ? HostGemm.Apply(x, projections)
        : CudaDecodeKernels.For(x)?.Project(x, projections) ?? Array.ConvertAll(projections, projection => Linear(x, projection.Weight, projection.Bias));

    /// <summary>The product of two matrices, without gradient.</summary>
    public static Tensor Mm(Tensor a, Tensor b) => WidenedMatmul.CanHandle(a) ? WidenedMatmul.Mm(a, b) : a.mm(b);

    /// <summary>The products of matrices <c>[count, ., .]</c>, without gradient.</summary>
    public static Tensor Bmm(Tensor a, Tensor b) => WidenedMatmul.CanHandle(a) ? WidenedMatmul.Bmm(a, b) : a.bmm(b);

    /// <summary>Adds a product to a matrix, in place, without gradient.</summary>
    public static Tensor AddMm(Tensor sum, Tensor a, Tensor b) => WidenedMatmul.CanHandle(a) ? sum.AddInPlace(WidenedMatmul.Mm(a, b)) : sum.addmm_(a, b, 1, 1);

    /// <summary>The rows <c>[..., width]</c> of a table <c>[rows, width]</c>, by their numbers <c>[...]</c>, int64. Without gradient.</summary>
    public static Tensor Embedding(Tensor table, Tensor numbers) =>
        HostMatrix.IsContiguousHostWithoutGradient(table) && numbers.device_type == DeviceType.CPU && numbers.is_contiguous() ? HostKernels.Embedding(table, numbers) : table.index(numbers);

    /// <summary>The columns <c>[..., selected]</c> of <c>[..., d]</c>, without gradient.</summary>
    public static Tensor Columns(Tensor x, Tensor index) => HostMatrix.IsContiguousHost(x) ? HostKernels.Columns(x, index) : x.index_select(-1, index);

    /// <summary>Features <c>[..., d]</c> behind their gates <c>[d]</c>: all of them, or only the selected ones. Without gradient.</summary>
    public static Tensor Gated(Tensor x, Tensor gates, Tensor? index) =>
        Gating(gates, x) is { } kernels ? kernels.Gated(x, gates, index)
        : index is null ? x * gates.to(x.dtype)
        : x.index_select(-1, index).mul_(gates.index_select(0, index).to(x.dtype));

    /// <summary>A stream <c>[..., d]</c> with features <c>[..., d]</c> behind their gates <c>[d]</c> added, without gradient.</summary>
    public static Tensor AddGated(Tensor stream, Tensor features, Tensor gates) =>
        Gating(gates, stream, features)?.AddGated(stream, features, gates) ?? stream.AddCMul(features, gates.to(features.dtype));

    /// <summary>
    /// The gradient of each gate, <c>[d]</c> in float32: over all tokens, what passed the gate times what came back, <c>[..., d]</c> each. What came back is multiplied by the gates
    /// besides, in place.
    /// </summary>
    public static Tensor GateBackward(Tensor features, Tensor returned, Tensor gates)
    {
        if (Gating(gates, features, returned) is { } kernels)
        {
            return kernels.GateBackward(features, returned, gates, null, inPlace: true).Gradient;
        }

        Tensor gradient = GateGradient(features, returned);
        returned.mul_(gates.to(returned.dtype));
        return gradient;
    }

    /// <summary>The same; what came back stays as it is, and what the gates let through of it is a tensor of its own: all of it, or only the selected features.</summary>
    public static (Tensor Gradient, Tensor Passed) GateBackward(Tensor features, Tensor returned, Tensor gates, Tensor? index) =>
        Gating(gates, features, returned)?.GateBackward(features, returned, gates, index, inPlace: false) ?? (GateGradient(features, returned), Gated(returned, gates, index));

    /// <summary>
    /// Mean cross-entropy of logits <c>[positions, vocab]</c> in nats, and its gradient by them, in their type: some positions at a time, so that a vocabulary's worth of float32 copies
    /// of all positions never stands in memory.
    /// </summary>
    /// <param name="logits"><c>[positions, vocab]</c>, without gradient.</param>
    /// <param name="targets"><c>[positions]</c>, int64, where the logits are.</param>
    public static (double Loss, Tensor Gradient) CrossEntropy(Tensor logits, Tensor targets)
    {
        if (RowKernels.For(logits) is { } kernels)
        {
            using Tensor next = targets.contiguous();
            return kernels.CrossEntropy(logits, next);
        }

        using var scope = NewDisposeScope();
        long positions = logits.shape[0], most = Math.Max(1, MostWideLogits / logits.shape[1]);
        Tensor gradient = empty_like(logits);
        Tensor sum = zeros(1, ScalarType.Float64, logits.device);
        for (long first = 0; first < positions; first += most)
        {
            using var piece = NewDisposeScope();
            long count = Math.Min(most, positions - first);
            Tensor next = targets.narrow(0, first, count).unsqueeze(1);
            Tensor logarithms = logits.narrow(0, first, count).to(ScalarType.Float32).log_softmax(-1);
            sum.sub_(logarithms.gather(1, next).sum());
            Tensor slope = logarithms.exp_().scatter_add_(1, next, ScalarOps.Full([count, 1], -1, ScalarType.Float32, logits.device));
            gradient.narrow(0, first, count).copy_(slope.MulScalarInPlace(1.0 / positions));
        }

        return (sum.ReadDouble() / positions, gradient.MoveToOuterDisposeScope());
    }

    /// <summary>A sum of two tensors of one shape, written over the first where it may be and no gradient is wanted.</summary>
    public static Tensor Sum(Tensor x, Tensor y, bool mayWrite) =>
        Capturable(x, y) is { } kernels ? kernels.Add(x, y, mayWrite)
        : mayWrite && !RowKernels.AnyHasGradient([x, y]) ? x.AddInPlace(y)
        : x.Add(y);

    /// <summary>Layer norm over the last dimension of <c>[..., d]</c>, statistics in float32; on the CPU through the framework's fused kernel.</summary>
    public static Tensor LayerNorm(Tensor x, Tensor weight, Tensor bias, double epsilon) =>
        Capturable(x, weight, bias) is { } kernels ? kernels.Norm(x, weight, bias, centred: true, epsilon, index: null)
        : x.device.HoldsNumbers() ? nn.functional.layer_norm(x, [x.shape[^1]], weight, bias, epsilon)
        : ((x - x.mean([-1L], keepdim: true)) * weight).Add(bias);

    /// <summary>
    /// Heads <c>[batch, seq, heads, head]</c> turned by the angles of <see cref="RotaryTable"/>, or turned back: <c>x cosine + (x with its halves swapped) sine</c>, over the features that
    /// turn. Without gradient.
    /// </summary>
    /// <param name="heads">What is turned.</param>
    /// <param name="cosine"><c>[seq, dimensions]</c> or <c>[batch, seq, dimensions]</c>.</param>
    /// <param name="sine">Of the same shape.</param>
    /// <param name="back">Whether to turn back.</param>
    /// <param name="mayWrite">Whether heads may be written over, if they lie in one piece; else the result is a tensor of its own.</param>
    public static Tensor ApplyRotary(Tensor heads, Tensor cosine, Tensor sine, bool back, bool mayWrite)
    {
        if (RowKernels.For(cosine, sine) is { } kernels && heads.dtype == cosine.dtype)
        {
            return kernels.ApplyRotary(heads, cosine, sine, back, inPlace: mayWrite && heads.is_contiguous());
        }

        using var scope = NewDisposeScope();
        long dimensions = cosine.size(-1), half = dimensions / 2, rest = heads.size(-1) - dimensions;
        (cosine, sine) = (cosine.unsqueeze(-2), sine.unsqueeze(-2));
        Tensor turning = rest == 0 ? heads : heads.narrow(-1, 0, dimensions);
        Tensor turned = turning * cosine;
        for (int i = 0; i < 2; i++)
        {
            turned.narrow(-1, i * half, half).AddCMulInPlace(turning.narrow(-1, (1 - i) * half, half), sine.narrow(-1, i * half, half), back ? -1 : 1);
        }

        return (rest == 0 ? turned : cat([turned, heads.narrow(-1, dimensions, rest)], -1)).MoveToOuterDisposeScope();
    }

    /// <summary><c>max(x, 0)</c>.</summary>
    public static Tensor Relu(Tensor x) => Capturable(x)?.Elementwise("relu", x) ?? (x.device.HoldsNumbers() ? nn.functional.relu(x) : x.ClampMin(0L));

    /// <summary><c>0.5 x (1 + erf(x / sqrt(2)))</c>.</summary>
    public static Tensor Gelu(Tensor x) => Capturable(x)?.Elementwise("gelu", x) ?? nn.functional.gelu(x);

    /// <summary><c>0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))</c>.</summary>
    public static Tensor GeluTanh(Tensor x) => Capturable(x)?.Elementwise("gelu_tanh", x) ?? TorchScriptKernels.GeluTanh(x);

    /// <summary>Kernels that can be recorded (<see cref="CapturedDecodeGraph"/>), outside any gradient; null where there are none.</summary>
    private static CudaKernels? Capturable(params ReadOnlySpan<Tensor> tensors) => RowKernels.AnyHasGradient(tensors) ? null : CudaKernels.For(tensors);

    private static IRowKernels? Gating(Tensor gates, params ReadOnlySpan<Tensor> features) =>
        gates.dtype == ScalarType.Float32 && gates.is_contiguous() ? RowKernels.For(features) : null;

    private static Tensor GateGradient(Tensor features, Tensor returned) =>
        (features * returned).view(-1, features.shape[^1]).sum(0, type: ScalarType.Float32);
}
