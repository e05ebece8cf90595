namespace DispLlm.Modeling;

/// <summary>
/// Gemma 2: norms before and after each sublayer, capped scores and logits, a sliding window in every other block. Immutable and safe from
/// several threads.
/// </summary>
public class Gemma2Family : HuggingFaceDecoderFamily
{
    internal static readonly DecoderConfigKeys Keys = new()
    {
        Activation = "hidden_activation",
        DefaultActivation = "gelu_pytorch_tanh",
        DefaultNumKeyValueHeads = 4,
        DefaultHeadDim = 256,
        DefaultMaxPositions = 8192,
        DefaultTieWordEmbeddings = true,
    };

    /// <inheritdoc/>
    public override string Name => "gemma2";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8,
         "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256000, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
         "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 256, "sliding_window": 4096, "attn_logit_softcapping": 50.0,
         "final_logit_softcapping": 30.0}
        """,
        "Gemma 2 2B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = With(
        LlamaNames,
        (WeightRole.AttentionOutputNorm, "model.layers.{0}.post_attention_layernorm"),
        (WeightRole.MlpNorm, "model.layers.{0}.pre_feedforward_layernorm"),
        (WeightRole.MlpOutputNorm, "model.layers.{0}.post_feedforward_layernorm"));

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        var spec = ReadNorms(config, Keys) with
        {
            AttentionSoftcap = config.IsNull("attn_logit_softcapping") ? null : config.GetPositiveDouble("attn_logit_softcapping", 50),
            LogitSoftcap = config.IsNull("final_logit_softcapping") ? null : config.GetPositiveDouble("final_logit_softcapping", 30),
        };
        return WithSlidingLayers(spec, config, 4096, block => block % 2 == 0, null);
    }

    /// <summary>What Gemma 2 and 3 have alike.</summary>
    internal static DecoderSpec ReadNorms(ModelConfig config, DecoderConfigKeys keys)
    {
        return WithAttentionBias(ReadDecoder(config, keys), config) with
        {
            NormPlacement = NormPlacement.PreAndOutputNorm,
            NormWeightOffset = 1,
            EmbeddingScale = Math.Sqrt(config.GetPositiveInt("hidden_size")),
            AttentionScale = 1 / Math.Sqrt(config.GetPositiveDouble("query_pre_attn_scalar", 256)),
        };
    }
}
