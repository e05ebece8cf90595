using System.Globalization;

namespace DispLlm.Modeling;

/// <summary>
/// The base of a family whose checkpoints are published for Hugging Face's transformers. A family says which keys and tensor names are its
/// own; what most families have in common is here. Immutable and safe from several threads.
/// </summary>
public abstract class HuggingFaceDecoderFamily : IModelFamily
{
    /// <inheritdoc/>
    public abstract string Name { get; }

    /// <summary>Values of <c>model_type</c> in <c>config.json</c> that belong to this family. Default: <see cref="Name"/>.</summary>
    public virtual IReadOnlyCollection<string> ModelTypes => [Name];

    /// <inheritdoc/>
    public abstract ModelConfig Example { get; }

    /// <summary>What tensor names may lack at the front, as where the model was saved without its head. Default: <c>model.</c>.</summary>
    public virtual string BaseModelPrefix => "model.";

    /// <summary>
    /// The module that holds the weight of each role, without <c>.weight</c> or <c>.bias</c>; <c>{0}</c> stands for the block's index, as
    /// in <c>model.layers.{0}.self_attn.q_proj</c>. Roles that no model of the family has are left out.
    /// </summary>
    protected abstract IReadOnlyDictionary<WeightRole, string> ModuleNames { get; }

    /// <summary>
    /// Ends of the names of tensors that a checkpoint may hold and the model does not use. Default: <c>.rotary_emb.inv_freq</c>, the rotary
    /// table, which is computed and which older checkpoints hold too.
    /// </summary>
    protected virtual IReadOnlyCollection<string> IgnorableSuffixes => [".rotary_emb.inv_freq"];

    /// <inheritdoc/>
    public abstract DecoderSpec ReadSpec(ModelConfig config);

    /// <inheritdoc/>
    public string ModuleName(WeightRole role, int block) => ModuleNames.TryGetValue(role, out string? pattern)
        ? pattern.Replace("{0}", block.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal)
        : throw new ArgumentOutOfRangeException(nameof(role), role, $"Family '{Name}' has no such weight.");

    /// <inheritdoc/>
    public bool IsIgnorable(string tensorName)
    {
        ArgumentNullException.ThrowIfNull(tensorName);
        return IgnorableSuffixes.Any(suffix => tensorName.EndsWith(suffix, StringComparison.Ordinal));
    }

    /// <summary>
    /// Reads the spec of a decoder as LLaMA is built: RMS norms before the sublayers, rotary positions, a gated MLP, no biases, an untied
    /// head. A family changes what differs: <c>ReadDecoder(config, keys) with { MlpBias = true }</c>.
    /// </summary>
    /// <param name="config">The configuration.</param>
    /// <param name="keys">The family's keys and defaults.</param>
    /// <exception cref="CheckpointException">A value is missing or of the wrong kind; it is named.</exception>
    /// <exception cref="UnsupportedModelException">A value asks for what the decoder does not compute; it is named.</exception>
    protected static DecoderSpec ReadDecoder(ModelConfig config, DecoderConfigKeys keys)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(keys);
        var (heads, keyValueHeads, headDim) = ConfigReader.ReadHeads(config);
        return new DecoderSpec
        {
            VocabularySize = config.GetPositiveInt("vocab_size"),
            HiddenSize = config.GetPositiveInt("hidden_size"),
            NumLayers = config.GetPositiveInt("num_hidden_layers"),
            NumAttentionHeads = heads,
            NumKeyValueHeads = keyValueHeads,
            HeadDim = headDim,
            IntermediateSize = config.GetPositiveInt(keys.IntermediateSize),
            GatedMlp = true,
            Activation = ConfigReader.ReadActivation(config, keys.Activation, keys.DefaultActivation),
            Norm = NormKind.RmsNorm,
            NormEpsilon = config.GetPositiveDouble(keys.NormEpsilon, keys.DefaultNormEpsilon),
            Rotary = ConfigReader.ReadRotary(config, headDim, keys.DefaultRotaryFraction),
            MaxPositions = config.GetPositiveInt("max_position_embeddings", 2048),
            TieWordEmbeddings = config.GetBool("tie_word_embeddings", keys.DefaultTieWordEmbeddings),
        };
    }
}

/// <summary>
/// The keys of <c>config.json</c> that families call differently, and what they mean where they are absent. The defaults are LLaMA's.
/// </summary>
public sealed record DecoderConfigKeys
{
    /// <summary>The key of the MLP's size. Default: <c>intermediate_size</c>.</summary>
    public string IntermediateSize { get; init; } = "intermediate_size";

    /// <summary>The key of the activation. Default: <c>hidden_act</c>.</summary>
    public string Activation { get; init; } = "hidden_act";

    /// <summary>The activation where its key is absent. Default: <c>silu</c>.</summary>
    public string DefaultActivation { get; init; } = "silu";

    /// <summary>The key of the norms' epsilon. Default: <c>rms_norm_eps</c>.</summary>
    public string NormEpsilon { get; init; } = "rms_norm_eps";

    /// <summary>The epsilon where its key is absent. Default: 1e-6.</summary>
    public double DefaultNormEpsilon { get; init; } = 1e-6;

    /// <summary>The fraction of each head that is rotated where its key is absent, above 0 and at most 1. Default: 1.</summary>
    public double DefaultRotaryFraction { get; init; } = 1;

    /// <summary>Whether the head is tied to the token embedding where <c>tie_word_embeddings</c> is absent. Default: no.</summary>
    public bool DefaultTieWordEmbeddings { get; init; }
}
