using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// The row kernels of a GPU, <c>Elementwise.cu</c> and <c>Training.cu</c>, for tensors that <see cref="CudaProgram.For"/> accepts.
/// libtorch's operators take several times as long as a copy to broadcast a factor, to select features and to add by index.
/// </summary>
internal sealed class CudaKernels : IRowKernels
{
    // Threads of a block: at least a warp; more where there are few rows.
    private const long Warp = 32, Threads = 256, MaxThreads = 1024;

    // Blocks per multiprocessor where sums are distributed.
    private const long BlocksPerProcessor = 4;

    private readonly CudaProgram _program;

    /// <summary>The kernels of a program.</summary>
    public CudaKernels(CudaProgram program) => _program = program;

    /// <summary>The kernels for tensors; null where there are none.</summary>
    public static CudaKernels? For(params ReadOnlySpan<Tensor> tensors) =>
        CudaProgram.For(tensors) is { } program ? new CudaKernels(program) : null;

    /// <inheritdoc/>
    public Tensor Norm(Tensor x, Tensor weight, Tensor? bias, bool centred, double epsilon, Tensor? index)
    {
        long width = x.size(-1), selected = index?.numel() ?? width;
        if (index is not null && width > CudaProgram.WidestRow)
        {
            using Tensor all = Norm(x, weight, bias, centred, epsilon, null);
            return all.index_select(-1, index);
        }

        Tensor result = DeviceKernels.EmptyLike(x, selected);
        if (selected == 0)
        {
            // The pointer of an empty index is null, which stands for no index.
            return result;
        }

        int pack = index is null ? _program.VectorWidth(width, x, weight, bias, result) : _program.VectorWidth(width, x);
        RunRows(
            "norm", pack, DeviceKernels.CountRows(x), Math.Max(width / pack, index is null ? 0 : selected), index is null ? 0 : width,
            x, weight, bias, index, result, width, selected, centred, (float)epsilon);
        return result;
    }

    /// <inheritdoc/>
    public Tensor NormBackward(Tensor x, Tensor weight, double epsilon, Tensor gradOutput)
    {
        long width = x.size(-1);
        Tensor result = empty_like(x);
        int pack = _program.VectorWidth(width, x, weight, gradOutput, result);
        RunRows("norm_back", pack, DeviceKernels.CountRows(x), width / pack, 0, x, weight, gradOutput, result, width, (float)epsilon);
        return result;
    }

    /// <inheritdoc/>
    public Tensor IndexAdd(Tensor stream, Tensor index, Tensor output, bool inPlace)
    {
        long width = stream.size(-1), selected = index.numel();
        if (width > CudaProgram.WidestRow)
        {
            return inPlace ? stream.IndexAddInPlace(-1, index, output) : stream.IndexAdd(-1, index, output);
        }

        Tensor result = inPlace ? stream : empty_like(stream);
        int pack = _program.VectorWidth(width, stream, result);
        RunRows("plus_at", pack, DeviceKernels.CountRows(stream), Math.Max(width / pack, selected), width, stream, index, output, result,
            width, selected);
        return result;
    }

    /// <summary><c>x + y</c>, in place or as a new tensor. libtorch is as fast, but cannot be captured.</summary>
    public Tensor Add(Tensor x, Tensor y, bool inPlace)
    {
        Tensor result = inPlace ? x : empty_like(x);
        RunEach("plus", x.numel(), x, y, result);
        return result;
    }

    /// <summary>An activation: <c>relu</c>, <c>gelu</c> or <c>gelu_tanh</c>. The same holds.</summary>
    public Tensor Elementwise(string function, Tensor x)
    {
        Tensor result = empty_like(x);
        RunEach(function, x.numel(), x, result);
        return result;
    }

    /// <inheritdoc/>
    public Tensor Gated(Tensor x, Tensor gates, Tensor? index)
    {
        if (index is not null)
        {
            using Tensor features = x.index_select(-1, index), factors = gates.index_select(0, index);
            return Gated(features, factors, null);
        }

        Tensor result = empty_like(x);
        RunTiles("gated", x, x, gates, result);
        return result;
    }

    /// <inheritdoc/>
    public Tensor AddGated(Tensor stream, Tensor features, Tensor gates)
    {
        Tensor result = empty_like(stream);
        RunTiles("plus_gated", stream, stream, features, gates, result);
        return result;
    }

