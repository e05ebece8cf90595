using System.Globalization;

namespace DispLlm.Modeling;

/// <summary>
/// OPT, 125M to 66B: learned positions, layer norms with biases, a plain MLP. OPT-350M alone has its norms behind the residual sums and an
/// embedding that is narrower than the stream.
/// </summary>
public sealed class OptFamily : IModelFamily
{
    // The table of positions was made for a padding token in front; its first two rows are never used.
    private const int PositionOffset = 2;

    /// <inheritdoc/>
    public string Name => "opt";

    /// <inheritdoc/>
    public IReadOnlyCollection<string> ModelTypes { get; } = ["opt"];

    /// <inheritdoc/>
    public ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "opt", "hidden_size": 1024, "ffn_dim": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "vocab_size": 50272,
         "max_position_embeddings": 2048, "word_embed_proj_dim": 512, "do_layer_norm_before": false, "activation_function": "relu"}
        """,
        "OPT-350M");

    /// <inheritdoc/>
    public string BaseModelPrefix => "model.";

    /// <inheritdoc/>
    public DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        int hidden = config.GetPositiveInt("hidden_size");
        var heads = HeadConfig.Read(config);
        if (!config.GetBool("layer_norm_elementwise_affine", true))
        {
            throw config.Unsupported("layer_norm_elementwise_affine", "norms without weights are not computed here");
        }

        bool normBefore = config.GetBool("do_layer_norm_before", true);
        bool bias = config.GetBool("enable_bias", true);
        return new DecoderSpec
        {
            VocabularySize = config.GetPositiveInt("vocab_size"),
            HiddenSize = hidden,
            EmbeddingSize = config.GetPositiveInt("word_embed_proj_dim", hidden),
            NumLayers = config.GetPositiveInt("num_hidden_layers"),
            NumAttentionHeads = heads.NumAttentionHeads,
            NumKeyValueHeads = heads.NumKeyValueHeads,
            HeadDim = heads.HeadDim,
            IntermediateSize = config.GetPositiveInt("ffn_dim"),
            GatedMlp = false,
            Activation = ActivationConfig.Read(config, "activation_function", "relu"),
            Norm = NormKind.LayerNorm,
            NormEpsilon = 1e-5,
            NormPlacement = normBefore ? NormPlacement.PreNorm : NormPlacement.PostNorm,
            FinalNorm = normBefore && !config.GetBool("_remove_final_layer_norm", false),
            MaxPositions = config.GetPositiveInt("max_position_embeddings", 2048),
            LearnedPositions = new LearnedPositionsSpec(PositionOffset),
            QueryKeyValueBias = bias,
            AttentionOutputBias = bias,
            MlpBias = bias,
            TieWordEmbeddings = config.GetBool("tie_word_embeddings", true),
        };
    }

    /// <inheritdoc/>
    public string ModuleName(WeightRole role, int block)
    {
        string layer = string.Create(CultureInfo.InvariantCulture, $"model.decoder.layers.{block}.");
        return role switch
        {
            WeightRole.TokenEmbedding => "model.decoder.embed_tokens",
            WeightRole.PositionEmbedding => "model.decoder.embed_positions",
            WeightRole.EmbeddingInput => "model.decoder.project_in",
            WeightRole.AttentionNorm => layer + "self_attn_layer_norm",
            WeightRole.Query => layer + "self_attn.q_proj",
            WeightRole.Key => layer + "self_attn.k_proj",
            WeightRole.Value => layer + "self_attn.v_proj",
            WeightRole.AttentionOutput => layer + "self_attn.out_proj",
            WeightRole.MlpNorm => layer + "final_layer_norm",
            WeightRole.MlpUp => layer + "fc1",
            WeightRole.MlpDown => layer + "fc2",
            WeightRole.FinalNorm => "model.decoder.final_layer_norm",
            WeightRole.EmbeddingOutput => "model.decoder.project_out",
            WeightRole.Head => "lm_head",
            _ => throw new ArgumentOutOfRangeException(nameof(role), role, "Not a weight of this family."),
        };
    }
}
