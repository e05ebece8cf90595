using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// The kernels of one decode step as a CUDA graph: launched one by one, each is done before the next one arrives. They are captured once,
/// with the tensors that they
/// read and write, and replayed for every token; its position is written to memory that they read.
/// </summary>
internal sealed class CapturedDecodeGraph : IDisposable
{
    private const int Threads = 1024;

    // A step is captured by the thread that computes it.
    [ThreadStatic]
    private static CapturedDecodeGraph? s_current;

    private readonly CudaProgram _program;
    private readonly List<Tensor> _held = [];
    private readonly Tensor _input;
    private readonly Tensor _length;
    private readonly IKernelGraph _graph;
    private Tensor? _output;

    private CapturedDecodeGraph(CudaProgram program, Tensor hidden)
    {
        _program = program;
        _graph = program.NewGraph();
        _input = empty_like(hidden).DetachFromDisposeScope();
        _length = empty(1, ScalarType.Int32, hidden.device).DetachFromDisposeScope();
    }

    /// <summary>The graph that kernels of this thread are added to instead of being launched; null where they are launched.</summary>
    public static CapturedDecodeGraph? Current => s_current;

    /// <summary>
    /// Captures a step and verifies it. Operators of libtorch are not captured: in a replay their results are those of the capture,
    /// whatever the input. So a replay of
    /// another input has to return, byte by byte, what is computed for it. Afterwards the cache holds that input's keys and values at this
    /// position.
    /// </summary>
    /// <param name="hidden">The input, <c>[batch, 1, d]</c>.</param>
    /// <param name="length">The sequence length, this step included.</param>
    /// <param name="blocks">
    /// The forward pass of all blocks. Its second argument is where kernels read the sequence length, <c>[1]</c>, int32; null outside a
    /// capture.
    /// </param>
    /// <returns>Null where the step cannot be captured.</returns>
    public static CapturedDecodeGraph? TryCapture(Tensor hidden, long length, Func<Tensor, Tensor?, Tensor> blocks) =>
        CudaProgram.For([hidden]) is { } program && !hidden.requires_grad ? TryCapture(program, hidden, length, blocks) : null;

    /// <summary>Captures a step of the kernels of a program.</summary>
    public static CapturedDecodeGraph? TryCapture(CudaProgram program, Tensor hidden, long length, Func<Tensor, Tensor?, Tensor> blocks)
    {
        using var scope = NewDisposeScope();
        CapturedDecodeGraph? captured = null;
        try
        {
            captured = new CapturedDecodeGraph(program, hidden);
            s_current = captured;
            captured._output = blocks(captured._input, captured._length).DetachFromDisposeScope();
            s_current = null;
            captured._graph.Complete();
            Tensor other = hidden.flip(-1), replayed = captured.Replay(other, length);
            if (!other.ne(hidden).any().ReadBool() || replayed.ne(blocks(other, null)).any().ReadBool())
            {
                return null;
            }

            (var kept, captured) = (captured, null);
            return kept;
        }
        catch (CudaException)
        {
            // The driver refuses: too little memory, or blocks on several devices.
            return null;
        }
        finally
        {
            s_current = null;
            captured?.Dispose();
        }
    }

    /// <summary>Whether inputs of this shape can be replayed.</summary>
    public bool CanHandle(Tensor hidden) => _input.shape.SequenceEqual(hidden.shape);

    /// <summary>The output for another token; valid until the next replay.</summary>
    /// <param name="hidden">The input, <c>[batch, 1, d]</c>.</param>
    /// <param name="length">The sequence length, this step included.</param>
    public Tensor Replay(Tensor hidden, long length)
    {
        using Tensor input = hidden.contiguous();
        _program.Run("enter", 0, (1, 1), (Threads, 1), 0, input, _input, input.numel(), _length, length);
        _graph.Launch();
        return _output!.alias();
    }

    /// <summary>Adds a kernel, to be launched after those before it.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="blocks">Number of thread blocks.</param>
    /// <param name="threads">Number of threads in a block.</param>
    /// <param name="sharedBytes">Bytes of shared memory of a block.</param>
    /// <param name="bits">Eight bytes for each argument.</param>
    /// <param name="arguments">The arguments. The memory of tensors is kept as long as the graph.</param>
    public void Add(nint kernel, (long X, long Y) blocks, (long X, long Y) threads, long sharedBytes, ReadOnlySpan<long> bits,
        ReadOnlySpan<CudaArgument> arguments)
    {
        _graph.Add(kernel, blocks, threads, sharedBytes, bits);
        foreach (var argument in arguments)
        {
            if (argument.Tensor is { } tensor)
            {
                // An alias: the tensor may be disposed.
                _held.Add(tensor.alias().DetachFromDisposeScope());
            }
        }
    }

    public void Dispose()
    {
        _graph.Dispose();
        _held.ForEach(tensor => tensor.Dispose());
        _held.Clear();
        _input.Dispose();
        _length.Dispose();
        _output?.Dispose();
    }
}
