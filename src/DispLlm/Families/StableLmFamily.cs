namespace DispLlm.Modeling;

/// <summary>
/// StableLM 3B and StableLM 2: LLaMA with layer norms and a quarter of each head rotated; the 12B norms the queries and keys of each head
/// with weights of its own and has its sublayers in parallel. Immutable and safe from several threads.
/// </summary>
public class StableLmFamily : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        NormEpsilon = "layer_norm_eps",
        DefaultNormEpsilon = 1e-5,
        DefaultRotaryFraction = 0.25,
        DefaultNumKeyValueHeads = 32,
        DefaultMaxPositions = 4096,
    };

    /// <inheritdoc/>
    public override string Name => "stablelm";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "stablelm", "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 32,
         "num_key_value_heads": 32, "vocab_size": 100352, "max_position_embeddings": 4096, "partial_rotary_factor": 0.25,
         "layer_norm_eps": 1e-5, "use_qkv_bias": true, "use_parallel_residual": false, "qk_layernorm": false}
        """,
        "StableLM 2 1.6B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = With(
        LlamaNames,
        (WeightRole.QueryNorm, "model.layers.{0}.self_attn.q_layernorm.norms.{1}"),
        (WeightRole.KeyNorm, "model.layers.{0}.self_attn.k_layernorm.norms.{1}"));

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return ReadDecoder(config, s_keys) with
        {
            Norm = NormKind.LayerNorm,
            Residual = config.GetBool("use_parallel_residual", false) ? ResidualLayout.ParallelSharedNorm : ResidualLayout.Sequential,
            QueryKeyNorm = config.GetBool("qk_layernorm", false) ? QueryKeyNorm.PerHead : QueryKeyNorm.None,
            QueryKeyValueBias = config.GetBool("use_qkv_bias", false),
        };
    }
}
