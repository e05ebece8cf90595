using TorchSharp;

namespace DispLlm;

/// <summary>
/// Where tensors live and in which precision they are computed: the only place of the library that names a device.
/// The same model code runs on one CPU, one GPU, layers spread over several, or the memory-free <c>meta</c> device.
/// </summary>
public interface ITensorBackend
{
    /// <summary>The device of everything that is not part of a block: embeddings, head, gates, hypernetwork.</summary>
    torch.Device Device { get; }

    /// <summary>The type of weights and activations in the model's products: float32 or bfloat16.</summary>
    torch.ScalarType ComputeType { get; }

    /// <summary>The device that holds a decoder block.</summary>
    /// <param name="block">Index of the block, from 0.</param>
    /// <param name="blocks">Number of blocks of the model.</param>
    torch.Device GetBlockDevice(int block, int blocks);

    /// <summary>What the backend's memory holds at this moment.</summary>
    BackendMemory Memory();

    /// <summary>The source of every random number of a run.</summary>
    /// <param name="seed">The run's seed.</param>
    RandomSource Random(long seed);
}
