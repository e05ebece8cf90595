namespace DispLlm.Modeling;

/// <summary>
/// Gemma 3, text: Gemma 2 with norms on queries and keys instead of caps, and five blocks of six over a sliding window, with rotary
/// frequencies of their own. Immutable and safe from several threads.
/// </summary>
public class Gemma3Family : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = Gemma2Family.Keys with
    {
        DefaultRotaryTheta = 1_000_000,
        DefaultMaxPositions = 131_072,
        RotaryByLayerType = true,
    };

    /// <inheritdoc/>
    public override string Name => "gemma3";

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> ModelTypes { get; } = ["gemma3_text"];

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26, "num_attention_heads": 4,
         "num_key_value_heads": 1, "head_dim": 256, "vocab_size": 262144, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
         "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 256, "rope_theta": 1000000, "rope_local_base_freq": 10000,
         "sliding_window": 512, "sliding_window_pattern": 6}
        """,
        "Gemma 3 1B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = With(
        LlamaNames,
        (WeightRole.AttentionOutputNorm, "model.layers.{0}.post_attention_layernorm"),
        (WeightRole.MlpNorm, "model.layers.{0}.pre_feedforward_layernorm"),
        (WeightRole.MlpOutputNorm, "model.layers.{0}.post_feedforward_layernorm"),
        (WeightRole.QueryNorm, "model.layers.{0}.self_attn.q_norm"),
        (WeightRole.KeyNorm, "model.layers.{0}.self_attn.k_norm"));

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        var spec = Gemma2Family.ReadNorms(config, s_keys) with
        {
            QueryKeyNorm = QueryKeyNorm.SharedByHeads,
            LogitSoftcap = config.Has("final_logit_softcapping") ? config.GetPositiveDouble("final_logit_softcapping") : null,
        };
        config.MarkRead("attn_logit_softcapping");
        int pattern = config.GetPositiveInt("sliding_window_pattern", 6);
        RotarySpec ReadLocal() => config.Has("rope_parameters")
            ? ConfigReader.ReadRotary(config, spec.HeadDim, s_keys, "sliding_attention")
            : new RotarySpec(config.GetPositiveDouble("rope_local_base_freq", 10_000), spec.HeadDim, new RotaryScaling.None());
        config.MarkRead("rope_local_base_freq");
        return WithSlidingLayers(spec, config, 4096, block => (block + 1) % pattern != 0, ReadLocal);
    }
}
