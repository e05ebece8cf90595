using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Decode steps as a CUDA graph: captured once per cache, then replayed for every token.</summary>
/// <param name="program">The program whose kernels are captured; null for that of the device.</param>
internal sealed class CapturedGraphDecodePath(CudaProgram? program = null) : IDecodePath
{
    // After so many steps in the same tensors, more are to be expected.
    private const int StepsUntilCapture = 4;

    /// <inheritdoc/>
    public bool CanHandle(Tensor hidden, IKeyValueMemory memory) => !hidden.requires_grad && ProgramFor(hidden) is not null;

    /// <inheritdoc/>
    public Tensor Forward(Tensor hidden, IKeyValueMemory memory, Func<Tensor, Tensor?, Tensor> blocks)
    {
        var state = CudaDecodeState.For(memory);
        if (state.Graph?.CanHandle(hidden) == true && memory.Length < memory.Capacity)
        {
            return state.Graph.Replay(hidden, memory.Length + 1);
        }

        if (++state.Steps == StepsUntilCapture && !state.CannotBeCaptured)
        {
            state.Graph = CapturedDecodeGraph.TryCapture(ProgramFor(hidden)!, hidden, memory.Length + 1, blocks);
            state.CannotBeCaptured = state.Graph is null;
        }

        // After a capture, too: it was verified with another input, whose keys and values are in the cache.
        return blocks(hidden, null);
    }

    private CudaProgram? ProgramFor(Tensor hidden) => program ?? CudaProgram.For([hidden]);
}
