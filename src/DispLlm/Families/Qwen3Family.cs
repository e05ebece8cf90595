namespace DispLlm.Modeling;

/// <summary>
/// Qwen3, dense: LLaMA with norms on the queries and keys of each head. Immutable and safe from several threads.
/// </summary>
public class Qwen3Family : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        DefaultNumKeyValueHeads = 32,
        DefaultHeadDim = 128,
        DefaultMaxPositions = 32768,
    };

    /// <inheritdoc/>
    public override string Name => "qwen3";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
         "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 40960, "rope_theta": 1000000.0,
         "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "attention_bias": false, "use_sliding_window": false}
        """,
        "Qwen3-0.6B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = With(
        LlamaNames,
        (WeightRole.QueryNorm, "model.layers.{0}.self_attn.q_norm"),
        (WeightRole.KeyNorm, "model.layers.{0}.self_attn.k_norm"));

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        var spec = WithAttentionBias(ReadDecoder(config, s_keys), config) with
        {
            QueryKeyNorm = QueryKeyNorm.SharedByHeads,
        };
        return Qwen2Family.ReadWindow(spec, config);
    }
}
