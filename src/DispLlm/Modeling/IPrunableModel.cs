using TorchSharp;

namespace DispLlm;

/// <summary>A model whose five selection sites per block can be gated and cut. Weights are frozen.</summary>
public interface IPrunableModel : IDisposable
{
    /// <summary>What the model is built of.</summary>
    DecoderSpec Spec { get; }

    /// <summary>The family that names its tensors.</summary>
    IModelFamily Family { get; }

    /// <summary>Where its tensors live.</summary>
    ITensorBackend Backend { get; }

    /// <summary>The folder it was loaded from.</summary>
    string Folder { get; }

    /// <summary>Its gates in flat order.</summary>
    GateLayout GateLayout { get; }

    /// <summary>What has been cut from it; null for a dense model.</summary>
    SelectionPlan? Plan { get; }

    /// <summary>The logits of the next token at every position.</summary>
    /// <param name="tokens"><c>[batch, seq]</c>, int64; moved to the model's device where needed.</param>
    /// <param name="gates">Gates for a dense model; null to compute it as it is.</param>
    /// <returns><c>[batch, seq, vocab]</c> in the backend's compute type. The caller disposes it.</returns>
    /// <exception cref="ArgumentException">Tokens of another shape or type, outside the vocabulary, or longer than the model allows.</exception>
    /// <exception cref="ModelAlreadyPrunedException">Gates for a pruned model.</exception>
    /// <exception cref="SelectionException">The gates' norm order is none that the model's norms leave.</exception>
    torch.Tensor Logits(torch.Tensor tokens, Gates? gates = null);

    /// <summary>
    /// What stands in the residual stream behind the last block, from which <see cref="ApplyLmHead"/> predicts: the half of <see cref="Logits"/> that has no vocabulary in it, for
    /// those who need the predictions of some positions only, or of some at a time.
    /// </summary>
    /// <param name="tokens"><c>[batch, seq]</c>, int64; moved to the model's device where needed.</param>
    /// <param name="layout">Where each token stands and what it sees; null for plain sequences.</param>
    /// <param name="gates">Gates for a dense model; null to compute it as it is.</param>
    /// <returns><c>[batch, seq, hidden]</c> in the backend's compute type. The caller disposes it.</returns>
    /// <exception cref="ArgumentException">Tokens or a layout of another shape or type, outside the vocabulary, or beyond the model's positions.</exception>
    /// <exception cref="ModelAlreadyPrunedException">Gates for a pruned model.</exception>
    torch.Tensor HiddenStates(torch.Tensor tokens, SequenceLayout? layout = null, Gates? gates = null);

    /// <summary>The logits of the tokens that follow features.</summary>
    /// <param name="features"><c>[..., hidden]</c>: what <see cref="HiddenStates"/> gives, or any rows of it.</param>
    /// <returns><c>[..., vocab]</c> in the backend's compute type. The caller disposes it.</returns>
    /// <exception cref="ArgumentException">Features of another width.</exception>
    torch.Tensor ApplyLmHead(torch.Tensor features);

    /// <summary>The logits of the token that follows the last position only: what generation needs.</summary>
    /// <param name="tokens"><c>[batch, seq]</c>, int64.</param>
    /// <param name="gates">Gates for a dense model; null to compute it as it is.</param>
    /// <returns><c>[batch, vocab]</c> in the backend's compute type. The caller disposes it.</returns>
    torch.Tensor NextTokenLogits(torch.Tensor tokens, Gates? gates = null);

    /// <summary>The same for tokens that follow those whose keys and values a cache holds; theirs are added to it.</summary>
    /// <param name="tokens"><c>[batch, new]</c>, int64: the tokens behind those that the cache holds.</param>
    /// <param name="cache">A cache of this model (<see cref="CreateKeyValueCache"/>).</param>
    /// <param name="gates">Gates for a dense model, the same each time; null to compute it as it is.</param>
    /// <returns><c>[batch, vocab]</c> in the backend's compute type, without gradient. The caller disposes it.</returns>
    /// <exception cref="ArgumentException">Tokens of another shape or type, outside the vocabulary, or beyond the model's positions; or a cache of another model.</exception>
    /// <exception cref="ObjectDisposedException">The cache is disposed.</exception>
    torch.Tensor NextTokenLogits(torch.Tensor tokens, KeyValueCache cache, Gates? gates = null);

    /// <summary>An empty cache of keys and values. The caller disposes it.</summary>
    /// <param name="padding">
    /// How many of the first columns of each row will be padding, where prompts of unequal length are put in one batch; null where none is.
    /// </param>
    KeyValueCache CreateKeyValueCache(IReadOnlyList<int>? padding = null);

    /// <summary>How strongly each gate's feature is used: the mean square, over all positions, of what passes it in the dense model.</summary>
    /// <param name="tokens"><c>[batch, seq]</c>, int64.</param>
    /// <returns><c>[gates]</c>, float32 on the backend's device, without gradient. The caller disposes it.</returns>
    /// <exception cref="ModelAlreadyPrunedException">The model is pruned already.</exception>
    torch.Tensor MeanSquareActivations(torch.Tensor tokens);

    /// <summary>A weight of the model, not a copy. The caller neither changes nor disposes it.</summary>
    /// <param name="role">What the weight does.</param>
    /// <param name="block">The block's index from 0; ignored for roles outside blocks.</param>
    torch.Tensor Weight(WeightRole role, int block = -1);
}
