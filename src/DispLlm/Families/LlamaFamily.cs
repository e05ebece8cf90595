namespace DispLlm.Modeling;

/// <summary>
/// LLaMA 1, 2 and 3, and the many models built alike (SmolLM2, TinyLlama, ...): RMS norm before each sublayer, rotary positions,
/// grouped-query attention, a gated MLP. A family that is nearly this one may derive from it. Immutable and safe from several threads.
/// </summary>
public class LlamaFamily : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new();

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
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames => LlamaNames;

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        var spec = WithAttentionBias(ReadDecoder(config, s_keys), config) with
        {
            MlpBias = config.GetBool("mlp_bias", false),
        };
        return spec.Rotary!.Dimensions == spec.HeadDim
            ? spec
            : throw config.Unsupported("partial_rotary_factor", "models of this family rotate whole heads");
    }
}
