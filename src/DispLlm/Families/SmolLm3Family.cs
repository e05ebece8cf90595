namespace DispLlm.Modeling;

/// <summary>
/// SmolLM3: LLaMA with no positions in every fourth block. Immutable and safe from several threads.
/// </summary>
public class SmolLm3Family : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        DefaultNumKeyValueHeads = 4,
        DefaultRotaryTheta = 2_000_000,
        DefaultMaxPositions = 32768,
        DefaultTieWordEmbeddings = true,
    };

    /// <inheritdoc/>
    public override string Name => "smollm3";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "smollm3", "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
         "num_key_value_heads": 4, "vocab_size": 128256, "max_position_embeddings": 65536, "rope_theta": 5000000.0, "rms_norm_eps": 1e-6,
         "no_rope_layer_interval": 4}
        """,
        "SmolLM3 3B");

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
        var rotates = ReadRotaryLayers(config, spec.NumLayers);

        // Where a window is used, the blocks without positions have it.
        bool hasWindow = config.GetBool("use_sliding_window", false);
        int? window = hasWindow ? config.GetPositiveInt("sliding_window") : null;
        config.MarkRead("sliding_window");
        var sliding = ConfigReader.ReadSlidingLayers(config, spec.NumLayers, block => hasWindow && !rotates[block]);
        return spec with
        {
            LayerAttention =
            [
                .. rotates.Select((rotate, block) => new LayerAttention(rotate ? spec.Rotary : null, sliding[block] ? window : null)),
            ],
        };
    }

    private static IReadOnlyList<bool> ReadRotaryLayers(ModelConfig config, int blocks)
    {
        const string Key = "no_rope_layers";
        int interval = config.GetPositiveInt("no_rope_layer_interval", 4);
        if (!config.Has(Key))
        {
            return ConfigReader.ForEachBlock(config, blocks, block => (block + 1) % interval != 0);
        }

        // 1 is a block with positions, whatever the key's name says.
        var layers = config.GetInts(Key);
        return layers.Count == blocks && layers.All(layer => layer is 0 or 1)
            ? [.. layers.Select(layer => layer == 1)]
            : throw config.Invalid(Key, $"0 or 1 for each of the {blocks} blocks is expected.");
    }
}
