namespace DispLlm.Modeling;

/// <summary>
/// Command R and Aya: sublayers in parallel from one layer norm without bias, neighbours rotated, scaled logits, a tied head. Immutable and
/// safe from several threads.
/// </summary>
public class CohereFamily : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        NormEpsilon = "layer_norm_eps",
        DefaultNormEpsilon = 1e-5,
        DefaultRotaryTheta = null,
        DefaultMaxPositions = 8192,
        DefaultTieWordEmbeddings = true,
    };

    /// <inheritdoc/>
    public override string Name => "cohere";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "cohere", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 8, "vocab_size": 256000, "max_position_embeddings": 8192, "rope_theta": 10000, "layer_norm_eps": 1e-5,
         "logit_scale": 0.0625, "use_qk_norm": false}
        """,
        "Aya 23 8B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = With(
        LlamaNames,
        (WeightRole.QueryNorm, "model.layers.{0}.self_attn.q_norm"),
        (WeightRole.KeyNorm, "model.layers.{0}.self_attn.k_norm"));

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        var spec = WithAttentionBias(ReadDecoder(config, s_keys), config);
        return spec with
        {
            Norm = NormKind.LayerNorm,
            NormBias = false,
            Residual = ResidualLayout.ParallelSharedNorm,
            Rotary = spec.Rotary! with { Interleaved = true },
            QueryKeyNorm = config.GetBool("use_qk_norm", false) ? QueryKeyNorm.PerHead : QueryKeyNorm.None,
            LogitScale = config.GetPositiveDouble("logit_scale", 0.0625),
        };
    }
}
