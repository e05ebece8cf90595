using TorchSharp;

namespace DispLlm.Training;

/// <summary>
/// What the model's half of a learning step holds in memory, counted from shapes: weights, what is kept for the way back, logits with their gradient. The
/// hypernetwork's half comes on top: 16 bytes for each of its weights (value, gradient, two moments).
/// </summary>
public sealed record TrainingMemoryEstimate
{
    private TrainingMemoryEstimate()
    {
    }

    /// <summary>Bytes of the weights in the compute type.</summary>
    public required double Weights { get; init; }

    /// <summary>Bytes of what enters all blocks: what <see cref="ActivationCheckpointing.PerBlock"/> keeps.</summary>
    public required double BlockInputs { get; init; }

    /// <summary>
    /// Bytes that the gradient of one block needs, counted from what each operation keeps: the stream, the norms' results and what was written; queries, keys, values, and what attention
    /// mixed of them; the MLP's hidden features before and behind activation and product, on an accelerator also the activation before the product. Attention's weights, tokens times tokens of
    /// a window, are kept only in bfloat16 on a processor that has units for it and is the faster for them.
    /// </summary>
    public required double OneBlock { get; init; }

    /// <summary>Bytes that the gradients of all blocks need: what <see cref="ActivationCheckpointing.None"/> keeps.</summary>
    public required double AllBlocks { get; init; }

    /// <summary>Bytes of the logits and of their gradient.</summary>
    public required double Logits { get; init; }

    /// <summary>Bytes of a step that keeps one or the other.</summary>
    /// <param name="kept">What is kept; not <see cref="ActivationCheckpointing.Automatic"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="kept"/> is neither.</exception>
    public double Total(ActivationCheckpointing kept) => kept switch
    {
        ActivationCheckpointing.None => Weights + AllBlocks + Logits,
        ActivationCheckpointing.PerBlock => Weights + BlockInputs + OneBlock + Logits,
        _ => throw new ArgumentOutOfRangeException(nameof(kept), kept, "A step keeps everything or block inputs."),
    };

    /// <summary>Counts a step's memory.</summary>
    /// <param name="spec">The model.</param>
    /// <param name="type">The compute type.</param>
    /// <param name="batch">Windows in a forward pass.</param>
    /// <param name="length">Tokens of a window.</param>
    /// <param name="onAccelerator">Whether the step is computed on an accelerator, and not on the CPU. Default no.</param>
    public static TrainingMemoryEstimate Estimate(DecoderSpec spec, torch.ScalarType type, long batch, long length, bool onAccelerator = false)
    {
        ArgumentNullException.ThrowIfNull(spec);
        double element = type == torch.ScalarType.Float32 ? 4 : 2, tokens = (double)batch * length;
        double stream = tokens * spec.HiddenSize * 6 * element;
        double heads = tokens * 2 * (spec.QuerySize + spec.KeyValueSize) * element;
        bool keepsWeights = !onAccelerator && DeviceAttention.UsesMatmul(type, spec.NumAttentionHeads, spec.NumKeyValueHeads);
        double attention = heads + (tokens * spec.NumAttentionHeads * (keepsWeights ? length * element / 2 : sizeof(float)));
        double mlp = tokens * spec.IntermediateSize * (!spec.GatedMlp ? 2 : onAccelerator ? 4 : 3) * element;
        return new TrainingMemoryEstimate
        {
            Weights = new ParameterCounter(spec).Dense.WholeModel * element,
            BlockInputs = spec.NumLayers * tokens * spec.HiddenSize * element,
            OneBlock = stream + attention + mlp,
            AllBlocks = spec.NumLayers * (stream + attention + mlp),
            Logits = 2 * tokens * spec.VocabularySize * element,
        };
    }
}
