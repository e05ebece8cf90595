using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// A decoder model whose selection sites can be gated. Weights are frozen. <see cref="PrunableModel"/> is the implementation that reads
/// checkpoints; another one implements <see cref="HiddenStates"/>, <see cref="ApplyLmHead(Tensor)"/>, <see cref="Weight"/> and the
/// properties without a default, and can then be selected from, learned on and evaluated.
/// </summary>
/// <remarks>
/// Implementations say whether they can be used from many threads; <see cref="PrunableModel"/> can. A strategy uses a model from one thread
/// at a time.
/// </remarks>
public interface IPrunableModel : IDisposable
{
    /// <summary>What the model is built of.</summary>
    DecoderSpec Spec { get; }

    /// <summary>The family that names its tensors.</summary>
    IModelFamily Family { get; }

    /// <summary>Where its tensors live.</summary>
    ITensorBackend Backend { get; }

    /// <summary>Its gates in flat order: <c>new GateLayout(Spec)</c>.</summary>
    GateLayout GateLayout { get; }

    /// <summary>The folder it was loaded from, with its tokenizer. Default: empty, for a model that is in no folder.</summary>
    string Folder => string.Empty;

    /// <summary>What was kept of it. Default: null, for a dense model.</summary>
    SelectionPlan? Plan => null;

    /// <summary>
    /// The residual stream after the last block, from which <see cref="ApplyLmHead(Tensor)"/> predicts. Differentiable in the gates.
    /// </summary>
    /// <param name="tokens"><c>[batch, seq]</c>, int64; moved to the model's device where needed.</param>
    /// <param name="layout">Positions and attention mask; null for plain sequences.</param>
    /// <param name="gates">Gates for a dense model; null for all open.</param>
    /// <returns>
    /// <c>[batch, seq, hidden]</c> in the backend's compute type; hidden is what is kept of the stream where the plan has one stream. The
    /// caller disposes it.
    /// </returns>
    /// <exception cref="ArgumentException">
    /// Tokens or a layout of another shape or type, outside the vocabulary, or beyond the model's positions.
    /// </exception>
    /// <exception cref="ModelAlreadyPrunedException">Gates for a pruned model.</exception>
    /// <exception cref="SelectionException">The gates' norm order does not fit the model's norms.</exception>
    Tensor HiddenStates(Tensor tokens, SequenceLayout? layout = null, Gates? gates = null);

    /// <summary>The logits of the tokens that follow hidden states.</summary>
    /// <param name="features"><c>[..., hidden]</c>: what <see cref="HiddenStates"/> returns, or any rows of it.</param>
    /// <returns><c>[..., vocab]</c> in the backend's compute type. The caller disposes it.</returns>
    /// <exception cref="ArgumentException">Features of another width.</exception>
    Tensor ApplyLmHead(Tensor features);

    /// <summary>The same under gates, which matter to the head where there is one selection of the residual stream.</summary>
    /// <param name="features"><c>[..., hidden]</c>: what <see cref="HiddenStates"/> returned under the same gates.</param>
    /// <param name="gates">Gates for a dense model; null for all open.</param>
    /// <returns><c>[..., vocab]</c> in the backend's compute type. The caller disposes it.</returns>
    /// <exception cref="ArgumentException">Features of another width.</exception>
    /// <exception cref="NotSupportedException">The model's head knows no gates, and these have one stream: the default.</exception>
    Tensor ApplyLmHead(Tensor features, Gates? gates) => gates?.Layout.HasOneStream() == true
        ? throw new NotSupportedException($"{GetType().Name} does not gate its head: take a layout without one stream.")
        : ApplyLmHead(features);

    /// <summary>A weight of the model, not a copy. The caller neither changes nor disposes it.</summary>
    /// <param name="role">What the weight does.</param>
    /// <param name="block">The block's index from 0; ignored for roles outside blocks.</param>
    Tensor Weight(WeightRole role, int block = -1);

    /// <summary>The logits of the next token at every position.</summary>
    /// <param name="tokens"><c>[batch, seq]</c>, int64; moved to the model's device where needed.</param>
    /// <param name="gates">Gates for a dense model; null for all open.</param>
    /// <returns><c>[batch, seq, vocab]</c> in the backend's compute type. The caller disposes it.</returns>
    /// <exception cref="ArgumentException">
    /// Tokens of another shape or type, outside the vocabulary, or longer than the model allows.
    /// </exception>
    /// <exception cref="ModelAlreadyPrunedException">Gates for a pruned model.</exception>
    Tensor Logits(Tensor tokens, Gates? gates = null)
    {
        using var scope = NewDisposeScope();
        return ApplyLmHead(HiddenStates(tokens, null, gates), gates).MoveToOuterDisposeScope();
    }

    /// <summary>The logits of the token that follows the last position.</summary>
    /// <param name="tokens"><c>[batch, seq]</c>, int64.</param>
    /// <param name="gates">Gates for a dense model; null for all open.</param>
    /// <returns><c>[batch, vocab]</c> in the backend's compute type. The caller disposes it.</returns>
    Tensor NextTokenLogits(Tensor tokens, Gates? gates = null)
    {
        using var scope = NewDisposeScope();
        Tensor hidden = HiddenStates(tokens, null, gates);
        return ApplyLmHead(hidden.select(1, hidden.shape[1] - 1), gates).MoveToOuterDisposeScope();
    }

    /// <summary>The same for tokens that follow those of a cache; their keys and values are added to it.</summary>
    /// <param name="tokens"><c>[batch, new]</c>, int64: the tokens after those of the cache.</param>
    /// <param name="cache">A cache of this model (<see cref="CreateKeyValueCache"/>).</param>
    /// <param name="gates">Gates for a dense model, the same each time; null for all open.</param>
    /// <returns><c>[batch, vocab]</c> in the backend's compute type, without gradient. The caller disposes it.</returns>
    /// <exception cref="ArgumentException">
    /// Tokens of another shape or type, outside the vocabulary, or beyond the model's positions; or a cache of another model.
    /// </exception>
    /// <exception cref="NotSupportedException">The model has no caches.</exception>
    /// <exception cref="ObjectDisposedException">The cache is disposed.</exception>
    Tensor NextTokenLogits(Tensor tokens, KeyValueCache cache, Gates? gates = null) =>
        throw new NotSupportedException($"{GetType().Name} has no key-value caches.");

    /// <summary>An empty key-value cache. The caller disposes it.</summary>
    /// <param name="padding">
    /// How many of the first columns of each row will be padding, where prompts of unequal length share a batch; null where none is.
    /// </param>
    /// <returns>The cache. Default: null, for a model that has none; generation then recomputes the whole text for each token.</returns>
    KeyValueCache? CreateKeyValueCache(IReadOnlyList<int>? padding = null) => null;

    /// <summary>
    /// The mean square, over all positions, of what passes each gate in the dense model: what <see cref="ActivationMagnitudeSelection"/>
    /// scores by.
    /// </summary>
    /// <param name="tokens"><c>[batch, seq]</c>, int64.</param>
    /// <returns><c>[gates]</c>, float32 on the backend's device, without gradient. The caller disposes it.</returns>
    /// <exception cref="ModelAlreadyPrunedException">The model is pruned already.</exception>
    /// <exception cref="NotSupportedException">The model does not measure it: the default.</exception>
    Tensor MeanSquareActivations(Tensor tokens) =>
        throw new NotSupportedException($"{GetType().Name} does not measure activations: take another strategy.");
}
