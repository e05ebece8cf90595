namespace DispLlm.Modeling;

/// <summary>
/// GLM-4 0414: norms before and after each sublayer, half of each head rotated by neighbours, gate and up fused. Immutable and safe from
/// several threads.
/// </summary>
public class Glm4Family : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        DefaultNormEpsilon = 1.5625e-7,
        DefaultRotaryFraction = 0.5,
        DefaultHeadDim = 128,
        DefaultNumKeyValueHeads = 2,
        DefaultMaxPositions = 131_072,
    };

    /// <inheritdoc/>
    public override string Name => "glm4";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "glm4", "hidden_size": 4096, "intermediate_size": 13696, "num_hidden_layers": 40, "num_attention_heads": 32,
         "num_key_value_heads": 2, "head_dim": 128, "vocab_size": 151552, "max_position_embeddings": 32768, "partial_rotary_factor": 0.5,
         "rms_norm_eps": 1e-5, "attention_bias": true, "tie_word_embeddings": false}
        """,
        "GLM-4 9B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = With(
        LlamaNames,
        (WeightRole.AttentionOutputNorm, "model.layers.{0}.post_self_attn_layernorm"),
        (WeightRole.MlpOutputNorm, "model.layers.{0}.post_mlp_layernorm"),
        (WeightRole.MlpGate, "model.layers.{0}.mlp.gate_up_proj"),
        (WeightRole.MlpUp, "model.layers.{0}.mlp.gate_up_proj"));

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        var spec = ReadDecoder(config, s_keys);
        return spec with
        {
            NormPlacement = NormPlacement.PreAndOutputNorm,
            Rotary = spec.Rotary! with { Interleaved = true },
            QueryKeyValueBias = config.GetBool("attention_bias", true),
        };
    }
}
