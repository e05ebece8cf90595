using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Kernels of our own on a GPU, <c>Rows.cu</c> and <c>Learning.cu</c>: to broadcast a factor, to select features and to add by index, the framework's operators take several times as
/// long as a copy. Tensors are such as <see cref="CudaProgram.For"/> says.
/// </summary>
internal sealed class CudaKernels : IRowKernels
{
    // Threads of a block: a warp is the least; many rows share processors, few of them should be done soon.
    private const long Warp = 32, Threads = 256, MostThreads = 1024;

    // Blocks for each processor where sums are shared out.
    private const long BlocksEach = 4;

    private readonly CudaProgram _program;

    /// <summary>The kernels of a program.</summary>
    public CudaKernels(CudaProgram program) => _program = program;

    /// <summary>The kernels for tensors; null where there are none.</summary>
    public static CudaKernels? For(params ReadOnlySpan<Tensor> tensors) => CudaProgram.For(tensors) is { } program ? new CudaKernels(program) : null;

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
            // An index without numbers lies nowhere, and would be none.
            return result;
        }

        int pack = index is null ? _program.VectorWidth(width, x, weight, bias, result) : _program.VectorWidth(width, x);
        RunRows(
            "norm", pack, DeviceKernels.CountRows(x), Math.Max(width / pack, index is null ? 0 : selected), index is null ? 0 : width,
            x, weight, bias, index, result, width, selected, centred, (float)epsilon);
        return result;
    }

    /// <inheritdoc/>
    public Tensor NormBackward(Tensor x, Tensor weight, double epsilon, Tensor returned)
    {
        long width = x.size(-1);
        Tensor result = empty_like(x);
        int pack = _program.VectorWidth(width, x, weight, returned, result);
        RunRows("norm_back", pack, DeviceKernels.CountRows(x), width / pack, 0, x, weight, returned, result, width, (float)epsilon);
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
        RunRows("plus_at", pack, DeviceKernels.CountRows(stream), Math.Max(width / pack, selected), width, stream, index, output, result, width, selected);
        return result;
    }

    /// <summary>A sum of two tensors, written over the first or into a tensor of its own. The framework is as fast, but cannot be recorded.</summary>
    public Tensor Add(Tensor x, Tensor y, bool inPlace)
    {
        Tensor result = inPlace ? x : empty_like(x);
        RunEach("plus", x.numel(), x, y, result);
        return result;
    }

    /// <summary>A function of each number: <c>relu</c>, <c>gelu</c> or <c>gelu_tanh</c>. As above.</summary>
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
        RunPieces("gated", x, x, gates, result);
        return result;
    }

    /// <inheritdoc/>
    public Tensor AddGated(Tensor stream, Tensor features, Tensor gates)
    {
        Tensor result = empty_like(stream);
        RunPieces("plus_gated", stream, stream, features, gates, result);
        return result;
    }

    /// <inheritdoc/>
    public (Tensor Gradient, Tensor Passed) GateBackward(Tensor features, Tensor returned, Tensor gates, Tensor? index, bool inPlace)
    {
        Tensor passed = inPlace ? returned : empty_like(returned);
        long width = features.size(-1), rows = DeviceKernels.CountRows(features), high = Threads / Warp;
        int pack = _program.VectorWidth(width, features, returned, passed, gates);
        long across = Pieces(width, Warp * pack), down = Math.Clamp(Pieces(BlocksEach * _program.Processors, across), 1, Pieces(rows, high)), rowsOfBlock = Pieces(rows, down);
        down = Pieces(rows, rowsOfBlock);
        using Tensor sums = empty([down, width], ScalarType.Float32, features.device);
        _program.Run(
            "gates_back", pack, (across, down), (Warp, high), Warp * high * pack, features, returned, gates, passed, sums, rows, rowsOfBlock, width);
        Tensor gradient = sums.sum([0L]);
        if (index is null)
        {
            return (gradient, passed);
        }

        using (passed)
        {
            return (gradient, passed.index_select(-1, index));
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
    public (Tensor Gate, Tensor Up) SwiGluBackward(Tensor gate, Tensor up, Tensor returned)
    {
        Tensor gateSlope = empty_like(gate), upSlope = empty_like(up);
        RunEach("gated_silu_back", gate.numel(), gate, up, returned, gateSlope, upSlope);
        return (gateSlope, upSlope);
    }

    /// <inheritdoc/>
    public Tensor ApplyRotary(Tensor heads, Tensor cosine, Tensor sine, bool back, bool inPlace)
    {
        if (heads.stride(3) != 1)
        {
            using Tensor whole = heads.contiguous();
            return ApplyRotary(whole, cosine, sine, back, inPlace: false);
        }

        Tensor result = inPlace ? heads : empty(heads.shape, heads.dtype, heads.device);
        long length = heads.size(1), count = heads.size(2), size = heads.size(3), turning = cosine.size(-1), half = turning / 2;

        // A pack has to go into all of them.
        long common = Common(Common(Common(half, size), Common(heads.stride(0), heads.stride(1))), heads.stride(2));
        int pack = _program.VectorWidth(common, heads, result, cosine, sine);
        RunRows(
            "rotate", pack, heads.size(0) * length, count * half / pack, 0,
            heads, cosine, sine, result, length, count, size, turning, cosine.dim() == 3, back ? -1f : 1f,
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
            "cross_entropy", pack, (positions, 1), (ThreadsOfRow(1, vocabulary / pack), 1), 0, logits, targets, gradient, losses, vocabulary, 1f / positions);
        using Tensor sum = losses.sum(ScalarType.Float64);
        return (sum.ReadDouble() / positions, gradient);
    }

    /// <summary>Runs a kernel for each number of tensors of one size.</summary>
    private void RunEach(string name, long count, params ReadOnlySpan<CudaArgument> tensors)
    {
        int pack = _program.VectorWidth(count, tensors);
        _program.Run(name, pack, (Pieces(count, Threads * pack), 1), (Threads, 1), 0, [.. tensors, count]);
    }

    /// <summary>Runs a kernel of which each block has a row of so many steps, and room for some numbers.</summary>
    private void RunRows(string name, int pack, long rows, long steps, long room, params ReadOnlySpan<CudaArgument> arguments) =>
        _program.Run(name, pack, (rows, 1), (ThreadsOfRow(rows, steps), 1), room, arguments);

    /// <summary>Runs a kernel that goes over the rows of a tensor in pieces: as many threads wide as it has to be.</summary>
    private void RunPieces(string name, Tensor x, params ReadOnlySpan<CudaArgument> tensors)
    {
        long width = x.size(-1);
        int pack = _program.VectorWidth(width, tensors);
        long threads = Math.Min(Threads, Pieces(width / pack, Warp) * Warp);
        _program.Run(name, pack, (DeviceKernels.CountRows(x), Pieces(width / pack, threads)), (threads, 1), 0, [.. tensors, width]);
    }

    private static long Pieces(long count, long size) => (count + size - 1) / size;

    /// <summary>Threads of a block that has a row of so many steps.</summary>
    private static long ThreadsOfRow(long rows, long steps) => Math.Min(rows < Threads ? MostThreads : Threads, Math.Max(1, Pieces(steps, Warp)) * Warp);

    /// <summary>The greatest number that divides both.</summary>
    private static long Common(long a, long b) => b == 0 ? a : Common(b, a % b);
}
