namespace DispLlm.Modeling;

/// <summary>
/// Gemma 1: scaled embeddings, norms that multiply by <c>1 + w</c>, wide heads, a gated MLP with GELU, a tied head. Immutable and safe from
/// several threads.
/// </summary>
public class GemmaFamily : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        DefaultActivation = "gelu_pytorch_tanh",
        DefaultNumKeyValueHeads = 16,
        DefaultHeadDim = 256,
        DefaultMaxPositions = 8192,
        DefaultTieWordEmbeddings = true,
    };

    /// <inheritdoc/>
    public override string Name => "gemma";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "gemma", "hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 18, "num_attention_heads": 8,
         "num_key_value_heads": 1, "head_dim": 256, "vocab_size": 256000, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
         "hidden_act": "gelu"}
        """,
        "Gemma 2B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames => LlamaNames;

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        var spec = WithAttentionBias(ReadDecoder(config, s_keys), config) with
        {
            NormWeightOffset = 1,
            EmbeddingScale = Math.Sqrt(config.GetPositiveInt("hidden_size")),
        };

        // Published configurations say "gelu" and mean its approximation.
        return spec.Activation == Activation.Gelu ? spec with { Activation = Activation.GeluTanh } : spec;
    }
}
