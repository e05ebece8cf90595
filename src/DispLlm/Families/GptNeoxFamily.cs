namespace DispLlm.Modeling;

/// <summary>
/// GPT-NeoX-20B and Pythia: sublayers in parallel, each with a layer norm; a quarter of each head rotated; queries, keys and values fused
/// head by head. Immutable and safe from several threads.
/// </summary>
public class GptNeoxFamily : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        DefaultActivation = "gelu",
        NormEpsilon = "layer_norm_eps",
        DefaultNormEpsilon = 1e-5,
        RotaryFraction = "rotary_pct",
        DefaultRotaryFraction = 0.25,
        RotaryTheta = "rotary_emb_base",
    };

    /// <inheritdoc/>
    public override string Name => "gpt-neox";

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> ModelTypes { get; } = ["gpt_neox"];

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "gpt_neox", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
         "vocab_size": 50304, "max_position_embeddings": 2048, "rotary_pct": 0.25, "rotary_emb_base": 10000, "use_parallel_residual": true}
        """,
        "Pythia-160M");

    /// <inheritdoc/>
    public override string BaseModelPrefix => "gpt_neox.";

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = new Dictionary<WeightRole, string>
    {
        [WeightRole.TokenEmbedding] = "gpt_neox.embed_in",
        [WeightRole.AttentionNorm] = "gpt_neox.layers.{0}.input_layernorm",
        [WeightRole.Query] = "gpt_neox.layers.{0}.attention.query_key_value",
        [WeightRole.Key] = "gpt_neox.layers.{0}.attention.query_key_value",
        [WeightRole.Value] = "gpt_neox.layers.{0}.attention.query_key_value",
        [WeightRole.AttentionOutput] = "gpt_neox.layers.{0}.attention.dense",
        [WeightRole.MlpNorm] = "gpt_neox.layers.{0}.post_attention_layernorm",
        [WeightRole.MlpUp] = "gpt_neox.layers.{0}.mlp.dense_h_to_4h",
        [WeightRole.MlpDown] = "gpt_neox.layers.{0}.mlp.dense_4h_to_h",
        [WeightRole.FinalNorm] = "gpt_neox.final_layer_norm",
        [WeightRole.Head] = "embed_out",
    };

    // The causal mask and the rotary table, which are computed.
    /// <inheritdoc/>
    protected override IReadOnlyCollection<string> IgnorableSuffixes =>
        [".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"];

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        bool attentionBias = config.GetBool("attention_bias", true);

        // Copies that transformers writes beside the keys of its own.
        config.MarkRead("rope_theta", "partial_rotary_factor");
        return ReadDecoder(config, s_keys) with
        {
            GatedMlp = false,
            Norm = NormKind.LayerNorm,
            Residual = config.GetBool("use_parallel_residual", true) ? ResidualLayout.Parallel : ResidualLayout.Sequential,
            QueryKeyValueLayout = QueryKeyValueLayout.ByHead,
            QueryKeyValueBias = attentionBias,
            AttentionOutputBias = attentionBias,
            MlpBias = true,
        };
    }
}
