namespace DispLlm.Modeling;

/// <summary>
/// Mistral 7B, Nemo, Small: LLaMA with a sliding window in the first release, and heads whose size need not divide the stream. Immutable
/// and safe from several threads.
/// </summary>
public class MistralFamily : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        DefaultNumKeyValueHeads = 8,
    };

    /// <inheritdoc/>
    public override string Name => "mistral";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "mistral", "hidden_size": 5120, "intermediate_size": 14336, "num_hidden_layers": 40, "num_attention_heads": 32,
         "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 131072, "max_position_embeddings": 131072, "rope_theta": 1000000.0,
         "rms_norm_eps": 1e-5, "hidden_act": "silu", "sliding_window": null}
        """,
        "Mistral Nemo");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames => LlamaNames;

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        // Absent is the first release's window; null is none.
        int? window = config.IsNull("sliding_window") ? null : config.GetPositiveInt("sliding_window", 4096);
        return ReadDecoder(config, s_keys) with { SlidingWindow = window };
    }
}
