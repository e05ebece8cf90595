using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// The kernels that one token goes through on a GPU, given to the device as one: token by token it has computed a kernel before the next one arrives. They are recorded once, with the tensors
/// that they read and write, and repeated for every token; where it stands is written to a place that they read.
/// </summary>
internal sealed class CapturedDecodeGraph : IDisposable
{
    private const int Threads = 1024;

    // A pass is recorded by the thread that goes through it.
    [ThreadStatic]
    private static CapturedDecodeGraph? s_current;

    private readonly CudaProgram _program;
    private readonly List<Tensor> _held = [];
    private readonly Tensor _input;
    private readonly Tensor _place;
    private readonly IKernelGraph _graph;
    private Tensor? _output;

    private CapturedDecodeGraph(CudaProgram program, Tensor entering)
    {
        _program = program;
        _graph = program.NewGraph();
        _input = empty_like(entering).DetachFromDisposeScope();
        _place = empty(1, ScalarType.Int32, entering.device).DetachFromDisposeScope();
    }

    /// <summary>What kernels are recorded into on this thread, instead of being run; null where they are run.</summary>
    public static CapturedDecodeGraph? Current => s_current;

    /// <summary>
    /// Records a pass and tries it. Operators of the framework are not recorded: they give what they gave when the pass was, whatever enters. So what is tried is another stream, and it has to
    /// come out as it is computed, byte by byte. It leaves the cache with another stream's keys and values in this position.
    /// </summary>
    /// <param name="entering">What enters, <c>[batch, 1, d]</c>.</param>
    /// <param name="seen">How many positions it sees.</param>
    /// <param name="pass">What it goes through, of a stream and of the place that says how many positions are seen, <c>[1]</c>, int32; null where it is to be computed.</param>
    /// <returns>Null where it cannot be recorded.</returns>
    public static CapturedDecodeGraph? TryCapture(Tensor entering, long seen, Func<Tensor, Tensor?, Tensor> pass) =>
        CudaProgram.For([entering]) is { } program && !entering.requires_grad ? TryCapture(program, entering, seen, pass) : null;

    /// <summary>The same with the kernels of a program.</summary>
    public static CapturedDecodeGraph? TryCapture(CudaProgram program, Tensor entering, long seen, Func<Tensor, Tensor?, Tensor> pass)
    {
        using var scope = NewDisposeScope();
        CapturedDecodeGraph? recorded = null;
        try
        {
            recorded = new CapturedDecodeGraph(program, entering);
            s_current = recorded;
            recorded._output = pass(recorded._input, recorded._place).DetachFromDisposeScope();
            s_current = null;
            recorded._graph.Complete();
            Tensor other = entering.flip(-1), repeated = recorded.Replay(other, seen);
            if (!other.ne(entering).any().ReadBool() || repeated.ne(pass(other, null)).any().ReadBool())
            {
                return null;
            }

            (var kept, recorded) = (recorded, null);
            return kept;
        }
        catch (CudaException)
        {
            // The driver does not take it: too little memory, or blocks on several devices.
            return null;
        }
        finally
        {
            s_current = null;
            recorded?.Dispose();
        }
    }

    /// <summary>Whether it is about streams of this shape.</summary>
    public bool CanHandle(Tensor entering) => _input.shape.SequenceEqual(entering.shape);

    /// <summary>What comes out of it for another token; valid until the next one.</summary>
    /// <param name="entering">What enters, <c>[batch, 1, d]</c>.</param>
    /// <param name="seen">How many positions it sees.</param>
    public Tensor Replay(Tensor entering, long seen)
    {
        using Tensor whole = entering.contiguous();
        _program.Run("enter", 0, (1, 1), (Threads, 1), 0, whole, _input, whole.numel(), _place, seen);
        _graph.Launch();
        return _output!.alias();
    }

    /// <summary>Adds a kernel behind those that there are.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="blocks">How many blocks of threads.</param>
    /// <param name="threads">How many threads a block has.</param>
    /// <param name="room">Bytes of room that a block shares.</param>
    /// <param name="bits">Eight bytes for each argument.</param>
    /// <param name="arguments">The arguments, of which tensors have to stay.</param>
    public void Add(nint kernel, (long X, long Y) blocks, (long X, long Y) threads, long room, ReadOnlySpan<long> bits, ReadOnlySpan<CudaArgument> arguments)
    {
        _graph.Add(kernel, blocks, threads, room, bits);
        foreach (var argument in arguments)
        {
            if (argument.Tensor is { } tensor)
            {
                // Their memory, whoever disposes them.
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
        _place.Dispose();
        _output?.Dispose();
    }
}
