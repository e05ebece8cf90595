using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>A faster way for one decode step through all blocks of a network. Thread-safe; one cache is used by one thread at a
/// time.</summary>
internal interface IDecodePath
{
    /// <summary>Whether this path can handle a decode step of this model and cache.</summary>
    /// <param name="hidden">The output of the embedding, <c>[batch, 1, d]</c>.</param>
    /// <param name="memory">The cache.</param>
    bool CanHandle(Tensor hidden, IKeyValueMemory memory);

    /// <summary>Forwards one decode step through all blocks and writes its keys and values into the cache.</summary>
    /// <param name="hidden">The output of the embedding, <c>[batch, 1, d]</c>.</param>
    /// <param name="memory">The cache.</param>
    /// <param name="blocks">
    /// The forward pass of all blocks. Its second argument is where kernels read the sequence length, this step included, <c>[1]</c>, int32
    /// on the device;
    /// null where they take it from the cache.
    /// </param>
    /// <returns>The output of the last block, <c>[batch, 1, d]</c>; valid until the next step.</returns>
    Tensor Forward(Tensor hidden, IKeyValueMemory memory, Func<Tensor, Tensor?, Tensor> blocks);
}
