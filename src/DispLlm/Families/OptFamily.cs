namespace DispLlm.Modeling;

/// <summary>
/// OPT, 125M to 66B: learned positions, layer norms with biases, a plain MLP. OPT-350M alone has its norms after the residual sums and an
/// embedding that is narrower than the residual stream. Immutable and safe from several threads.
/// </summary>
public class OptFamily : HuggingFaceDecoderFamily
{
    private const double NormEpsilon = 1e-5;

    // The table of positions begins with two rows for padding.
    private const int PositionOffset = 2;

    private static readonly DecoderConfigKeys s_keys = new()
    {
        IntermediateSize = "ffn_dim",
        Activation = "activation_function",
        DefaultActivation = "relu",
        RotaryTheta = "",
        DefaultTieWordEmbeddings = true,
    };

    /// <inheritdoc/>
    public override string Name => "opt";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "opt", "hidden_size": 1024, "ffn_dim": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "vocab_size": 50272,
         "max_position_embeddings": 2048, "word_embed_proj_dim": 512, "do_layer_norm_before": false, "activation_function": "relu"}
        """,
        "OPT-350M");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = new Dictionary<WeightRole, string>
    {
        [WeightRole.TokenEmbedding] = "model.decoder.embed_tokens",
        [WeightRole.PositionEmbedding] = "model.decoder.embed_positions",
        [WeightRole.EmbeddingInput] = "model.decoder.project_in",
        [WeightRole.AttentionNorm] = "model.decoder.layers.{0}.self_attn_layer_norm",
        [WeightRole.Query] = "model.decoder.layers.{0}.self_attn.q_proj",
        [WeightRole.Key] = "model.decoder.layers.{0}.self_attn.k_proj",
        [WeightRole.Value] = "model.decoder.layers.{0}.self_attn.v_proj",
        [WeightRole.AttentionOutput] = "model.decoder.layers.{0}.self_attn.out_proj",
        [WeightRole.MlpNorm] = "model.decoder.layers.{0}.final_layer_norm",
        [WeightRole.MlpUp] = "model.decoder.layers.{0}.fc1",
        [WeightRole.MlpDown] = "model.decoder.layers.{0}.fc2",
        [WeightRole.FinalNorm] = "model.decoder.final_layer_norm",
        [WeightRole.EmbeddingOutput] = "model.decoder.project_out",
        [WeightRole.Head] = "lm_head",
    };

    /// <inheritdoc/>
    protected override IReadOnlyCollection<string> IgnorableSuffixes => [];

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        if (!config.GetBool("layer_norm_elementwise_affine", true))
        {
            throw config.Unsupported("layer_norm_elementwise_affine", "norms without weights are not computed here");
        }

        bool normBefore = config.GetBool("do_layer_norm_before", true);
        bool bias = config.GetBool("enable_bias", true);
        var spec = ReadDecoder(config, s_keys);
        return spec with
        {
            EmbeddingSize = config.GetPositiveInt("word_embed_proj_dim", spec.HiddenSize),
            GatedMlp = false,
            Norm = NormKind.LayerNorm,
            NormEpsilon = NormEpsilon,
            NormPlacement = normBefore ? NormPlacement.PreNorm : NormPlacement.PostNorm,
            FinalNorm = normBefore && !config.GetBool("_remove_final_layer_norm", false),
            LearnedPositions = new LearnedPositionsSpec(PositionOffset),
            QueryKeyValueBias = bias,
            AttentionOutputBias = bias,
            MlpBias = bias,
        };
    }
}
