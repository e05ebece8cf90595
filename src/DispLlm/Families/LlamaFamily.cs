using System.Globalization;

namespace DispLlm.Modeling;

/// <summary>
/// LLaMA 1, 2 and 3, and the many models built alike (SmolLM2, TinyLlama, ...): RMS norm in front of each sublayer, rotary positions,
/// grouped-query attention, a gated MLP.
/// </summary>
public sealed class LlamaFamily : IModelFamily
{
    private static readonly string[] s_factors =
        ["embedding_multiplier", "residual_multiplier", "logits_scaling", "logit_scale"];

    /// <inheritdoc/>
    public string Name => "llama";

    /// <inheritdoc/>
    public IReadOnlyCollection<string> ModelTypes { get; } = ["llama"];

    /// <inheritdoc/>
    public ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "hidden_act": "silu"}
        """,
        "LLaMA-2 7B");

    /// <inheritdoc/>
    public string BaseModelPrefix => "model.";

    /// <inheritdoc/>
    public DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        RefuseWhatChangesTheComputation(config);

        var heads = HeadConfig.Read(config);
        var rotary = RotaryConfig.Read(config, heads.HeadDim);
        if (rotary.Dimensions != heads.HeadDim)
        {
            throw config.Unsupported("partial_rotary_factor", "models of this family rotate whole heads");
        }

        bool attentionBias = config.GetBool("attention_bias", false);
        return new DecoderSpec
        {
            VocabularySize = config.GetPositiveInt("vocab_size"),
            HiddenSize = config.GetPositiveInt("hidden_size"),
            NumLayers = config.GetPositiveInt("num_hidden_layers"),
            NumAttentionHeads = heads.NumAttentionHeads,
            NumKeyValueHeads = heads.NumKeyValueHeads,
            HeadDim = heads.HeadDim,
            IntermediateSize = config.GetPositiveInt("intermediate_size"),
            GatedMlp = true,
            Activation = ActivationConfig.Read(config, "hidden_act", "silu"),
            Norm = NormKind.RmsNorm,
            NormEpsilon = config.GetPositiveDouble("rms_norm_eps", 1e-6),
            Rotary = rotary,
            MaxPositions = config.GetPositiveInt("max_position_embeddings", 2048),
            QueryKeyValueBias = attentionBias,
            AttentionOutputBias = attentionBias,
            MlpBias = config.GetBool("mlp_bias", false),
            TieWordEmbeddings = config.GetBool("tie_word_embeddings", false),
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
            WeightRole.AttentionOutput => layer + "self_attn.o_proj",
            WeightRole.MlpNorm => layer + "post_attention_layernorm",
            WeightRole.MlpGate => layer + "mlp.gate_proj",
            WeightRole.MlpUp => layer + "mlp.up_proj",
            WeightRole.MlpDown => layer + "mlp.down_proj",
            WeightRole.FinalNorm => "model.norm",
            WeightRole.Head => "lm_head",
            _ => throw new ArgumentOutOfRangeException(nameof(role), role, "Not a weight of this family."),
        };
    }

    /// <inheritdoc/>
    public bool IsIgnorable(string tensorName)
    {
        ArgumentNullException.ThrowIfNull(tensorName);

        // Checkpoints of 2023 carry the rotary table, which is computed; tied checkpoints may carry the head a second time.
        return tensorName.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal);
    }

    /// <summary>Keys of relatives of LLaMA that would be read past in silence, were they not looked for.</summary>
    private static void RefuseWhatChangesTheComputation(ModelConfig config)
    {
        foreach (string key in s_factors)
        {
            if (config.GetDouble(key, 1) != 1)
            {
                throw config.Unsupported(key, "only 1 is computed here");
            }
        }

        if (config.Has("sliding_window"))
        {
            throw config.Unsupported("sliding_window", "attention over a sliding window is not computed here");
        }
    }
}
