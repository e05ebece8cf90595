namespace DispLlm.Modeling;

/// <summary>
/// Qwen2 and Qwen2.5: LLaMA with biases on queries, keys and values, and a sliding window in later blocks where it is used. Immutable and
/// safe from several threads.
/// </summary>
public class Qwen2Family : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        DefaultNumKeyValueHeads = 32,
        DefaultMaxPositions = 32768,
    };

    /// <inheritdoc/>
    public override string Name => "qwen2";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
         "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 32768, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6,
         "tie_word_embeddings": true, "use_sliding_window": false, "sliding_window": 32768, "max_window_layers": 24}
        """,
        "Qwen2-0.5B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames => LlamaNames;

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return ReadWindow(ReadDecoder(config, s_keys) with { QueryKeyValueBias = true }, config);
    }

    /// <summary>A spec with the sliding window of Qwen models, whose length counts only where it is used.</summary>
    internal static DecoderSpec ReadWindow(DecoderSpec spec, ModelConfig config)
    {
        if (config.GetBool("use_sliding_window", false))
        {
            int first = config.GetInt("max_window_layers", 28);
            return WithSlidingLayers(spec, config, 4096, block => block >= first, null);
        }

        config.MarkRead("sliding_window");
        return config.Has("layer_types") && ConfigReader.ReadSlidingLayers(config, spec.NumLayers, _ => false).Contains(true)
            ? throw config.Invalid("layer_types", "No block slides where use_sliding_window is false.")
            : spec;
    }
}
