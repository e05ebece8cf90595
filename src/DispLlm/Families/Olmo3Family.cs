namespace DispLlm.Modeling;

/// <summary>
/// OLMo-3: OLMo-2 with a sliding window in three blocks of four; YaRN is in the other ones only. Immutable and safe from several threads.
/// </summary>
public class Olmo3Family : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = Olmo2Family.Keys with { RotaryByLayerType = true };

    /// <inheritdoc/>
    public override string Name => "olmo3";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "olmo3", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 32, "vocab_size": 100278, "max_position_embeddings": 65536, "rope_theta": 500000, "rms_norm_eps": 1e-6,
         "sliding_window": 4096, "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 8192}}
        """,
        "OLMo-3 7B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = With(LlamaNames, Olmo2Family.Modules);

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        var spec = Olmo2Family.ReadNorms(config, s_keys);
        RotarySpec ReadLocal() => config.Has("rope_parameters")
            ? ConfigReader.ReadRotary(config, spec.HeadDim, s_keys, "sliding_attention")
            : spec.Rotary! with { Scaling = new RotaryScaling.None() };
        return WithSlidingLayers(spec, config, 4096, block => (block + 1) % 4 != 0, ReadLocal);
    }
}
