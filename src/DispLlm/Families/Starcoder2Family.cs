namespace DispLlm.Modeling;

/// <summary>
/// StarCoder2: layer norms, a plain MLP, biases everywhere, a sliding window in all blocks. Immutable and safe from several threads.
/// </summary>
public class Starcoder2Family : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        Activation = "hidden_act",
        DefaultActivation = "gelu_pytorch_tanh",
        NormEpsilon = "norm_epsilon",
        DefaultNormEpsilon = 1e-5,
        DefaultNumKeyValueHeads = 2,
        DefaultMaxPositions = 4096,
        DefaultTieWordEmbeddings = true,
    };

    /// <inheritdoc/>
    public override string Name => "starcoder2";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "starcoder2", "hidden_size": 3072, "intermediate_size": 12288, "num_hidden_layers": 30, "num_attention_heads": 24,
         "num_key_value_heads": 2, "vocab_size": 49152, "max_position_embeddings": 16384, "rope_theta": 999999.4420358813,
         "norm_epsilon": 1e-5, "use_bias": true, "sliding_window": 4096, "hidden_act": "gelu_pytorch_tanh"}
        """,
        "StarCoder2 3B");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = With(
        LlamaNames,
        (WeightRole.MlpUp, "model.layers.{0}.mlp.c_fc"),
        (WeightRole.MlpDown, "model.layers.{0}.mlp.c_proj"));

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        bool bias = config.GetBool("use_bias", true);
        return ReadDecoder(config, s_keys) with
        {
            GatedMlp = false,
            Norm = NormKind.LayerNorm,
            SlidingWindow = config.Has("sliding_window") ? config.GetPositiveInt("sliding_window") : null,
            QueryKeyValueBias = bias,
            AttentionOutputBias = bias,
            MlpBias = bias,
        };
    }
}
