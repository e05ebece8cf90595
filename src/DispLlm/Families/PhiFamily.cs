using System.Globalization;

namespace DispLlm.Modeling;

/// <summary>
/// Phi-1, 1.5 and 2: attention and MLP side by side from one layer norm, a part of each head rotated, a plain MLP, biases everywhere.
/// </summary>
public sealed class PhiFamily : IModelFamily
{
    /// <inheritdoc/>
    public string Name => "phi";

    /// <inheritdoc/>
    public IReadOnlyCollection<string> ModelTypes { get; } = ["phi"];

    /// <inheritdoc/>
    public ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "phi", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32,
         "vocab_size": 51200, "max_position_embeddings": 2048, "partial_rotary_factor": 0.5, "hidden_act": "gelu_new"}
        """,
        "Phi-1.5");

    /// <inheritdoc/>
    public string BaseModelPrefix => "model.";

    /// <inheritdoc/>
    public DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        var heads = HeadConfig.Read(config);
        return new DecoderSpec
        {
            VocabularySize = config.GetPositiveInt("vocab_size"),
            HiddenSize = config.GetPositiveInt("hidden_size"),
            NumLayers = config.GetPositiveInt("num_hidden_layers"),
            NumAttentionHeads = heads.NumAttentionHeads,
            NumKeyValueHeads = heads.NumKeyValueHeads,
            HeadDim = heads.HeadDim,
            IntermediateSize = config.GetPositiveInt("intermediate_size"),
            GatedMlp = false,
            Activation = ActivationConfig.Read(config, "hidden_act", "gelu_new"),
            Norm = NormKind.LayerNorm,
            NormEpsilon = config.GetPositiveDouble("layer_norm_eps", 1e-5),
            Residual = ResidualLayout.ParallelSharedNorm,
            MaxPositions = config.GetPositiveInt("max_position_embeddings", 2048),
            Rotary = RotaryConfig.Read(config, heads.HeadDim, defaultFraction: 0.5),
            QueryKeyNorm = config.GetBool("qk_layernorm", false),
            QueryKeyValueBias = true,
            AttentionOutputBias = true,
            MlpBias = true,
            TieWordEmbeddings = config.GetBool("tie_word_embeddings", false),
            HeadBias = true,
        };
    }

    /// <inheritdoc/>
    public string ModuleName(WeightRole role, int block)
    {
        string layer = string.Create(CultureInfo.InvariantCulture, $"model.layers.{block}.");
        return role switch
        {
            WeightRole.TokenEmbedding => "model.embed_tokens",
            WeightRole.AttentionNorm => layer + "input_layernorm",
            WeightRole.Query => layer + "self_attn.q_proj",
            WeightRole.Key => layer + "self_attn.k_proj",
            WeightRole.Value => layer + "self_attn.v_proj",
            WeightRole.QueryNorm => layer + "self_attn.q_layernorm",
            WeightRole.KeyNorm => layer + "self_attn.k_layernorm",
            WeightRole.AttentionOutput => layer + "self_attn.dense",
            WeightRole.MlpUp => layer + "mlp.fc1",
            WeightRole.MlpDown => layer + "mlp.fc2",
            WeightRole.FinalNorm => "model.final_layernorm",
            WeightRole.Head => "lm_head",
            _ => throw new ArgumentOutOfRangeException(nameof(role), role, "Not a weight of this family."),
        };
    }

    /// <inheritdoc/>
    public bool IsIgnorable(string tensorName)
    {
        ArgumentNullException.ThrowIfNull(tensorName);

        // The rotary table, which is computed, was saved with the weights at first.
        return tensorName.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal);
    }
}
