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
    /// in <c>model.layers.{0}.self_attn.q_proj</c>, and <c>{1}</c> for the head's where every head has a tensor of its own. One name for
    /// several roles says that one tensor holds them: query, key and value, or gate and up. Roles that no model of the family has are left
    /// out.
    /// </summary>
    protected abstract IReadOnlyDictionary<WeightRole, string> ModuleNames { get; }

    /// <summary>The modules of LLaMA, whose names most families have.</summary>
    protected static IReadOnlyDictionary<WeightRole, string> LlamaNames { get; } = new Dictionary<WeightRole, string>
    {
        [WeightRole.TokenEmbedding] = "model.embed_tokens",
        [WeightRole.AttentionNorm] = "model.layers.{0}.input_layernorm",
        [WeightRole.Query] = "model.layers.{0}.self_attn.q_proj",
        [WeightRole.Key] = "model.layers.{0}.self_attn.k_proj",
        [WeightRole.Value] = "model.layers.{0}.self_attn.v_proj",
        [WeightRole.AttentionOutput] = "model.layers.{0}.self_attn.o_proj",
        [WeightRole.MlpNorm] = "model.layers.{0}.post_attention_layernorm",
        [WeightRole.MlpGate] = "model.layers.{0}.mlp.gate_proj",
        [WeightRole.MlpUp] = "model.layers.{0}.mlp.up_proj",
        [WeightRole.MlpDown] = "model.layers.{0}.mlp.down_proj",
        [WeightRole.FinalNorm] = "model.norm",
        [WeightRole.Head] = "lm_head",
    };

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
        var (heads, keyValueHeads, headDim) = ConfigReader.ReadHeads(config, keys);
        int hidden = config.GetPositiveInt(keys.HiddenSize);
        int maxPositions = config.GetPositiveInt(keys.MaxPositions, keys.DefaultMaxPositions);
        var rotary = keys.RotaryTheta.Length == 0 ? null
            : ConfigReader.ReadRotary(config, headDim, keys, keys.RotaryByLayerType ? "full_attention" : null);
        return new DecoderSpec
        {
            VocabularySize = config.GetPositiveInt("vocab_size"),
            HiddenSize = hidden,
            NumLayers = config.GetPositiveInt(keys.NumLayers),
            NumAttentionHeads = heads,
            NumKeyValueHeads = keyValueHeads,
            HeadDim = headDim,
            IntermediateSize = config.GetPositiveInt(keys.IntermediateSize, keys.DefaultIntermediateFactor * hidden),
            GatedMlp = true,
            Activation = ConfigReader.ReadActivation(config, keys.Activation, keys.DefaultActivation),
            Norm = NormKind.RmsNorm,
            NormEpsilon = config.GetPositiveDouble(keys.NormEpsilon, keys.DefaultNormEpsilon),
            Rotary = rotary,

            // Dynamic scaling is for what comes after the positions that the model was made for.
            MaxPositions = rotary?.Scaling is RotaryScaling.Dynamic { Factor: > 1 } dynamic
                ? (int)Math.Min(int.MaxValue, maxPositions * dynamic.Factor)
                : maxPositions,
            TieWordEmbeddings = config.GetBool("tie_word_embeddings", keys.DefaultTieWordEmbeddings),
        };
    }

    /// <summary>A table of names with some changed or added.</summary>
    /// <param name="names">The table.</param>
    /// <param name="changes">The modules that differ.</param>
    protected static IReadOnlyDictionary<WeightRole, string> With(
        IReadOnlyDictionary<WeightRole, string> names, params IEnumerable<(WeightRole Role, string Module)> changes)
    {
        ArgumentNullException.ThrowIfNull(names);
        ArgumentNullException.ThrowIfNull(changes);
        var changed = new Dictionary<WeightRole, string>(names);
        foreach (var (role, module) in changes)
        {
            changed[role] = module;
        }

        return changed;
    }

    /// <summary>A spec with biases on queries, keys, values and the attention output, where <c>attention_bias</c> is true.</summary>
    /// <param name="spec">The spec.</param>
    /// <param name="config">The configuration.</param>
    protected static DecoderSpec WithAttentionBias(DecoderSpec spec, ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(config);
        bool bias = config.GetBool("attention_bias", false);
        return spec with { QueryKeyValueBias = bias, AttentionOutputBias = bias };
    }

    /// <summary>A spec whose blocks differ in their attention: some over a sliding window.</summary>
    /// <param name="spec">The spec.</param>
    /// <param name="config">The configuration, for <c>sliding_window</c> and <c>layer_types</c>.</param>
    /// <param name="defaultWindow">The window where its key is absent; null if the key is required.</param>
    /// <param name="slides">Whether a block slides where <c>layer_types</c> is absent.</param>
    /// <param name="readSlidingRotary">
    /// Reads the rotary embedding of blocks that slide, where there are any; null for that of the spec.
    /// </param>
    protected static DecoderSpec WithSlidingLayers(
        DecoderSpec spec, ModelConfig config, int? defaultWindow, Func<int, bool> slides, Func<RotarySpec>? readSlidingRotary)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(config);
        var sliding = ConfigReader.ReadSlidingLayers(config, spec.NumLayers, slides);
        config.MarkRead("sliding_window");
        if (!sliding.Contains(true))
        {
            return spec;
        }

        LayerAttention full = new(spec.Rotary, null), window = new(
            readSlidingRotary?.Invoke() ?? spec.Rotary, config.GetPositiveInt("sliding_window", defaultWindow));
        return spec with { LayerAttention = [.. sliding.Select(slide => slide ? window : full)] };
    }
}

