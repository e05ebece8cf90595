using TorchSharp;

namespace DispLlm.Training;

/// <summary>
/// Bytes that the model's half of a learning step holds, counted from shapes: weights, saved activations, logits with their gradient. The
/// hypernetwork's half comes on top: 16 bytes for each of its weights (value, gradient, two moments). An immutable value.
/// </summary>
public sealed record TrainingMemoryEstimate
{
    private TrainingMemoryEstimate()
    {
    }

    /// <summary>Bytes of the weights in the compute type.</summary>
    public required long Weights { get; init; }

    /// <summary>Bytes of all block inputs: what <see cref="ActivationCheckpointing.PerBlock"/> saves.</summary>
    public required long BlockInputs { get; init; }

    /// <summary>
    /// Bytes of the activations that the gradient of one block needs: the residual stream, the norms' outputs and what is written; queries,
    /// keys, values and attention's output; the MLP's hidden features before and after the activation, on an accelerator also the
    /// activation before it is multiplied. The attention weights are saved only in bfloat16 on a processor with AVX512-BF16 or AMX, and
    /// where scores are capped.
    /// </summary>
    public required long OneBlock { get; init; }

    /// <summary>Bytes of the activations of all blocks: what <see cref="ActivationCheckpointing.None"/> saves.</summary>
    public required long AllBlocks { get; init; }

    /// <summary>Bytes of the logits and of their gradient.</summary>
    public required long Logits { get; init; }

    /// <summary>Bytes of a step.</summary>
    /// <param name="checkpointing">What is saved; not <see cref="ActivationCheckpointing.Automatic"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="checkpointing"/> is neither.</exception>
    public long Total(ActivationCheckpointing checkpointing) => checkpointing switch
    {
        ActivationCheckpointing.None => Weights + AllBlocks + Logits,
        ActivationCheckpointing.PerBlock => Weights + BlockInputs + OneBlock + Logits,
        _ => throw new ArgumentOutOfRangeException(nameof(checkpointing), checkpointing, "A step saves all activations or block inputs."),
    };

    /// <summary>Counts a step's memory.</summary>
    /// <param name="spec">The model.</param>
    /// <param name="type">The compute type.</param>
    /// <param name="batch">Sequences in a forward pass.</param>
    /// <param name="length">Tokens of a sequence.</param>
    /// <param name="onAccelerator">Whether the step is computed on an accelerator, and not on the CPU.</param>
    public static TrainingMemoryEstimate Estimate(DecoderSpec spec, torch.ScalarType type, long batch, long length, bool onAccelerator)
    {
        ArgumentNullException.ThrowIfNull(spec);
        long element = type == torch.ScalarType.Float32 ? 4 : 2, tokens = checked(batch * length);
        long stream = tokens * spec.HiddenSize * (spec.HasOutputNorms ? 10 : 6) * element;
        long heads = tokens * 2 * (spec.QuerySize + spec.KeyValueSize) * element;
        bool savesWeights = !onAccelerator && DeviceAttention.UsesMatmul(type, spec.NumAttentionHeads, spec.NumKeyValueHeads);

        // A cap leaves no kernel that saves less than all scores: their hyperbolic tangent and the attention weights, in float32.
        long ofHead = spec.AttentionSoftcap is not null ? length * ((2 * sizeof(float)) + element)
            : savesWeights ? length * element / 2 : sizeof(float);
        long attention = heads + (tokens * spec.NumAttentionHeads * ofHead);
        long mlp = tokens * spec.IntermediateSize * (!spec.GatedMlp ? 2 : onAccelerator ? 4 : 3) * element;
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
