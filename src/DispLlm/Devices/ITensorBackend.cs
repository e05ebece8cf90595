using TorchSharp;

namespace DispLlm;

/// <summary>
/// The devices of tensors and the type of computation. The same model runs on a CPU, on a GPU, with its blocks distributed over several
/// GPUs, or on the <c>meta</c> device.
/// </summary>
/// <remarks>Implementations have to be thread-safe.</remarks>
public interface ITensorBackend
{
    /// <summary>The device of everything that is not part of a block: embeddings, head, gates, hypernetwork.</summary>
    torch.Device Device { get; }

    /// <summary>The type of weights and activations in the model: float32 or bfloat16.</summary>
    torch.ScalarType ComputeType { get; }

    /// <summary>The device that holds a decoder block.</summary>
    /// <param name="block">The index of the block, from 0.</param>
    /// <param name="blocks">The number of blocks of the model.</param>
    torch.Device GetBlockDevice(int block, int blocks);

    /// <summary>A snapshot of the backend's memory.</summary>
    BackendMemory Memory();

    /// <summary>The source of all random numbers of a run.</summary>
    /// <param name="seed">The seed of the run.</param>
    RandomSource Random(long seed);
}
