namespace DispLlm.Modeling;

/// <summary>
/// Phi-3, 3.5 and 4: LLaMA with fused projections, LongRoPE and, in Phi-4-mini, three quarters of each head rotated. Immutable and safe
/// from several threads.
/// </summary>
public class Phi3Family : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        NamesLongRopeOtherwise = true,
        DefaultOriginalMaxPositions = 4096,
        DefaultMaxPositions = 4096,
        DefaultNormEpsilon = 1e-5,
    };

    /// <inheritdoc/>
    public override string Name => "phi3";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 32, "vocab_size": 32064, "max_position_embeddings": 4096, "original_max_position_embeddings": 4096,
         "rms_norm_eps": 1e-5, "hidden_act": "silu", "sliding_window": 2047}
        """,
        "Phi-3-mini");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = With(
        LlamaNames,
        (WeightRole.Query, "model.layers.{0}.self_attn.qkv_proj"),
        (WeightRole.Key, "model.layers.{0}.self_attn.qkv_proj"),
        (WeightRole.Value, "model.layers.{0}.self_attn.qkv_proj"),
        (WeightRole.MlpGate, "model.layers.{0}.mlp.gate_up_proj"),
        (WeightRole.MlpUp, "model.layers.{0}.mlp.gate_up_proj"));

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return ReadDecoder(config, s_keys) with
        {
            SlidingWindow = config.Has("sliding_window") ? config.GetPositiveInt("sliding_window") : null,
        };
    }
}
