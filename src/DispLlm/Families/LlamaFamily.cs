namespace DispLlm.Modeling;

/// <summary>
/// LLaMA 1, 2 and 3, and the many models built alike (SmolLM2, TinyLlama, ...): RMS norm before each sublayer, rotary positions,
/// grouped-query attention, a gated MLP. A family that is nearly this one may derive from it. Immutable and safe from several threads.
/// </summary>
public class LlamaFamily : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new();

    // Keys of relatives of LLaMA that would be ignored in silence, were they not looked for.
    private static readonly string[] s_factors = ["embedding_multiplier", "residual_multiplier", "logits_scaling", "logit_scale"];

    /// <inheritdoc/>
    public override string Name => "llama";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "hidden_act": "silu"}
        """,
        "LLaMA-2 7B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = new Dictionary<WeightRole, string>
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

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        foreach (string key in s_factors.Where(key => config.GetDouble(key, 1) != 1))
        {
            throw config.Unsupported(key, "only 1 is computed here");
        }

        if (config.Has("sliding_window"))
        {
            throw config.Unsupported("sliding_window", "attention over a sliding window is not computed here");
        }

        bool attentionBias = config.GetBool("attention_bias", false);
        var spec = ReadDecoder(config, s_keys) with
        {
            QueryKeyValueBias = attentionBias,
            AttentionOutputBias = attentionBias,
            MlpBias = config.GetBool("mlp_bias", false),
        };
        return spec.Rotary!.Dimensions == spec.HeadDim
            ? spec
            : throw config.Unsupported("partial_rotary_factor", "models of this family rotate whole heads");
    }
}