    /// <inheritdoc/>
    public (Tensor Gates, Tensor Features) GateBackward(Tensor features, Tensor gradOutput, Tensor gates, Tensor? index, bool inPlace)
    {
        Tensor result = inPlace ? gradOutput : empty_like(gradOutput);
        long width = features.size(-1), rows = DeviceKernels.CountRows(features), high = Threads / Warp;
        int pack = _program.VectorWidth(width, features, gradOutput, result, gates);
        long across = DivideUp(width, Warp * pack),
            down = Math.Clamp(DivideUp(BlocksPerProcessor * _program.Processors, across), 1, DivideUp(rows, high)),
            rowsOfBlock = DivideUp(rows, down);
        down = DivideUp(rows, rowsOfBlock);
        using Tensor sums = empty([down, width], ScalarType.Float32, features.device);
        _program.Run(
            "gates_back", pack, (across, down), (Warp, high), Warp * high * pack, features, gradOutput, gates, result, sums, rows,
                rowsOfBlock, width);
        Tensor gradient = sums.sum([0L]);
        if (index is null)
        {
            return (gradient, result);
        }

        using (result)
        {
            return (gradient, result.index_select(-1, index));
        }
    }

    /// <inheritdoc/>
    public Tensor SwiGlu(Tensor gate, Tensor up, bool inPlace)
    {
        Tensor result = inPlace ? gate : empty_like(gate);
        RunEach("gated_silu", gate.numel(), gate, up, result);
        return result;
    }

    /// <inheritdoc/>
    public (Tensor Gate, Tensor Up) SwiGluBackward(Tensor gate, Tensor up, Tensor gradOutput)
    {
        Tensor gateGradient = empty_like(gate), upGradient = empty_like(up);
        RunEach("gated_silu_back", gate.numel(), gate, up, gradOutput, gateGradient, upGradient);
        return (gateGradient, upGradient);
    }

    /// <inheritdoc/>
    public Tensor ApplyRotary(Tensor heads, Tensor cosine, Tensor sine, bool inverse, bool inPlace)
    {
        if (heads.stride(3) != 1)
        {
            using Tensor whole = heads.contiguous();
            return ApplyRotary(whole, cosine, sine, inverse, inPlace: false);
        }

        Tensor result = inPlace ? heads : empty(heads.shape, heads.dtype, heads.device);
        long length = heads.size(1), count = heads.size(2), size = heads.size(3), dimensions = cosine.size(-1), half = dimensions / 2;

        // The vector width has to divide all of them.
        long common = Gcd(Gcd(Gcd(half, size), Gcd(heads.stride(0), heads.stride(1))), heads.stride(2));
        int pack = _program.VectorWidth(common, heads, result, cosine, sine);
        RunRows(
            "rotate", pack, heads.size(0) * length, count * half / pack, 0,
            heads, cosine, sine, result, length, count, size, dimensions, cosine.dim() == 3, inverse ? -1f : 1f,
            heads.stride(0), heads.stride(1), heads.stride(2), result.stride(0), result.stride(1), result.stride(2));
        return result;
    }

    /// <inheritdoc/>
    public (double Loss, Tensor Gradient) CrossEntropy(Tensor logits, Tensor targets)
    {
        long positions = logits.size(0), vocabulary = logits.size(1);
        Tensor gradient = empty_like(logits);
        using Tensor losses = empty(positions, ScalarType.Float32, logits.device);
        int pack = _program.VectorWidth(vocabulary, logits, gradient);
        _program.Run(
            "cross_entropy", pack, (positions, 1), (ThreadsOfRow(1, vocabulary / pack), 1), 0, logits, targets, gradient, losses,
                vocabulary, 1f / positions);
        using Tensor sum = losses.sum(ScalarType.Float64);
        return (sum.ReadDouble() / positions, gradient);
    }

    /// <summary>Launches a kernel with a thread per vector of numbers.</summary>
    private void RunEach(string name, long count, params ReadOnlySpan<CudaArgument> tensors)
    {
        int pack = _program.VectorWidth(count, tensors);
        _program.Run(name, pack, (DivideUp(count, Threads * pack), 1), (Threads, 1), 0, [.. tensors, count]);
    }

    /// <summary>Launches a kernel with a block per row of so many steps.</summary>
    private void RunRows(string name, int pack, long rows, long steps, long shared, params ReadOnlySpan<CudaArgument> arguments) =>
        _program.Run(name, pack, (rows, 1), (ThreadsOfRow(rows, steps), 1), shared, arguments);

    /// <summary>Launches a kernel with a grid of rows by parts of a row.</summary>
    private void RunTiles(string name, Tensor x, params ReadOnlySpan<CudaArgument> tensors)
    {
        long width = x.size(-1);
        int pack = _program.VectorWidth(width, tensors);
        long threads = Math.Min(Threads, DivideUp(width / pack, Warp) * Warp);
        _program.Run(name, pack, (DeviceKernels.CountRows(x), DivideUp(width / pack, threads)), (threads, 1), 0, [.. tensors, width]);
    }

    private static long DivideUp(long count, long size) => (count + size - 1) / size;

    /// <summary>The threads of a block for a row of so many steps.</summary>
    private static long ThreadsOfRow(long rows, long steps) =>
        Math.Min(rows < Threads ? MaxThreads : Threads, Math.Max(1, DivideUp(steps, Warp)) * Warp);

    /// <summary>The greatest common divisor.</summary>
    private static long Gcd(long a, long b) => b == 0 ? a : Gcd(b, a % b);
}
