namespace DispLlm.Modeling;

/// <summary>
/// OLMo-2: norms only on what the sublayers write, and on all queries and all keys together. Immutable and safe from several threads.
/// </summary>
public class Olmo2Family : HuggingFaceDecoderFamily
{
    internal static readonly DecoderConfigKeys Keys = new() { DefaultNormEpsilon = 1e-5, DefaultRotaryTheta = null };

    internal static readonly (WeightRole Role, string Module)[] Modules =
    [
        (WeightRole.AttentionOutputNorm, "model.layers.{0}.post_attention_layernorm"),
        (WeightRole.MlpOutputNorm, "model.layers.{0}.post_feedforward_layernorm"),
        (WeightRole.QueryNorm, "model.layers.{0}.self_attn.q_norm"),
        (WeightRole.KeyNorm, "model.layers.{0}.self_attn.k_norm"),
    ];

    /// <inheritdoc/>
    public override string Name => "olmo2";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "olmo2", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 16,
         "num_key_value_heads": 16, "vocab_size": 100352, "max_position_embeddings": 4096, "rope_theta": 500000, "rms_norm_eps": 1e-6}
        """,
        "OLMo-2 1B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = With(LlamaNames, Modules);

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return ReadNorms(config, Keys);
    }

    /// <summary>What OLMo-2 and OLMo-3 have alike.</summary>
    internal static DecoderSpec ReadNorms(ModelConfig config, DecoderConfigKeys keys)
    {
        return WithAttentionBias(ReadDecoder(config, keys), config) with
        {
            NormPlacement = NormPlacement.OutputNorm,
            QueryKeyNorm = QueryKeyNorm.AllHeads,
        };
    }
}
