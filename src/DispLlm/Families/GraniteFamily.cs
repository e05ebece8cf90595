namespace DispLlm.Modeling;

/// <summary>
/// Granite 3: LLaMA with factors on embeddings, scores, what sublayers write, and logits. Immutable and safe from several threads.
/// </summary>
public class GraniteFamily : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new();

    /// <inheritdoc/>
    public override string Name => "granite";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "granite", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 40, "num_attention_heads": 32,
         "num_key_value_heads": 8, "vocab_size": 49155, "max_position_embeddings": 131072, "rope_theta": 5000000.0, "rms_norm_eps": 1e-5,
         "tie_word_embeddings": true, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.015625,
         "logits_scaling": 8.0}
        """,
        "Granite 3.1 2B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames => LlamaNames;

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return WithAttentionBias(ReadDecoder(config, s_keys), config) with
        {
            EmbeddingScale = config.GetPositiveDouble("embedding_multiplier", 1),
            ResidualScale = config.GetPositiveDouble("residual_multiplier", 1),
            AttentionScale = config.GetPositiveDouble("attention_multiplier", 1),
            LogitScale = 1 / config.GetPositiveDouble("logits_scaling", 1),
            MlpBias = config.GetBool("mlp_bias", false),
        };
    }
}