/// <summary>
/// The keys of <c>config.json</c> that families call differently, and what they mean where they are absent. The defaults are LLaMA's.
/// </summary>
public sealed record DecoderConfigKeys
{
    /// <summary>The key of the residual stream's size. Default: <c>hidden_size</c>.</summary>
    public string HiddenSize { get; init; } = "hidden_size";

    /// <summary>The key of the number of blocks. Default: <c>num_hidden_layers</c>.</summary>
    public string NumLayers { get; init; } = "num_hidden_layers";

    /// <summary>The key of the number of query heads. Default: <c>num_attention_heads</c>.</summary>
    public string NumAttentionHeads { get; init; } = "num_attention_heads";

    /// <summary>The number of key-value heads where <c>num_key_value_heads</c> is absent. Default: null, as many as query heads.</summary>
    public int? DefaultNumKeyValueHeads { get; init; }

    /// <summary>The features of a head where <c>head_dim</c> is absent. Default: null, the stream's divided by the heads.</summary>
    public int? DefaultHeadDim { get; init; }

    /// <summary>The key of the longest sequence. Default: <c>max_position_embeddings</c>.</summary>
    public string MaxPositions { get; init; } = "max_position_embeddings";

    /// <summary>The longest sequence where its key is absent, in tokens. Default: 2048.</summary>
    public int DefaultMaxPositions { get; init; } = 2048;

    /// <summary>The key of the MLP's size. Default: <c>intermediate_size</c>.</summary>
    public string IntermediateSize { get; init; } = "intermediate_size";

    /// <summary>The MLP's size where its key is absent, as a multiple of the stream's. Default: null, the key is required.</summary>
    public int? DefaultIntermediateFactor { get; init; }

    /// <summary>The key of the activation. Default: <c>hidden_act</c>.</summary>
    public string Activation { get; init; } = "hidden_act";

    /// <summary>The activation where its key is absent. Default: <c>silu</c>.</summary>
    public string DefaultActivation { get; init; } = "silu";

    /// <summary>The key of the norms' epsilon. Default: <c>rms_norm_eps</c>.</summary>
    public string NormEpsilon { get; init; } = "rms_norm_eps";

    /// <summary>The epsilon where its key is absent. Default: 1e-6.</summary>
    public double DefaultNormEpsilon { get; init; } = 1e-6;

    /// <summary>The key of the rotary base; empty for a family without rotary positions. Default: <c>rope_theta</c>.</summary>
    public string RotaryTheta { get; init; } = "rope_theta";

    /// <summary>The rotary base where its key is absent. Default: 10000; null if the key is required.</summary>
    public double? DefaultRotaryTheta { get; init; } = 10000;

    /// <summary>Whether <c>rope_parameters</c> has a section for each kind of layer. Default: no.</summary>
    public bool RotaryByLayerType { get; init; }

    /// <summary>Whether the rotary scalings <c>su</c> and <c>yarn</c> are older names of <c>longrope</c>. Default: no.</summary>
    public bool NamesLongRopeOtherwise { get; init; }

    /// <summary>
    /// The context length before its extension where <c>original_max_position_embeddings</c> is absent, in tokens. Default: null, the key
    /// is required.
    /// </summary>
    public int? DefaultOriginalMaxPositions { get; init; }

    /// <summary>The key of the fraction of each head that is rotated. Default: <c>partial_rotary_factor</c>.</summary>
    public string RotaryFraction { get; init; } = "partial_rotary_factor";

    /// <summary>The fraction of each head that is rotated where its key is absent, above 0 and at most 1. Default: 1.</summary>
    public double DefaultRotaryFraction { get; init; } = 1;

    /// <summary>Whether the head is tied to the token embedding where <c>tie_word_embeddings</c> is absent. Default: no.</summary>
    public bool DefaultTieWordEmbeddings { get; init; }
}
